"""The weight-normalised residual network of the Real NVP paper, batch norm and all."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu

from ..moments import RunningMoments

__all__ = ["ResNet"]


class WeightNormConv(nn.Module):
    r"""A convolution whose kernels have unit norm per output channel, times a gain if asked.

    .. math:: w_o = g_o\, v_o / \lVert v_o \rVert_2

    Start: :math:`v \sim U(-a, a)` with :math:`a = \sqrt{2 / C_{in}}` and
    :math:`g = a \sqrt{C_{in} k^2 / 12}` (0.408 for 1x1, 1.225 for 3x3), biases 0; not
    data-dependent.

    Source: Salimans and Kingma 2016; start values of the Real NVP authors' code.
    """

    decayed: ClassVar[tuple[str, ...]] = ("magnitude",)
    """The parameters that the paper's L2 penalty acts on."""

    def __init__(
        self, channels: int, out_channels: int, kernel: int, *, gain: bool, bias: bool
    ) -> None:
        super().__init__()
        limit = math.sqrt(2 / channels)
        direction = torch.empty(out_channels, channels, kernel, kernel).uniform_(-limit, limit)
        self.direction = nn.Parameter(direction)
        size = limit * math.sqrt(channels * kernel**2 / 12)
        self.magnitude = nn.Parameter(torch.full((out_channels, 1, 1, 1), size)) if gain else None
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.padding = kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, zero padding."""
        weight = self.direction / self.direction.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
        if self.magnitude is not None:
            weight = weight * self.magnitude
        return conv2d(x, weight, self.bias, padding=self.padding)


class BatchNorm(nn.Module):
    r"""Batch norm over (N, H, W) by the biased variance, :math:`\epsilon = 10^{-4}`.

    No gain; a learned shift if asked. Training uses the batch, evaluation running averages.
    Statistics are float32 or float64, whatever the type of the features, which they keep.
    """

    def __init__(self, channels: int, *, shift: bool = False) -> None:
        super().__init__()
        self.moments = RunningMoments((channels, 1, 1), rate=0.1)
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1)) if shift else None

    def forward(self, x: Tensor) -> Tensor:
        """Normalise."""
        mean, variance = self._moments_for(x)
        y = (x - mean) * torch.rsqrt(variance + 1e-4)
        return (y if self.shift is None else y + self.shift).to(x.dtype)

    def _moments_for(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.moments.calibrating:
            self.moments.calibrate(x.detach())
        if self.training and self.moments.takes(x):
            mean, variance, events = self.moments.of_batch(x)
            if len(x) or int(events):  # an empty part waits for the others' number, no other does
                self.moments.update(mean.detach(), variance.detach())
                return mean, variance
        return self.moments.estimate()


class ResNet(nn.Module):
    """The conditioner of the Real NVP paper: pre-activation residual blocks with skips to the end.

    Input -> batch norm -> [h, -h] (and, for a checkerboard, the mask as one more channel) -> ReLU
    -> 3x3 convolution; then residual blocks; 1x1 convolutions of the input and of each block's
    output are added up; batch norm -> ReLU -> 1x1 convolution. The context enters as a learned
    shift of the first features.

    Shapes: ``(N, C, H, W)`` and context ``(N, context)`` -> ``(N, *out_shape)``, same H and W.
    Source: Dinh et al. 2017 (Real NVP), section 4.1 and the authors' released code.

    Args:
        in_shape: (C, H, W) of the part that is seen.
        out_shape: (C', H, W) of the parameters that are wanted.
        context: size of the context.
        width: feature maps.
        blocks: residual blocks.
        mask: for a checkerboard, the Boolean mask ``(C, H, W)`` (True = kept) by which the input
            has been zeroed: the input is doubled after its batch norm and the mask joins it.
    """

    mask: Tensor | None

    def __init__(
        self,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
        context: int = 0,
        *,
        width: int = 64,
        blocks: int = 8,
        mask: Tensor | None = None,
    ) -> None:
        super().__init__()
        channels = in_shape[0]
        plane = None if mask is None else mask[:1].to(torch.get_default_dtype())  # (1, H, W)
        self.register_buffer("mask", plane, persistent=False)
        inputs = 2 * channels + (mask is not None)
        self.norm_in = BatchNorm(channels, shift=True)
        self.first = WeightNormConv(inputs, width, 3, gain=False, bias=True)
        self.context = nn.Linear(context, width, bias=False) if context else None
        self.skip_first = WeightNormConv(width, width, 1, gain=True, bias=True)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(blocks))
        self.skips = nn.ModuleList(
            WeightNormConv(width, width, 1, gain=True, bias=True) for _ in range(blocks)
        )
        self.norm_out = BatchNorm(width)
        self.last = WeightNormConv(width, out_shape[0], 1, gain=True, bias=True)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Compute the parameters."""
        h = self.norm_in(x)
        if self.mask is not None:
            h = 2 * h  # half the pixels are zeros
        h = torch.cat((h, -h), dim=1)
        if self.mask is not None:
            h = torch.cat((h, self.mask.to(h.dtype).expand(h.shape[0], *self.mask.shape)), dim=1)
        h = self.first(relu(h))
        if self.context is not None and context is not None:
            h = h + self.context(context)[:, :, None, None]
        total = self.skip_first(h)
        for block, skip in zip(self.blocks, self.skips, strict=True):
            h = block(h)
            total = total + skip(h)
        return self.last(relu(self.norm_out(total)))


class ResidualBlock(nn.Module):
    """``h + conv(relu(bn(conv(relu(bn(h))))))``, 3x3 convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_1 = BatchNorm(width)
        self.conv_1 = WeightNormConv(width, width, 3, gain=False, bias=False)
        self.norm_2 = BatchNorm(width)
        self.conv_2 = WeightNormConv(width, width, 3, gain=True, bias=True)

    def forward(self, h: Tensor) -> Tensor:
        """One residual step."""
        y = self.conv_1(relu(self.norm_1(h)))
        return h + self.conv_2(relu(self.norm_2(y)))
