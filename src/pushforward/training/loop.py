"""Maximum likelihood: from data to a trained flow in one call."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ..checks import usable_device
from ..errors import InputError
from ..flow import Flow
from ..layers import Coupling, conditioners_in, sharing_statistics
from ..models.gmm import MixtureFlow
from ..models.settings import checked
from ..threads import training_threads
from .checkpoint import alone_in
from .em_ranks import learn_mixture
from .events import training_events
from .feed import Feed
from .history import Run
from .ranks import Ranks, joined, speaking
from .session import Session
from .settings import FitConfig

__all__ = ["fit"]


def fit(
    flow: Flow,
    data: Any,
    *,
    context: Any = None,
    progress: bool = True,
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    **options: Any,
) -> Run:
    """Train a flow by maximum likelihood and leave it with the best weights seen, in eval mode.

    Adam with warm-up, a falling learning rate, gradient clipping and averaged weights; the
    validation loss picks the weights that stay. Ctrl-C and SIGTERM end training cleanly with the
    best so far. A loss or gradient that is not finite sends the run back to its last good state
    with half the learning rate.

    A ``GMM`` is learned by expectation maximisation instead: a step is one iteration of it, and of
    the options only limits, ``validate_on`` and ``seed`` matter (see em.py).

    With a ``folder``, the run can be killed at any moment and goes on with ``resume=True``, on
    the same machine to the very same weights, unless time limits it. Under ``torchrun`` every
    process calls ``fit`` with the same arguments; together they take the steps that one process
    would take.

    Args:
        flow: of any architecture; trained in place.
        data: a ``Dataset`` or any source that ``open_data`` takes. Files keep their test part
            untouched; of an array a tenth is set aside for validation and none for test. A loader,
            an iterator, or a function that gives one is read as a stream, in its own order.
        context: for a conditional flow, ``(N, K)`` beside an array of N events.
        progress: show a line of progress (plain lines where there is no terminal).
        folder: where to write ``checkpoints/``, ``metrics.jsonl`` and the best model, ``best/``.
        resume: go on from the newest checkpoint in ``folder``; from the start if there is none.
        **options: fields of ``FitConfig``: epochs, max_steps, max_time, patience, batch_size,
            accumulate, optimiser, lr, warmup, schedule, clip, ema, weight_decay, l2, shift, crop,
            flip, validate_every, validate_on, checkpoint_every, rewinds, precision, memory,
            compile, deterministic, seed, device, threads. Without a limit: 20 epochs, but at
            least 2,000 steps.

    Returns:
        the history of the run; ``.plot()`` draws it, ``.save(path)`` writes JSON lines.

    Raises:
        InputError: the data do not fit the flow, an option is unknown or impossible, the folder
            cannot be written, or its checkpoints are of another run.
        NumericalError: the numbers went wrong more often than ``rewinds`` allows; the best
            weights so far are restored.
    """
    config = checked(FitConfig, {**flow.training_defaults, **options}, "fit")
    if config.compile and config.memory != "store":
        raise InputError(
            f"fit: memory={config.memory!r} takes a step apart, which compile=True cannot follow; "
            f"give one of the two."
        )
    if config.precision != "float32" and not any(isinstance(m, Coupling) for m in flow.modules()):
        raise InputError(
            f"precision={config.precision!r} is for the networks of couplings, and {flow.name} has "
            f"none; leave it out."
        )
    if resume and folder is None:
        raise InputError("resume=True needs the folder of the run that is to go on.")
    place = None if folder is None else Path(folder)
    with joined() as ranks:
        _move(flow, config, ranks)
        if (config.shift or config.flip or config.crop) and len(flow.shape) != 3:
            raise InputError(f"shift, crop and flip are for images; {flow.name} is over rows.")
        train, validation = training_events(flow, data, context)
        held = alone_in(place) if place and ranks.lead else contextlib.nullcontext()
        with held, _surroundings(flow, config, ranks):
            if isinstance(flow, MixtureFlow):
                return learn_mixture(
                    flow, train, validation, config, ranks, place, progress, resume
                )
            feed = Feed(train, config, flow.device)
            session = Session(flow, config, feed, validation, ranks, place, progress)
            try:
                session.begin(resume)
                trial = feed.batch(session.step).part(ranks.part(feed.batch_size))
                wanted = session.threads or config.threads
                timed = ranks.size == 1 and not config.deterministic
                with training_threads(flow, trial.x, trial.context, wanted, timed=timed) as threads:
                    session.threads = threads
                    with speaking() if ranks.size > 1 else contextlib.nullcontext():
                        return session.run()
            finally:
                feed.close()


def _move(flow: Flow, config: FitConfig, ranks: Ranks) -> None:
    """To the device that was asked for; each process of a machine to a GPU of its own."""
    if config.device is None:
        return
    name = f"cuda:{ranks.local}" if config.device == "cuda" and ranks.size > 1 else config.device
    flow.to(usable_device(name))


@contextlib.contextmanager
def _surroundings(flow: Flow, config: FitConfig, ranks: Ranks) -> Iterator[None]:
    """What holds while a flow trains, and is as before afterwards: random state and switches."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng())
        if config.deterministic:
            stack.enter_context(_deterministic())
        if ranks.size > 1:
            stack.enter_context(sharing_statistics(flow))
        if config.precision == "bf16":
            stack.enter_context(conditioners_in(flow, torch.bfloat16))
        stack.callback(setattr, flow, "memory", flow.memory)
        flow.memory = config.memory if config.memory != "store" else flow.memory
        yield


@contextlib.contextmanager
def _deterministic() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
