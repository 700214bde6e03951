"""From data to an untrained model that suits it, and what that model is to remember of them."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import BUILT_IN, Dataset, release
from ..errors import InputError
from ..flow import Flow
from ..models import create
from ..models.recommend import Recommendation
from ..models.registry import PRESETS
from .environment import environment

__all__ = ["Prepared", "build", "holds_missing", "takes", "takes_tables"]

LIMITS = ("epochs", "max_steps", "max_time")


@dataclass(frozen=True)
class Prepared:
    """What is about to be trained: data, a flow with its settings, the settings of ``fit``."""

    dataset: Dataset
    flow: Flow
    fit: dict[str, Any]
    reason: str

    def facts(self, source: Any, reading: Mapping[str, Any]) -> dict[str, Any]:
        """What a saved model remembers of its data: enough to read more of the same.

        Args:
            source: as it was given.
            reading: arguments of ``open_to_learn`` by which it was read.
        """
        dataset = self.dataset
        size, kinds = reading.get("size"), reading.get("kinds")
        built_in = isinstance(source, str) and source.lower().replace("_", "-") in BUILT_IN
        known: dict[str, Any] = {
            "name": dataset.name,
            "built_in": built_in,
            "kind": dataset.kind,
            "shape": list(dataset.shape),
            "levels": dataset.levels,
            "columns": None if dataset.columns is None else list(dataset.columns),
            "schema": None if dataset.schema is None else dataset.schema.to_json(),
            "kinds": dict(kinds) if kinds else None,
            "given": None if dataset.given is None else dataset.given.to_json(),
            "missing": "observed" if self.flow.takes_missing else None,
            "label_names": list(dataset.label_names or ()) or None,
            "counts": {split: len(values) for split, values in dataset.splits().items()},
            "size": size,
            "split_seed": reading.get("split_seed", 0),
            "fractions": list(reading.get("fractions", (0.1, 0.1))),
            "crop": reading.get("crop", "centre") if size is not None else None,
            "max_unreadable": reading.get("max_unreadable", 100),
            "notes": list(dataset.notes) or None,
        }
        return {key: value for key, value in known.items() if value is not None}

    def remember(self, name: str, source: Any, reading: Mapping[str, Any]) -> None:
        """Write into the flow's facts what is known before training."""
        self.flow.facts = {
            "model": name,
            "parameters": sum(p.numel() for p in self.flow.parameters()),
            "data": self.facts(source, reading),
            "environment": environment(self.fit.get("device")),
        }


def build(
    name: str, dataset: Dataset, model: Mapping[str, Any], training: Mapping[str, Any]
) -> Prepared:
    """Build the model: recommended or the preset's settings, then those that are given.

    Raises:
        InputError: the model does not fit the data.
    """
    preset = PRESETS[name]
    begin = Recommendation(preset.settings, dict(preset.training))
    if preset.recommend is not None:
        begin = preset.recommend(dataset)
    flow = create(name, **{**_of_the_data(name, dataset), **begin.model, **model})
    _check_fits(flow, dataset, name, shape_given="shape" in model)
    weaker = begin.training
    if any(limit in training for limit in LIMITS):  # one limit replaces all recommended ones
        weaker = {key: value for key, value in weaker.items() if key not in LIMITS}
    return Prepared(dataset, flow, {**weaker, **training}, begin.reason)


def takes(name: str, option: str) -> bool:
    """Whether the model ``name`` has a setting.

    Raises:
        InputError: there is no such model.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "list_models() has all names."
        raise InputError(f"there is no model named {name!r}; {hint}")
    return any(item.name == option for item in dataclasses.fields(PRESETS[name].config))


def takes_tables(name: str) -> bool:
    """Whether it is told what each column holds; the columns of a planar flow are another thing."""
    return takes(name, "columns") and takes(name, "missing")


def holds_missing(dataset: Dataset) -> bool:
    """Whether values are missing in the rows of a data set."""
    if dataset.kind != "rows" or not any(dataset.missing or (1,)):
        return False
    for values in dataset.splits().values():
        for start in range(0, len(values), 1 << 16):
            if np.isnan(values[start : start + (1 << 16)]).any():
                return True
        release(values)
    return False


def _of_the_data(name: str, dataset: Dataset) -> dict[str, Any]:
    """The options that follow from the data, where the model has them."""
    options: dict[str, Any] = {"shape": dataset.shape, "levels": dataset.levels}
    if dataset.labels:
        options["labels"] = _classes(dataset)
    if (
        dataset.schema is not None
        and takes_tables(name)
        and any(map(_particular, dataset.schema.specs()))
    ):
        options["columns"] = tuple(dataset.schema.specs())
    if dataset.given is not None:
        options["context"] = dataset.given.width
    if takes(name, "missing") and holds_missing(dataset):
        options["missing"] = True
    if dataset.levels is None and len(PRESETS[name].settings.get("shape", ())) == 3:
        del options["levels"]  # rows for a model of images: the shape is what to complain of
    return {key: value for key, value in options.items() if takes(name, key)}


def _particular(spec: Mapping[str, Any]) -> bool:
    """Whether a column is more than a plain number."""
    return spec["kind"] != "number" or spec["transform"] != "none"


def _classes(dataset: Dataset) -> int:
    """How many classes the labels tell apart: as many as have names, or up to the highest."""
    parts = (dataset.labels or {}).values()  # others than integers are for fit to complain of
    found = [int(part.max()) + 1 for part in parts if len(part) and part.dtype.kind in "iub"]
    return max(2, len(dataset.label_names or ()), *found)


def _check_fits(flow: Flow, dataset: Dataset, name: str, *, shape_given: bool) -> None:
    if flow.shape != dataset.shape:
        way = "leave model.shape out"
        if not shape_given:
            way = "use --model realnvp"
            if len(flow.shape) == len(dataset.shape):
                way = f"set model.shape=[{','.join(map(str, dataset.shape))}], or {way}"
            if dataset.kind == "images" and flow.shape[0] == dataset.shape[0]:
                way = f"read image files with --size {flow.shape[1]}, {way}"
        raise InputError(
            f"{name} is for events of shape {flow.shape}, but those of {dataset.name} have "
            f"shape {dataset.shape}; {way}."
        )
    if flow.levels != dataset.levels:
        own = "real numbers" if flow.levels is None else f"integers of {flow.levels:,} levels"
        theirs = "real numbers" if dataset.levels is None else f"{dataset.levels:,} levels"
        settable = any(item.name == "levels" for item in dataclasses.fields(flow.config))
        way = "leave model.levels and data.levels out" if settable else "use another model"
        raise InputError(f"{name} is for {own}, but {dataset.name} has {theirs}; {way}.")
