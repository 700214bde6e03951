"""The idx format of MNIST and its relatives: one file, or the folder of four."""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from ..errors import InputError
from .found import Found, Part, listed, reading, split_of

__all__ = ["idx_files", "is_idx", "read_idx", "read_idx_file", "read_idx_folder"]

_NAME = re.compile(
    r"(?P<set>.*?)(?P<split>train|t10k|test)[-_.](?P<what>images|labels)[-_.]idx\d[-_.]ubyte(\.gz)?",
    re.IGNORECASE,
)
_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def is_idx(path: Path) -> bool:
    """Say whether a file is idx, by its name or by its first bytes (gzip allowed)."""
    if _NAME.fullmatch(path.name) or re.search(r"idx\d?([-.]ubyte)?(\.gz)?$", path.name):
        return True
    try:
        with _opened(path) as file:
            head = file.read(4)
    except (OSError, EOFError):
        return False
    return len(head) == 4 and head[:2] == b"\0\0" and head[2] in _TYPES and 1 <= head[3] <= 4


def _opened(path: Path) -> gzip.GzipFile:
    # Fed to gzip only where it is gzip: the ending lies often enough after a browser's download.
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else path.open("rb")  # type: ignore[return-value]


def read_idx(path: Path) -> np.ndarray:
    """Read one idx file to an array of its own shape, in native byte order.

    Raises:
        InputError: the file is not idx, or shorter than its header says.
    """
    with reading(path, "idx"), _opened(path) as file:
        content = file.read()
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES:
        raise InputError(f"{path} is not an idx file: its first bytes are {content[:4].hex(' ')}.")
    kind, start = np.dtype(_TYPES[content[2]]), 4 + 4 * content[3]
    if len(content) < start:
        raise InputError(f"{path} was cut off inside its header. Download it again.")
    shape = tuple(int(n) for n in np.frombuffer(content[4:start], ">u4"))
    size = prod(shape) * kind.itemsize
    if len(content) - start != size:
        raise InputError(
            f"{path} should hold {size:,} bytes for its shape {shape}, but has "
            f"{len(content) - start:,}; it was cut off or is damaged. Download it again."
        )
    return np.frombuffer(content, kind, offset=start).reshape(shape).astype(kind.newbyteorder("="))


def read_idx_file(path: Path) -> Found:
    """Read a single idx file of images (idx3) or rows (idx2)."""
    values = read_idx(path)
    if values.ndim == 1:
        raise InputError(f"{path} holds {len(values):,} labels, not images; give the images file.")
    return Found(path.name, {"train": Part(values)})


@dataclass(frozen=True)
class _Named:
    path: Path
    set: str
    split: str
    what: str


def idx_files(files: list[Path]) -> list[Path]:
    """Return those files that are named as MNIST's: ``train-images-idx3-ubyte.gz`` and so on."""
    return [path for path in files if _NAME.fullmatch(path.name)]


def read_idx_folder(files: list[Path], name: str) -> Found:
    """Read the files that MNIST comes as, plain or gzipped.

    ``t10k`` is the test split. Validation is the end of train, as long as test: the last 10,000
    images of MNIST. Labels are read where they are.

    Raises:
        InputError: two sets lie in one folder, the train images are lacking, or counts differ.
    """
    named: dict[tuple[str, str], _Named] = {}
    for path in sorted(files, key=lambda path: path.suffix == ".gz", reverse=True):
        match = _NAME.fullmatch(path.name)
        if match is not None:  # plain files come last and win: they open faster
            split = split_of(match["split"]) or "train"
            what = match["what"].lower()
            entry = _Named(path, match["set"].lower(), split, what)
            named[entry.set, f"{split} {what}"] = entry
    sets = sorted({key[0] for key in named})
    if len(sets) > 1:
        raise InputError(
            f"{name} holds several idx sets: {listed([s.strip('-_.') or 'plain' for s in sets])}; "
            "put one of them into a folder of its own."
        )
    files_of = {key[1]: entry.path for key, entry in named.items()}
    if "train images" not in files_of and "test images" not in files_of:
        raise InputError(f"{name} holds idx labels but no images.")
    parts = {}
    for split in ("train", "test"):
        if f"{split} images" in files_of:
            images = read_idx(files_of[f"{split} images"])
            labels = files_of.get(f"{split} labels")
            parts[split] = Part(images, None if labels is None else _labels(labels, len(images)))
    if "train" not in parts:
        parts = {"train": parts["test"]}
    return Found(name, parts, splitting="tail" if "test" in parts else "hashed")


def _labels(path: Path, count: int) -> np.ndarray:
    labels = read_idx(path)
    if labels.shape != (count,):
        raise InputError(f"{path} holds labels of shape {labels.shape} for {count:,} images.")
    return labels
