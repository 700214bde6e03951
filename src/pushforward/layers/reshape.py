"""Squeeze: trade pixels for channels. log_det is 0."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError
from .layer import Layer, Shape, constant_log_det

__all__ = ["OrderedSqueeze", "Squeeze"]


class Squeeze(Layer):
    """Turn each 2x2 block of pixels into channels, channel by channel: c -> 4c + 2 dy + dx.

    Shapes: ``(N, C, H, W) -> (N, 4C, H/2, W/2)``; H and W must be even.
    Source: Dinh et al. 2017 (Real NVP), section 3.6.
    """

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``(N, C, H, W) -> (N, 4C, H/2, W/2)``."""
        # What pixel_unshuffle does, which leaves an empty batch in its old shape.
        n, c, h, w = x.shape
        blocks = x.reshape(n, c, h // 2, 2, w // 2, 2)  # (N, C, H/2, dy, W/2, dx)
        z = blocks.permute(0, 1, 3, 5, 2, 4).reshape(n, 4 * c, h // 2, w // 2)
        return z, constant_log_det(x, 0.0)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``(N, 4C, H/2, W/2) -> (N, C, H, W)``."""
        n, channels, h, w = z.shape
        blocks = z.reshape(n, channels // 4, 2, 2, h, w)  # (N, C, dy, dx, H/2, W/2)
        x = blocks.permute(0, 1, 4, 2, 5, 3).reshape(n, channels // 4, 2 * h, 2 * w)
        return x, constant_log_det(z, 0.0)

    def output_shape(self, shape: Shape) -> Shape:
        """``(C, H, W) -> (4C, H/2, W/2)``."""
        return _squeezed(self, shape)


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


def _squeezed(layer: Layer, shape: Shape) -> Shape:
    if len(shape) != 3 or shape[1] % 2 or shape[2] % 2:
        raise InputError(
            f"{type(layer).__name__} needs an image (C, H, W) of even height and width; got "
            f"{shape}. Pad or crop the images, or use fewer scales."
        )
    channels, height, width = shape
    return 4 * channels, height // 2, width // 2
