"""Our detector: few normals under noise, learned from the core of the rows.

The protocol is known to whoever detects, the labels are not: rows are trimmed where there may be
anomalies among them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pushforward.jobs.detection.usual import usual_flow
from pushforward.scoring import score as log_prob

__all__ = ["OURS"]

Array = np.ndarray[Any, np.dtype[Any]]


def ours(train: Array, seed: int, alone: bool) -> Callable[[Array], Array]:
    """-log p by the flow; rows are trimmed where anomalies may be among them."""
    flow = usual_flow(train, trim=0.3 if alone else 0.0, seed=seed)
    return lambda x: -log_prob(flow, x)


OURS: dict[str, Callable[[Array, int, bool], Callable[[Array], Array]]] = {
    "pushforward": ours,
}
