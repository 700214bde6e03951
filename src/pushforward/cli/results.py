"""What a training run tells and leaves: a header, its settings, the measured model, a report."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

from .. import __version__
from ..data import Dataset
from ..files import write_text
from ..jobs import Classification, Evaluation, SampleDistance, measure
from ..jobs.environment import environment, peak_memory
from ..jobs.measuring import held_out
from ..jobs.run_folder import WRITTEN, newest_step
from ..models import load
from ..models.registry import PRESETS
from ..models.settings import checked
from ..training import FitConfig, Run, fit
from .config import Plan
from .output import number, pairs, paragraphs, say, shape_text, table
from .pages import write_pages
from .prepare import Prepared, located
from .yaml_text import dump_yaml

__all__ = ["announce", "conclude", "learn", "write_settings"]


def announce(prepared: Prepared, plan: Plan, folder: Path) -> dict[str, str]:
    """The header of a run: what is trained on what, and why with these settings."""
    dataset, flow = prepared.dataset, prepared.flow
    levels = "" if dataset.levels is None else f", {dataset.levels:,} levels"
    counts = ", ".join(f"{len(part):,} {name}" for name, part in dataset.splits().items())
    parameters = sum(p.numel() for p in flow.parameters())
    lines = {
        "data": f"{dataset.name}, {shape_text(dataset.shape)}{levels}: {counts}",
        "model": f"{plan.name}, {parameters:,} parameters",
    }
    if prepared.reason:
        lines["why"] = prepared.reason
    for index, note in enumerate(dataset.notes):
        lines["notes" if not index else " " * index] = note
    step = newest_step(folder)
    lines["folder"] = str(folder) + ("" if step is None else f", going on from step {step:,}")
    return lines


def write_settings(prepared: Prepared, plan: Plan, folder: Path) -> None:
    """Write ``config.yaml``: all settings of the run, so that later defaults do not change it."""
    model = asdict(prepared.flow.config)
    model.pop("context", None)
    model.pop("levels", None)  # they follow from the data
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
    flow = prepared.flow
    flow.facts = {
        "model": plan.name,
        "parameters": sum(p.numel() for p in flow.parameters()),
        "data": prepared.facts(plan),
        "environment": environment(prepared.fit.get("device")),
    }
    return fit(
        flow, prepared.dataset, progress=progress, folder=folder, resume=resume, **prepared.fit
    )


def conclude(folder: Path, dataset: Dataset, record: Run, quiet: bool) -> None:
    """Measure the best model as others will load it, draw and report; print the result."""
    best = folder / "best"
    if not (best / "config.json").exists():
        say(f"Nothing was learned yet; {folder} holds the settings of the run.")
        return
    memory = peak_memory()  # before anything is measured, which may take more
    saved = load(best, device=str(record.settings.get("device") or "cpu"))
    split, events = held_out(dataset)
    result = measure(saved, events, (dataset.labels or {}).get(split) if saved.labels else None)
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
    write_pages(folder, saved, None if dataset.kind == "images" else events)
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
