"""The binary files of CIFAR-10 and CIFAR-100, as their authors offer them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ..errors import InputError
from .found import Found, Part, counted, natural, reading

__all__ = ["is_cifar", "read_cifar"]

_TEN = re.compile(r"(data_batch_\d+|test_batch)\.bin")
_PICKLED = re.compile(r"data_batch_\d+|test_batch")
_PIXELS = 3 * 32 * 32
_NAMES = {1: "batches.meta.txt", 2: "fine_label_names.txt"}


def is_cifar(files: list[Path]) -> bool:
    """Say whether files are those of CIFAR, binary or pickled, by their names."""
    names = {path.name for path in files}
    if any(_TEN.fullmatch(name) or _PICKLED.fullmatch(name) for name in names):
        return True
    hundred = {"train.bin", "test.bin"} & names
    if len(hundred) == 2 or (hundred and _NAMES[2] in names):
        return True
    return {"train", "test", "meta"} <= names  # the pickles of CIFAR-100


def read_cifar(files: list[Path], name: str) -> Found:
    """Read ``data_batch_1.bin`` to ``test_batch.bin``, or ``train.bin`` and ``test.bin``.

    An image of CIFAR-10 is one byte of label and 3,072 of pixels; CIFAR-100 has two labels, and
    the fine one is kept. Label names are read where ``batches.meta.txt`` or
    ``fine_label_names.txt`` lies beside.

    Raises:
        InputError: a file was cut off, or only the pickled version is there.
    """
    by_name: dict[str, Path] = {}
    for path in sorted(files, key=natural):
        first = by_name.setdefault(path.name, path)
        if first is not path and path.suffix == ".bin":
            raise InputError(f"{name} holds {first} and {path}; open one of their folders.")
    ten = [path for path in by_name.values() if _TEN.fullmatch(path.name)]
    hundred = [path for path in by_name.values() if path.name in ("train.bin", "test.bin")]
    if ten and hundred:
        raise InputError(
            f"{name} holds CIFAR-10 and CIFAR-100; put one of them into a folder of its own."
        )
    if not ten and not hundred:
        raise InputError(
            f"{name} holds CIFAR as Python pickles, which are never loaded, because they can run "
            "code; download the binary version (cifar-10-binary.tar.gz) and open its folder."
        )
    labels = 1 if ten else 2
    groups: dict[str, list[Part]] = {}
    for path in ten or hundred:
        split = "test" if path.name.startswith("test") else "train"
        groups.setdefault(split, []).append(_read(path, labels))
    if "train" not in groups:
        groups = {"train": groups["test"]}
    parts = {
        split: Part(
            np.concatenate([part.values for part in group]),
            np.concatenate([np.asarray(part.labels) for part in group]),
        )
        for split, group in groups.items()
    }
    found = Found(name, parts, levels=256, laid_out=True)
    names = by_name.get(_NAMES[labels])
    if names is not None:
        with reading(names, "label names"):
            found.label_names = tuple(names.read_text("utf-8").split())
    return found


def _read(path: Path, labels: int) -> Part:
    with reading(path, "CIFAR"):
        content = np.fromfile(path, np.uint8)
    length = labels + _PIXELS
    if not len(content) or len(content) % length:
        whole = counted(len(content) // length, "image")
        raise InputError(
            f"{path} has {len(content):,} bytes, not a multiple of {length:,}: it was cut off "
            f"after {whole} or is not CIFAR-{10 if labels == 1 else 100}. Download it again."
        )
    rows = content.reshape(-1, length)
    # (N, 3072) -> (N, 3, 32, 32): all red rows first, then green, then blue
    return Part(rows[:, labels:].reshape(-1, 3, 32, 32), rows[:, labels - 1].astype(np.int64))
