"""The handwritten digits that come with the package: real images, without a download."""

from __future__ import annotations

from importlib import resources

import numpy as np

from .found import Found, Part

__all__ = ["digits"]


def digits() -> Found:
    """Return the 1,797 images of 8x8 pixels, integers 0 to 16, and their labels.

    The test part of the UCI set "Optical Recognition of Handwritten Digits", in the order in which
    scikit-learn ships it; ``embedded/LICENSE-digits.md`` names its origin and licence. Its splits
    are drawn by a permutation: their sizes are round, and results were measured on them.
    """
    file = resources.files("pushforward.data").joinpath("embedded", "digits.npz")
    with file.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
        part = Part(archive["images"], archive["labels"])
    names = tuple("0123456789")
    return Found("digits", {"train": part}, levels=17, splitting="permuted", label_names=names)
