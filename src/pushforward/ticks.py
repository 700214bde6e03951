"""Names of categories and days of the calendar along the axes of a picture of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axis import Axis

    from .data.schema import Column

__all__ = ["mark", "plain"]

MOST = 6
"""Names along an axis, for which it has room; of more, some from all over."""


def mark(axis: Axis, column: Column) -> None:
    """Write along the axis what its numbers stand for; of plain numbers leave it as it is."""
    if column.kind == "date":
        from matplotlib.ticker import FuncFormatter, MaxNLocator

        axis.set_major_locator(MaxNLocator(nbins=3, integer=True))
        axis.set_major_formatter(FuncFormatter(_day))
        longest = len("2024-05-31")
    else:
        words = column.categories or ("false", "true") * (column.kind == "boolean")
        if not words:
            return
        places = np.unique(np.linspace(0, len(words) - 1, min(len(words), MOST)).astype(int))
        names = [plain(words[place], 12) for place in places]
        limits = axis.get_view_interval()
        axis.set_ticks(places.tolist(), names)
        axis.set_view_interval(*limits, ignore=True)  # ticks had widened it
        longest = max(map(len, names)) * len(names) // 3
    if axis is axis.axes.xaxis and longest > 8:
        axis.set_tick_params(rotation=30)


def plain(name: str, longest: int = 24) -> str:
    """A name for matplotlib, which reads what lies between dollars as mathematics."""
    short = name if len(name) <= longest else f"{name[: longest - 1]}…"
    return short.replace("$", r"\$")


def _day(days: float, _: Any) -> str:
    """Days since 1970 as a date; empty where the calendar ends."""
    return str(np.datetime64(round(days), "D")) if abs(days) < 2_000_000 else ""
