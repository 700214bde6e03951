"""Changes to training images that leave them plausible."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["augment"]


def augment(images: Tensor, shift: float, flip: bool, generator: torch.Generator) -> Tensor:
    """Move a share of the images ``(N, C, H, W)`` by up to a pixel; mirror half of them.

    What moves in from outside repeats the edge.
    """
    n, _, height, width = images.shape
    if shift > 0:
        moved = torch.rand(n, generator=generator) < shift
        offsets = torch.randint(-1, 2, (2, n), generator=generator) * moved
        rows = (torch.arange(height) + offsets[0][:, None]).clamp(0, height - 1)  # (N, H)
        columns = (torch.arange(width) + offsets[1][:, None]).clamp(0, width - 1)  # (N, W)
        index = torch.arange(n)[:, None, None]
        # (N, H, W, C) -> (N, C, H, W)
        images = images.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]]
        images = images.permute(0, 3, 1, 2)
    if flip:
        mirrored = torch.rand(n, generator=generator) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    return images
