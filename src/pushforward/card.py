"""The model card: what a saved model is, for a person who opens its directory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import __version__
from .data.schema import Schema

__all__ = ["model_card"]


def model_card(
    name: str,
    about: str,
    shape: tuple[int, ...],
    levels: int | None,
    parameters: int,
    facts: dict[str, Any],
    *,
    density: str = "exact",
    example: Sequence[str] = (),
) -> str:
    """A Markdown page: what it is, what it learned from, how well, how to use it."""
    kind = "images (C, H, W)" if len(shape) == 3 else "rows"
    lines = [
        f"# {name}",
        "",
        about,
        "",
        f"It is for {kind} of shape {shape}, has {parameters:,} parameters, and was saved by "
        f"pushforward {__version__}.",
        "",
    ]
    if levels is not None:
        lines += [f"Values are integers 0 to {levels - 1}.", ""]
    if density != "none" and levels is not None:
        bound = "" if density == "exact" else ": one draw of an upper bound on the bits needed"
        lines += [f"Likelihoods are in bits/dim{bound}.", ""]
    elif density != "none":
        lines += ["Log-densities are in nats. They may be positive: densities may exceed 1.", ""]
    rows = [(key, value) for key, value in facts.items() if not isinstance(value, (dict, list))]
    for group, values in facts.items():
        if isinstance(values, dict):
            told = {key: value for key, value in values.items() if not _nested(value)}
            rows += [(f"{group}: {key}", value) for key, value in told.items()]
    if rows:
        lines += ["| | |", "|---|---|"]
        lines += [f"| {key} | {_short(value)} |" for key, value in rows]
        lines.append("")
    lines += _columns(facts.get("data"))
    lines += [
        "```python",
        "import pushforward as pf",
        "",
        "model = pf.load('.')  # the path of this directory",
        *example,
        "```",
        "",
    ]
    return "\n".join(lines)


def _nested(value: Any) -> bool:
    """Whether it is for programs to read, as what columns hold is."""
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and isinstance(value[0], dict)
    )


def _columns(data: Any) -> list[str]:
    """A table of the columns that the model learned, where it knows what they hold."""
    content = data.get("schema") if isinstance(data, dict) else None
    if not content:
        return []
    told = Schema.from_json(content).describe()
    rows = [f"| {_short(c['name'])} | {_short(c['about'])} | {c['missing']:,} |" for c in told]
    return ["| column | holds | missing |", "|---|---|---|", *rows, ""]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")
