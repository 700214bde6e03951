"""Any source -> a Dataset with a shape, a kind and splits.

``open_data`` reads a built-in name, a file, a folder, an array, a tensor or a data frame;
``read_for`` reads the same sources, unsplit, for a model that already has its shape. Sources larger
than memory are read in pieces into the cache, which ``cached`` lists and ``clear`` empties, and
mapped from there; ``release`` gives back the memory of what was read of such a map.
Importing this package loads NumPy and nothing heavier.
"""

from __future__ import annotations

from .cache import cache_folder, cached, clear
from .dataset import Dataset, Source, describe
from .open import BUILT_IN, open_data, read_for
from .store import release
from .toy import TOYS, make_toy, two_moons_log_density

__all__ = [
    "BUILT_IN",
    "TOYS",
    "Dataset",
    "Source",
    "cache_folder",
    "cached",
    "clear",
    "describe",
    "make_toy",
    "open_data",
    "read_for",
    "release",
    "two_moons_log_density",
]
