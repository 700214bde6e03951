"""The gated convolutional conditioner with self-attention of Flow++."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, scaled_dot_product_attention

from ..errors import InputError

__all__ = ["GatedConv", "GatedConvNet", "concat_elu"]


class GatedConvNet(nn.Module):
    r"""Blocks of a gated convolution, layer norm, gated self-attention over pixels, layer norm.

    .. math:: h_0 = A * x + m + B c, \qquad
              h' = \mathrm{LN}(h_k + a\,\sigma(b)), \quad
              (a, b) = U * \psi(V * \psi(h_k)), \qquad
              h_{k+1} = \mathrm{LN}(h' + \mathrm{attention}(h' + m)), \qquad \theta = C * h_K

    :math:`\psi(h) = \mathrm{elu}([h, -h])`; V is 3x3, U 1x1; m is a learned embedding of positions,
    c the context; the layer norms are over the channels of each pixel. The last convolution starts
    at zero.

    Shapes: ``(N, C, H, W)`` and context ``(N, context)`` -> ``(N, *out_shape)``, same H and W.
    Source: Ho et al. 2019 (Flow++), section 3.3, and the authors' code.

    Args:
        in_shape: (C, H, W) of the part that is seen.
        out_shape: (C', H, W) of the parameters that are wanted.
        context: size of the context.
        width: feature maps.
        blocks: of a gated convolution and an attention each.
        heads: of the attention; they divide the width.
        attention: whether there is any. It costs by the square of the number of pixels.
        dropout: probability, after the inner activation and after attention.

    Raises:
        InputError: the heads do not divide the width.
    """

    def __init__(
        self,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
        context: int = 0,
        *,
        width: int = 96,
        blocks: int = 10,
        heads: int = 4,
        attention: bool = True,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if attention and width % heads:
            raise InputError(f"a net of width {width} cannot have {heads} heads: they must divide.")
        channels, *size = in_shape
        self.first = nn.Conv2d(channels, width, 3, padding=1) if channels else None
        self.position = nn.Parameter(0.01 * torch.randn(width, *size))
        self.context = nn.Linear(context, width, bias=False) if context else None
        self.convolutions = nn.ModuleList(GatedConv(width, dropout) for _ in range(blocks))
        self.norms = nn.ModuleList(ChannelNorm(width) for _ in range(blocks))
        self.attentions = nn.ModuleList(
            GatedAttention(width, heads, dropout) for _ in range(blocks * attention)
        )
        self.attention_norms = nn.ModuleList(ChannelNorm(width) for _ in self.attentions)
        self.last = nn.Conv2d(width, out_shape[0], 3, padding=1)
        nn.init.zeros_(self.last.weight)
        if self.last.bias is not None:
            nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Compute the parameters."""
        h = self.position.expand(x.shape[0], *self.position.shape)
        if self.first is not None:
            h = h + self.first(x)
        if self.context is not None and context is not None:
            h = h + self.context(context)[:, :, None, None]
        for index, (convolution, norm) in enumerate(
            zip(self.convolutions, self.norms, strict=True)
        ):
            h = norm(convolution(h))
            if self.attentions:
                h = h + self.attentions[index](h + self.position)
                h = self.attention_norms[index](h)
        return self.last(h)


def concat_elu(h: Tensor) -> Tensor:
    """``elu([h, -h])``: ``(N, C, ...) -> (N, 2C, ...)``, of which no half is ever flat."""
    return elu(torch.cat((h, -h), dim=1))


def _gate(h: Tensor) -> Tensor:
    """``a sigmoid(b)`` of the two halves of the channels."""
    a, b = h.chunk(2, dim=1)
    return a * torch.sigmoid(b)


def _quiet(convolution: nn.Conv2d) -> nn.Conv2d:
    """With a tenth of its starting weights: what it adds is small at first."""
    with torch.no_grad():
        convolution.weight *= 0.1
    return convolution


class GatedConv(nn.Module):
    """A residual step ``h + a sigmoid(b)`` by a 3x3 and a 1x1 convolution of concat-ELUs."""

    def __init__(self, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.inner = nn.Conv2d(2 * width, width, 3, padding=1)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.gate = _quiet(nn.Conv2d(2 * width, 2 * width, 1))

    def forward(self, h: Tensor) -> Tensor:
        """``(N, C, H, W) -> (N, C, H, W)``."""
        inner = self.dropout(concat_elu(self.inner(concat_elu(h))))
        return h + _gate(self.gate(inner))


class GatedAttention(nn.Module):
    """Self-attention among all pixels, its result behind a gate."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.mix = nn.Conv2d(width, 3 * width, 1)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.gate = _quiet(nn.Conv2d(width, 2 * width, 1))

    def forward(self, h: Tensor) -> Tensor:
        """``(N, C, H, W) -> (N, C, H, W)``."""
        n, channels, height, width = h.shape
        # (N, 3C, H, W) -> three times (N, heads, HW, C / heads)
        mixed = self.mix(h).reshape(n, 3, self.heads, channels // self.heads, height * width)
        query, key, value = mixed.transpose(3, 4).unbind(1)
        attended = scaled_dot_product_attention(query, key, value).transpose(2, 3)
        return _gate(self.gate(self.dropout(attended.reshape(n, channels, height, width))))


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel: ``(N, C, H, W) -> (N, C, H, W)``."""

    def forward(self, h: Tensor) -> Tensor:
        """Normalise."""
        return super().forward(h.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
