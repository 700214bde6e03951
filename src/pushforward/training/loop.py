"""Maximum likelihood: from data to a trained flow in one call."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import usable_device
from ..errors import InputError, NumericalError
from ..flow import Flow
from ..layers import FlowBatchNorm, recalibrate
from ..layers.dequantize import Dequantize
from ..models.settings import checked
from ..scoring import batch_for, in_unit, score
from ..threads import training_threads
from .augment import augment
from .average import WeightAverage
from .events import Events, training_events
from .history import Run
from .progress import Progress
from .settings import FitConfig

__all__ = ["fit"]


def fit(
    flow: Flow,
    data: Any,
    *,
    context: Any = None,
    progress: bool = True,
    **options: Any,
) -> Run:
    """Train a flow by maximum likelihood and leave it with the best weights seen, in eval mode.

    Adam with warm-up, a falling learning rate, gradient clipping and averaged weights; the
    validation loss picks the weights that stay. Ctrl-C ends training cleanly with the best so far.

    Args:
        flow: of any architecture; trained in place.
        data: a ``Dataset`` or any source that ``open_data`` takes. Files keep their test part
            untouched; of an array a tenth is set aside for validation and none for test.
        context: for a conditional flow, ``(N, K)`` beside an array of N events.
        progress: show a progress bar (plain lines where there is no terminal).
        **options: fields of ``FitConfig``: epochs, max_steps, max_time, batch_size, lr, warmup,
            schedule, clip, weight_decay, ema, patience, validate_every, validate_on, shift, flip,
            seed, device, threads. Without a limit: 20 epochs, but at least 2,000 steps.

    Returns:
        the history of the run; ``.plot()`` draws it, ``.save(path)`` writes JSON lines.

    Raises:
        InputError: the data do not fit the flow, or an option is unknown or impossible.
        NumericalError: the loss stays NaN or infinite; the best weights so far are restored.
    """
    config = checked(FitConfig, options, "fit")
    if config.device is not None:
        flow.to(usable_device(config.device))
    if (config.shift or config.flip) and len(flow.shape) != 3:
        raise InputError(f"shift and flip are for images; {flow.name} is over rows.")
    train, validation = training_events(flow, data, context)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        loop = _Loop(flow, config, train, validation, progress)
        with training_threads(flow, *train.some(loop.batch_size).all(), config.threads) as threads:
            loop.result.settings["threads"] = threads
            return loop.run()


class _Loop:
    """One training run: what it knows, and the steps that it takes."""

    def __init__(
        self, flow: Flow, config: FitConfig, train: Events, validation: Events, progress: bool
    ) -> None:
        self.flow, self.config, self.train = flow, config, train
        images = len(flow.shape) == 3
        cap = config.validate_on or (1_000 if images else 20_000)
        self.validation = validation.some(cap)
        default = (32 if len(train) >= 10_000 else 64) if images else 512
        self.batch_size = min(config.batch_size or default, len(train))
        per_epoch = math.ceil(len(train) / self.batch_size)
        self.per_epoch = per_epoch
        self.every = config.validate_every or min(500, max(100, per_epoch))
        self.max_steps = self._limit(per_epoch)
        self.clip = config.clip or (2.0 if flow.levels is not None else 5.0)
        self.order = torch.Generator().manual_seed(config.seed)
        weights = [p for p in flow.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            weights, lr=config.lr, weight_decay=config.weight_decay, fused=True
        )
        self.average = WeightAverage(flow, config.ema) if config.ema else None
        chosen = {"batch_size": self.batch_size, "max_steps": self.max_steps, "clip": self.clip}
        self.result = Run(flow.unit, settings={**asdict(config), **chosen})
        self.show = Progress(progress, flow.unit, self.max_steps, config.max_time)
        self.best_state: dict[str, Tensor] | None = None
        self.step = 0
        self.since_validation: list[float] = []
        self.start = time.monotonic()

    def _limit(self, per_epoch: int) -> int | None:
        """The number of steps, or None if only time limits the run."""
        limits = []
        if self.config.epochs is not None:
            limits.append(math.ceil(self.config.epochs * per_epoch))
        if self.config.max_steps is not None:
            limits.append(self.config.max_steps)
        if not limits and self.config.max_time is None:
            limits.append(max(2_000, 20 * per_epoch))
        return min(limits) if limits else None

    def run(self) -> Run:
        """Train until a limit, patience or the user ends it; keep the best weights."""
        flow = self.flow
        self._prepare()
        try:
            with self.show:
                self._steps()
        except KeyboardInterrupt:
            self.result.stopped = "interrupted"
        except NumericalError:
            self._restore()
            flow.eval()
            raise
        if self.best_state is None or (
            self.result.stopped != "interrupted" and self.result.records[-1]["step"] != self.step
        ):
            with contextlib.suppress(KeyboardInterrupt):
                self._validate()
        self._restore()
        if any(isinstance(module, FlowBatchNorm) for module in flow.modules()):
            self._recalibrate()
        flow.eval()
        flow.zero_grad(set_to_none=True)
        self.show.close(self.result)
        return self.result

    def _prepare(self) -> None:
        flow = self.flow
        self.start = time.monotonic()
        enough = 1_000 if len(flow.shape) == 3 else 10_000
        flow.initialise(*self.train.some(enough, self.config.seed).all())
        if self.average is not None:  # initialise() has just written weights
            self.average = WeightAverage(flow, self.config.ema)
        for module in flow.modules():
            if isinstance(module, Dequantize):
                module.passes.fill_(self.config.seed << 32)
        flow.train()

    def _steps(self) -> None:
        failures = 0
        for index in self._batches():
            if self._over():
                return
            loss = self._one_step(index)
            if not math.isfinite(loss):
                failures += 1
                if failures >= 20:
                    kept = "no step was of use"
                    if self.best_state is not None:
                        kept = "the best weights so far are kept"
                    raise NumericalError(
                        f"the loss was NaN or infinite 20 times running at step {self.step}; "
                        f"{kept}. Try a lower lr (now {self.config.lr:g}) or a smaller clip (now "
                        f"{self.clip:g}), and look at the data for extreme values."
                    )
                continue
            failures = 0
            self.since_validation.append(loss)
            self.show.update(self.step, self._elapsed(), loss, self._rate(), self.batch_size)
            if self.step % self.every == 0:
                self._validate()
                if self._out_of_patience():
                    self.result.stopped = f"no better validation in {self.config.patience}"
                    return

    def _one_step(self, index: Tensor) -> float:
        x, context = self.train.take(index)
        if self.config.shift or self.config.flip:
            x = augment(x, self.config.shift, self.config.flip, self.order)
        rate = self._rate()
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        # The data have been checked once; a look at every batch would cost a wait on GPUs.
        log_prob = self.flow.log_prob(x, context, check=False).mean()
        loss = in_unit(self.flow, log_prob)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.flow.parameters(), self.clip)
        self.step += 1
        value = loss.item()
        if math.isfinite(value) and math.isfinite(float(norm)):
            self.optimiser.step()
            if self.average is not None:
                self.average.update()
            return value
        return math.nan

    def _batches(self) -> Iterator[Tensor]:
        """Random batches for ever; a last one that is too small for batch norm is dropped."""
        smallest = min(2, self.batch_size)
        while True:
            order = torch.randperm(len(self.train), generator=self.order)
            for index in order.split(self.batch_size):
                if len(index) >= smallest:
                    yield index

    def _elapsed(self) -> float:
        return time.monotonic() - self.start

    def _spent(self) -> float:
        """The share of the budget that is used up."""
        by_steps = self.step / self.max_steps if self.max_steps else 0.0
        by_time = self._elapsed() / self.config.max_time if self.config.max_time else 0.0
        return min(1.0, max(by_steps, by_time))

    def _over(self) -> bool:
        if self.max_steps is not None and self.step >= self.max_steps:
            self.result.stopped = "all steps done"
        elif self.config.max_time is not None and self._elapsed() >= self.config.max_time:
            self.result.stopped = "time is up"
        return bool(self.result.stopped)

    def _rate(self) -> float:
        fall: dict[str, Callable[[float], float]] = {
            "constant": lambda spent: 1.0,
            "linear": lambda spent: 1.0 - spent,
            "cosine": lambda spent: 0.5 * (1 + math.cos(math.pi * spent)),
        }
        rise = min(1.0, (self.step + 1) / (self.config.warmup + 1))
        return self.config.lr * rise * fall[self.config.schedule](self._spent())

    def _validate(self) -> None:
        losses = self.since_validation or [r["train"] for r in self.result.records[-1:]]
        self.since_validation = []
        applied = self.average.applied() if self.average else contextlib.nullcontext()
        with applied:
            events = self.validation
            scores = score(self.flow, events.x, events.context, batch_size=batch_for(self.flow))
            loss = in_unit(self.flow, float(np.mean(scores)))
            record = {
                "step": self.step,
                "epoch": round(self.step / self.per_epoch, 3),
                "seconds": round(self._elapsed(), 2),
                "train": float(np.mean(losses)) if losses else loss,
                "validation": loss,
                "lr": self._rate(),
            }
            self.result.records.append(record)
            if not self.result.best or loss < self.result.best["validation"]:
                self.result.best = record
                state = self.flow.state_dict()
                self.best_state = {key: value.clone() for key, value in state.items()}
        self.show.validated(record, self.result.best)

    def _out_of_patience(self) -> bool:
        if self.config.patience is None:
            return False
        behind = [r for r in self.result.records if r["step"] > self.result.best["step"]]
        return len(behind) >= self.config.patience

    def _restore(self) -> None:
        if self.best_state is not None:
            self.flow.load_state_dict(self.best_state)

    def _recalibrate(self) -> None:
        events = self.train.some(500 if len(self.flow.shape) == 3 else 10_000)
        step = batch_for(self.flow)
        index = torch.arange(len(events))
        recalibrate(self.flow, [events.take(part) for part in index.split(step)])
