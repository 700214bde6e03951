"""What a column of a table holds, and the first layer where some hold discrete values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from pydantic import ConfigDict, Field, PositiveInt, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor

from ..errors import InputError
from .columnwise import in_float64, observed
from .layer import Shape, same_shape
from .noisy import Noisy

__all__ = ["ColumnSpec", "DequantizeColumns"]


@dataclass(config=ConfigDict(extra="forbid"), frozen=True)
class ColumnSpec:
    """What a column holds, as far as a flow must know: its grid, its bounds, its tails.

    A number without ``step`` is continuous, and counts as a density in log_prob. A column with one
    (``discrete`` has a step of 1 unless given) lies on multiples of it and counts as a probability.
    With ``count`` it holds the codes 0 to count-1 of categories or Booleans.

    ``logit`` is for columns from ``low`` to ``high``, both included, and ``yeo-johnson`` for heavy
    tails. Columns of few possible values (codes, and bounded ones on a grid) need neither: their
    cells are made as wide as they are frequent.
    """

    kind: Literal["number", "discrete"] = "number"
    step: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    count: PositiveInt | None = None
    transform: Literal["none", "logit", "yeo-johnson"] = "none"
    low: float | None = Field(default=None, allow_inf_nan=False)
    high: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _agree(self) -> ColumnSpec:
        if self.kind == "number" and self.count is not None:
            raise ValueError("a count belongs to kind='discrete'")
        if self.count is not None and self.step not in (None, 1.0):
            raise ValueError("codes 0 to count-1 have a step of 1")
        bounded = self.low is not None and self.high is not None and self.low < self.high
        if self.transform == "logit" and self.count is None and not bounded:
            raise ValueError("transform='logit' needs low < high")
        return self

    @property
    def on_grid(self) -> bool:
        """Whether its values lie on a grid, so that they have probabilities."""
        return self.kind == "discrete" or self.step is not None

    @property
    def grid(self) -> float:
        """The width of a cell of a discrete column."""
        return self.step or 1.0

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest value that it may hold."""
        if self.count is not None:
            return 0.0, self.count - 1.0
        if self.transform != "logit" or self.low is None or self.high is None:
            return -math.inf, math.inf
        if not self.on_grid:
            return self.low, self.high
        # the outermost points of the grid
        first = math.ceil(self.low / self.grid - 1e-6)
        return first * self.grid, math.floor(self.high / self.grid + 1e-6) * self.grid

    @property
    def cells(self) -> int | None:
        """How many values a discrete column may hold; None where no end is known."""
        low, high = self.bounds
        if not self.on_grid or math.isinf(low):
            return None
        return round((high - low) / self.grid) + 1


