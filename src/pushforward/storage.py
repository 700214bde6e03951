"""A saved model is a directory: weights as safetensors, configuration as JSON, a card to read.

Nothing in it is code and nothing is unpickled, so loading runs nothing. Every file is written
aside and renamed. The rename of ``config.json`` is the moment at which a new save counts: it
holds the checksum of its weights, which by then lie complete in ``model.safetensors.new`` and are
renamed after it. Whenever a save is cut short, the directory loads as it was before or after.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from . import __version__
from .errors import InputError
from .files import sync_folder, write_bytes, write_text
from .flow import Flow
from .models.registry import family_of, rebuild

__all__ = ["FORMAT", "load", "save_flow"]

FORMAT = 1
"""Version of the directory's layout. A higher one is from a newer pushforward."""

_WEIGHTS, _CONFIG, _CARD = "model.safetensors", "config.json", "README.md"


def save_flow(flow: Flow, directory: str | os.PathLike[str]) -> None:
    """Write ``flow`` to ``directory``, over a model that lies there; other files stay.

    Raises:
        InputError: the flow cannot be described by a configuration, something else lies in the
            way, or the disk will not take it (a model that was there before still loads).
    """
    folder = Path(directory)
    family = family_of(flow)
    _refuse_foreign(folder)
    state = {key: value.detach().cpu().contiguous() for key, value in flow.state_dict().items()}
    weights = safetensors.torch.save(state)
    config: dict[str, Any] = {
        "format": FORMAT,
        "pushforward": __version__,
        "family": family,
        "config": asdict(flow.config),
        "dtype": str(flow.dtype).removeprefix("torch."),
        "facts": _json_safe(flow.facts),
        "weights": {"file": _WEIGHTS, "sha256": hashlib.sha256(weights).hexdigest()},
    }
    config["sha256"] = _digest(config)
    new = folder / f"{_WEIGHTS}.new"
    write_bytes(new, weights)
    write_text(folder / _CONFIG, json.dumps(config, indent=2))
    try:
        new.replace(folder / _WEIGHTS)
        sync_folder(folder)
    except OSError as error:
        raise InputError(
            f"saved {folder}, but could not rename {new.name} ({error.strerror}); the model loads "
            f"from it all the same."
        ) from error
    write_text(folder / _CARD, _card(flow, config))


def load(directory: str | os.PathLike[str], *, device: str = "cpu") -> Flow:
    """Read a flow that ``save`` wrote, in evaluation mode, with the very same log_prob.

    Args:
        directory: the model's directory.
        device: where to put it.

    Raises:
        InputError: no model there, or one that is cut short, altered, from a newer version, or
            not of this library; says which file and what to do.
    """
    folder = Path(directory)
    config = _read_config(folder)
    weights = _read_weights(folder, config)
    flow = rebuild(config["family"], config["config"])
    flow.to(getattr(torch, config["dtype"]))
    expected = flow.state_dict()
    for key in sorted(expected.keys() ^ weights.keys()):
        where = "misses" if key in expected else "has an unknown"
        raise InputError(f"{folder / _WEIGHTS} {where} tensor {key!r}; save the model again.")
    for key, value in expected.items():
        if value.shape != weights[key].shape or value.dtype != weights[key].dtype:
            raise InputError(
                f"{folder / _WEIGHTS}: tensor {key!r} is {tuple(weights[key].shape)} "
                f"{weights[key].dtype}, but the configuration makes it {tuple(value.shape)} "
                f"{value.dtype}; the two files do not belong together."
            )
    flow.load_state_dict(weights)
    flow.facts = config["facts"]
    return flow.to(device).eval()


