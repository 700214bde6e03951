"""Fixed element-wise maps in front of the couplings: logit for pixels, standardise for columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ..errors import InputError
from .layer import Layer, Shape, constant_log_det, same_shape, sum_event

__all__ = ["Logit", "Standardize"]


class Logit(Layer):
    r"""From (0, 1) to the real line, after a symmetric squash that keeps the ends finite.

    .. math:: p = \alpha + (1 - 2\alpha) x, \qquad z = \log\frac{p}{1 - p}, \qquad
              \log\frac{\partial z}{\partial x} = \log(1 - 2\alpha)
              + \mathrm{softplus}(z) + \mathrm{softplus}(-z)

    The squash is that of the authors' code; the formula printed in the paper squashes one end only
    and is infinite at the other.

    Shapes: x, z ``(N, *shape)``; log_det ``(N,)`` in nats.
    Source: Dinh et al. 2017 (Real NVP), section 4.1.

    Args:
        alpha: in (0, 0.5). ``None`` lets ``initialise`` choose: 0.05 as in the paper where few
            values lie in the outermost cells (photographs), ``levels ** -2`` where many do
            (ink on blank paper), for then the squash would press the background into a needle.
        levels: the number of integer levels of the data; only used to choose ``alpha``.
    """

    reads_data = True
    reversible = False  # near its ends few digits are left
    alpha: Tensor
    chosen: Tensor

    def __init__(self, alpha: float | None = None, levels: int = 256) -> None:
        super().__init__()
        if alpha is not None and not 0 < alpha < 0.5:
            raise InputError(f"Logit needs 0 < alpha < 0.5; got {alpha}.")
        self.levels = levels
        self.register_buffer("alpha", torch.tensor(0.05 if alpha is None else alpha))
        self.register_buffer("chosen", torch.tensor(alpha is not None))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Squash, then logit."""
        p = self.alpha + (1 - 2 * self.alpha) * x
        # 1 - p is built from 1 - x: near the right end p itself has lost the digits.
        q = self.alpha + (1 - 2 * self.alpha) * (1 - x)
        z = torch.log(p) - torch.log(q)
        return z, sum_event(self._log_slope(z))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Sigmoid, then unsquash."""
        x = (torch.sigmoid(z) - self.alpha) / (1 - 2 * self.alpha)
        return x, -sum_event(self._log_slope(z))

    def _log_slope(self, z: Tensor) -> Tensor:
        return torch.log1p(-2 * self.alpha) + softplus(z) + softplus(-z)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Choose ``alpha`` by the share of values in the outermost cells, once."""
        if bool(self.chosen) or x.numel() == 0:
            return
        outermost = (x < 1 / self.levels) | (x > 1 - 1 / self.levels)
        if float(outermost.double().mean()) > 0.1:
            self.alpha.fill_(min(0.05, self.levels**-2))
        self.chosen.fill_(True)

    def extra_repr(self) -> str:
        """Show alpha."""
        return f"alpha={float(self.alpha):.3g}"


class Standardize(Layer):
    r"""Subtract a mean and divide by a standard deviation that ``initialise`` reads off data.

    .. math:: z = (x - \mu) / \sigma, \qquad \log|\det| = -\sum_i \log \sigma_i

    It is fitted once; the state dict keeps the figures. A constant column is divided by 1.

    The figures and the difference are float64 whatever the flow's type, since columns such as
    timestamps differ only in digits that float32 has not; z has the flow's type. ``inverse`` gives
    float64 where some :math:`|\mu|` is so far above :math:`\sigma` that float32 could not say x.

    Shapes: x, z ``(N, *shape)``; :math:`\mu, \sigma` of the event's shape; log_det ``(N,)``.

    Args:
        shape: the event shape.
        missing: NaN is a missing number: it stays NaN, adds nothing to log_det, and is left out of
            mean and deviation. A number that is always missing has mean 0 and deviation 1.
        wide: ``inverse`` gives float64 in any case.
    """

    reads_data = True
    takes_float64 = True
    reversible = False  # it comes first, and has no gradient to give
    mean: Tensor
    log_std: Tensor
    fitted: Tensor
    anchor: Tensor

    def __init__(self, shape: Shape, *, missing: bool = False, wide: bool = False) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.missing = missing
        self.wide = wide
        self.register_buffer("mean", torch.zeros(self.shape, dtype=torch.float64))
        self.register_buffer("log_std", torch.zeros(self.shape, dtype=torch.float64))
        self.register_buffer("fitted", torch.tensor(False))
        self.register_buffer("anchor", torch.zeros(()), persistent=False)
        self._wide = wide

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Standardise."""
        z = ((x.double() - self.mean) * torch.exp(-self.log_std)).to(self.anchor.dtype)
        return z, self._log_det(z, -self.log_std)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Undo."""
        x = z.double() * torch.exp(self.log_std) + self.mean
        return x if self._wide else x.to(z.dtype), self._log_det(z, self.log_std)

    def _log_det(self, z: Tensor, each: Tensor) -> Tensor:
        if self.missing:
            return sum_event(torch.where(torch.isnan(z), 0.0, each)).to(z.dtype)
        return constant_log_det(z, each.sum().to(z.dtype))

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Fit mean and standard deviation to ``x``, unless they have been fitted before."""
        if bool(self.fitted) or len(x) == 0:
            return
        values = x.double()
        if self.missing:
            # What is missing is put at the first number known, if any, and then weighs nothing.
            known = ~torch.isnan(values)
            first = values.gather(0, known.long().argmax(0, keepdim=True)).nan_to_num(nan=0.0)
            values = torch.where(known, values, first)
            share = known.double().mean(0).clamp(min=1 / len(x))
            mean = first[0] + (values - first).mean(0) / share
            std = (torch.where(known, values - mean, 0.0).square().mean(0) / share).sqrt()
        else:
            mean, std = values.mean(0), values.std(0, correction=0)
        if not bool(torch.isfinite(mean).all() and torch.isfinite(std).all()):
            raise InputError(
                "Standardize: the values are so large that their mean or spread is infinite. "
                "Divide them by a power of ten first."
            )
        constant = values.amin(0) == values.amax(0)
        self.mean.copy_(mean)
        self.log_std.copy_(torch.where(constant, 0.0, std.clamp(min=1e-300).log()))
        self.fitted.fill_(True)
        self._measure()

    def _measure(self) -> None:
        self._wide = self.wide or bool((self.mean.abs() > 1e4 * self.log_std.exp()).any())

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._measure()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Standardize:
        """Go to another device, but not to another type."""
        mean, log_std = self.mean, self.log_std
        super()._apply(fn, recurse)
        self.mean, self.log_std = mean.to(self.fitted.device), log_std.to(self.fitted.device)
        return self

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged; anything but the shape it was built for is an error."""
        return same_shape(self, self.shape, shape)

    def extra_repr(self) -> str:
        """Show the event shape."""
        return f"shape={self.shape}"
