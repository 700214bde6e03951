"""One training run from its first step, or from a checkpoint, to its end."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from torch import Tensor

from ..errors import InputError, NumericalError
from ..gaussians.fitted import agree_on_base
from ..layers import conditioners_in
from ..model import Model
from .budget import Budget
from .contest import Contest
from .events import Events, events_wanted
from .feed import Batch, Feed
from .guard import Guard, culprit, given_up, named, times
from .history import Run
from .learner import Learner
from .optimise import Rate
from .progress import Progress
from .ranks import Ranks
from .saving import restore, save_best, save_checkpoint, saved_checkpoint
from .settings import FitConfig, step_limit
from .signals import StopRequests
from .validation import Validation

__all__ = ["Session"]

_PROVEN_EVERY = 100
"""Steps after which weights that have just given a sound gradient become those to go back to."""

_SIGNALS = ("interrupted", "terminated")

_LEARNERS: dict[str, Callable[..., Learner | Contest]] = {"objective": Learner, "contest": Contest}


class Session:
    """What a run knows, and the steps that it takes.

    Attributes:
        step: how many steps have been taken, failed ones included.
        good: the step and state to go back to when numbers go wrong.
        best_state: the flow's state dict at the best validation.
        step_on_disk: the step of the newest checkpoint; None if there is none.
        budget: its limits, the time that it has taken, the wishes to stop.
        threads: CPU threads, which a resumed run takes over; None until they are chosen.
    """

    def __init__(
        self,
        flow: Model,
        config: FitConfig,
        feed: Feed,
        validation: Events,
        ranks: Ranks,
        folder: Path | None,
        progress: bool,
    ) -> None:
        self.flow, self.config, self.feed = flow, config, feed
        self.ranks, self.folder = ranks, folder
        images = len(flow.shape) == 3
        self.held_out = validation.some(config.validate_on or (1_000 if images else 20_000))
        self.every = config.validate_every or min(500, max(100, feed.per_epoch or 500))
        self.budget = Budget(config, step_limit(config, feed.per_epoch), ranks)
        self.clip = config.clip or (2.0 if flow.unit == "bits/dim" else 5.0)
        self.rate, self.guard, self.stop = Rate(config), Guard(), StopRequests()
        steps = self.budget.max_steps
        chosen = {"batch_size": feed.batch_size, "clip": self.clip, "processes": ranks.size}
        self.result = Run(
            flow.unit,
            settings={**asdict(config), **chosen, "max_steps": steps},
            folder=None if folder is None else str(folder),
        )
        self.show = Progress(
            progress and ranks.lead,
            flow.unit,
            steps,
            config.max_time,
            loss_name=_LEARNERS[flow.learner].loss_name,  # type: ignore[attr-defined]
        )
        self.best_state: dict[str, Tensor] | None = None
        self.best_saved = -1.0
        self.step, self.rewinds = 0, 0
        self.threads: int | None = None
        self.since_validation: list[float] = []
        self.saved = time.monotonic()
        self.step_on_disk: int | None = None

    # Begin and end ---------------------------------------------------------------------------

    def begin(self, resume: bool) -> None:
        """Initialise what is read off data, or go on from a checkpoint.

        Raises:
            InputError: the checkpoint is of another run, or the folder holds a run and it is not
                to be resumed.
        """
        self.budget.begin()
        events = self.feed.events
        enough = events_wanted(self.flow)
        sample = self.held_out.some(enough)
        self.fingerprint = "a stream"
        if isinstance(events, Events):
            sample = events.some(enough, self.config.seed)
            self.fingerprint = events.fingerprint()
        checkpoint = saved_checkpoint(self, resume)
        if checkpoint is None:
            with conditioners_in(self.flow, None):
                self.flow.initialise(*sample.all())
            agree_on_base(self.flow, self.ranks.share)
        # A mixture that EM has fitted may be the best that there will be.
        self.from_mixture = getattr(getattr(self.flow, "base", None), "reads_data", False)
        self.flow.train()
        self.learner = _LEARNERS[self.flow.learner](self.flow, self.config, self.ranks)
        self.validation = Validation(self.flow, self.held_out, sample, self.ranks)
        if checkpoint is None:
            self.good = (0, self.learner.state())
        else:
            restore(self, checkpoint)
            self.step_on_disk = self.step
        self._write_metrics()
        self.saved = time.monotonic()
        self.budget.mark(self.step)

    def run(self) -> Run:
        """Train until a limit, patience or the user ends it; keep the best weights."""
        result = self.result
        result.settings["threads"] = self.threads
        try:
            with self.stop, self.show:
                for sentence in result.events:
                    self.show.say(sentence)
                try:
                    self._steps()
                except KeyboardInterrupt:
                    result.stopped = self.stop.asked or "interrupted"
                self._end()
        except (InputError, NumericalError) as error:
            if self.step_on_disk is not None:
                error.add_note(f"Its checkpoint of step {self.step_on_disk:,} can be resumed.")
            raise
        finally:
            result.steps = self.step
            if self.best_state is not None:
                self.flow.load_state_dict(self.best_state)
            self.flow.eval()
            self.flow.zero_grad(set_to_none=True)
        save_best(self)
        self.show.close(result)
        return result

    def _end(self) -> None:
        if self.result.stopped not in _SIGNALS:
            self._validate_unless_done()
            self._checkpoint()
            return
        # Before anything else, and as it is: what comes next does not belong to the run that
        # goes on from here. The second Ctrl-C may have torn a step in two.
        if not self.stop.torn:
            self._checkpoint()
        if self.best_state is None:
            with contextlib.suppress(KeyboardInterrupt):
                self._validate()

    # Steps -----------------------------------------------------------------------------------

    def _steps(self) -> None:
        while not self.budget.over(self.step):
            if self.step % self.every == 0 and (self.step or self.from_mixture):
                self._validate_unless_done()
                patience = self.config.patience
                if patience is not None and self.result.waited >= patience:
                    self.result.stopped = f"no better validation in {patience}"
                    return
            if time.monotonic() - self.saved >= self.config.checkpoint_every:
                self._checkpoint()
            batch = self.feed.batch(self.step)
            if not len(batch):
                self.result.stopped = "the stream has ended"
                return
            self._one_step(batch)
        self.result.stopped = self.budget.over(self.step)

    def _one_step(self, batch: Batch) -> None:
        rate = self._rate()
        share, norm = self.learner.gradient(batch, self.step)
        loss = self._agree(share)
        fault = self.guard.fault(loss, float(norm))
        if fault is None and self.step % _PROVEN_EVERY == 0:
            self.good = (self.step, self.learner.state())
        self.step += 1
        if fault is not None:
            where, events = culprit(self.flow, batch.part(self.ranks.part(len(batch))))
            events = sorted(event for part in self.ranks.gather(events) for event in part)
            self._retreat(f"{fault}{named(events)}; {where}", rate)
            return
        self.learner.step(rate, self.clip, norm)
        self.since_validation.append(loss)
        self.show.update(
            step=self.step,
            epoch=self.feed.epoch(self.step),
            seconds=self.budget.elapsed,
            loss=loss,
            lr=rate,
            rate=self._speed(),
        )

    def _agree(self, loss: float) -> float:
        wish = self.stop.asked or ("terminated" if self.show.gone else "")
        return self.budget.agree(loss, wish)

    def _rate(self) -> float:
        return self.rate(self.step, self.budget.spent(self.step))

    def _speed(self) -> float:
        """Events per second since the last validation."""
        return self.budget.speed(self.step) * self.feed.batch_size

    def _retreat(self, fault: str, rate: float) -> None:
        """Go back to the last good state, with half the learning rate, and say why."""
        said = f"step {self.step:,}: {fault}"
        step, state = self.good
        self.rate.halve()
        self.learner.restore(state)
        self.flow.train()
        if self.rewinds >= self.config.rewinds:
            if self.best_state or step:  # worth going on from, if the user wants to
                with contextlib.suppress(InputError):  # a full disk is the lesser trouble now
                    self._checkpoint()
            raise given_up(said, self.rewinds, self.best_state is not None, rate, self.clip)
        self.rewinds += 1
        left = self.config.rewinds - self.rewinds
        more = f"it may do so {times(left)} more" if left else "the next time, the run ends"
        self._say(
            f"{said}. Back to the weights of step {step:,}, with half the learning rate; {more}."
        )

    def _say(self, sentence: str) -> None:
        self.result.events.append(sentence)
        self.show.say(sentence)

    # Validation ------------------------------------------------------------------------------

    def _validate_unless_done(self) -> None:
        records = self.result.records
        if not records or records[-1]["step"] != self.step:
            self._validate()

    def _validate(self) -> None:
        result = self.result
        name = self.learner.loss_name
        losses = self.since_validation or [r[name] for r in result.records[-1:]]
        with self.validation.as_kept(self.learner.average) as drift:
            # Several ranks may only stop together.
            with self.stop.at_once() if self.ranks.size == 1 else contextlib.nullcontext():
                loss, said, more = self.validation.loss()
            best = result.is_best(loss)
            if best:
                state = self.flow.state_dict()
                self.best_state = {key: value.clone() for key, value in state.items()}
        if math.isnan(loss):
            self._retreat(said, self._rate())
            return
        if said and (not result.records or math.isfinite(result.records[-1]["validation"])):
            self._say(f"step {self.step:,}: {said}; look there for values far from all others.")
        record = {
            "step": self.step,
            "epoch": round(self.feed.epoch(self.step), 3),
            "seconds": round(self.budget.elapsed, 2),
            name: float(np.mean(losses)) if losses else loss,
            "validation": loss,
            **more,
            "lr": self._rate(),
            "items_per_second": round(self._speed(), 1),
        }
        if drift:
            record["drift"] = round(drift, 4)
        result.records.append(record)
        result.best = record if best else result.best
        self.since_validation = []
        self.rate.validated(best)
        self._write_metrics()
        self.show.validated(record, result.best)
        self._agree(0.0)
        self.budget.mark(self.step)

    # Files -----------------------------------------------------------------------------------

    def _write_metrics(self) -> None:
        if self.folder is not None and self.ranks.lead:
            self.result.save(self.folder / "metrics.jsonl")

    def _checkpoint(self) -> None:
        save_checkpoint(self)
        self.saved = time.monotonic()
