"""The report of a run: one page with its results, its curve, its samples and how to repeat it."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..data.schema import Schema
from ..errors import InputError
from ..files import write_text
from ..training.history import best_of, read_metrics
from .curve import curve_svg
from .page import duration, embedded, hide_home, page, pairs_table, section
from .run_folder import resume_command, saved_facts, shell_path

__all__ = ["write_report"]

Facts = dict[str, Any]

_MEANINGS = {
    "bits/dim": "Bits per number that lossless coding by this model needs: fewer is better.",
    "nats/label": "What the right label costs: guessing among K classes at random, log K nats.",
    "sliced Wasserstein": "A distance between samples and events, no likelihood: less is better.",
}

_ANSWERED = {"nats/label": 2, "sliced Wasserstein": 3}
"""How many of the commands models answer that have no density; classifiers draw nothing either."""


def write_report(folder: str | os.PathLike[str]) -> Path:
    """Write ``report.html`` from what lies in the folder of a run, and return its path.

    The page needs nothing beside it: pictures are inside, there are no scripts and no links. It
    names no person and no machine, and paths in the home folder begin with ``~``. While the run
    goes on, it tells what is known so far.

    Raises:
        InputError: there is no such folder, or it cannot be written.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"there is no run at {folder}: no such folder.")
    facts = saved_facts(folder)
    records = read_metrics(folder / "metrics.jsonl")
    target = folder / "report.html"
    write_text(target, _page(folder, facts, records))
    return target


def _page(folder: Path, facts: Facts, records: list[dict[str, float]]) -> str:
    data, metrics = _dict(facts, "data"), _dict(facts, "metrics")
    unit = str(metrics.get("unit", ""))
    name = str(data.get("name", folder.resolve().name))
    title = f"{facts.get('model', 'A model')} on {name}"
    sections = [
        _headline(title, metrics, unit, records),
        section("Results", pairs_table(_results(facts, unit, records))),
        section("Training", _curve(records, unit)),
        section("Samples", _picture(folder / "samples.png", name)),
        section("Notes", _list(_remarks(facts))),
        section("Data", pairs_table(_data(data))),
        section("Repeat and go on", _commands(folder, unit)),
        section("Settings", _settings(folder)),
        section("Environment", pairs_table(_environment(facts))),
    ]
    return page(title, sections)


# Sections --------------------------------------------------------------------------------------


def _headline(title: str, metrics: Facts, unit: str, records: list[dict[str, float]]) -> str:
    """The title, the number that counts, and how far the run has come."""
    split = next((part for part in ("test", "validation", "train") if part in metrics), None)
    number, what = metrics.get(split) if split else None, split or "validation"
    if number is None:
        number = best_of(records).get("validation")
    stopped = metrics.get("stopped", "still training")
    state = f"Ended: {stopped}."
    if stopped == "still training":
        state = "Not ended yet, or cut short."
    lines = [f"<h1>{html.escape(title)}</h1>"]
    if isinstance(number, (int, float)):
        error = metrics.get(f"{split}_error")
        plus = f" <small>± {error:.2g}</small>" if isinstance(error, (int, float)) else ""
        lines.append(
            f'<p class="headline">{number:,.3f}{plus} <small>{html.escape(unit)}, {what} loss'
            f"</small></p>"
        )
    lines.append(f'<p class="quiet">{html.escape(state)} {_meaning(unit, number)}</p>')
    return f"<header>{''.join(lines)}</header>"


def _meaning(unit: str, number: Any) -> str:
    if unit != "nats":
        return _MEANINGS.get(unit, "")
    said = "Negative log-density in nats per event, in the units of the data: lower is better."
    if isinstance(number, (int, float)) and number < 0:
        said += " Below 0 is fine: a density, unlike a probability, may exceed 1."
    return said


