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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from . import __version__
from .errors import InputError
from .files import sync_folder, write_bytes, write_text

__all__ = ["FORMAT", "Saved", "is_model", "model_folder", "read_model", "write_model"]

FORMAT = 1
"""Version of the directory's layout. A higher one is from a newer pushforward."""

_WEIGHTS, _CONFIG, _CARD = "model.safetensors", "config.json", "README.md"


@dataclass(frozen=True)
class Saved:
    """What a model's directory holds: enough to build the flow and to fill it."""

    family: str
    """Which configuration and builder it belongs to."""
    config: dict[str, Any]
    dtype: str
    """Of its weights: ``float32`` or ``float64``."""
    facts: dict[str, Any]
    """What is known of its training."""
    weights: dict[str, Tensor]


def write_model(directory: str | os.PathLike[str], saved: Saved, card: str) -> None:
    """Write a model and its card to ``directory``, over one that lies there; other files stay.

    Raises:
        InputError: something else lies in the way, or the disk will not take it (a model that
            was there before still loads).
    """
    folder = Path(directory)
    _refuse_foreign(folder)
    state = {key: value.detach().cpu().contiguous() for key, value in saved.weights.items()}
    weights = safetensors.torch.save(state)
    config: dict[str, Any] = {
        "format": FORMAT,
        "pushforward": __version__,
        "family": saved.family,
        "config": saved.config,
        "dtype": saved.dtype,
        "facts": _json_safe(saved.facts),
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
    write_text(folder / _CARD, card)


def read_model(directory: str | os.PathLike[str]) -> Saved:
    """Read what ``write_model`` wrote; of the folder of a run, its best model.

    Raises:
        InputError: no model there, or one that is cut short, altered, from a newer version, or
            not of this library; says which file and what to do.
    """
    folder = model_folder(directory)
    config = _read_config(folder)
    return Saved(
        config["family"],
        config["config"],
        config["dtype"],
        config["facts"],
        _read_weights(folder, config),
    )


def model_folder(directory: str | os.PathLike[str]) -> Path:
    """Where the model of ``directory`` lies: in it, or in ``best/`` of the folder of a run."""
    folder = Path(directory)
    best = folder / "best"
    if not (folder / _CONFIG).exists() and (best / _CONFIG).exists():
        return best
    return folder


def is_model(directory: str | os.PathLike[str]) -> bool:
    """Whether a saved model, or a run that has one, lies there; it need not be whole."""
    return (model_folder(directory) / _CONFIG).is_file()


# Reading ---------------------------------------------------------------------------------------


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / _CONFIG
    if not folder.exists():
        raise InputError(f"there is no model at {folder}: no such directory.")
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; a saved model is a directory with a {_CONFIG}.")
    if not path.exists():
        if (folder / "config.yaml").exists():
            raise InputError(
                f"{folder} is the folder of a run that has not saved a model yet; wait for its "
                f"first checkpoint."
            )
        raise InputError(f"{folder} is not a saved model: it has no {_CONFIG}.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise InputError(
            f"{path} is cut short or damaged: it is not valid JSON. Copy or save the model again."
        ) from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}.") from None
    if not isinstance(config, dict) or type(config.get("format")) is not int:
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


def _read_weights(folder: Path, config: dict[str, Any]) -> dict[str, Tensor]:
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
