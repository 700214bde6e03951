"""What can be said of an image in words: how bright it is, how much contrast and detail it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from ...data import Dataset

__all__ = ["LABEL", "image_traits", "pixel_features"]

Array = np.ndarray[Any, np.dtype[Any]]

LABEL = "label"
_SIDE = 8
"""Pixels across of the small copies that a classifier looks at."""


def image_traits(images: Array, levels: int) -> pd.DataFrame:
    """A row for each image ``(N, C, H, W)``, all numbers from 0 to 1.

    ``brightness`` is the mean, ``contrast`` the standard deviation, ``detail`` the mean difference
    of neighbouring pixels, and ``colour`` (of colour images) the mean spread between channels.
    """
    import pandas as pd

    rows = []
    for start in range(0, len(images), 1000):
        x = images[start : start + 1000].astype(np.float32) / max(1, levels - 1)
        steps = [abs(np.diff(x, axis=axis)).mean(axis=(1, 2, 3)) for axis in (2, 3)]
        known = {
            "brightness": x.mean(axis=(1, 2, 3)),
            "contrast": x.std(axis=(1, 2, 3)),
            "detail": np.nan_to_num(np.mean(steps, axis=0)),
        }
        if x.shape[1] > 1:
            known["colour"] = np.ptp(x, axis=1).mean(axis=(1, 2))
        rows.append(pd.DataFrame(known, dtype=np.float64))
    return pd.concat(rows, ignore_index=True)


def labels_of(dataset: Dataset) -> Array | None:
    """The names of the classes of all events ``(N,)``; None if there are none for some."""
    if not dataset.labels or any(
        len(dataset.labels.get(name, ())) != len(x) for name, x in dataset.splits().items()
    ):
        return None
    labels = np.concatenate([dataset.labels[n] for n, x in dataset.splits().items() if len(x)])
    told = dataset.label_names
    return np.array([str(label) if told is None else told[label] for label in labels], object)


def pixel_features(images: Array) -> Array:
    """Means of patches, ``(N, C, H, W) -> (N, C * 64)`` at most: what a classifier looks at."""
    n, channels, height, width = images.shape
    down, across = max(1, height // _SIDE), max(1, width // _SIDE)
    x = images[:, :, : height // down * down, : width // across * across].astype(np.float32)
    # (N, C, H, W) -> (N, C, H/d, d, W/a, a) -> (N, C, H/d, W/a)
    x = x.reshape(n, channels, height // down, down, width // across, across).mean(axis=(3, 5))
    return x.reshape(n, -1).astype(float)
