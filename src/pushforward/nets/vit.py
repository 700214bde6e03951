"""The small vision transformer that conditions the couplings of Jet."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from ..errors import InputError

__all__ = ["ViT"]


class ViT(nn.Module):
    r"""A transformer over the positions of an image, each a token; its last layer starts at zero.

    .. math:: h_0 = A x + m + B c, \qquad h' = h_k + \mathrm{attention}(\mathrm{LN}(h_k)), \qquad
              h_{k+1} = h' + V \phi(U\, \mathrm{LN}(h')), \qquad \theta = C\, \mathrm{LN}(h_K)

    m is a learned embedding of positions, :math:`\phi` the GELU in its tanh form. The context c is
    added to every token by a linear map that starts at zero (Jet itself has cross-attention).

    Shapes: ``(N, C, H, W)`` and context ``(N, context)`` -> ``(N, *out_shape)``, same H and W.
    Source: Dosovitskiy et al. 2021; sizes and start values of the code of Jet (Kolesnikov 2024).

    Args:
        in_shape: (C, H, W) of the part that is seen.
        out_shape: (C', H, W) of the parameters that are wanted.
        context: size of the context.
        width: numbers of a token within.
        blocks: transformer blocks.
        heads: of the attention; one for each 64 of the width if None.
        dropout: probability, after attention and within the MLP.

    Raises:
        InputError: the heads do not divide the width.
    """

    def __init__(
        self,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
        context: int = 0,
        *,
        width: int = 256,
        blocks: int = 2,
        heads: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels, height, columns = in_shape
        heads = max(1, width // 64) if heads is None else heads
        if width % heads:
            raise InputError(f"a ViT of width {width} cannot have {heads} heads: they must divide.")
        self.out_shape = tuple(out_shape)
        self.first = nn.Linear(channels, width) if channels else None
        position = torch.randn(height * columns, width) / math.sqrt(width)
        self.position = nn.Parameter(position)
        self.context = nn.Linear(context, width, bias=False) if context else None
        stack = [Block(width, heads, dropout) for _ in range(blocks)]
        self.blocks = nn.ModuleList(stack)
        self.norm = nn.LayerNorm(width)
        self.last = nn.Linear(width, out_shape[0])
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.xavier_uniform_(part.weight)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
        for block in stack:  # queries, keys and values, each a matrix of its own
            for matrix in block.mix.weight.chunk(3):
                nn.init.xavier_uniform_(matrix)
        nn.init.zeros_(self.last.weight)
        if self.context is not None:
            nn.init.zeros_(self.context.weight)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Compute the parameters."""
        h = self.position.expand(x.shape[0], *self.position.shape)
        if self.first is not None:
            h = h + self.first(x.flatten(2).transpose(1, 2))  # (N, C, H, W) -> (N, HW, width)
        if self.context is not None and context is not None:
            h = h + self.context(context)[:, None]
        for block in self.blocks:
            h = block(h)
        parameters = self.last(self.norm(h))  # (N, HW, C')
        return parameters.transpose(1, 2).reshape(x.shape[0], *self.out_shape)


class Block(nn.Module):
    """Attention among the tokens, then an MLP in each; both see layer-normed tokens."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1 = nn.LayerNorm(width)
        self.mix = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.norm_2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.activation = nn.GELU(approximate="tanh")
        self.down = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, h: Tensor) -> Tensor:
        """``(N, T, width) -> (N, T, width)``."""
        n, tokens, width = h.shape
        mixed = self.mix(self.norm_1(h)).reshape(n, tokens, 3, self.heads, width // self.heads)
        query, key, value = mixed.transpose(1, 3).unbind(2)  # each (N, heads, T, width / heads)
        attended = scaled_dot_product_attention(query, key, value).transpose(1, 2)
        h = h + self.dropout(self.merge(attended.reshape(n, tokens, width)))
        inner = self.dropout(self.activation(self.up(self.norm_2(h))))
        return h + self.down(inner)
