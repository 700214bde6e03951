"""What the workloads found, as tables, charts and one page."""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from report import Report, environment, table

from . import images, rows
from .growth import slope
from .rounds import Timed, ratio, spread

__all__ = ["growth_body", "memory_body", "race_body", "timed_table", "write_page", "write_report"]

JAX = ("flowjax", "jax", "equinox")
ORDER = (
    *("rows-train", "rows-log_prob", "rows-sample"),
    *("images-train", "images-log_prob", "images-sample", "memory", "growth"),
)
TITLES = {
    "rows-train": "Rows: one training step",
    "rows-log_prob": "Rows: log_prob",
    "rows-sample": "Rows: sampling",
    "images-train": "Images: one training step",
    "images-log_prob": "Images: log_prob",
    "images-sample": "Images: sampling",
    "memory": "Memory of a training step",
    "growth": "How time and memory grow",
}


def write_report(
    out: Path, workload: str, body: str, figures: dict[str, Any], threads: Sequence[int], load: str
) -> Report:
    """Save ``speed-<workload>.md`` and ``.json``; returns the report."""
    about = environment()
    for name in JAX:
        try:
            about["versions"][name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    about["threads"] = " and ".join(str(n) for n in threads)
    about["processor"] = f"{about['processor']}, {os.cpu_count()} cores, load {load} at the start"
    report = Report(f"speed-{workload}", TITLES[workload], body, figures, about)
    report.save(out)
    return report


def write_page(out: Path, page: Path) -> None:
    """``RESULTS.md`` from every speed report that there is: the newest run of each workload."""
    parts = [
        "# Speed and memory beside other libraries\n\n"
        "Made by `make bench`; how it is measured is in [README.md](README.md). How good the "
        "densities are stands in `results/` ([moons](results/moons.md), "
        "[inverse](results/inverse.md), [sharp](results/sharp.md), [power](results/power.md), "
        "[digits](results/digits.md)).\n\n"
        "Times are medians of interleaved rounds. *× pushforward* is a lane's time over ours in "
        "the same round: 2.0 is twice as long. *Spread* is the distance between the quartiles, "
        "in percent of the median. A floor is the same matrix products and convolutions alone; its "
        "parameters are those of the products. On a busy machine trust the CPU time: wall time "
        "counts what others do.\n"
    ]
    verdict = out / "reached.md"  # written by hand: what was wanted, what came of it, why
    if verdict.exists():
        parts.append(verdict.read_text(encoding="utf-8"))
    for workload in ORDER:
        path = out / f"speed-{workload}.json"
        if not path.exists():
            continue
        saved = json.loads(path.read_text(encoding="utf-8"))
        about = saved["environment"]
        versions = ", ".join(f"{name} {text}" for name, text in about["versions"].items())
        parts.append(f"## {saved['title']}\n\n{saved['body']}\n")
        if (out / f"speed-{workload}.png").exists():
            parts.append(f"![{saved['title']}](results/speed-{workload}.png)\n")
        parts.append(
            f"{about['date']}; {about['processor']}; {about['threads']} thread(s); Python "
            f"{about['python']}; {versions}.\n"
        )
    if (out / "profile.md").exists():
        parts.append("#" + (out / "profile.md").read_text(encoding="utf-8"))
    page.write_text("\n".join(parts), encoding="utf-8")


def race_body(cases: Sequence[dict[str, Any]]) -> str:
    """A table for each case and number of threads, and what the lanes are."""
    parts = []
    for case in cases:
        parts.append(f"### {_told(case['case'])}, {case['threads']} thread(s)\n")
        parts.append(timed_table([_timed(lane) for lane in case["lanes"]]) + "\n")
    notes = images.NOTES if "model" in cases[0]["case"] else rows.NOTES
    named = {lane["name"] for lane in cases[0]["lanes"]}
    parts += [f"- {name}: {note}" for name, note in notes.items() if name in named]
    return "\n".join(parts)


def _told(case: Mapping[str, Any]) -> str:
    """``D = 63, 1,024 rows``; the job stands in the title."""
    words = {"dims": "D = {}", "rows": "{} rows", "model": "{}", "batch": "batch {}"}
    told = [words.get(k, f"{k} {{}}").format(_shown(v)) for k, v in case.items() if k != "job"]
    return ", ".join(told)


def timed_table(lanes: Sequence[Timed]) -> str:
    """CPU and wall milliseconds of each lane, and both over those of the first."""
    ours = lanes[0]
    head = (
        *("", "parameters", "CPU, ms", "least", "spread"),
        *("wall, ms", "× pushforward, CPU", "× pushforward, wall"),
    )
    lines = []
    for lane in lanes:
        if lane.error or not lane.cpu:
            lines.append([lane.name, "-", "failed", *["-"] * 5])
            continue
        line = [
            lane.name,
            f"{lane.parameters:,}",
            _ms(statistics.median(lane.cpu)),
            _ms(min(lane.cpu)),
            f"{100 * spread(lane.cpu):.0f} %",
            _ms(statistics.median(lane.wall)),
        ]
        same = len(ours.cpu) == len(lane.cpu)
        line.append(f"{ratio(lane.cpu, ours.cpu):.2f}" if same else "-")
        line.append(f"{ratio(lane.wall, ours.wall):.2f}" if same else "-")
        lines.append(line)
    failed = [f"\n{lane.name} failed: {lane.error}" for lane in lanes if lane.error]
    return "\n".join([table(head, lines), *failed])


def memory_body(cases: Sequence[dict[str, Any]]) -> str:
    """Megabytes of each lane at each depth, and how often ours with constant memory."""
    depths = [case["case"]["couplings"] for case in cases]
    found = {
        lane["name"]: [_megabytes(case, lane["name"]) for case in cases]
        for lane in cases[0]["lanes"]
    }
    deepest = found.get("pushforward, constant", [None])[-1]
    lines = []
    for name, values in found.items():
        last = values[-1]
        lines.append(
            [
                name,
                *("failed" if v is None else f"{v:,.0f}" for v in values),
                f"{last / deepest:.1f}" if last and deepest else "-",
                _slope_text(depths, values),
            ]
        )
    head = ["peak, MB", *(f"{d} couplings" for d in depths), "× constant, deepest", "slope"]
    case = cases[0]["case"]
    return (
        f"Of a training step of {case['rows']:,} rows, D = {case['dims']}: the peak over what the "
        f"process held before (weights, gradients, averages of Adam), in a fresh process whose "
        f"allocator returns large blocks at once. Slope 1 is linear in depth, 0 is constant.\n\n"
        + table(head, lines)
    )


def growth_body(axes: Sequence[dict[str, Any]]) -> str:
    """Slopes of time and memory for each axis, and the figures behind them."""
    lines, detail = [], []
    for axis in axes:
        sizes = axis["sizes"]
        values = (axis["seconds"], axis["megabytes"])
        lines.append(
            [axis["name"], f"{sizes[0]:,} to {sizes[-1]:,}"]
            + [text for v in values for text in (_slope_text(sizes, v), _slope_text(sizes, v, 2))]
        )
        rows_of = [
            [f"{n:,}", "failed" if s is None else _ms(s), "failed" if m is None else f"{m:,.1f}"]
            for n, s, m in zip(sizes, *values, strict=True)
        ]
        detail.append(
            f"### {axis['name']}\n\n{axis['about']}; CPU time of one thread.\n\n"
            + table([axis["name"], "CPU, ms", "peak, MB"], rows_of)
        )
    head = ("", "sizes", "time: slope", "last doubling", "memory: slope", "last doubling")
    return (
        "Slopes on a log-log plot, ours alone: 1 is linear, 0 is constant. Linear is the promise; "
        "less is a fixed share that has not yet been outgrown.\n\n"
        + "\n\n".join([table(head, lines), *detail])
    )


def _timed(lane: Mapping[str, Any]) -> Timed:
    names = ("name", "parameters", "note", "cpu", "wall", "error")
    return Timed(**{name: lane[name] for name in names})


def _slope_text(
    sizes: Sequence[float], values: Sequence[float | None], last: int | None = None
) -> str:
    kept = [(n, v) for n, v in zip(sizes, values, strict=True) if v is not None and v > 0]
    if len(kept) < len(sizes):
        return "-"
    kept = kept[-last:] if last else kept
    found = slope([n for n, _ in kept], [v for _, v in kept])
    return "-" if math.isnan(found) else f"{found:.2f}"


def _megabytes(case: Mapping[str, Any], name: str) -> float | None:
    return next(lane["megabytes"] for lane in case["lanes"] if lane["name"] == name)


def _ms(seconds: float) -> str:
    value = 1000 * seconds
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