# Reading ---------------------------------------------------------------------------------------


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / _CONFIG
    if not folder.exists():
        raise InputError(f"there is no model at {folder}: no such directory.")
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; a saved model is a directory with a {_CONFIG}.")
    if not path.exists():
        raise InputError(f"{folder} is not a saved model: it has no {_CONFIG}.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise InputError(
            f"{path} is cut short or damaged: it is not valid JSON. Copy or save the model again."
        ) from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}.") from None
    if not isinstance(config, dict) or not isinstance(config.get("format"), int):
        raise InputError(f"{folder} is not a pushforward model: its {_CONFIG} is of another kind.")
    if config["format"] > FORMAT:
        raise InputError(
            f"{folder} was saved by a newer pushforward ({config.get('pushforward', 'unknown')}, "
            f"format {config['format']}; this one reads up to {FORMAT}). Update pushforward."
        )
    given = config.pop("sha256", None)
    kinds = {"family": str, "config": dict, "dtype": str, "facts": dict, "weights": dict}
    whole = all(isinstance(config.get(key), kind) for key, kind in kinds.items())
    if not whole or given != _digest(config) or config["dtype"] not in ("float32", "float64"):
        raise InputError(
            f"{path} was altered after it was saved: its checksum does not agree. Restore it, or "
            f"save the model again."
        )
    return config


def _read_weights(folder: Path, config: dict[str, Any]) -> dict[str, torch.Tensor]:
    wanted = config["weights"].get("sha256")
    found = False
    # ".new" is there when the save was cut short between its last two renames.
    for path in (folder / _WEIGHTS, folder / f"{_WEIGHTS}.new"):
        try:
            content = path.read_bytes()
        except OSError:
            continue
        found = True
        if hashlib.sha256(content).hexdigest() == wanted:
            try:
                return safetensors.torch.load(content)
            except safetensors.SafetensorError as error:
                raise InputError(f"{path} cannot be read: {error}.") from None
    if not found:
        raise InputError(f"{folder} has no {_WEIGHTS}. Copy the whole directory of the model.")
    raise InputError(
        f"{folder / _WEIGHTS} is cut short or was altered: its checksum is not the one in "
        f"{_CONFIG}. Copy or save the model again."
    )


# Writing ---------------------------------------------------------------------------------------


def _refuse_foreign(folder: Path) -> None:
    """Do not write over somebody else's files of the same names."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"cannot save to {folder}: it is a file. Give a directory.")
    path = folder / _CONFIG
    if not path.exists():
        if (folder / _WEIGHTS).exists():
            raise InputError(
                f"{folder} holds a {_WEIGHTS} of something else. Choose another directory."
            )
        return
    try:
        own = "pushforward" in json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}.") from error
    except (ValueError, TypeError):
        own = False
    if not own:
        raise InputError(
            f"{path} is not of a pushforward model and would be overwritten. Choose another "
            f"directory."
        )


def _digest(config: dict[str, Any]) -> str:
    text = json.dumps(config, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _json_safe(value: Any) -> Any:
    """JSON knows no NaN and no infinity; they become null."""
    if isinstance(value, dict):
        return {str(key): _json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_safe(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _card(flow: Flow, config: dict[str, Any]) -> str:
    """The model card: what it is, what it learned from, how well, how to use it."""
    facts = config["facts"]
    count = sum(p.numel() for p in flow.parameters())
    kind = "images (C, H, W)" if len(flow.shape) == 3 else "rows"
    lines = [
        f"# {flow.name}",
        "",
        f"A normalizing flow over {kind} of shape {flow.shape}, {count:,} parameters, saved by "
        f"pushforward {__version__}.",
        "",
    ]
    if flow.levels is not None:
        lines += [
            f"Its values are integers 0 to {flow.levels - 1}. Likelihoods are in bits/dim: one "
            f"draw of uniform dequantisation, an upper bound on the bits that are needed.",
            "",
        ]
    else:
        lines += [
            "Log-densities are in nats. They may be positive: densities may exceed 1.",
            "",
        ]
    rows = [(key, value) for key, value in facts.items() if not isinstance(value, (dict, list))]
    for name, group in facts.items():
        if isinstance(group, dict):
            rows += [(f"{name}: {key}", value) for key, value in group.items()]
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
