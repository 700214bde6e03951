"""Sources in memory (NumPy arrays, torch tensors, nested lists) and NumPy's files."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .found import Found, Part, listed, reading, split_of
from .schema import is_polars

__all__ = ["from_memory", "in_memory", "is_frame", "read_npy", "read_npz"]

_DATA_KEYS = ("x", "data", "images", "arr_0")
_LABEL_KEYS = ("y", "labels", "label", "targets")
_DATA_OF_SPLIT = re.compile(r"(?:x|data|images)_([a-z]+)|([a-z]+)_(?:x|data|images)|([a-z]+)")
_LABELS_OF_SPLIT = re.compile(r"(?:y|labels?|targets)_([a-z]+)|([a-z]+)_(?:y|labels?|targets)")


def is_frame(source: Any) -> bool:
    """Say whether ``source`` is a frame or series of pandas or polars, without importing them."""
    pandas = sys.modules.get("pandas")
    known = pandas is not None and isinstance(source, pandas.DataFrame | pandas.Series)
    return known or is_polars(source)


def in_memory(source: Any) -> bool:
    """Say whether ``source`` holds numbers itself: an array, a tensor, nested lists."""
    return isinstance(source, np.ndarray | list | tuple) or hasattr(source, "__array__")


def from_memory(source: Any, name: str = "array") -> Found:
    """Read an array, a torch tensor (of any device, detached) or nested lists of numbers.

    Raises:
        InputError: a ragged list, a sparse or quantised tensor, or a single number.
    """
    return Found(name, {"train": Part(_as_array(source, name))})


def _as_array(source: Any, name: str) -> np.ndarray:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(source, torch.Tensor):
        if source.layout != torch.strided or source.is_quantized:
            raise InputError(f"{name} is a sparse or quantised tensor; make it dense first.")
        source = source.detach().cpu()
        if source.dtype == torch.bfloat16:  # NumPy has no such type
            source = source.float()
        source = source.resolve_conj().resolve_neg().numpy()
    if isinstance(source, np.ma.MaskedArray):
        masked = np.ma.getmaskarray(source)
        source = np.where(masked, np.nan, source.data) if masked.any() else source.data
    try:
        array = np.asarray(source)
    except (ValueError, TypeError) as error:  # rows of different lengths, foreign objects
        raise InputError(
            f"{name} is not one array of numbers: its rows differ in length or are not numbers."
        ) from error
    if array.ndim == 0:
        raise InputError(f"{name} is a single value, {array}; give an array of shape (N, D).")
    return array


def read_npy(path: Path) -> Found:
    """Read one array from ``.npy``; pickled objects are never loaded."""
    with _loaded(path) as array:
        if not isinstance(array, np.ndarray):
            raise InputError(f"{path} is an archive of arrays; give it the ending .npz.")
    return from_memory(array, path.name)


def read_npz(path: Path) -> Found:
    """Read the data, and the labels if there are any, from ``.npz``.

    The archive holds one array; or data under ``X``, ``data``, ``images`` or ``arr_0`` and labels
    under ``y`` or ``labels``; or splits: ``x_train``, ``y_train``, ``x_test``, ..., or
    ``train_images``, ``train_labels``, ..., or plainly ``train``, ``test``. Case does not matter.
    Labels that are texts become numbers, in the order of the alphabet.

    Raises:
        InputError: the archive cannot be read or none of these names is in it.
    """
    with _loaded(path) as archive:
        if isinstance(archive, np.ndarray):
            raise InputError(f"{path} is a single array; give it the ending .npy.")
        keys = {key.lower(): key for key in archive.files}
        data, labels = _npz_layout(path, keys)
        arrays = {key: archive[keys[key]] for key in {*data.values(), *labels.values()}}
    found = Found(path.name, {})
    for split, key in data.items():
        part = Part(_as_array(arrays[key], f"{path.name}[{keys[key]}]"))
        if split in labels:
            part.labels = _labels(arrays[labels[split]], keys[labels[split]], part, found)
        found.parts[split] = part
    _number_texts(found)
    rest = [key for low, key in keys.items() if low not in arrays]
    if rest:
        found.notes.append(f"Of the arrays in {path.name}, {listed(rest)} were not used.")
    return found


def _npz_layout(path: Path, keys: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the lower-case keys of the data and of the labels, by split."""
    label = next((key for key in _LABEL_KEYS if key in keys), None)
    labels = {} if label is None else {"train": label}
    for key in _DATA_KEYS:
        if key in keys:
            return {"train": key}, labels
    data = _by_split(_DATA_OF_SPLIT, keys)
    if "train" in data:
        return data, _by_split(_LABELS_OF_SPLIT, keys)
    candidates = [key for key in keys if key not in _LABEL_KEYS]
    if len(candidates) == 1:
        return {"train": candidates[0]}, labels
    if not keys:
        raise InputError(f"{path} holds no arrays.")
    raise InputError(
        f"{path} holds {listed(list(keys.values()))}, and none is called X, data or images, or "
        "x_train; rename the one to read, or pass the array itself."
    )


def _by_split(pattern: re.Pattern[str], keys: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key in keys:
        match = pattern.fullmatch(key)
        split = split_of(next(filter(None, match.groups()))) if match else None
        if split is not None:
            found.setdefault(split, key)
    return found


def _labels(values: np.ndarray, key: str, part: Part, found: Found) -> np.ndarray | None:
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape != (len(part.values),):
        found.notes.append(
            f"{key!r} has shape {values.shape} for {len(part.values):,} rows and was not taken "
            "for labels."
        )
        return None
    return values


def _number_texts(found: Found) -> None:
    """Put numbers in place of labels that are texts, in the order of the alphabet."""
    labelled = [(part, part.labels) for part in found.parts.values() if part.labels is not None]
    if not any(labels.dtype.kind in "US" for _, labels in labelled):
        return
    texts: list[np.ndarray] = [
        np.char.decode(labels, "utf-8", "replace")
        if labels.dtype.kind == "S"
        else labels.astype(str)
        for _, labels in labelled
    ]
    names = np.unique(np.concatenate(texts))
    for (part, _), text in zip(labelled, texts, strict=True):
        part.labels = np.searchsorted(names, text)
    found.label_names = tuple(names.tolist())


@contextlib.contextmanager
def _loaded(path: Path) -> Iterator[Any]:
    """Give the array of ``.npy`` or the open archive of ``.npz``, and close the file."""
    if path.stat().st_size == 0:
        raise InputError(f"{path} is an empty file.")
    try:
        # The file is opened here because np.load leaves it open when the archive is broken.
        with reading(path, "a NumPy file"), path.open("rb") as file:
            yield np.load(file, allow_pickle=False)
    except InputError as error:
        if "pickle" not in str(error.__cause__):
            raise
        raise InputError(
            f"{path} is not a plain array file: it holds Python objects, which are never loaded, "
            "or it is damaged. Save the numbers again with np.save."
        ) from error
