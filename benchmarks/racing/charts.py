"""The charts of the page: bars beside one another, and lines on logarithmic axes."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["bars", "lines"]


def bars(path: Path, title: str, cases: Sequence[Mapping[str, Any]]) -> None:
    """CPU time of each lane over ours, a group of bars for each case.

    Of two threads the wall time: that is what a second thread is for.
    """
    figure, axes = _figure(2.4 + 1.5 * len(cases), 4.2)
    names = [lane["name"] for lane in cases[0]["lanes"]]
    width = 0.86 / len(names)
    for index, name in enumerate(names):
        heights = [_over_ours(case, name) for case in cases]
        places = [number + (index - len(names) / 2 + 0.5) * width for number in range(len(cases))]
        floor = name.startswith("floor")
        colour = f"C{index % 10}"
        axes.bar(
            places,
            heights,
            width,
            label=name,
            color="none" if floor else colour,
            edgecolor=colour,
            hatch="///" if floor else None,
        )
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_xticks(range(len(cases)), [_label(case) for case in cases], fontsize=8)
    axes.set_ylabel("time, × pushforward")
    _finish(figure, axes, title, path)


def lines(path: Path, title: str, curves: Mapping[str, tuple[Sequence[float], Any]]) -> None:
    """Curves on logarithmic axes, each over its first value: ``name -> (sizes, values)``."""
    figure, axes = _figure(6.4, 4.6)
    furthest = 1.0
    for name, (sizes, values) in curves.items():
        if any(value is None or value <= 0 for value in values):
            continue
        grown = [size / sizes[0] for size in sizes]
        furthest = max(furthest, grown[-1])
        axes.plot(grown, [value / values[0] for value in values], marker="o", label=name)
    axes.plot([1, furthest], [1, furthest], color="grey", linestyle=":", label="linear")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xlabel("size, × the smallest")
    axes.set_ylabel("× that of the smallest")
    _finish(figure, axes, title, path)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _finish(figure: Any, axes: Any, title: str, path: Path) -> None:
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _over_ours(case: Mapping[str, Any], name: str) -> float:
    clock = "cpu" if case["threads"] == 1 else "wall"
    ours, lane = case["lanes"][0], next(one for one in case["lanes"] if one["name"] == name)
    if not lane[clock] or len(lane[clock]) != len(ours[clock]):
        return 0.0
    return statistics.median(a / b for a, b in zip(lane[clock], ours[clock], strict=True))


def _label(case: Mapping[str, Any]) -> str:
    told = "\n".join(f"{key} {value}" for key, value in case["case"].items() if key != "job")
    return f"{told}\n{case['threads']} thread(s)"
