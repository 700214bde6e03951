"""Training events as EM sees them: enough of them, in memory, in the space of the mixture."""

from __future__ import annotations

import torch

from ..gaussians.search import Array, with_spread
from ..layers import Noisy
from ..models.gmm import MixtureFlow
from .events import Events
from .streaming import Stream

__all__ = ["encoded_events", "enough_events"]

_WORK = 2e10
"""Events times squared size: what an EM iteration of one component is to cost at most."""
_ENOUGH = 12_000
"""Events that integers are dequantised to, again and again if there are fewer: up to 8 times."""


def enough_events(flow: MixtureFlow, train: Events | Stream, seed: int) -> tuple[Events, list[str]]:
    """As many training events as EM can go through again and again, in memory.

    Returns:
        the events, and sentences on what was chosen: not all of them, diagonal covariances.
    """
    said = []
    size = flow.dims
    square = size**2 if flow.covariance == "full" else size
    most = max(5 * size, 1_000, min(200_000, int(_WORK / square)))
    if flow.covariance == "diag" and flow.config.covariance is None:
        said.append(
            f"Covariances are diagonal, since full ones of {size:,} numbers would be "
            f"{size * (size + 1) // 2:,} a component: covariance='full' has them."
        )
    if isinstance(train, Stream):
        said.append(f"EM learns from the first {most:,} events of the stream at most.")
        return Events(*train.batch(0, most)), said
    if most < len(train):
        said.append(f"EM learns from {most:,} of the {len(train):,} training events.")
    return train.some(most, seed), said


@torch.no_grad()
def encoded_events(flow: MixtureFlow, events: Events, seed: int) -> Array:
    """Events in the space of the mixture, ``(M, D)``: integers with several draws of noise each.

    They are seeded apart from the noise of evaluation. Constant columns: see ``with_spread``.
    """
    noisy = [layer for layer in flow.modules() if isinstance(layer, Noisy)]
    for layer in noisy:
        layer.passes.fill_(seed << 32)
    draws = min(8, max(1, _ENOUGH // max(1, len(events)))) if noisy else 1
    flow.train()  # in evaluation mode the noise would be that of every evaluation
    x, _ = flow.prepare(events.all()[0], None, False)
    parts = [flow.chain(part)[0] for _ in range(draws) for part in x.split(4096)]
    flow.eval()
    z = torch.cat(parts).flatten(1).double().cpu().numpy()
    return with_spread(z, seed)