def _results(facts: Facts, unit: str, records: list[dict[str, float]]) -> dict[str, str]:
    metrics, fit = _dict(facts, "metrics"), _dict(facts, "fit")
    best, last = best_of(records), records[-1] if records else {}
    rows: dict[str, str] = {}
    for split in ("test", "train"):
        if isinstance(metrics.get(split), (int, float)):
            error, events = metrics.get(f"{split}_error"), metrics.get(f"{split}_events")
            rows[f"{split.capitalize()} loss"] = (
                f"{metrics[split]:.4f}"
                + (f" ± {error:.2g}" if isinstance(error, (int, float)) else "")
                + f" {unit}"
                + (f", {events:,} events" if isinstance(events, int) else "")
            )
        if isinstance(metrics.get(f"{split}_error_rate"), (int, float)):
            rows[f"{split.capitalize()} error"] = f"{100 * metrics[f'{split}_error_rate']:.2f} %"
    validation = metrics.get("validation", best.get("validation"))
    if isinstance(validation, (int, float)):
        step = metrics.get("best_step", best.get("step"))
        at = f", best, at step {step:,}" if isinstance(step, int) else ""
        rows["Validation loss"] = f"{validation:.4f} {unit}{at}"
    if "train" in last and "Train loss" not in rows:
        rows["Training loss"] = f"{last['train']:.4f} {unit}, at the end"
    steps = metrics.get("steps", last.get("step"))
    if isinstance(steps, int):
        rows["Steps"] = f"{steps:,}"
    if "epoch" in last:
        rows["Epochs"] = f"{last['epoch']:,.4g}"
    seconds = metrics.get("seconds", last.get("seconds"))
    if isinstance(seconds, (int, float)):
        rows["Training time"] = duration(seconds)
    if "items_per_second" in last:
        rows["Speed"] = f"{last['items_per_second']:,.0f} events/s"
    if isinstance(facts.get("parameters"), int):
        rows["Parameters"] = f"{facts['parameters']:,}"
    if isinstance(fit.get("batch_size"), int):
        rows["Batch size"] = f"{fit['batch_size']:,}"
    return rows


def _curve(records: list[dict[str, float]], unit: str) -> str:
    svg = curve_svg(records, unit)
    if not svg:
        return "<p>Nothing has been measured yet.</p>"
    named = f"Loss in {html.escape(unit)}" if unit else "Loss"
    training = '<span class="key train">- - training</span>, '
    if not any("train" in record for record in records):  # a GAN's is of another kind
        training = ""
    return (
        f"<figure>{svg}<figcaption>{named}: {training}"
        f'<span class="key validation">— validation</span>, <span class="key best">● best'
        f"</span>, whose weights are kept.</figcaption></figure>"
    )


def _picture(path: Path, name: str) -> str:
    said = "Drawn from the model with seed 0, not chosen."
    return embedded(path, f"Samples of the model of {name}", said)


def _remarks(facts: Facts) -> list[str]:
    notes = _dict(facts, "data").get("notes")
    return [
        str(said)
        for said in (*(notes if isinstance(notes, list) else ()), *_sentences(facts, "events"))
    ]


def _data(data: Facts) -> dict[str, str]:
    counts = _dict(data, "counts")
    columns = data.get("columns")
    rows = {
        "Name": data.get("name"),
        "Kind": data.get("kind"),
        "Shape": " x ".join(map(str, data["shape"])) if isinstance(data.get("shape"), list) else "",
        "Levels": data.get("levels"),
        "Events": ", ".join(f"{n:,} {part}" for part, n in counts.items() if isinstance(n, int)),
        "Columns": ", ".join(map(str, columns)) if isinstance(columns, list) else "",
        "Kinds": _kinds(data.get("schema")),
    }
    return {key: str(value) for key, value in rows.items() if value not in (None, "")}


def _kinds(content: Any) -> str:
    """What the columns of a table hold, where that is known."""
    told = Schema.from_json(content).describe() if content else []
    return "; ".join(f"{column['name']}: {column['about']}" for column in told)


def _commands(folder: Path, unit: str) -> str:
    place = _without_home(folder)
    config = shell_path(place / "config.yaml")
    lines = [
        ("The same run once more", f"pushforward train --config {config}"),
        ("Go on with this one", resume_command(place)),
        ("Draw from it", f"pushforward sample {shell_path(place)} -o samples.png"),
        ("Check it", f"pushforward verify {shell_path(place)}"),
    ]
    lines = lines[: _ANSWERED.get(unit, len(lines))]
    items = (f"<dt>{what}</dt><dd><code>{html.escape(text)}</code></dd>" for what, text in lines)
    return f"<dl>{''.join(items)}</dl>"


def _settings(folder: Path) -> str:
    try:
        text = (folder / "config.yaml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return (
        f"<details><summary>config.yaml</summary><pre>{html.escape(hide_home(text))}</pre>"
        f"</details>"
    )


def _environment(facts: Facts) -> dict[str, str]:
    known = {key.capitalize(): str(value) for key, value in _dict(facts, "environment").items()}
    threads = _dict(facts, "fit").get("threads")
    return known | ({"Threads": str(threads)} if known and threads else {})


# Pieces ----------------------------------------------------------------------------------------


def _list(sentences: Iterable[str]) -> str:
    items = "".join(f"<li>{html.escape(hide_home(said))}</li>" for said in sentences)
    return f"<ul>{items}</ul>" if items else ""


def _dict(facts: Facts, key: str) -> Facts:
    value = facts.get(key)
    return value if isinstance(value, dict) else {}


def _sentences(facts: Facts, key: str) -> list[str]:
    value = facts.get(key)
    return [str(item) for item in value] if isinstance(value, list) else []


def _without_home(path: Path) -> Path:
    return Path(hide_home(str(path)))
