"""Learning a Gaussian mixture by expectation maximisation, its size chosen by validation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import cast

import torch

from ..errors import InputError, NumericalError
from ..gaussians.mixture import GaussianMixture
from ..gaussians.search import MixtureSearch, Reached
from ..models.gmm import MixtureFlow
from ..models.loading import load
from ..scoring import in_unit, score
from .em_events import encoded_events, enough_events
from .events import Events
from .history import Run, best_of, read_metrics
from .progress import Progress
from .settings import FitConfig
from .signals import StopRequests
from .streaming import Stream

__all__ = ["MixtureFit"]


class MixtureFit:
    """The search for a mixture by the validation loss, the best one kept.

    Attributes:
        tell: called after every few iterations, by whom other processes know that it is alive.
    """

    def __init__(
        self,
        flow: MixtureFlow,
        train: Events | Stream,
        validation: Events,
        config: FitConfig,
        folder: Path | None,
        progress: bool,
        resume: bool = False,
    ) -> None:
        import sklearn.mixture  # noqa: F401 - now, for it may take as long as a small fit

        self.flow, self.config, self.folder = flow, config, folder
        images = len(flow.shape) == 3
        self.held_out = validation.some(config.validate_on or (1_000 if images else 20_000))
        self.limit = min((n for n in (config.max_steps, config.epochs) if n), default=math.inf)
        self.stop, self.start, self.earlier = StopRequests(), time.monotonic(), 0
        self.best: tuple[float, GaussianMixture, float] | None = None
        self.result = Run(flow.unit, folder=None if folder is None else str(folder))
        steps = None if math.isinf(self.limit) else math.ceil(self.limit)
        self.show = Progress(progress, flow.unit, steps, config.max_time)
        if folder is not None and (folder / "best" / "config.json").exists():
            if not resume:
                raise InputError(
                    f"{folder} holds a run; give resume=True to go on from its best mixture, "
                    f"or another folder."
                )
            self._resume(folder)
        events, notes = enough_events(flow, train, config.seed)
        for note in notes:
            self._say(note)
        flow.initialise(*events.some(10_000, config.seed).all())
        self.rows, self.sample = len(events), events.some(1_000).all()[0]
        self.z = encoded_events(flow, events, config.seed)
        self.tell: Callable[[], object] = lambda: None
        self.search = MixtureSearch(
            [self.z],
            measure=self._measured,
            over=self._over,
            say=self._say,
            components=flow.config.components,
            reg=flow.config.reg,
            covariance=flow.covariance,
            seed=config.seed,
        )

    @property
    def steps(self) -> int:
        """EM iterations so far, of all runs."""
        return self.earlier + self.search.steps

    def run(self) -> Run:
        """Search until nothing is better, a limit is reached or the user ends it."""
        result = self.result
        asked = self.flow.config.components
        if asked is not None and asked > len(self.z):
            raise InputError(
                f"{self.flow.name} with components={asked} needs as many events to learn from; "
                f"got {self.rows}. Ask for fewer, or leave components out."
            )
        before = self.flow.base
        try:
            with self.stop, self.show:
                try:
                    best = self.best  # of the run that goes on, if one does
                    self.search.run(best and (best[1].components, best[2]))
                    result.stopped = result.stopped or "the search has ended"
                except KeyboardInterrupt:
                    result.stopped = self.stop.asked or "interrupted"
        finally:
            self.flow.base = before
            if self.best is not None:
                self.flow.take(self.best[1], self.best[2])
            self.flow.eval()
            result.steps = self.steps
        if self.best is not None:
            self._conclude(*self.best)
        elif not self.stop.asked:
            raise NumericalError(
                f"{result.events[-1] if result.events else 'EM failed.'} Give a larger reg, or "
                f"look at the data for extreme values."
            )
        self.show.close(result)
        return result

    def _resume(self, folder: Path) -> None:
        """Go on from the best model that a run has left; of its search nothing else is kept.

        Raises:
            InputError: it is of something else.
        """
        saved = load(folder)
        if not isinstance(saved, MixtureFlow) or (saved.shape, saved.levels) != (
            self.flow.shape,
            self.flow.levels,
        ):
            raise InputError(
                f"the run in {folder} is of {saved.name}, not of {self.flow.name}; start anew in "
                f"another folder."
            )
        self.flow.chain.load_state_dict(saved.chain.state_dict())
        self.result.records = read_metrics(folder / "metrics.jsonl")
        self.result.best = best_of(self.result.records)
        loss = saved.facts["metrics"]["validation"]
        self.best = loss, cast(GaussianMixture, saved.base).double(), saved.config.reg
        if self.result.records:
            self.earlier = int(self.result.records[-1]["step"])
            self.start -= self.result.records[-1]["seconds"]

    # Search and measurement ------------------------------------------------------------------

    def _over(self, components: int = 0) -> bool:
        """Whether to end; with time for what comes next, the iterations of so many components."""
        seconds, limit = time.monotonic() - self.start, self.config.max_time
        seconds += self.search.pace * components
        if self.stop.asked:
            self.result.stopped = self.stop.asked
        elif self.steps >= self.limit:
            self.result.stopped = "all steps done"
        elif limit is not None and seconds >= limit and self.best is not None:
            self.result.stopped = "time is up"
        return bool(self.result.stopped)

    def _measured(self, reached: Reached, part: int = 0) -> float:
        """Validate what EM has reached, note it, and keep it if it is the best so far."""
        components, reg = reached.components, reached.reg
        base = GaussianMixture(self.flow.shape, components, self.flow.covariance).double()
        parts = (reached.weights, reached.means, reached.covariances)
        base.set_moments(*(torch.from_numpy(part) for part in parts))
        self.flow.base = base.to(self.flow.device, self.flow.dtype)
        x, context = self.held_out.all()
        loss = in_unit(self.flow, float(score(self.flow, x, context).mean()))
        train = in_unit(self.flow, float(score(self.flow, self.sample).mean()))
        seconds = time.monotonic() - self.start
        record = {
            "step": self.steps,
            "epoch": float(self.steps),
            "seconds": round(seconds, 2),
            "train": train,
            "validation": loss,
            "lr": 0.0,
            "items_per_second": round(self.steps * len(self.z) / max(seconds, 1e-9), 1),
            "components": components,
            "reg": reg,
        }
        self.result.records.append(record)
        if self.best is None or loss < self.best[0]:
            self.best = (loss, base, reg)
            self.result.best = record
        if self.folder is not None:
            self.result.save(self.folder / "metrics.jsonl")
        epoch, rate = float(self.steps), record["items_per_second"]
        self.show.update(
            step=self.steps, epoch=epoch, seconds=seconds, loss=train, lr=0.0, rate=rate
        )
        self.show.validated(record, self.result.best)
        self.tell()
        return loss

    def _conclude(self, loss: float, base: GaussianMixture, reg: float) -> None:
        """What was chosen, into the record and the folder."""
        flow, result = self.flow, self.result
        chosen = {"components": base.components, "covariance": base.covariance, "reg": reg}
        asked = ("epochs", "max_steps", "max_time", "validate_on", "seed")
        limits = {key: asdict(self.config)[key] for key in asked}
        result.settings = {"by": "EM", **limits, **chosen, "processes": 1}
        self._say(
            f"EM: {base.components} component{'' if base.components == 1 else 's'} of "
            f"{'full' if base.covariance == 'full' else 'diagonal'} covariance, {reg:.3g} added to "
            f"variances; the best of {len(self.search.tried)}."
        )
        flow.facts = {
            **flow.facts,
            "fit": {key: value for key, value in result.settings.items() if value is not None},
            "metrics": {
                "unit": result.unit,
                "validation": loss,
                "best_step": result.best["step"],
                "steps": self.steps,
                "seconds": result.records[-1]["seconds"],
                "stopped": result.stopped,
            },
        }
        if self.folder is not None:
            flow.save(self.folder / "best")

    def _say(self, sentence: str) -> None:
        self.result.events.append(sentence)
        self.show.say(sentence)
