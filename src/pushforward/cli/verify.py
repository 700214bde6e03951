"""``verify`` and ``info``: whether a model can be trusted, and what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Device, Json, Model, Part, SomeData, Split

if TYPE_CHECKING:
    from ..flow import Flow

__all__ = ["info", "verify"]


def verify(
    model: Model,
    data: SomeData = None,
    split: Part = Split.all,
    all_layers: Annotated[
        bool, typer.Option("--all-layers", help="Show every layer, not those that stand out.")
    ] = False,
    json_file: Json = None,
    device: Device = None,
) -> None:
    """Check a model: inverse, log-determinants against autograd, stability, layer by layer.

    Example: pushforward verify runs/digits

    Example: pushforward verify runs/table table.csv --json verify.json

    Exit code 0 if every check passes (warnings are allowed), 1 if one fails. Without DATA it
    looks at the built-in set that the model learned, or at samples of the model.
    """
    from ..jobs import verify as check
    from .lacking import lacking_rows, without_lacking
    from .output import paragraphs, show, write_json
    from .reading import default_source, open_model, read

    flow = open_model(model, device, needs="verify")
    source = data or default_source(flow)
    x, left = None, 0
    if source is not None:
        # Layers are compared on whole rows: behind a gap there is nothing to come back to.
        x = read(flow, source, split, missing="keep" if flow.takes_missing else "raise")
        x, _, left = without_lacking(x, None, source)
    found = check(flow, x)
    content = {"model": str(model), "data": source, **found.to_dict()}
    if json_file is None or not write_json(json_file, content):
        show(found.table(all_layers=all_layers))
        if left:
            paragraphs(f"{lacking_rows(left, None)} no part in this.")
    if not found.ok:
        raise typer.Exit(1)


def info(
    model: Model,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Show what a saved model is: shape, size, layers, and what is known of its training.

    Example: pushforward info runs/digits
    """
    from ..flow import Flow
    from ..storage import model_folder
    from .layers import layer_tree
    from .output import pairs, say
    from .reading import open_model

    flow = open_model(model, conditional=True)
    saved = json.loads((model_folder(model) / "config.json").read_text(encoding="utf-8"))
    tree = layer_tree(flow)
    if as_json:
        say(json.dumps(_content(flow, saved, model, tree), indent=2, ensure_ascii=False))
        return
    pairs(_lines(flow, saved, model))
    for name, facts in flow.facts.items():
        if isinstance(facts, dict):
            say(f"\n{name}")
            pairs({f"  {key}": _fact(key, value) for key, value in facts.items()})
    say("\nlayers, from data to latent" if isinstance(flow, Flow) else "\nnetworks")
    for line in tree:
        say(f"  {line}")


def _content(flow: Flow, saved: dict[str, Any], model: Path, tree: list[str]) -> dict[str, Any]:
    return {
        "folder": str(model),
        "name": flow.name,
        "shape": list(flow.shape),
        "levels": flow.levels,
        "unit": flow.unit,
        "density": flow.density,
        "exact": flow.exact,
        "context": flow.context,
        "parameters": sum(p.numel() for p in flow.parameters()),
        "format": saved["format"],
        "pushforward": saved.get("pushforward"),
        "family": saved["family"],
        "dtype": saved["dtype"],
        "config": saved["config"],
        "facts": flow.facts,
        "layers": tree,
    }


def _lines(flow: Flow, saved: dict[str, Any], model: Path) -> dict[str, str]:
    from .output import shape_text

    values = "real numbers" if flow.levels is None else f"integers 0 to {flow.levels - 1}"
    if flow.density == "none":
        values += f"; no density, losses are in {flow.unit}"
    else:
        nats = flow.levels is None
        values += "; log_prob is a log-density in nats" if nats else "; losses are in bits/dim"
        values += "" if flow.exact else ", one draw of a bound"
    lines = {
        "folder": str(model),
        "family": saved["family"],
        "events": shape_text(flow.shape),
        "values": values,
        "parameters": f"{sum(p.numel() for p in flow.parameters()):,} ({saved['dtype']})",
        "format": f"{saved['format']}, saved by pushforward {saved.get('pushforward', 'unknown')}",
    }
    lines |= {
        key: _text(value)
        for key, value in flow.facts.items()
        if not isinstance(value, dict) and key != "parameters"
    }
    if flow.context:
        lines["context"] = f"{flow.context} numbers per event"
    return lines


def _fact(key: str, value: Any) -> str:
    """What columns hold as lines, every other fact as one."""
    if key != "schema":
        return _text(value)
    from ..data.schema import Schema

    return "\n".join(f"{c['name']}: {c['about']}" for c in Schema.from_json(value).describe())


def _text(value: Any) -> str:
    """A fact in a line: lists with commas, floats short, nothing as a dash."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items()) or "-"
    if isinstance(value, list):
        sentences = all(str(item).endswith(".") for item in value)
        return (" " if sentences else ", ").join(_text(item) for item in value) or "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
