"""Normalisation inside a flow: ActNorm, and the batch norm of Real NVP with its log-det."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..moments import RunningMoments
from .layer import Layer, Shape, constant_log_det, same_shape
from .masks import as_mask
from .reversible import Retraced, leaf

__all__ = ["ActNorm", "FlowBatchNorm"]


Share = float | Tensor | None


def _per_channel(shape: Shape) -> Shape:
    """``(D,) -> (D,)``, ``(C, H, W) -> (C, 1, 1)``: one number a channel, ready to broadcast."""
    return (shape[0], *(1 for _ in shape[1:]))


class ActNorm(Layer):
    r"""A learned affine map per channel, started so that the first batch is standardised.

    .. math:: z = (x + b)\, e^{s}, \qquad \log|\det| = HW \sum_c s_c

    The first batch seen in training mode (or given to ``initialise``) sets mean 0 and standard
    deviation 1; this happens once, and the state dict remembers that it has. A channel that is
    constant in that batch, as every channel is in a batch of one row, is shifted only.

    Shapes: x, z ``(N, D)`` or ``(N, C, H, W)``; log_det ``(N,)`` in nats.
    Source: Kingma and Dhariwal 2018 (Glow), section 3.1.
    """

    reads_data = True
    initialised: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.bias = nn.Parameter(torch.zeros(_per_channel(self.shape)))
        self.log_scale = nn.Parameter(torch.zeros(_per_channel(self.shape)))
        self.pixels = 1
        for size in self.shape[1:]:
            self.pixels *= size
        self.register_buffer("initialised", torch.tensor(False))
        self._settled = False  # spares a look at the buffer, which on a GPU would wait for it
        self._looked: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Shift, then scale."""
        if self.training and not self._settled:
            self._settle(x)
        z = (x + self.bias) * torch.exp(self.log_scale)
        return z, constant_log_det(x, self.log_scale.sum() * self.pixels)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Unscale, then unshift."""
        if self.training and not self._settled:
            self._settle(None)
        x = z * torch.exp(-self.log_scale) - self.bias
        return x, constant_log_det(z, -self.log_scale.sum() * self.pixels)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Standardise ``x``, unless a batch has been standardised before or ``x`` is empty.

        What a mere look in training mode set, and no step has changed, gives way to this.
        """
        if bool(self.initialised) and not self._only_looked():
            self._settled = True
            return
        if x.numel() == 0:
            return
        over = (0, *range(2, x.ndim))
        mean = x.double().mean(over).reshape_as(self.bias)
        deviation = x.double().std(over, correction=0).reshape_as(self.bias)
        # Relative to the mean: rounding alone makes a constant channel of size 1e6 "vary".
        constant = deviation <= 1e-6 * mean.abs()
        self.bias.copy_(-mean)
        self.log_scale.copy_(torch.where(constant, 0.0, -deviation.clamp(min=1e-300).log()))
        self.initialised.fill_(True)
        self._settled, self._looked = True, None

    @torch.no_grad()
    def _settle(self, x: Tensor | None) -> None:
        """In training mode the first forward pass initialises; other ways keep what there is.

        A graph that is being compiled cannot look at the batch, and a flow that learns by its own
        samples has none: a later pass must not overwrite what it has learned by then.
        """
        if torch.compiler.is_compiling():
            self.initialised.fill_(True)
        elif x is None:
            self.initialised.fill_(True)
            self._settled = True
        elif not bool(self.initialised):
            self.initialise(x)
            self._looked = (self.bias.clone(), self.log_scale.clone()) if self._settled else None
        else:
            self._settled = True

    def _only_looked(self) -> bool:
        if self._looked is None:
            return False
        bias, log_scale = (value.to(self.bias) for value in self._looked)
        return torch.equal(bias, self.bias) and torch.equal(log_scale, self.log_scale)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        # At once, so that the first pass after loading goes the way of all others, to the last bit.
        self._settled, self._looked = bool(self.initialised), None

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged; anything but the shape it was built for is an error."""
        return same_shape(self, self.shape, shape)

    def extra_repr(self) -> str:
        """Show the event shape."""
        return f"shape={self.shape}"


class FlowBatchNorm(Layer):
    r"""Batch normalisation as a layer of the flow, applied to the part that a coupling changed.

    .. math:: z_b = \frac{x_b - \mu}{\sqrt{\sigma^2 + \epsilon}}, \qquad
              \log|\det| = -\tfrac12 \sum_{i \in b} \log(\sigma_i^2 + \epsilon)

    :math:`\mu, \sigma^2` are the mean and biased variance of each channel over the changed
    elements (the authors' code also counts the zeros of the unchanged ones; the paper does not).

    * evaluation and every inverse: running averages, so a value never depends on its batch;
    * training, ``average="batch"``: the moments of the batch, with their gradient. The density
      is then that of a map coupled across the batch: report evaluation values only;
    * training, ``average="running"``: the running average including this batch, the gradient
      through this batch's share only (the paper's appendix E), which bears tiny batches.

    Shapes: x, z ``(N, *shape)``; log_det ``(N,)`` in nats.
    Source: Dinh et al. 2017 (Real NVP), section 3.7 and appendix E.

    Raises:
        InputError: fewer than two values per channel in training with ``average="batch"``.
    """

    notes = True
    kept: Tensor
    count: Tensor

    def __init__(
        self,
        shape: Shape,
        mask: Tensor | str | None = None,
        *,
        flip: bool = False,
        average: str = "batch",
        rate: float = 0.1,
        eps: float = 1e-4,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        if average not in ("batch", "running"):
            raise InputError(f"FlowBatchNorm: average is 'batch' or 'running'; got {average!r}.")
        none = torch.zeros(self.shape, dtype=torch.bool)
        kept = none if mask is None else as_mask(mask, self.shape, flip)
        self.register_buffer("kept", kept, persistent=False)
        over = tuple(range(1, kept.ndim))
        count = (~kept).sum(over, keepdim=True) if over else (~kept).long()
        self.register_buffer("count", count, persistent=False)
        self.most = int(count.max())  # a plain number: no wait for a GPU, no break in a graph
        self.average, self.eps = average, eps
        self.moments = RunningMoments(_per_channel(self.shape), rate)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Normalise the changed part."""
        mean, variance, _ = self._moments_for(x)
        return self._normalise(x, mean, variance)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Undo the normalisation by running averages."""
        mean, variance = self.moments.estimate()
        x = torch.where(self.kept, z, z * torch.sqrt(variance + self.eps) + mean)
        return x, constant_log_det(z, self._log_scale(variance))

    def track(
        self, x: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Share]]:
        """Note the moments, which no inverse could know."""
        note = self._moments_for(x)
        return *self._normalise(x, *note[:2]), note

    def retrace(
        self, z: Tensor, context: Tensor | None, note: tuple[Tensor, Tensor, Share]
    ) -> Retraced:
        """Undo the normalisation by the moments noted; their gradient is that of the batch's."""
        mean, variance, share = note
        x = leaf(torch.where(self.kept, z, z * torch.sqrt(variance + self.eps) + mean))
        if share is not None:
            own_mean, own_variance, _ = self.moments.of_batch(x, self.kept, self.count)
            mean = mean + share * (own_mean - own_mean.detach())
            variance = variance + share * (own_variance - own_variance.detach())
        return Retraced((x,), *self._normalise(x, mean, variance))

    def _normalise(self, x: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.where(self.kept, x, (x - mean) * torch.rsqrt(variance + self.eps))
        return z, constant_log_det(x, -self._log_scale(variance))

    def _log_scale(self, variance: Tensor) -> Tensor:
        return 0.5 * (self.count * torch.log(variance + self.eps)).sum()

    def _moments_for(self, x: Tensor) -> tuple[Tensor, Tensor, Share]:
        """Mean, variance, and what share of them is this batch's; None where it has no part."""
        if self.moments.collecting:
            self._collect(x)
            raise Collected
        if self.moments.calibrating:
            self.moments.calibrate(x.detach().double(), self.kept, self.count)
        if not self.training or not self.moments.takes(x):
            return *self.moments.estimate(), None
        mean, variance, events = self.moments.of_batch(x, self.kept, self.count)
        if x.shape[0] * self.most < 2:  # only then look at all events, for which a GPU must wait
            everywhere = int(events)
            if everywhere == 0:
                return *self.moments.estimate(), None
            if self.average == "batch" and everywhere * self.most < 2:
                raise InputError(
                    "FlowBatchNorm got a batch of one row in training, which has no variance. Use "
                    "larger batches, average='running', or ActNorm."
                )
        own = mean.detach(), variance.detach()
        share: Share = 1.0
        if self.average == "running":
            rate = self.moments.rate
            share = rate / ((1 - rate) * self.moments.weight + rate)
            mean, variance = self.moments.blend(mean, variance)
        self.moments.update(*own)
        return mean, variance, share

    def _collect(self, x: Tensor) -> None:
        over = (0, *range(2, x.ndim))
        changed = torch.where(self.kept, 0, x.detach().double())
        self.moments.collect(
            self.count * x.shape[0],
            changed.sum(over).reshape_as(self.count),
            changed.square().sum(over).reshape_as(self.count),
        )

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged; anything but the shape it was built for is an error."""
        return same_shape(self, self.shape, shape)

    def extra_repr(self) -> str:
        """Show what differs from layer to layer."""
        return f"shape={self.shape}, average={self.average!r}, eps={self.eps}"


class Collected(Exception):
    """A collecting norm has seen its part of a batch; the layers after it need not run."""
