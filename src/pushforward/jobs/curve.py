"""The curves of a run as an SVG that takes its colours from the page around it."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from ..training.history import best_of, loss_window

__all__ = ["curve_svg"]

WIDTH, HEIGHT = 560, 320
LEFT, RIGHT, TOP, BOTTOM = 58, 28, 14, 44
MOST = 500
"""Points of a line; of more only some are drawn, the last one always."""


def curve_svg(records: Sequence[dict[str, float]], unit: str) -> str:
    """Training and validation loss over steps; empty if there is no finite loss.

    Classes for the page to colour: ``axis``, ``grid``, ``train``, ``validation``, ``best``; the
    colours in the drawing itself are for viewers that do not apply the page's style to it.
    """
    window = loss_window(records)
    if window is None:
        return ""
    low, high = window
    first, last = records[0]["step"], records[-1]["step"]
    if first == last:
        first, last = 0, max(1, last)

    def place(step: float, loss: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * (step - first) / (last - first)
        return x, TOP + (HEIGHT - TOP - BOTTOM) * (high - loss) / (high - low)

    parts = []
    for tick in _ticks(low, high, 5):
        _, y = place(first, tick)
        ends = f'x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"'
        parts.append(f'<line class="grid" stroke="#ddd" {ends}/>')
        parts.append(_text(LEFT - 8, y + 4, _short(tick), "end"))
    for tick in _ticks(first, last, 4):
        x, _ = place(tick, low)
        parts.append(_text(x, HEIGHT - BOTTOM + 20, _short(tick), "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "step", "middle"))
    for name, style in (("train", '#8a8d96" stroke-dasharray="5 4'), ("validation", "#1f5fa8")):
        points = [(r["step"], r.get(name)) for r in _thinned(records)]
        shown = [place(s, v) for s, v in points if v is not None and math.isfinite(v)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in shown)
        parts.append(
            f'<polyline class="{name}" points="{line}" fill="none" stroke="{style}" '
            f'stroke-width="2" clip-path="url(#inside)"/>'
        )
    best = best_of(records)
    said = "Training and validation loss over steps."
    if best:
        x, y = place(best["step"], best["validation"])
        parts.append(f'<circle class="best" fill="#b3261e" cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
        said = (
            f"Training and validation loss over {records[-1]['step']:,} steps; the best validation "
            f"loss is {best['validation']:.4g} {unit} at step {best['step']:,}."
        )
    inside = (
        f'<clipPath id="inside"><rect x="{LEFT}" y="{TOP - 4}" width="{WIDTH - LEFT - RIGHT}" '
        f'height="{HEIGHT - TOP - BOTTOM + 8}"/></clipPath>'
    )
    return (
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(said)}"><defs>{inside}</defs>{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="axis" fill="#666" font-size="13" {place}>{text}</text>'


def _thinned(records: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    stride = math.ceil(len(records) / MOST)
    return [*records[: -1 : max(1, stride)], records[-1]]


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers within the interval, some ``about`` of them."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= 0.7 * rough)
    start = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - start + 1
    return [(start + index) * step for index in range(count)]


def _short(value: float) -> str:
    """``2.5``, ``10,000``, ``-0.002``; rounding noise goes."""
    value = float(f"{value:.6g}")
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"