class DequantizeColumns(Noisy):
    r"""Spread the values of discrete columns over their cells; let continuous columns be.

    .. math:: z_j = v_j + s_j u_j, \qquad
              \log P(v) \ge \mathbb{E}_u \log p(z) + \sum_j \log s_j

    over the discrete columns j with steps s, u uniform in (0, 1). In a flow's log_prob a discrete
    column then counts as a probability and a continuous one as a density, in nats: it is one draw
    of a lower bound on the log of :math:`P(\text{discrete})\, p(\text{continuous} \mid
    \text{discrete})`. In evaluation the noise of a row is the same at every call (noisy.py); in
    training, and where ``apart`` is set, rows that are alike have noises of their own.

    ``inverse`` rounds down to the grid and clips to the values that are possible. To be found again
    after many layers a value must lie clear of the edges of its cell: u is one of 256 points, and
    of the fewer the more steps the value is away from the middle of its column (``initialise``
    reads where that is), down to the middle of the cell alone. Next to the spread of the column
    such cells are so narrow that their middle says as much. A flow of float32 gives values back up
    to some hundred thousand steps away; those beyond may come back one step off.

    NaN is a missing cell: it stays NaN, adds nothing, and its noise is that of any other NaN. The
    sum is made and given in float64, in which 10^9 has a next whole number.

    Shapes: v, z ``(N, D)``; log_det ``(N,)`` in nats.
    Source: Theis et al. 2016, section 3.1, column by column.

    Args:
        specs: of each column.
    """

    takes_float64 = True
    reads_data = True
    apart = False

    def __init__(self, specs: Sequence[ColumnSpec]) -> None:
        super().__init__()
        self.specs = tuple(specs)
        self.places = [i for i, spec in enumerate(self.specs) if spec.on_grid]
        chosen = [self.specs[i] for i in self.places]
        steps = [spec.grid for spec in chosen]
        # 0.01 has no exact binary form, and 1999 * 0.01 is not 19.99, but 1999 / 100 is.
        per = [round(1 / s) if s < 1 and math.isclose(s * round(1 / s), 1) else 0 for s in steps]
        numbers = {
            "times": [1.0 if p else s for s, p in zip(steps, per, strict=True)],
            "over": [p or 1.0 for p in per],
            "low": [spec.bounds[0] for spec in chosen],
            "high": [spec.bounds[1] for spec in chosen],
        }
        for name, values in numbers.items():
            value = torch.tensor(values, dtype=torch.float64)
            self.register_buffer(name, value, persistent=False)
        place = torch.tensor(self.places, dtype=torch.int64)
        self.register_buffer("place", place, persistent=False)
        for name in ("centre", "spread"):  # of each discrete column, in steps
            self.register_buffer(name, torch.zeros(len(place), dtype=torch.float64))
        self.register_buffer("fitted", torch.tensor(False))

    times: Tensor
    over: Tensor
    low: Tensor
    high: Tensor
    place: Tensor
    centre: Tensor
    spread: Tensor
    fitted: Tensor

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Values to points of their cells."""
        x = x.double()
        v = x.index_select(1, self.place)
        # Whole numbers of steps, so that 0.1 is the same value whatever type it came in.
        index = torch.round(v * self.over / self.times)  # (N, discrete columns)
        known = observed(x.index_copy(1, self.place, index))
        if self.training or self.apart:
            # Of a few categories many rows are alike; they are to fill their cells all the same.
            order = torch.arange(len(x), device=x.device, dtype=x.dtype)
            known = torch.cat((known, order[:, None]), dim=1)
        bits = 14 if self.dtype == torch.float64 else 8
        noise = self.uniform(known, tuple(self.place.shape), bits=bits).double()
        points = self._points(index, bits)
        noise = (torch.floor(noise * points) + 0.5) / points
        z = x.index_copy(1, self.place, (index + noise) * self.times / self.over)
        return z, self._log_step(v)

    def _points(self, index: Tensor, bits: int) -> Tensor:
        """How many points of each cell the noise is one of: a power of two, 2^bits at most."""
        away = torch.maximum((index - self.centre).abs().nan_to_num(), self.spread).clamp(min=1)
        # Numbers of size 1 keep 2^-24 or 2^-53, less what some dozen layers lose of it.
        digits = 46 if self.dtype == torch.float64 else 17
        return torch.exp2(torch.floor(digits - torch.log2(away)).clamp(0, bits))

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Read the middle and the spread of the columns, once; missing cells are left out."""
        if bool(self.fitted) or len(x) == 0:
            return
        index = x.index_select(1, self.place).double() * self.over / self.times
        known = ~index.isnan()
        count = known.sum(0).clamp(min=1)
        self.centre.copy_(torch.where(known, index, 0).sum(0) / count)
        away = torch.where(known, index - self.centre, 0)
        self.spread.copy_((away.square().sum(0) / count).sqrt())
        self.fitted.fill_(True)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Points to the values whose cells they lie in."""
        x = z.double()
        v = x.index_select(1, self.place)
        index = torch.floor(v * self.over / self.times)
        value = (index * self.times / self.over).clamp(self.low, self.high)
        return x.index_copy(1, self.place, value), -self._log_step(v)

    def _log_step(self, v: Tensor) -> Tensor:
        steps = torch.log(self.times / self.over)
        return torch.where(torch.isnan(v), 0.0, steps).sum(1).to(self.dtype)

    def check(self, x: Tensor, name: str) -> None:
        """Look for values that a column cannot hold: between the cells, or out of bounds.

        Raises:
            InputError: there is one; names the column, the value, and the way out.
        """
        v = x.index_select(1, self.place).double()
        index = v * self.over / self.times
        digits = torch.finfo(x.dtype if x.is_floating_point() else torch.float64).eps
        off = (index - index.round()).abs() > 1e-3 + 2 * digits * index.abs()
        wrong = off | (v < self.low - 1e-9) | (v > self.high + 1e-9)
        if not bool(wrong.any()):
            return
        row, at = (int(i) for i in wrong.nonzero()[0])
        spec, value = self.specs[self.places[at]], float(v[row, at])
        what = f"multiples of {spec.grid:g}"
        if spec.count is not None:
            what = f"codes, whole numbers 0 to {spec.count - 1}"
        elif spec.cells is not None:
            what += " from {:g} to {:g}".format(*spec.bounds)
        raise InputError(
            f"{name}: column {self.places[at]} (counted from 0) holds {what}; got {value:g} in row "
            f"{row}. Mend the value, or build the model with columns= that allow it."
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DequantizeColumns:
        """Go to another device; grids keep their digits."""
        names = ("times", "over", "low", "high", "centre", "spread")
        return in_float64(self, super()._apply, fn, recurse, names)

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged; anything but one number for each column is an error."""
        return same_shape(self, (len(self.specs),), shape)

    def extra_repr(self) -> str:
        """Show how many columns are discrete."""
        return f"{len(self.places)} of {len(self.specs)} columns discrete"
