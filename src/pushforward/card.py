"""The model card: what a saved model is, for a person who opens its directory."""

from __future__ import annotations

from typing import Any

from . import __version__

__all__ = ["model_card"]


def model_card(
    name: str,
    shape: tuple[int, ...],
    levels: int | None,
    parameters: int,
    facts: dict[str, Any],
) -> str:
    """A Markdown page: what it is, what it learned from, how well, how to use it."""
    kind = "images (C, H, W)" if len(shape) == 3 else "rows"
    lines = [
        f"# {name}",
        "",
        f"A normalizing flow over {kind} of shape {shape}, {parameters:,} parameters, saved by "
        f"pushforward {__version__}.",
        "",
    ]
    if levels is not None:
        lines += [
            f"Its values are integers 0 to {levels - 1}. Likelihoods are in bits/dim: one draw of "
            f"uniform dequantisation, an upper bound on the bits that are needed.",
            "",
        ]
    else:
        lines += ["Log-densities are in nats. They may be positive: densities may exceed 1.", ""]
    rows = [(key, value) for key, value in facts.items() if not isinstance(value, (dict, list))]
    for group, values in facts.items():
        if isinstance(values, dict):
            rows += [(f"{group}: {key}", value) for key, value in values.items()]
    if rows:
        lines += ["| | |", "|---|---|"]
        lines += [f"| {key} | {_short(value)} |" for key, value in rows]
        lines.append("")
    lines += [
        "```python",
        "import pushforward as pf",
        "",
        "flow = pf.load('.')  # the path of this directory",
        "flow.log_prob(x)",
        "flow.sample(16, seed=0)",
        "```",
        "",
    ]
    return "\n".join(lines)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")
