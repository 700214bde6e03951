"""Squeeze: trade pixels for channels. log_det is 0."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError
from .layer import Layer, Shape, constant_log_det

__all__ = ["OrderedSqueeze", "Squeeze"]


class Squeeze(Layer):
    """Turn each block of pixels, 2x2 by default, into channels, channel by channel.

    With a block of (a, b) pixels, channel c goes to the channels abc + b dy + dx. A block of
    (1, 2) tells even from odd columns; one of (4, 4) is what transformers call a patch.

    Shapes: ``(N, C, H, W) -> (N, abC, H/a, W/b)``; a divides H, and b divides W.
    Source: Dinh et al. 2017 (Real NVP), section 3.6.

    Args:
        block: rows and columns of a block, or one number for both.
    """

    def __init__(self, block: int | tuple[int, int] = 2) -> None:
        super().__init__()
        self.block = (block, block) if isinstance(block, int) else block

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``(N, C, H, W) -> (N, abC, H/a, W/b)``."""
        # What pixel_unshuffle does, which leaves an empty batch in its old shape.
        n, c, h, w = x.shape
        a, b = self.block
        blocks = x.reshape(n, c, h // a, a, w // b, b)  # (N, C, H/a, dy, W/b, dx)
        z = blocks.permute(0, 1, 3, 5, 2, 4).reshape(n, a * b * c, h // a, w // b)
        return z, constant_log_det(x, 0.0)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``(N, abC, H/a, W/b) -> (N, C, H, W)``."""
        n, channels, h, w = z.shape
        a, b = self.block
        blocks = z.reshape(n, channels // (a * b), a, b, h, w)  # (N, C, dy, dx, H/a, W/b)
        x = blocks.permute(0, 1, 4, 2, 5, 3).reshape(n, channels // (a * b), a * h, b * w)
        return x, constant_log_det(z, 0.0)

    def output_shape(self, shape: Shape) -> Shape:
        """``(C, H, W) -> (abC, H/a, W/b)``."""
        return _squeezed(self, shape, self.block)

    def extra_repr(self) -> str:
        """Show the block."""
        return f"block={self.block}"


class OrderedSqueeze(Layer):
    """The squeeze before a factor-out: position by position, both even-parity pixels first.

    Channels are the pixels (0,0) of all C channels, then (1,1), (0,1), (1,0), so the two halves of
    the channels are the two colours of the checkerboard.

    Shapes: ``(N, C, H, W) -> (N, 4C, H/2, W/2)``; H and W must be even.
    Source: Dinh et al. 2017 (Real NVP), section 3.6, in the order of the authors' code.
    """

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``(N, C, H, W) -> (N, 4C, H/2, W/2)``."""
        z = torch.cat(
            (x[..., 0::2, 0::2], x[..., 1::2, 1::2], x[..., 0::2, 1::2], x[..., 1::2, 0::2]), dim=1
        )
        return z, constant_log_det(x, 0.0)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``(N, 4C, H/2, W/2) -> (N, C, H, W)``."""
        n, channels, h, w = z.shape
        top_left, bottom_right, top_right, bottom_left = z.chunk(4, dim=1)
        top = torch.stack((top_left, top_right), dim=-1)  # (N, C, H/2, W/2, dx)
        bottom = torch.stack((bottom_left, bottom_right), dim=-1)
        # (N, C, H/2, dy, W/2, dx) -> (N, C, H, W)
        x = torch.stack((top, bottom), dim=3).reshape(n, channels // 4, 2 * h, 2 * w)
        return x, constant_log_det(z, 0.0)

    def output_shape(self, shape: Shape) -> Shape:
        """``(C, H, W) -> (4C, H/2, W/2)``."""
        return _squeezed(self, shape)


def _squeezed(layer: Layer, shape: Shape, block: tuple[int, int] = (2, 2)) -> Shape:
    a, b = block
    if len(shape) != 3 or shape[1] % a or shape[2] % b:
        sides = f"whole blocks of shape {a}x{b}"
        if block == (2, 2):
            sides = "even height and width"
        raise InputError(
            f"{type(layer).__name__} needs an image (C, H, W) of {sides}; got {shape}. Pad or crop "
            f"the images, or use fewer scales."
        )
    channels, height, width = shape
    return a * b * channels, height // a, width // b
