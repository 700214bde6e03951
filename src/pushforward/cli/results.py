"""What a training run tells and leaves: a header, the model with its facts, pictures, settings."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..data import Dataset
from ..files import write_text
from ..flow import Flow
from ..jobs import Evaluation, evaluate
from ..models import load
from ..models.registry import PRESETS
from ..models.settings import checked
from ..training import FitConfig, Run, fit
from .config import Plan
from .output import number, pairs, paragraphs, say, shape_text, table
from .prepare import Prepared
from .yaml_text import dump_yaml

__all__ = ["announce", "conclude", "loss_error"]

Array = np.ndarray[Any, np.dtype[Any]]


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
    lines["folder"] = str(folder)
    return lines


def conclude(prepared: Prepared, plan: Plan, folder: Path, quiet: bool) -> bool:
    """Train, save and measure; print the result. Returns whether training was interrupted."""
    flow, dataset = prepared.flow, prepared.dataset
    run = fit(flow, dataset, progress=not quiet, **prepared.fit)
    flow.facts = {
        "model": plan.name,
        "data": prepared.facts(plan),
        "fit": {key: value for key, value in run.settings.items() if value is not None},
        "metrics": _training_metrics(run),
    }
    # The weights first: whatever happens from here on, they are safe.
    flow.save(folder)
    run.save(folder / "history.jsonl")
    write_text(folder / "config.yaml", _settings(prepared, plan))
    run.plot(folder / "curves.png")
    # What is measured and drawn is the model as others will load it.
    saved = load(folder, device=str(flow.device))
    split, events = _held_out(dataset)
    result = evaluate(saved, events)
    measured = {split: result.loss, f"{split}_error": loss_error(result)}
    saved.facts["metrics"] |= measured | {f"{split}_events": result.events}
    saved.save(folder)
    _draw_samples(saved, dataset, folder / "samples.png")
    if not quiet:
        say()
    _print_loss(split, result)
    if quiet and result.loss < 0:  # otherwise fit has said so
        paragraphs(result.sentences)
    say()
    pairs(
        {
            "model": folder,
            "history": folder / "history.jsonl",
            "curves": folder / "curves.png",
            "samples": folder / "samples.png",
            "config": folder / "config.yaml",
        }
    )
    return run.stopped == "interrupted"


# Measures --------------------------------------------------------------------------------------


def loss_error(evaluation: Evaluation) -> float | None:
    """The standard error of the loss in its unit; None where there is none."""
    if evaluation.bits_per_dim is not None:
        return evaluation.bits_per_dim_error
    return evaluation.log_prob_error


def _held_out(dataset: Dataset) -> tuple[str, Array]:
    """The part that says most about the model, of those that hold anything."""
    splits = dataset.splits()
    name = next((name for name in ("test", "validation") if len(splits[name])), "train")
    return name, splits[name]


def _training_metrics(run: Run) -> dict[str, Any]:
    best, last = run.best, run.records[-1]
    return {
        "unit": run.unit,
        "validation": best["validation"],
        "best_step": best["step"],
        "steps": last["step"],
        "seconds": last["seconds"],
        "stopped": run.stopped,
    }


def _print_loss(name: str, result: Evaluation) -> None:
    error = loss_error(result)
    row = [
        name,
        f"{result.loss:.4f} {result.unit}",
        "-" if error is None else f"{number(error, 2)} {result.unit}",
        f"{result.events:,}",
    ]
    table(["", "loss", "standard error", "events"], [row])


# Files -----------------------------------------------------------------------------------------


def _settings(prepared: Prepared, plan: Plan) -> str:
    """The settings of the run, all of them, so that later defaults do not change it."""
    model = asdict(prepared.flow.config)
    model.pop("context", None)
    model.pop("levels", None)  # they follow from the data
    if "shape" not in PRESETS[plan.name].settings:
        model.pop("shape", None)
    settings = asdict(checked(FitConfig, prepared.fit, "fit"))
    lines = [f"# Written by pushforward {__version__}. Repeat the run by"]
    lines.append("#     pushforward train --config config.yaml")
    if settings["max_time"] is not None:
        lines.append("# Time is a limit here, so that the weights depend on the machine's speed.")
    content = {
        "source": plan.source,
        "model": {"name": plan.name, **model},
        "fit": settings,
        "data": asdict(plan.data),
    }
    return "\n".join(lines) + "\n" + dump_yaml(content)


def _draw_samples(flow: Flow, dataset: Dataset, path: Path) -> None:
    from ..pictures import image_grid, scatter_rows, write_png

    if dataset.kind == "images":
        write_png(path, image_grid(flow.sample(64, seed=0).cpu().numpy(), flow.levels))
        return
    rows = flow.sample(2000, seed=0).cpu().numpy()
    rows = rows[np.isfinite(rows).all(axis=1)]
    scatter_rows(path, rows, _held_out(dataset)[1], dataset.columns)
