"""From whatever ``fit`` is given to events for training and validation, checked once."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import check_context, check_events, check_labels
from ..data import Dataset, open_data
from ..data.mapped import read_events
from ..errors import InputError
from ..model import Model
from .lacking import with_something
from .streaming import Stream, is_stream

__all__ = ["Events", "events_wanted", "training_events"]


class Events:
    """Events with a context (or labels) beside them or without, in memory or memory-mapped."""

    def __init__(self, x: Tensor | np.ndarray, context: Tensor | None = None) -> None:
        self.x, self.context = x, context

    def __len__(self) -> int:
        return len(self.x)

    @property
    def on_disk(self) -> bool:
        """Whether events are read from a file when they are taken."""
        return isinstance(self.x, np.ndarray)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """The events at these positions."""
        return self.read(index), None if self.context is None else self.context[index]

    def read(self, index: Tensor) -> Tensor:
        """The same without what lies beside them."""
        if isinstance(self.x, Tensor):
            return self.x[index]
        values = read_events(self.x, index.numpy())
        # torch computes little on unsigned 16-bit integers
        return torch.from_numpy(values.astype(np.int32) if values.dtype == "u2" else values)

    def all(self) -> tuple[Tensor, Tensor | None]:
        """Every event, in memory."""
        return self.take(torch.arange(len(self)))

    def some(self, n: int, seed: int = 0) -> Events:
        """At most n of them, in memory, drawn by the seed: files are often sorted by class."""
        if n >= len(self):
            return Events(*self.all()) if self.on_disk else self
        if self.on_disk:  # a permutation of all of them might not fit into memory
            drawn = np.random.default_rng(seed).choice(len(self), n, replace=False, shuffle=False)
            return Events(*self.take(torch.from_numpy(drawn).sort().values))
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return Events(*self.take(order[:n].sort().values))

    def fingerprint(self) -> str:
        """A short text that tells other data apart: of their number, type and some of them."""
        index = torch.linspace(0, len(self) - 1, min(len(self), 1000)).long()
        x, context = self.take(index)
        digest = hashlib.sha256(f"{len(self)} {x.dtype} {tuple(x.shape[1:])}".encode())
        for part in (x, context):
            if part is not None:
                digest.update(part.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def training_events(flow: Model, data: Any, context: Any) -> tuple[Events | Stream, Events]:
    """Training and validation events.

    Files bring or get a test part, which stays untouched; of an array a tenth is held out for
    validation, and of a stream its first events. A set too small to hold anything out validates
    on its training events.

    Raises:
        InputError: the data are not what the flow is over.
    """
    if is_stream(data):
        if flow.labels:
            raise InputError(
                f"{flow.name} learns labels, which it takes from a data set or beside an array, "
                f"not from a stream: fit(model, x, context=labels)."
            )
        if context is not None:
            raise InputError("a stream brings its context itself: let it give pairs (x, context).")
        stream = Stream(flow, data)
        return stream, Events(*stream.held_out)
    if isinstance(data, Dataset):
        dataset = data
    else:
        is_file = isinstance(data, str) or hasattr(data, "__fspath__")
        fractions = (0.1, 0.1) if is_file else (0.1, 0.0)
        if context is not None or flow.context:
            return _beside(flow, data, context)
        # An array may be integers in any clothing; a file knows its own levels.
        levels = None if is_file else flow.levels
        keep: dict[str, Any] = {"missing": "keep"} if flow.takes_missing else {}
        dataset = open_data(data, fractions=fractions, levels=levels, **keep)
    _check_given(flow, dataset)
    if dataset.shape != flow.shape:
        raise InputError(
            f"{flow.name} cannot learn {dataset.name}, whose events have shape {dataset.shape}; "
            f"build the flow for that shape."
        )
    if dataset.levels != flow.levels and dataset.levels is not None:
        raise InputError(
            f"{dataset.name} has integers of {dataset.levels} levels, but {flow.name} is built "
            f"{'for real numbers' if flow.levels is None else f'for {flow.levels}'}; build it with "
            f"levels={dataset.levels}."
        )
    if len(dataset.train) == 0:
        raise InputError(f"{dataset.name} has no training events.")
    held_out = "validation" if len(dataset.validation) else "train"
    splits, beside = dataset.splits(), _beside_of(flow, dataset)
    train, validation = (
        _checked(flow, splits[name], beside.get(name)) for name in ("train", held_out)
    )
    return train, validation


def events_wanted(flow: Model) -> int:
    """How many training events a model is shown before the first step."""
    wanted = [getattr(part, "wants_events", 0) for part in flow.modules()]
    return max(1_000 if len(flow.shape) == 3 else 10_000, *wanted)


def _check_given(flow: Model, dataset: Dataset) -> None:
    """Raise `InputError` unless the data set brings the context that the flow takes."""
    width = 0 if dataset.given is None else dataset.given.width
    if flow.context == width:
        return
    if dataset.given is None:
        raise InputError(
            f"{flow.name} is conditional: pass fit(flow, x, context=c) with arrays of equal "
            f"length, or open the data with open_data(source, given=[...])."
        )
    raise InputError(
        f"{dataset.name} gives {', '.join(dataset.given.names)} as a context of {width:,} numbers, "
        f"but {flow.name} takes {flow.context or 'none'}; build it with context={width}."
    )


def _beside_of(flow: Model, dataset: Dataset) -> dict[str, Any]:
    """What lies beside the events of each split: a context, labels to be learned, or nothing."""
    if not flow.labels:
        return dataset.context or {}
    if not dataset.labels:
        raise InputError(
            f"{flow.name} learns labels, but {dataset.name} has none. Labels come from a folder a "
            f"class, a column named label, or fit(model, x, context=labels)."
        )
    return dataset.labels


def _beside(flow: Model, data: Any, context: Any) -> tuple[Events, Events]:
    both = _checked(flow, data, context)
    order = torch.randperm(len(both), generator=torch.Generator().manual_seed(0))
    held_out = max(1, len(both) // 10)
    if len(both) < 2:
        what = "labels" if flow.labels else "a context"
        raise InputError(f"fit needs at least 2 events beside {what}; got {len(both)}.")
    return Events(*both.take(order[held_out:])), Events(*both.take(order[:held_out]))


def _checked(flow: Model, x: Any, context: Any) -> Events:
    if flow.labels:
        context = check_labels(context, name=flow.name, classes=flow.labels, rows=len(x))
    if isinstance(x, np.memmap):  # checked when written
        if not flow.labels:
            context = check_context(context, name=flow.name, size=flow.context, rows=len(x))
        return Events(x, context)
    x = check_events(
        x, name=flow.name, shape=flow.shape, levels=flow.levels, missing=flow.takes_missing
    )
    if not flow.labels:
        context = check_context(context, name=flow.name, size=flow.context, rows=len(x))
    events = Events(*with_something(flow, x, context))
    if len(x) and not len(events):
        raise InputError(f"each of the {len(x):,} rows for {flow.name} lacks every value.")
    return events
