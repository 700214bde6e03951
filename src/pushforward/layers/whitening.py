"""Whitening: remove means and correlations before the first coupling."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from ..errors import InputError
from .layer import Layer, Shape, constant_log_det, same_shape

__all__ = ["Whiten"]

_AT_ONCE = 2_048
"""Events whose products are summed at a time, in float64."""


class Whiten(Layer):
    r"""Turn data so that their numbers are uncorrelated, and scale them to one.

    .. math:: z = U \Lambda^{-1/2} V^\top (x - \mu), \qquad
              \log|\det| = -\tfrac12 \sum_i \log \lambda_i, \qquad
              \Sigma + \epsilon \bar\lambda I = V \Lambda V^\top

    :math:`\mu, \Sigma` are mean and covariance of the events that ``initialise`` sees, once;
    :math:`\bar\lambda` is the mean variance. With ``kind="zca"`` U is V, so that z stays as close
    to x as whitened data can; with ``"pca"`` U is the identity and the first latents are the
    directions of least variance.

    The regularisation :math:`\epsilon` bounds the stretch of directions in which the data hardly
    vary, and with it what noise in them weighs: whitening is then approximate. It also makes up for
    too few events; before training, ``wants_events`` of them are asked for.

    The cost of fitting is that of an eigenvalue problem of size D, at D = 3072 some ten seconds;
    later on, two products (one for ``"pca"``) with a matrix of D x D for each event. V is kept as
    the bits of float64 numbers, so that its transpose inverts it to all digits of any type.

    Shapes: x, z ``(N, *shape)``; log_det ``(N,)`` in nats.
    Source: Krizhevsky 2009, appendix A (ZCA); Dinh et al. 2014 (NICE), section 5.1.

    Args:
        shape: the event shape.
        kind: ``zca`` or ``pca``.
        eps: :math:`\epsilon`, at least 0.

    Raises:
        InputError: another kind, or a negative ``eps``; in ``initialise``, values without a
            finite covariance.
    """

    reads_data = True
    reversible = False  # it comes first, and where it stretches, digits are lost on the way back
    mean: Tensor
    log_scale: Tensor
    bits: Tensor
    fitted: Tensor

    def __init__(
        self, shape: Shape, kind: Literal["zca", "pca"] = "zca", *, eps: float = 1e-3
    ) -> None:
        super().__init__()
        if kind not in ("zca", "pca"):
            raise InputError(f"Whiten is of kind 'zca' or 'pca'; got {kind!r}.")
        if not 0 <= eps < math.inf:
            raise InputError(f"Whiten needs eps of at least 0; got {eps}.")
        self.shape, self.kind, self.eps = tuple(shape), kind, eps
        size = math.prod(self.shape)
        self.wants_events = min(4 * size, 20_000)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("log_scale", torch.zeros(size))
        self.register_buffer("bits", torch.eye(size, dtype=torch.float64).view(torch.int64))
        self.register_buffer("fitted", torch.tensor(False))

    @property
    def directions(self) -> Tensor:
        """V, float64: the directions of rising variance, one a column."""
        return self.bits.view(torch.float64)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Centre, turn, scale; and turn back for ZCA."""
        v = self.directions.to(x.dtype)
        with torch.autocast(x.device.type, enabled=False):
            z = ((x.flatten(1) - self.mean) @ v) * torch.exp(self.log_scale)
            z = z @ v.T if self.kind == "zca" else z
        return z.reshape(x.shape), constant_log_det(x, self.log_scale.sum())

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The same, undone in reverse order."""
        v = self.directions.to(z.dtype)
        with torch.autocast(z.device.type, enabled=False):
            x = z.flatten(1) @ v if self.kind == "zca" else z.flatten(1)
            x = (x * torch.exp(-self.log_scale)) @ v.T + self.mean
        return x.reshape(z.shape), constant_log_det(z, -self.log_scale.sum())

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Read mean and covariance off ``x``, unless they have been read before."""
        if bool(self.fitted) or len(x) == 0:
            return
        rows = x.flatten(1)
        mean = rows.double().mean(0)
        covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=x.device)
        for part in rows.split(_AT_ONCE):
            centred = part.double() - mean
            covariance.addmm_(centred.T, centred, alpha=1 / len(rows))
        if not bool(torch.isfinite(covariance).all()):
            raise InputError(
                "Whiten: the values are so large that their covariance is infinite. Divide them "
                "by a power of ten first."
            )
        variances, directions = torch.linalg.eigh(covariance)
        rounding = torch.finfo(torch.float64).eps * len(mean) * variances[-1]
        raised = (variances + self.eps * variances.mean()).clamp(min=rounding)
        scaled = torch.where(variances[-1] > 0, raised, 1.0)  # nothing to scale: nothing varies
        self.mean.copy_(mean)
        self.log_scale.copy_(-0.5 * scaled.log())
        self.bits.copy_(directions.contiguous().view(torch.int64))
        self.fitted.fill_(True)

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged; anything but the shape it was built for is an error."""
        return same_shape(self, self.shape, shape)

    def extra_repr(self) -> str:
        """Show shape, kind and regularisation."""
        return f"shape={self.shape}, kind={self.kind!r}, eps={self.eps:g}"
