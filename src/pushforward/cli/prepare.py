"""From the plan of a run to its data and an untrained flow."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checks import usable_device
from ..data import BUILT_IN, Dataset, open_data
from ..errors import InputError
from ..flow import Flow
from ..models import create
from ..models.recommend import Recommendation
from ..models.registry import PRESETS
from .config import Plan, merge_fit

__all__ = ["Prepared", "is_path", "located", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """What a run is about to train: data, a flow with its settings, the settings of ``fit``."""

    dataset: Dataset
    flow: Flow
    fit: dict[str, Any]
    reason: str

    def facts(self, plan: Plan) -> dict[str, Any]:
        """What a saved model remembers of its data: enough to read more of the same."""
        dataset = self.dataset
        known: dict[str, Any] = {
            "name": dataset.name,
            "built_in": _is_built_in(plan.source),
            "kind": dataset.kind,
            "shape": list(dataset.shape),
            "levels": dataset.levels,
            "columns": None if dataset.columns is None else list(dataset.columns),
            "label_names": list(dataset.label_names or ()) or None,
            "counts": {split: len(values) for split, values in dataset.splits().items()},
            "size": plan.data.size,
            "split_seed": plan.data.split_seed,
            "fractions": list(plan.data.fractions),
            "crop": plan.data.crop if plan.data.size is not None else None,
            "max_unreadable": plan.data.max_unreadable,
            "notes": list(dataset.notes) or None,
        }
        return {key: value for key, value in known.items() if value is not None}


def prepare(plan: Plan, dataset: Dataset | None = None) -> Prepared:
    """Open the data and build the model: recommended or the preset's settings, then the plan's.

    A ``dataset`` that has been opened already, as the plan says, is taken as it is.

    Raises:
        InputError: the source cannot be read, or the model does not fit what is in it.
    """
    if plan.fit.get("device") is not None:
        usable_device(plan.fit["device"])
    if dataset is None:
        dataset = open_data(plan.source, **plan.data.arguments())
    preset = PRESETS[plan.name]
    begin = Recommendation(preset.settings, dict(preset.training))
    if preset.recommend is not None:
        begin = preset.recommend(dataset)
    options = {**_of_the_data(plan, dataset), **begin.model, **plan.model}
    flow = create(plan.name, **options)
    _check_fits(flow, dataset, plan)
    return Prepared(dataset, flow, merge_fit(begin.training, plan.fit), begin.reason)


def located(source: str) -> str:
    """The source as it is found from any folder: a path in full, a name as it is."""
    # Not resolved: a link to the newest version of a set is to stay one.
    return str(Path(source).expanduser().absolute()) if is_path(source) else source


def is_path(source: str) -> bool:
    """Whether it is a path or a glob, and no name of a set in pushforward or on the hub."""
    return not (_is_built_in(source) or source.lower().startswith("hf:") or "://" in source)


def _is_built_in(source: str) -> bool:
    return source.lower().replace("_", "-") in BUILT_IN


def _of_the_data(plan: Plan, dataset: Dataset) -> dict[str, Any]:
    """The options that follow from the data, where the model has them."""
    names = {item.name for item in dataclasses.fields(PRESETS[plan.name].config)}
    options: dict[str, Any] = {"shape": dataset.shape, "levels": dataset.levels}
    if dataset.labels:
        options["labels"] = _classes(dataset)
    if dataset.levels is None and len(PRESETS[plan.name].settings.get("shape", ())) == 3:
        del options["levels"]  # rows for a model of images: the shape is what to complain of
    return {key: value for key, value in options.items() if key in names}


def _classes(dataset: Dataset) -> int:
    """How many classes the labels tell apart: as many as have names, or up to the highest."""
    parts = (dataset.labels or {}).values()  # others than integers are for fit to complain of
    found = [int(part.max()) + 1 for part in parts if len(part) and part.dtype.kind in "iub"]
    return max(2, len(dataset.label_names or ()), *found)


def _check_fits(flow: Flow, dataset: Dataset, plan: Plan) -> None:
    if flow.shape != dataset.shape:
        way = "leave model.shape out"
        if "shape" not in plan.model:
            way = "use --model realnvp"
            if len(flow.shape) == len(dataset.shape):
                way = f"set model.shape=[{','.join(map(str, dataset.shape))}], or {way}"
            if dataset.kind == "images" and flow.shape[0] == dataset.shape[0]:
                way = f"read image files with --size {flow.shape[1]}, {way}"
        raise InputError(
            f"{plan.name} is for events of shape {flow.shape}, but those of {dataset.name} have "
            f"shape {dataset.shape}; {way}."
        )
    if flow.levels != dataset.levels:
        own = "real numbers" if flow.levels is None else f"integers of {flow.levels:,} levels"
        theirs = "real numbers" if dataset.levels is None else f"{dataset.levels:,} levels"
        settable = any(item.name == "levels" for item in dataclasses.fields(flow.config))
        way = "leave model.levels and data.levels out" if settable else "use another model"
        raise InputError(f"{plan.name} is for {own}, but {dataset.name} has {theirs}; {way}.")
