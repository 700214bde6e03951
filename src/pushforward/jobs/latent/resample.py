"""What the coarse latents say: keep them, and draw the others anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ...errors import InputError
from ...flow import Flow
from ...model import Model
from .latents import check_images, decoded, drawn, encoded
from .scales import coarsest_first, latent_scales

__all__ = ["KEEP", "resample", "resampled_latents"]

KEEP = (1.0, 0.5, 0.25, 0.125, 0.0625)
"""The shares of the paper's figure."""


def resample(
    flow: Model,
    x: Any,
    *,
    keep: Sequence[float] = KEEP,
    fill: Literal["noise", "zero"] = "noise",
    seed: int | None = None,
    context: Any = None,
) -> Tensor:
    """Images whose coarsest latents are those of ``x``, and whose finer ones are drawn anew.

    What stays is what the coarse scales hold: in a trained model the large forms, while texture
    and detail change with the finer ones.

    Args:
        flow: a multi-scale flow of images.
        x: images ``(N, C, H, W)``.
        keep: the shares of latents that are kept, each above 0 and at most 1; the order is that
            of ``coarsest_first``.
        fill: ``noise`` draws the others from the base density; ``zero`` sets them to 0, which is
            lossy compression.
        seed: of the noise; all shares of an image have the same.
        context: ``(N, context)`` for a conditional flow.

    Returns:
        ``(N, len(keep), C, H, W)``.

    Raises:
        InputError: no latents or no scales to tell apart, or a share that is none.

    Source: Dinh et al. 2017 (Real NVP), appendix D, and the authors' code.
    """
    z = resampled_latents(flow, x, keep=keep, fill=fill, seed=seed, context=context)
    n, shares = z.shape[:2]
    if context is not None:
        context = torch.as_tensor(context)
        context = context.repeat_interleave(shares, 0) if context.ndim == 2 else context
    return decoded(flow, z.flatten(0, 1), context).reshape(n, shares, *flow.shape)


def resampled_latents(
    flow: Model,
    x: Any,
    *,
    keep: Sequence[float] = KEEP,
    fill: Literal["noise", "zero"] = "noise",
    seed: int | None = None,
    context: Any = None,
) -> Tensor:
    """The latents of what ``resample`` gives: ``(N, len(keep), *latent_shape)``."""
    check_images(flow, "resample")
    if "encode" in flow.refuses:
        raise flow.refusal("encode")
    if not isinstance(flow, Flow) or int(latent_scales(flow).max()) == 0:
        raise InputError(
            f"all latents of {flow.name} leave at one scale, so none is coarser than another; "
            f"RealNVP and Glow of images have several scales."
        )
    if fill not in ("noise", "zero"):
        raise InputError(f"fill is 'noise' or 'zero'; got {fill!r}.")
    wrong = next((share for share in keep if not 0 < share <= 1), None)
    if wrong is not None or not len(keep):
        said = "none" if wrong is None else f"{wrong:g}"
        raise InputError(f"keep takes shares above 0 and at most 1, such as 0.25; got {said}.")
    z = encoded(flow, x, context)
    other = drawn(flow, len(z), seed) if fill == "noise" else torch.zeros_like(z)
    order = coarsest_first(flow).to(z.device)
    results = []
    for share in keep:
        places = order[: max(1, round(share * len(order)))]
        mixed = other.flatten(1).clone()
        mixed[:, places] = z.flatten(1)[:, places]
        results.append(mixed.reshape(z.shape))
    return torch.stack(results, dim=1)
