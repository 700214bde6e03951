"""EM under torchrun: one process learns and writes, the others take what it has learned."""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path
from typing import Any

from ..errors import InputError, LostProcess, NumericalError
from ..models.gmm import MixtureFlow
from .em import MixtureFit
from .events import Events
from .history import Run
from .ranks import Ranks
from .settings import FitConfig
from .signals import StopRequests
from .streaming import Stream

__all__ = ["learn_mixture"]


def learn_mixture(
    flow: MixtureFlow,
    train: Events | Stream,
    validation: Events,
    config: FitConfig,
    ranks: Ranks,
    folder: Path | None,
    progress: bool,
    resume: bool,
) -> Run:
    """Fit by EM on the first process; on every process the flow is the same mixture afterwards.

    EM has no batches to share out. The first process tells the others every few iterations that
    it is alive, so that they wait for as long as it takes.

    Raises:
        InputError, NumericalError: as on the first process, on all.
        LostProcess: the first process is gone.
    """
    if not ranks.lead:
        return _follow(flow, ranks)
    try:
        fit = MixtureFit(flow, train, validation, config, folder, progress, resume)
        fit.tell = lambda: _alive(ranks)
        result = fit.run()
    except (InputError, NumericalError) as error:
        with contextlib.suppress(LostProcess):
            ranks.share(error)
        raise
    if ranks.size > 1:
        base = copy.deepcopy(flow.base).cpu()
        chain = {name: value.cpu() for name, value in flow.chain.state_dict().items()}
        ranks.share((result, base, flow.config.reg, chain, flow.facts))
    return result


def _alive(ranks: Ranks) -> None:
    # If the others are gone, what was learned is still to be written before anybody is told.
    with contextlib.suppress(LostProcess):
        ranks.share(None)


def _follow(flow: MixtureFlow, ranks: Ranks) -> Run:
    told: Any = None
    with StopRequests():  # it is the first process that ends then, and says so
        while told is None:
            told = ranks.share(None)
    if isinstance(told, Exception):
        raise told
    result, base, reg, chain, facts = told
    flow.chain.load_state_dict(chain)
    flow.take(base, reg)
    flow.facts = facts
    flow.eval()
    assert isinstance(result, Run)
    return result
