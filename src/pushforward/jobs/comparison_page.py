"""What a comparison leaves: a table, curves, samples side by side, and one page with all of it."""

from __future__ import annotations

import html
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data import Dataset
from ..files import write_text, writing
from ..pictures import image_grid
from .comparison import Comparison, Entry
from .environment import environment
from .measuring import held_out
from .page import embedded, grid, page, pairs_table, section

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["NAMES", "write_comparison"]

NAMES = ("compare.json", "compare.md", "curves.png", "samples.png", "compare.html")


def write_comparison(
    folder: Path, comparison: Comparison, dataset: Dataset, command: str
) -> dict[str, Path]:
    """Write ``compare.json``, ``compare.md``, ``curves.png``, ``samples.png``, ``compare.html``.

    Args:
        folder: where; the runs of the models lie in it.
        comparison: what was measured.
        dataset: the data, which are drawn beside the samples.
        command: what repeats it.

    Returns:
        name -> the file.
    """
    paths = {name: folder / name for name in NAMES}
    content = {**comparison.to_dict(), "command": command, "environment": environment()}
    write_text(paths["compare.json"], json.dumps(content, indent=1, allow_nan=False) + "\n")
    write_text(paths["compare.md"], comparison.markdown())
    _draw_curves(paths["curves.png"], comparison)
    _draw_samples(paths["samples.png"], comparison, dataset)
    write_text(paths["compare.html"], _page(paths, comparison, command))
    return paths


# Curves ----------------------------------------------------------------------------------------


