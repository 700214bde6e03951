"""Figures within a page, and what they share."""

from __future__ import annotations

import base64
import html
import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["bare", "bars", "figure_html", "histograms", "label"]

Array = np.ndarray[Any, np.dtype[Any]]


def figure_html(figure: Figure, alt: str, caption: str) -> str:
    """A figure of matplotlib as part of a page that needs nothing beside it."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Names in scripts that the font lacks are drawn as boxes, which says enough.
        warnings.filterwarnings("ignore", r"Glyph .* missing from", UserWarning)
        figure.savefig(buffer, dpi=120, format="png")
    content = base64.b64encode(buffer.getvalue()).decode("ascii")
    return (
        f'<figure><img alt="{html.escape(alt)}" src="data:image/png;base64,{content}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def bare(axes: Axes) -> None:
    """Without the frame's upper and right side."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=7)


def label(text: str, longest: int = 26) -> str:
    """A name for matplotlib, which reads what lies between dollars as mathematics."""
    short = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return short.replace("$", r"\$")


def histograms(axes: Axes, samples: dict[str, Array], bins: int = 40) -> None:
    """Outlined histograms over one another; the outermost two hundredths are left out."""
    kept = {name: x[np.isfinite(x)] for name, x in samples.items()}
    everything = np.concatenate(list(kept.values())) if kept else np.empty(0)
    if not len(everything):
        return
    low, high = np.quantile(everything, [0.01, 0.99])
    margin = 0.03 * (high - low) or max(1e-6, 0.5 * abs(high))
    edges = np.linspace(low - margin, high + margin, bins + 1)
    for index, (name, x) in enumerate(kept.items()):
        counts, _ = np.histogram(x, edges)
        height = counts / max(1, len(x)) / (edges[1] - edges[0])
        axes.stairs(height, edges, color=f"C{index}", lw=1.4, label=name)
        if index == 0:
            axes.stairs(height, edges, fill=True, color="C0", alpha=0.2)
    axes.set_yticks([])
    bare(axes)


def bars(axes: Axes, samples: dict[str, Array], levels: tuple[str, ...]) -> None:
    """The shares of the commonest categories, of codes ``(N,)``, side by side."""
    shares = {
        name: np.bincount(codes[~np.isnan(codes)].astype(int), minlength=len(levels))
        / max(1, len(codes))
        for name, codes in samples.items()
    }
    order = np.argsort(-next(iter(shares.values())), kind="stable")[:8]
    for index, (name, share) in enumerate(shares.items()):
        at = np.arange(len(order)) + 0.4 * (index - 0.5)
        axes.bar(at, share[order], 0.4, color=f"C{index}", alpha=0.6, label=name)
    axes.set_xticks(np.arange(len(order)), [label(levels[i], 9) for i in order])
    bare(axes)
