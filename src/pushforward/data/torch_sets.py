"""Map-style torch data sets: a length, and items ``x`` or ``(x, label)``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import InputError
from .arrays import from_memory
from .events import default_columns
from .forms import Form, as_array, form_of, is_picture, levels_of
from .found import Found, Request, listed
from .image_stream import skipped
from .stream import Piece

__all__ = ["from_torch_set", "is_torch_set"]

_BATCH = 256
_SAMPLE = 64  # items that are looked at before all are read


def is_torch_set(source: Any) -> bool:
    """Say whether ``source`` is a map-style torch data set, without importing torch."""
    data = sys.modules.get("torch.utils.data")
    return (
        data is not None
        and isinstance(source, data.Dataset)
        and not isinstance(source, data.IterableDataset)
        and hasattr(source, "__len__")
    )


def from_torch_set(source: Any, request: Request) -> TorchStream | Found:
    """Read a map-style set: rows, arrays of pixels, or images of Pillow, labelled or not.

    Float images that hold exact 255ths, as torchvision's ``ToTensor`` makes them, are turned back
    into integers. Items are read once, in their order: a random transform is applied once, too.

    Raises:
        InputError: the set is empty, its items are of no kind that is known, or differ in shape.
    """
    if not len(source):
        raise InputError(f"{_name(source)} has no items.")
    tensors = _tensors(source)
    if tensors is not None:
        return _from_tensors(tensors, _name(source))
    return TorchStream(source, request)


def _name(source: Any) -> str:
    while type(source).__name__ == "Subset":
        source = source.dataset
    return type(source).__name__


def _tensors(source: Any) -> tuple[Any, ...] | None:
    """Return the tensors of a ``TensorDataset``, or of a ``Subset`` of one."""
    data = sys.modules["torch.utils.data"]
    if type(source) is data.Subset:
        whole = _tensors(source.dataset)
        return None if whole is None else tuple(tensor[list(source.indices)] for tensor in whole)
    return source.tensors if type(source) is data.TensorDataset else None


def _from_tensors(tensors: Sequence[Any], name: str) -> Found:
    found = from_memory(tensors[0], name)
    part = found.parts["train"]
    if part.values.ndim > 2 and part.values.dtype.kind == "f":
        _, divided, note = levels_of([part.values], None, name)
        if divided:
            part.values = np.rint(part.values * 255).astype(np.uint8)
            found.notes.append(note)
    for i, tensor in enumerate(tensors[1:], start=1):
        labels = as_array(tensor)
        if i == 1 and labels is not None and labels.ndim == 1 and labels.dtype.kind in "iu":
            part.labels = labels.astype(np.int64)
        else:
            found.notes.append(f"Tensor {i} of {name} was not read.")
    return found


class TorchStream:
    """A `Stream` of the items of a map-style set, which are read one after the other."""

    def __init__(self, source: Any, request: Request) -> None:
        self.name = _name(source)
        self.source = source
        self.request = request
        self.splits: tuple[str, ...] = ("train",)
        self.label_names = _class_names(source)
        self.missing: tuple[int, ...] | None = None
        self.unreadable = skipped(request)
        self.counters: dict[str, int] = {}
        sample, labelled = self._sample()
        self.labelled = labelled
        self.form: Form = form_of(sample, request, self.name)
        self.columns: tuple[str, ...] | None = None
        if len(self.form.shape) == 1:
            self.unreadable.noun = "row"
            self.columns = self._pick(default_columns(self.form.shape[0]))
        self.notes: list[str] = [self.form.note] if self.form.note else []

    def _sample(self) -> tuple[list[Any], bool]:
        good: list[Any] = []
        faults: list[str] = []
        labelled = False
        for i in range(min(_SAMPLE, len(self.source))):
            x, label, fault = self._item(i)
            if fault:
                faults.append(f"item {i} ({fault})")
                continue
            labelled = label is not None if not good else labelled
            good.append(x)
        if not good:
            raise InputError(f"no item of {self.name} could be read: {listed(faults)}.")
        return good, labelled

    def _pick(self, names: tuple[str, ...]) -> tuple[str, ...]:
        asked = self.request.columns
        if asked is None or self.request.shape == self.form.shape:
            return names
        absent = [repr(column) for column in asked if column not in names]
        if absent or not asked:
            raise InputError(
                f"the columns of {self.name} came without names and are called "
                f"{listed(names, 20)}; there is no {listed(absent) or 'empty choice'}."
            )
        return asked

    @property
    def shape(self) -> tuple[int, ...]:
        """The event shape."""
        return self.form.shape if self.columns is None else (len(self.columns),)

    @property
    def dtype(self) -> np.dtype:
        """Of the values."""
        return self.form.dtype

    @property
    def levels(self) -> int | None:
        """How many levels the values have; None for continuous rows."""
        return self.form.levels

    @property
    def size(self) -> int:
        """How many bytes all values will take."""
        return len(self.source) * int(np.prod(self.shape)) * self.dtype.itemsize

    @cached_property
    def items(self) -> dict[str, int] | None:
        """How many items there are."""
        return {"train": len(self.source)}

    def files(self) -> list[str]:
        """None: what a set of Python objects is made of cannot be seen from outside."""
        return []

    def pieces(self, split: str, start: int = 0) -> Iterator[Piece]:
        """Read from item ``start`` on, always in the same order."""
        names = default_columns(self.form.shape[0]) if self.columns is not None else ()
        index = [names.index(column) for column in self.columns or ()]
        for first in range(start, len(self.source), _BATCH):
            span = range(first, min(first + _BATCH, len(self.source)))
            values, labels = [], []
            for i in span:
                x, label, fault = self._item(i)
                if fault:
                    self.unreadable.add(f"item {i} ({fault})")
                    continue
                values.append(self.form.bring(x, f"item {i} of {self.name}"))
                labels.append(-1 if label is None else label)
            stacked = np.array(values, self.dtype).reshape(len(values), *self.form.shape)
            yield Piece(
                stacked[:, index] if index and self.columns != names else stacked,
                np.array(labels, np.int64) if self.labelled else None,
                read=len(span),
            )

    def _item(self, i: int) -> tuple[Any, int | None, str | None]:
        """Return what item ``i`` holds, its label, and why it cannot be read."""
        try:
            item = self.source[i]
        except Exception as error:
            said = str(error).strip().splitlines()
            kind = type(error).__name__
            return None, None, f"{kind}: {said[0][:80]}" if said else kind
        label = None
        if isinstance(item, tuple | list) and item and _is_event(item[0]):
            label = _label(item[1]) if len(item) > 1 else None
            item = item[0]
        event = item if is_picture(item) else as_array(item)
        if event is None:
            raise InputError(
                f"item {i} of {self.name} is a {type(item).__name__}; give x or (x, label), where "
                "x is an array, a tensor or an image."
            )
        return event, label, None


def _is_event(x: Any) -> bool:
    array = None if is_picture(x) else as_array(x)
    return is_picture(x) or (array is not None and array.ndim > 0)


def _label(y: Any) -> int | None:
    number = np.asarray(y) if hasattr(y, "__array__") or isinstance(y, int) else None
    if number is None or number.size != 1 or number.dtype.kind not in "iub":
        return None
    return int(number.reshape(()))


def _class_names(source: Any) -> tuple[str, ...] | None:
    """Return the ``classes`` that torchvision's sets have, through subsets."""
    while type(source).__name__ == "Subset":
        source = source.dataset
    names = getattr(source, "classes", None)
    if not isinstance(names, list | tuple):
        return None
    return tuple(str(name) for name in names)
