"""The small convolutional conditioner of the default image flows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .activations import activation as make_activation

__all__ = ["ConvNet"]


class ConvNet(nn.Module):
    r"""3x3 convolution, residual blocks of 3x3 and 1x1 convolutions, 3x3 convolution from zero.

    .. math:: h_0 = A * x + m + B c, \qquad h_{k+1} = h_k + V_k * \phi(U_k * \phi(h_k)), \qquad
              \theta = C * \phi(h_K)

    m is a learned map over positions (zero-padded convolutions alone hardly know where they are;
    digits do sit in the middle), c the context. ``positions=False`` leaves m out, so that the
    weights know no size.

    Shapes: ``(N, C, H, W)`` and context ``(N, context)`` -> ``(N, *out_shape)``, same H and W.
    """

    def __init__(
        self,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
        context: int = 0,
        *,
        width: int = 48,
        blocks: int = 1,
        activation: str = "relu",
        dropout: float = 0.0,
        positions: bool = True,
    ) -> None:
        super().__init__()
        channels, *size = in_shape
        self.first = nn.Conv2d(channels, width, 3, padding=1) if channels else None
        self.position = nn.Parameter(torch.zeros(width, *size)) if positions else None
        self.width = width
        self.context = nn.Linear(context, width, bias=False) if context else None
        self.blocks = nn.ModuleList(
            nn.Sequential(
                make_activation(activation),
                nn.Conv2d(width, width, 3, padding=1),
                make_activation(activation),
                nn.Dropout(dropout) if dropout else nn.Identity(),
                nn.Conv2d(width, width, 1),
            )
            for _ in range(blocks)
        )
        self.activation = make_activation(activation)
        self.last = nn.Conv2d(width, out_shape[0], 3, padding=1)
        nn.init.zeros_(self.last.weight)
        if self.last.bias is not None:
            nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Compute the parameters."""
        if self.position is not None:
            h = self.position.expand(x.shape[0], *self.position.shape)
            h = h if self.first is None else h + self.first(x)
        elif self.first is not None:
            h = self.first(x)
        else:
            h = x.new_zeros(x.shape[0], self.width, *x.shape[2:])
        if self.context is not None and context is not None:
            h = h + self.context(context)[:, :, None, None]
        for block in self.blocks:
            h = h + block(h)
        return self.last(self.activation(h))
