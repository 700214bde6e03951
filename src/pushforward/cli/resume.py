"""Going on with a run: which one, with which settings, and whether there is anything left to do."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..jobs.run_folder import WRITTEN, is_run, newest_step, resume_command, saved_facts
from ..models.registry import PRESETS
from ..training import FitConfig
from ..training.saving import MAY_DIFFER
from .config import LIMITS, Level, Plan, plan, read_config
from .prepare import is_path

__all__ = ["finished", "resumed_plan", "run_to_resume"]


def run_to_resume(out: Path | None, levels: Sequence[Level]) -> Path | None:
    """The folder of the run to go on with; None if there is none yet and a new one begins.

    Without ``out`` it is the newest run in ``runs/`` of the source that the levels give.

    Raises:
        InputError: ``out`` holds a model, but no run; or neither a folder nor a source was given.
    """
    if out is not None:
        if is_run(out):
            return out
        if (out / "config.yaml").exists() and (out / "checkpoints").is_dir():
            raise InputError(
                f"{out / 'config.yaml'} no longer begins with the line {WRITTEN!r} ..., by which a "
                f"run is known; put it back."
            )
        if (out / "config.json").exists() or (out / "best").exists():
            raise InputError(
                f"{out} holds a model, but no run to go on with: it has no config.yaml of "
                f"pushforward. Give another --out, or --force instead of --resume to replace it."
            )
        return None
    source = next((level["source"] for level in reversed(levels) if level.get("source")), None)
    if source is None:
        raise InputError(
            "--resume needs a run to go on with; give its folder, as in pushforward train --out "
            "runs/digits --resume, or the source."
        )
    runs = [folder for folder in Path("runs").glob("*") if is_run(folder)]
    of_source = [folder for folder in runs if _same_source(_source_of(folder), source)]
    return max(of_source, key=_last_written, default=None)


def resumed_plan(folder: Path, stronger: Sequence[Level], seed: int | None) -> Plan:
    """The settings of the run, in which only limits and the machine may be changed.

    Raises:
        InputError: another setting was given anew; says which, its old and its new value.
    """
    weakest = read_config(folder / "config.yaml")
    old = plan([weakest])
    for level in stronger:  # first: the settings of one model are unknown to another
        name = level.get("model", {}).get("name", old.name)
        if name != old.name:
            raise _changed(folder, "model.name", old.name, name)
    if all(_same_source(old.source, level.get("source", old.source)) for level in stronger):
        stronger = [{**level, "source": old.source} for level in stronger]
    new = plan([weakest, *stronger], seed)
    for path, before, after in _differences(old, new):
        if path == "source" and _has_gone(old.source):  # moved; fit holds their content together
            continue
        if path != "data.cache" and path.removeprefix("fit.") not in MAY_DIFFER:
            raise _changed(folder, path, before, after)
    return new


def finished(folder: Path, asked: Plan) -> tuple[str, str] | None:
    """If the run is complete, and no limit was changed: a sentence, and the command for more."""
    metrics = saved_facts(folder).get("metrics")
    if not isinstance(metrics, dict) or not _concluded(folder, metrics):
        return None
    stopped = metrics.get("stopped")
    if not stopped or stopped in ("still training", "interrupted", "terminated"):
        return None
    old = plan([read_config(folder / "config.yaml")])
    changed = {path for path, _, _ in _differences(old, asked)}
    if changed & {f"fit.{key}" for key in (*LIMITS, "patience")}:
        return None
    steps = metrics.get("steps")
    after = f" after {steps:,} steps" if isinstance(steps, int) else ""
    said = (
        f"The run in {folder} is finished{after} ({stopped}); its model stays as it is. To train "
        f"further, raise a limit, for example:"
    )
    return said, f"{resume_command(folder)} {_raised(asked.fit, stopped, steps)}"


def _concluded(folder: Path, metrics: dict[str, Any]) -> bool:
    """Whether the best model was measured, and the report drawn after that."""
    report, best = folder / "report.html", folder / "best" / "config.json"
    measured = any(key.endswith("_events") for key in metrics)
    return measured and report.exists() and report.stat().st_mtime >= best.stat().st_mtime


def _raised(fit: dict[str, Any], stopped: str, steps: Any) -> str:
    """The option that would let the run go on, doubled."""
    full = FitConfig(**fit)
    if "better" in stopped and full.patience is not None:
        return f"--patience {2 * full.patience}"
    if full.max_time is not None and "time" in stopped:
        return f"--max-time {2 * full.max_time:.0f}s"
    if full.epochs is not None and full.max_steps is None:
        return f"--epochs {2 * full.epochs:g}"
    return f"--max-steps {2 * steps if isinstance(steps, int) else 'MORE'}"


def _differences(old: Plan, new: Plan) -> Iterator[tuple[str, Any, Any]]:
    """The settings that differ: path, old value, new value."""
    if not _same_source(old.source, new.source):
        yield "source", old.source, new.source
    config = PRESETS[old.name].config
    shape = {"shape": (1,)}
    pairs: list[tuple[str, Any, Any]] = [
        ("model", config(**{**shape, **old.model}), config(**{**shape, **new.model})),
        ("fit", FitConfig(**old.fit), FitConfig(**new.fit)),
        ("data", old.data, new.data),
    ]
    for section, before, after in pairs:
        for item in dataclasses.fields(before):
            one, two = getattr(before, item.name), getattr(after, item.name)
            if one != two:
                yield f"{section}.{item.name}", one, two


def _changed(folder: Path, path: str, before: Any, after: Any) -> InputError:
    return InputError(
        f"{folder} was begun with {path} = {_shown(before)}; got {_shown(after)}. A run goes on "
        f"with its own settings, its limits excepted: leave it out, or start anew in another --out."
    )


def _shown(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _source_of(folder: Path) -> str | None:
    try:
        return str(read_config(folder / "config.yaml").get("source"))
    except InputError:
        return None


def _same_source(one: Any, two: Any) -> bool:
    """Whether two texts name the same source, however the path is written."""
    if one == two:
        return True
    if not isinstance(one, str) or not isinstance(two, str):
        return False
    if one.lower().replace("_", "-") == two.lower().replace("_", "-") and not Path(one).exists():
        return True
    return os.path.realpath(one) == os.path.realpath(two)


def _has_gone(source: str) -> bool:
    """Whether it is a file or a folder that is no longer there; of globs nobody knows."""
    return is_path(source) and not set(source) & set("*?[{") and not Path(source).exists()


def _last_written(folder: Path) -> tuple[float, int]:
    files = (folder / "config.yaml", folder / "metrics.jsonl")
    return max(file.stat().st_mtime for file in files if file.exists()), newest_step(folder) or 0
