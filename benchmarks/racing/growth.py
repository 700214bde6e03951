r"""How time and memory grow with rows, numbers, depth and pixels: slopes on a log-log plot.

.. math:: \log y = a + b \log n

b = 1 is linear, b = 0 constant. A fixed share beside a linear one makes b less than 1 in the small;
so the slope of the last doubling stands beside that of all sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from . import images, rows
from .rounds import Lane, Task

__all__ = ["AXES", "Axis", "lanes", "score", "slope"]


@dataclass(frozen=True)
class Axis:
    """One size that grows while everything else stays."""

    name: str
    about: str
    option: str
    sizes: tuple[int, ...]
    build: Callable[..., Task]
    fixed: dict[str, Any]

    def size(self, value: int) -> int:
        """What the slope is against: pixels for a side, else the value itself."""
        return value**2 if self.option == "side" else value


def score(rows: int) -> Task:
    """The log_prob of a table, as every verb of the command line scores it."""
    import torch

    import pushforward as pf
    from pushforward.scoring import score

    flow = pf.RealNVP((63,), couplings=10)
    x = torch.randn(rows, 63)
    return Task(lambda: score(flow, x), sum(p.numel() for p in flow.parameters()))


_NEEDS = ("torch", "pushforward.models", "pushforward.scoring")
_TRAIN: dict[str, Any] = {"library": "pushforward, default", "job": "train"}
_CONSTANT = {**_TRAIN, "memory": "constant"}

AXES = (
    Axis("rows scored", "D = 63", "rows", (10_000, 20_000, 40_000, 80_000), score, {}),
    Axis(
        "rows of a training step",
        "D = 63, 10 couplings",
        "rows",
        (1024, 2048, 4096, 8192),
        rows.task,
        {**_TRAIN, "dims": 63},
    ),
    Axis(
        "numbers a row, D",
        "training step of 1024 rows, 10 couplings",
        "dims",
        (64, 128, 256, 512, 1024),
        rows.task,
        {**_TRAIN, "rows": 1024},
    ),
    Axis(
        "couplings",
        "training step of 1024 rows, D = 63",
        "couplings",
        (10, 20, 40, 80),
        rows.task,
        {**_TRAIN, "dims": 63, "rows": 1024},
    ),
    Axis(
        'couplings, memory="constant"',
        "training step of 1024 rows, D = 63",
        "couplings",
        (10, 20, 40, 80),
        rows.task,
        {**_CONSTANT, "dims": 63, "rows": 1024},
    ),
    Axis(
        "pixels",
        "training step of 4 images, RealNVP with 2 scales of 4 couplings",
        "side",
        (16, 32, 64, 128),
        images.ours,
        {"model": "small", "job": "train", "batch": 4, "scales": 2, "couplings": 4},
    ),
)


def lanes(axis: Axis, sizes: Sequence[int]) -> list[Lane]:
    """A lane for each size: taking turns, all sizes of an axis meet the same busy minutes."""
    return [
        Lane(f"{axis.size(value):,}", axis.build, {**axis.fixed, axis.option: value}, _NEEDS)
        for value in sizes
    ]


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The least-squares slope of log values against log sizes; NaN where it is not defined."""
    if len(sizes) < 2 or min(values) <= 0:
        return math.nan
    x, y = [math.log(s) for s in sizes], [math.log(v) for v in values]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - mean_x) ** 2 for a in x)
