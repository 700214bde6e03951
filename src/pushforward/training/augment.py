"""Changes to training images that leave them plausible."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["augment"]


def augment(
    images: Tensor, shift: float, flip: bool, generator: torch.Generator, crop: int = 0
) -> Tensor:
    """Move images ``(N, C, H, W)`` a little and mirror half of them, by a generator on the CPU.

    A share ``shift`` of them moves by up to a pixel in each direction; all move by up to ``crop``
    pixels (a random crop of the image with an edge of that width). What moves in from outside
    repeats the edge.
    """
    n, _, height, width = images.shape
    offsets = torch.zeros((2, n), dtype=torch.int64)
    if shift > 0:
        moved = torch.rand(n, generator=generator) < shift
        offsets += torch.randint(-1, 2, (2, n), generator=generator) * moved
    if crop > 0:
        offsets += torch.randint(-crop, crop + 1, (2, n), generator=generator)
    if shift > 0 or crop > 0:
        rows = (torch.arange(height) + offsets[0][:, None]).clamp(0, height - 1)  # (N, H)
        columns = (torch.arange(width) + offsets[1][:, None]).clamp(0, width - 1)  # (N, W)
        rows, columns = rows.to(images.device), columns.to(images.device)
        index = torch.arange(n, device=images.device)[:, None, None]
        # (N, H, W, C) -> (N, C, H, W)
        images = images.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]]
        images = images.permute(0, 3, 1, 2)
    if flip:
        mirrored = (torch.rand(n, generator=generator) < 0.5).to(images.device)
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    return images