def _draw_curves(path: Path, comparison: Comparison) -> None:
    """The lowest validation loss so far over training time, where losses can be compared."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes: Axes = figure.add_subplot()
    shown = [e for e in comparison.entries if e.records and e.unit == comparison.unit]
    late: list[float] = []
    for index, entry in enumerate(shown):
        seconds = [record.get("seconds", math.nan) for record in entry.records]
        # What a run keeps; a search for a mixture besides goes up and down by its nature.
        losses = np.fmin.accumulate([record["validation"] for record in entry.records])
        # A single validation is a point, which a line would not show.
        marker = "o" if len(losses) < 50 else None
        axes.plot(seconds, losses, marker=marker, ms=3, color=f"C{index}", label=entry.name)
        late += losses[len(losses) // 10 :].tolist()
    ends = [value for value in late if math.isfinite(value)]
    if ends:
        least = [entry.records[-1]["validation"] for entry in shown]
        last = [value for value in least if math.isfinite(value)]
        low, high = min(ends), max([*last, float(np.quantile(ends, 0.97))])
        margin = 0.06 * (high - low) or max(0.05 * abs(high), 0.01)
        axes.set_ylim(low - margin, high + margin)
        axes.set_xlim(left=0)
        axes.legend(frameon=False)
    else:
        axes.text(0.5, 0.5, "no model has a loss to draw", ha="center", transform=axes.transAxes)
    axes.set(xlabel="seconds of training", ylabel=f"validation loss ({comparison.unit})")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92")
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=120)


# Samples ---------------------------------------------------------------------------------------


def _draw_samples(path: Path, comparison: Comparison, dataset: Dataset) -> None:
    """A panel for the data and one for each model that draws."""
    from matplotlib.figure import Figure

    _, events = held_out(dataset)
    images = len(comparison.shape) == 3
    drawn = [entry for entry in comparison.entries if entry.samples is not None]
    across = min(4, len(drawn) + 1)
    down = math.ceil((len(drawn) + 1) / across)
    side = 2.9
    figure = Figure(figsize=(side * across, (side + 0.3) * down), layout="constrained")
    panels: list[Axes] = list(figure.subplots(down, across, squeeze=False).flat)
    draw = _image_panel if images else _row_panel
    for axes in panels:
        axes.set_visible(False)
    some = np.linspace(0, len(events) - 1, min(len(events), 36 if images else 2000)).astype(int)
    real = np.asarray(events[some])
    window = None if images else _window(real)
    draw(panels[0], real, comparison.levels, window)
    panels[0].set_title("data", fontsize=10)
    for axes, entry in zip(panels[1:], drawn, strict=False):
        assert entry.samples is not None
        draw(axes, entry.samples, comparison.levels, window)
        axes.set_title(_caption(entry, comparison.unit), fontsize=10)
    if not images and dataset.columns is not None:
        first, *others = dataset.columns
        said = f"{others[0]} over {first}" if others else first
        if hidden := len(others) - 1 if others else 0:
            said += f"; {hidden} more column{'s are' if hidden > 1 else ' is'} not shown"
        figure.supxlabel(said.replace("$", r"\$"), fontsize=9)
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=130)


def _image_panel(axes: Axes, images: Any, levels: int | None, window: Any) -> None:
    axes.set_visible(True)
    axes.set_axis_off()
    axes.imshow(image_grid(images[:36], levels, columns=6), interpolation="nearest")


def _row_panel(axes: Axes, rows: Any, levels: int | None, window: Any) -> None:
    axes.set_visible(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=7)
    (left, right), across = window[0], rows[:, 0]
    if rows.shape[1] == 1:
        bins = int(np.clip(2 * len(across) ** (1 / 3), 8, 40))
        axes.hist(across[np.isfinite(across)], bins=bins, range=(left, right), density=True)
        return
    axes.plot(across, rows[:, 1], ".", ms=2.5, mew=0, alpha=0.5)
    axes.set_xlim(left, right)
    axes.set_ylim(*window[1])


def _window(rows: Any) -> list[tuple[float, float]]:
    """Where the data lie, extremes left out: the same for all panels."""
    windows = []
    for column in rows[:, :2].T.astype(float):
        low, high = np.quantile(column, [0.002, 0.998])
        margin = 0.08 * (high - low) or 1.0
        windows.append((float(low - margin), float(high + margin)))
    return windows


def _caption(entry: Entry, unit: str) -> str:
    if entry.loss is None or entry.unit != unit:
        return entry.name
    return f"{entry.name}, {entry.loss:.3f} {unit}"


# The page --------------------------------------------------------------------------------------


def _page(paths: dict[str, Path], comparison: Comparison, command: str) -> str:
    best = comparison.entries[0]
    title = f"Models of {comparison.data}"
    lines = [f"<h1>{html.escape(title)}</h1>"]
    if best.loss is not None and not best.failed:
        lines.append(
            f'<p class="headline">{best.loss:,.3f} <small>{comparison.unit} by '
            f"{html.escape(best.name)}, the best of {len(comparison.entries)}</small></p>"
        )
    runs = {e.name: f"{e.folder.name}/report.html" for e in comparison.entries if not e.failed}
    links = "".join(
        f'<li><a href="{html.escape(link)}">{html.escape(name)}</a></li>'
        for name, link in runs.items()
        if (paths["compare.html"].parent / link).exists()
    )
    said = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in comparison.sentences)
    sections = [
        f"<header>{''.join(lines)}</header>",
        section(
            f"{comparison.events:,} {comparison.split} events",
            grid(comparison.header, comparison.rows()),
        ),
        section("How to read it", f"<ul>{said}</ul>"),
        section(
            "Samples",
            embedded(
                paths["samples.png"], "Samples of each model", "Drawn with seed 0, not chosen."
            ),
        ),
        section(
            "Learning",
            embedded(
                paths["curves.png"],
                "Validation loss of each model over time",
                "The lowest validation loss so far, of the weights that are kept, over training "
                "time; a single point where there was time for one validation.",
            ),
        ),
        section("Each by itself", f"<ul>{links}</ul>" if links else ""),
        section("Repeat", f"<dl><dd><code>{html.escape(command)}</code></dd></dl>"),
        section(
            "Environment",
            pairs_table(
                {key.capitalize(): value for key, value in environment().items()}
                | {"Threads": str(comparison.threads)}
            ),
        ),
    ]
    return page(title, sections, broad=True)
