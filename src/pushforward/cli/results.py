"""What a training run tells and leaves: a header, its settings, the measured model, a report."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from .. import __version__
from ..data import Dataset
from ..data.schema import Schema
from ..files import write_text
from ..jobs import Classification, Evaluation, SampleDistance, measure
from ..jobs.environment import peak_memory
from ..jobs.measuring import held_out
from ..jobs.prepared import Prepared
from ..jobs.run_folder import WRITTEN, newest_step
from ..models import load
from ..models.registry import PRESETS
from ..models.settings import checked
from ..training import FitConfig, Run, fit
from .config import Plan
from .output import number, pairs, paragraphs, say, shape_text, table
from .pages import write_pages
from .prepare import located
from .yaml_text import dump_yaml

__all__ = ["announce", "conclude", "learn", "write_settings"]

SHOWN = 24
"""Columns that the header of a run lists."""


def announce(prepared: Prepared, plan: Plan, folder: Path) -> dict[str, str]:
    """The header of a run: what is trained on what, and why with these settings."""
    dataset, flow = prepared.dataset, prepared.flow
    levels = "" if dataset.levels is None else f", {dataset.levels:,} levels"
    counts = ", ".join(f"{len(part):,} {name}" for name, part in dataset.splits().items())
    parameters = sum(p.numel() for p in flow.parameters())
    lines = {"data": f"{dataset.name}, {shape_text(dataset.shape)}{levels}: {counts}"}
    if dataset.schema is not None:
        lines["columns"] = "\n".join(_columns(dataset.schema))
    if dataset.given is not None:
        lines["given"] = "\n".join(_columns(dataset.given.schema))
    lines |= {
        "model": f"{plan.name}, {parameters:,} parameters",
    }
    if prepared.reason:
        lines["why"] = prepared.reason
    for index, note in enumerate(dataset.notes):
        lines["notes" if not index else " " * index] = note
    step = newest_step(folder)
    lines["folder"] = str(folder) + ("" if step is None else f", going on from step {step:,}")
    return lines


def _columns(schema: Schema) -> list[str]:
    """A line for each column with its kind; of many columns only how many there are of each."""
    told = schema.describe()
    if len(told) > SHOWN:
        kinds = Counter(column["kind"] for column in told)
        counts = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
        return [f"{counts}; pushforward data SOURCE lists them"]
    lines = []
    for column in told:
        lacks = f", {column['missing']:,} missing" if column["missing"] else ""
        lines.append(f"{column['name']}: {column['about']}{lacks}")
    return lines


def write_settings(prepared: Prepared, plan: Plan, folder: Path) -> None:
    """Write ``config.yaml``: all settings of the run, so that later defaults do not change it."""
    model = asdict(prepared.flow.config)
    for follows in ("context", "levels", "columns", "missing"):  # from the data
        model.pop(follows, None)
    if "shape" not in PRESETS[plan.name].settings:
        model.pop("shape", None)
    settings = asdict(checked(FitConfig, prepared.fit, "fit"))
    lines = [f"{WRITTEN} {__version__}. Repeat the run by"]
    lines.append("#     pushforward train --config config.yaml")
    if settings["max_time"] is not None:
        lines.append("# Time is a limit here, so that the weights depend on the machine's speed.")
    content = {
        "source": located(plan.source),
        "model": {"name": plan.name, **model},
        "fit": settings,
        "data": asdict(plan.data),
    }
    write_text(folder / "config.yaml", "\n".join(lines) + "\n" + dump_yaml(content))


def learn(prepared: Prepared, plan: Plan, folder: Path, *, resume: bool, progress: bool) -> Run:
    """Train; ``fit`` writes checkpoints, metrics and the best model with these facts."""
    prepared.remember(plan.name, plan.source, plan.data.learning())
    dataset = prepared.dataset
    options = {"progress": progress, "folder": folder, "resume": resume, **prepared.fit}
    return fit(prepared.flow, dataset, **options)


def conclude(folder: Path, dataset: Dataset, record: Run, quiet: bool) -> None:
    """Measure the best model as others will load it, draw and report; print the result."""
    best = folder / "best"
    if not (best / "config.json").exists():
        say(f"Nothing was learned yet; {folder} holds the settings of the run.")
        return
    memory = peak_memory()  # before anything is measured, which may take more
    saved = load(best, device=str(record.settings.get("device") or "cpu"))
    split, events = held_out(dataset)
    beside = (dataset.labels if saved.labels else dataset.context) or {}
    result = measure(saved, events, beside.get(split))
    saved.facts["metrics"] = {
        **saved.facts.get("metrics", {}),
        "steps": record.steps,  # fit wrote these with its last best weights
        "seconds": record.records[-1]["seconds"],
        "stopped": record.stopped,
        "peak_memory": memory,
        split: result.loss,
        f"{split}_error": result.loss_error,
        f"{split}_events": result.events,
    }
    if isinstance(result, Classification):
        saved.facts["metrics"][f"{split}_error_rate"] = result.error
    if record.events:
        saved.facts["events"] = list(record.events)
    saved.save(best)
    # All is written before anything is printed: the reader of a pipe may have gone.
    given = (dataset.context or {}).get(split)
    write_pages(folder, saved, None if dataset.kind == "images" else events, given)
    if not quiet:
        say()
    _print_loss(split, result)
    unsaid = quiet and result.loss < 0  # else fit has said it
    if not math.isfinite(result.loss) or unsaid or not isinstance(result, Evaluation):
        paragraphs(result.sentences)
    say()
    left = {"folder": folder, "model": best, "report": folder / "report.html"}
    if "sample" not in saved.refuses:
        left["samples"] = folder / "samples.png"
    pairs({**left, "settings": folder / "config.yaml"})


# Measures --------------------------------------------------------------------------------------


def _print_loss(name: str, result: Evaluation | Classification | SampleDistance) -> None:
    error = result.loss_error
    row = [
        name,
        f"{result.loss:.4f} {result.unit}",
        "-" if error is None else f"{number(error, 2)} {result.unit}",
        f"{result.events:,}",
    ]
    heads = ["", "loss", "standard error", "events"]
    if isinstance(result, Classification):
        heads.append("wrong")
        row.append(f"{100 * result.error:.2f} %")
    table(heads, [row])
