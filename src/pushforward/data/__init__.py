"""Any source -> a Dataset with a shape, a kind and splits.

``open_data`` reads a built-in name, a file, a folder, an array, a tensor or a data frame;
``read_for`` reads the same sources, unsplit, for a model that already has its shape.
Importing this package loads NumPy and nothing heavier.
"""

from __future__ import annotations

from .dataset import Dataset, Source, describe
from .open import BUILT_IN, open_data, read_for
from .toy import TOYS, make_toy, two_moons_log_density

__all__ = [
    "BUILT_IN",
    "TOYS",
    "Dataset",
    "Source",
    "describe",
    "make_toy",
    "open_data",
    "read_for",
    "two_moons_log_density",
]
