"""The residual functions of ResNet, RevNet and i-RevNet: batch norms, ReLUs, convolutions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, relu

from .batch_norm import BatchNorm

__all__ = ["Residual", "convolution"]


def convolution(channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    r"""A convolution without bias whose weights start from :math:`N(0, 2 / (k^2 C_{out}))`."""
    made = nn.Conv2d(channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False)
    nn.init.normal_(made.weight, std=math.sqrt(2 / (kernel**2 * out_channels)))
    return made


class Residual(nn.Module):
    """Convolutions, each after a batch norm and a ReLU: what a residual block adds.

    As the conditioner of a ``Coupling`` it makes the channels of ``out_shape``.

    Shapes: ``(N, C, H, W)`` -> ``(N, C', H', W')``.
    Source: He et al. 2016 (pre-activation); Gomez et al. 2017; Jacobsen et al. 2018.

    Args:
        in_shape: (C, H, W) of what is seen.
        out_shape: (C', H', W') of what is added.
        context: must be 0; it is there since couplings tell it.
        inner: channels after each convolution but the last.
        kernels: sizes of the convolutions, one more than ``inner`` has.
        active: begin with a batch norm and a ReLU; the first block of a network does without.
        stride: of the first convolution.
        unsqueeze: see 2x2 blocks of channels as pixels, and then take stride 2: what the first
            block of an i-RevNet stage sees is what it was before the squeeze.
        dropout: probability, before the last batch norm.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        context: int = 0,
        *,
        inner: Sequence[int],
        kernels: Sequence[int],
        active: bool = True,
        stride: int = 1,
        unsqueeze: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if context:
            raise ValueError("a Residual takes no context.")
        self.unsqueeze = unsqueeze
        channels = in_shape[0] // 4 if unsqueeze else in_shape[0]
        widths = (channels, *inner, out_shape[0])
        first = 2 if unsqueeze else stride
        self.norms = nn.ModuleList(
            BatchNorm(width) if active or index else nn.Identity()
            for index, width in enumerate(widths[:-1])
        )
        self.convolutions = nn.ModuleList(
            convolution(before, after, kernel, 1 if index else first)
            for index, ((before, after), kernel) in enumerate(
                zip(itertools.pairwise(widths), kernels, strict=True)
            )
        )
        self.active = active
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Compute what is to be added, in the type of the weights, whatever that of ``x``."""
        x = x.to(next(self.convolutions.parameters()).dtype)
        if self.unsqueeze:
            x = pixel_shuffle(x, 2)
        last = len(self.norms) - 1
        for index, (norm, conv) in enumerate(zip(self.norms, self.convolutions, strict=True)):
            if index == last:
                x = self.dropout(x)
            x = conv(relu(norm(x)) if index or self.active else x)
        return x
