"""From the plan of a run to its data and an untrained flow."""

from __future__ import annotations

from pathlib import Path

from ..checks import usable_device
from ..data import BUILT_IN, Dataset
from ..jobs.learning import open_to_learn
from ..jobs.prepared import Prepared, build
from .config import Plan

__all__ = ["is_path", "located", "prepare"]


def prepare(plan: Plan, dataset: Dataset | None = None) -> Prepared:
    """Open the data and build the model: recommended or the preset's settings, then the plan's.

    A ``dataset`` that has been opened already, as the plan says, is taken as it is.

    Raises:
        InputError: the source cannot be read, or the model does not fit what is in it.
    """
    if plan.fit.get("device") is not None:
        usable_device(plan.fit["device"])
    if dataset is None:
        dataset = open_to_learn(plan.source, plan.name, **plan.data.learning())
    return build(plan.name, dataset, plan.model, plan.fit)


def located(source: str) -> str:
    """The source as it is found from any folder: a path in full, a name as it is."""
    # Not resolved: a link to the newest version of a set is to stay one.
    return str(Path(source).expanduser().absolute()) if is_path(source) else source


def is_path(source: str) -> bool:
    """Whether it is a path or a glob, and no name of a set in pushforward or on the hub."""
    return not (_is_built_in(source) or source.lower().startswith("hf:") or "://" in source)


def _is_built_in(source: str) -> bool:
    return source.lower().replace("_", "-") in BUILT_IN
