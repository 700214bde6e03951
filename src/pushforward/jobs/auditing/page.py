"""The page of an audit: what was found, groups, regions, drift; it needs nothing beside it."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...files import write_text
from ..figures import bare, bars, figure_html, histograms, label
from ..page import grid, page, section
from .audit import Audit
from .groups import Group, percent
from .regions import Region

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["column_rows", "group_rows", "region_rows", "test_rows", "write_audit"]

Array = np.ndarray[Any, np.dtype[Any]]

_DRAWN = 40
"""Groups in the picture."""


def write_audit(path: str | os.PathLike[str], result: Audit, command: str) -> Path:
    """Write the page and return its path.

    Args:
        path: of the page.
        result: made by ``audit`` in this process: it keeps the numbers to draw.
        command: what repeats it.

    Raises:
        InputError: it cannot be written.
    """
    beside = f" beside {result.reference}" if result.reference else ""
    title = f"Audit of {result.data}{beside}"
    mean = "" if result.log_prob is None else f", mean log p {result.log_prob:.4g} nats"
    intro = f"{result.events:,} events{mean}."
    found = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in result.findings)
    said = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in result.sentences)
    sections = [
        f'<header><h1>{html.escape(title)}</h1><p class="quiet">{intro}</p></header>',
        section("What stands out", f"<ul>{found}</ul>"),
        section("Drift", _drift(result)),
        section("Groups", _groups(result)),
        section("Regions, least likely first", _regions(result)),
        section("Log p of all events", "" if result.drift else _all_scores(result)),
        section("How to read it", f"<ul>{said}</ul>"),
        section("Repeat", f"<dl><dd><code>{html.escape(command)}</code></dd></dl>"),
    ]
    target = Path(path)
    write_text(target, page(title, sections, broad=True))
    return target


# Tables ----------------------------------------------------------------------------------------


def group_rows(groups: Iterable[Group]) -> tuple[Sequence[str], list[Sequence[str]]]:
    """The header and the rows of the table of groups; columns without any figure are left out."""
    header = (
        "group",
        "rows",
        "share",
        "expected",
        "mean log p (95 %)",
        "p",
        "stands out",
    )
    rows = [
        (
            group.name,
            f"{group.rows:,}",
            percent(group.share),
            "-" if group.expected is None else percent(group.expected),
            _mean(group),
            _p(group.p_value),
            group.finding,
        )
        for group in groups
    ]
    return _filled(header, rows)


def region_rows(regions: Iterable[Region]) -> tuple[Sequence[str], list[Sequence[str]]]:
    """The same of regions."""
    header = ("region", "rows", "share", "reference", "mean log p (95 %)", "p")
    rows = [
        (
            region.name,
            f"{region.rows:,}",
            percent(region.share),
            "-" if region.expected is None else percent(region.expected),
            _mean(region),
            _p(region.p_value),
        )
        for region in regions
    ]
    return _filled(header, rows)


def column_rows(result: Audit) -> tuple[Sequence[str], list[Sequence[str]]]:
    """The same of columns that drifted; at most 20."""
    header = ("column", "distance", "p", "AUC lost without", "change")
    assert result.drift is not None
    rows = [
        (c.name, f"{c.distance:.3f}", _p(c.p_value), f"{c.importance:.3f}", c.said)
        for c in result.drift.columns[:20]
    ]
    return header, list(rows)


def test_rows(result: Audit) -> tuple[Sequence[str], list[Sequence[str]]]:
    """The same of both tests for drift."""
    drift = result.drift
    assert drift is not None
    auc = f"AUC {drift.auc:.3f} ({drift.low:.3f} to {drift.high:.3f})"
    tests = [("by classifier", auc, _p(drift.p_classifier))]
    if drift.p_likelihood is not None:
        means = f"mean log p {drift.log_prob:.3f} and {drift.other_log_prob:.3f}"
        tests.insert(0, ("by likelihood", means, _p(drift.p_likelihood)))
    return ("drift", "found", "p"), list(tests)


def _filled(
    header: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[Sequence[str], list[Sequence[str]]]:
    kept = [i for i in range(len(header)) if any(row[i] not in ("-", "") for row in rows)]
    return [header[i] for i in kept], [[row[i] for i in kept] for row in rows]


def _mean(part: Group | Region) -> str:
    """The mean and the longer side of its interval."""
    if part.log_prob is None or part.high is None or part.low is None:
        return "-"
    side = max(part.high - part.log_prob, part.log_prob - part.low)
    return f"{part.log_prob:,.2f} ± {side:,.2f}"


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


# Sections --------------------------------------------------------------------------------------


def _groups(result: Audit) -> str:
    if not result.groups:
        return ""
    return _forest(result) + grid(*group_rows(result.groups), numbers=True)


def _regions(result: Audit) -> str:
    parts = []
    if result.regions:
        parts.append(grid(*region_rows(result.regions), numbers=True))
    if result.rare:
        parts.append(
            f"<p>Where {html.escape(result.reference or 'the reference')} has a larger share:</p>"
            + grid(*region_rows(result.rare), numbers=True)
        )
    return "".join(parts)


def _drift(result: Audit) -> str:
    if result.drift is None:
        return ""
    table = grid(*test_rows(result), numbers=True)
    return table + _drift_picture(result) + grid(*column_rows(result), numbers=True)


# Pictures --------------------------------------------------------------------------------------


def _forest(result: Audit) -> str:
    """Means with their intervals, beside the mean of all."""
    from matplotlib.figure import Figure

    drawn = [g for g in result.groups if g.low is not None][:_DRAWN]
    if not drawn or result.log_prob is None:
        return ""
    figure = Figure(figsize=(8.4, 0.9 + 0.27 * len(drawn)), layout="constrained")
    axes: Axes = figure.add_subplot()
    lows, highs = (np.array([getattr(g, end) for g in drawn]) for end in ("low", "high"))
    # An interval of three rows would flatten all others.
    width = np.median(highs - lows)
    least = min(g.log_prob for g in drawn if g.log_prob is not None) - 4 * width
    most = max(g.log_prob for g in drawn if g.log_prob is not None) + 4 * width
    for place, group in enumerate(drawn):
        assert group.log_prob is not None
        assert group.low is not None
        assert group.high is not None
        words = group.finding.split(", ")
        found = ("C3", "unlikely"), ("C2", "likely"), ("0.55", "tiny")
        colour = next((name for name, word in found if word in words), "C0")
        at = len(drawn) - 1 - place
        axes.plot([group.low, group.high], [at, at], color=colour, lw=1.6)
        axes.plot(group.log_prob, at, "o", color=colour, ms=5)
    axes.axvline(result.log_prob, color="0.5", lw=1, ls="--")
    axes.set_yticks(range(len(drawn)), [label(g.name, 44) for g in reversed(drawn)])
    axes.set_xlim(max(least, lows.min() - width / 4), min(most, highs.max() + width / 4))
    axes.set_xlabel("mean log p, nats", fontsize=8)
    bare(axes)
    return figure_html(
        figure,
        "Mean log p of each group with its interval",
        "Mean log p of each group with its 95 % interval; the dashed line is the mean of all. Red: "
        "less likely than the other rows, green: likelier, grey: too few rows to tell.",
    )


def _all_scores(result: Audit) -> str:
    from matplotlib.figure import Figure

    scores = result.pictures["log_prob"]
    if np.isfinite(scores).sum() < 2:
        return ""
    figure = Figure(figsize=(7.2, 2.4), layout="constrained")
    axes: Axes = figure.add_subplot()
    histograms(axes, {result.data: scores})
    axes.set_xlabel("log p, nats", fontsize=8)
    return figure_html(figure, "Histogram of log p", "The least likely rows lie at the left.")


def _drift_picture(result: Audit) -> str:
    from matplotlib.figure import Figure

    drift, known = result.drift, result.pictures
    assert drift is not None
    table = known["table"]
    columns = [c for c in drift.columns if c.p_value < 0.05][:3] or list(drift.columns[:2])
    scored = drift.log_prob is not None
    size = len(columns) + scored
    figure = Figure(figsize=(2.8 * size + 0.6, 2.5), layout="constrained")
    panels: list[Axes] = list(figure.subplots(1, size, squeeze=False).flat)
    names = label(result.data, 20), label(result.reference or "", 20)
    if names[0] == names[1]:
        names = names[0], "other"
    if scored:
        both = dict(zip(names, (known["log_prob"], known["other"]), strict=True))
        histograms(panels[0], both)
        panels[0].set_title("log p, nats", fontsize=9)
    for axes, column in zip(panels[scored:], columns, strict=True):
        i = table.names.index(column.name)
        pair = known["values"][:, i], known["other_values"][:, i]
        both, levels = dict(zip(names, pair, strict=True)), table.columns[i].levels
        if levels:
            bars(axes, both, levels)
        else:
            histograms(axes, both)
        axes.set_title(label(column.name), fontsize=9)
    panels[0].legend(frameon=False, fontsize=7)
    return figure_html(
        figure, "Both sets beside each other", "Log p under the model, and the columns behind it."
    )
