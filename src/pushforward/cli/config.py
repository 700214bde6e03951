"""The settings of a training run: levels that override one another, each setting by its path.

A level is ``{"source": ..., "model": {...}, "fit": {...}, "data": {...}}`` with any part left out.
Everything is checked here before data are read; whatever is wrong is named by its whole path, as
one writes it after ``--set``: ``fit.lr``, ``model.couplings``.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field
from pydantic.dataclasses import dataclass as checked_dataclass

from ..errors import InputError
from ..models.family import Preset
from ..models.registry import PRESETS
from ..models.settings import settings
from ..training import FitConfig
from .kinds import read_kinds
from .options import CACHE
from .yaml_text import load_yaml

__all__ = [
    "DATA_FIELDS",
    "DataConfig",
    "Plan",
    "merge_fit",
    "plan",
    "read_config",
    "read_sets",
]

SECTIONS = ("model", "fit", "data")
LIMITS = ("epochs", "max_steps", "max_time")

Level = dict[str, Any]


@checked_dataclass(config=settings, kw_only=True)
class DataConfig:
    """How the source is read; the arguments of ``open_data``."""

    columns: tuple[str, ...] | None = None
    split_seed: int = Field(default=0, ge=0)
    fractions: Annotated[tuple[float, ...], Field(min_length=2, max_length=2)] = (0.1, 0.1)
    size: int | None = Field(default=None, ge=1)
    levels: int | None = Field(default=None, ge=2)
    crop: Literal["centre", "random"] = "centre"
    max_unreadable: int | None = Field(default=100, ge=0)
    cache: Literal["auto", "always", "never"] = "auto"
    kinds: dict[str, Literal["number", "integer", "category", "boolean", "date"]] | None = None
    missing: Literal["auto", "observed", "drop"] = "auto"
    given: tuple[str, ...] | None = None

    def arguments(self) -> dict[str, Any]:
        """As ``open_data`` takes them, for the numbers of a table alone."""
        said = dataclasses.asdict(self)
        del said["kinds"], said["missing"], said["given"]
        return {**said, "cache": CACHE[self.cache]}

    def learning(self) -> dict[str, Any]:
        """As ``open_to_learn`` takes them."""
        more = {"kinds": self.kinds, "missing": self.missing, "given": self.given}
        return {**self.arguments(), **more}


DATA_FIELDS = tuple(item.name for item in dataclasses.fields(DataConfig))


@dataclass(frozen=True)
class Plan:
    """What was asked of a run, all levels merged; what was left open is not in it."""

    source: str
    name: str
    model: dict[str, Any] = field(default_factory=dict)
    fit: dict[str, Any] = field(default_factory=dict)
    data: DataConfig = field(default_factory=DataConfig)


# Levels ----------------------------------------------------------------------------------------


def read_config(path: Path) -> Level:
    """Read a configuration file.

    Raises:
        InputError: it cannot be read, is not YAML, or has a part that is not a section.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InputError(f"cannot read the configuration {path}: {reason}.") from None
    content = load_yaml(text, str(path))
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no settings; write sections such as 'fit: {{lr: 3e-4}}'.")
    # An empty section, all of it commented out, reads as None.
    return {
        key: {} if value is None and key in SECTIONS else value for key, value in content.items()
    }


def read_sets(items: Sequence[str]) -> Level:
    """Read ``--set section.key=value`` options; a value is YAML.

    Raises:
        InputError: no path or no value in one of them.
    """
    level: Level = {}
    for item in items:
        path, equals, text = item.partition("=")
        path = path.strip()
        if not equals or not path:
            raise InputError(f"--set takes a setting and its value, as fit.lr=3e-4; got {item!r}.")
        value = load_yaml(text, f"--set {path}")
        section, dot, key = path.partition(".")
        if not dot:
            level[path] = value
        else:
            settings_of = level.setdefault(section, {})
            if not isinstance(settings_of, dict):
                raise InputError(f"--set gives both {section} and {path}; give {path} alone.")
            settings_of[key] = value
    return level


def plan(levels: Sequence[Level], seed: int | None = None) -> Plan:
    """Merge levels, the first being the weakest, and check every setting.

    A ``seed`` overrides that of the training and that of the model's first weights.

    Raises:
        InputError: an unknown setting or a bad value, by its path; no source; no such model.
    """
    merged = _merged(levels)
    source, model, fit, data = (merged[key] for key in ("source", *SECTIONS))
    name = model.pop("name", "realnvp")
    preset = _preset(name)
    for level in levels:  # each by itself: a weaker limit is dropped, but not what is wrong in it
        given = level.get("fit", {})
        _check("fit", {str(key): value for key, value in given.items()}, FitConfig, preset)
    if seed is not None:
        fit["seed"] = seed
        if "seed" in _known("model", preset):
            model["seed"] = seed
    _check("fit", fit, FitConfig, preset)
    _check("model", {"shape": (1,), **model}, preset.config, preset)
    reading = _reading(data, preset)
    if model.get("context"):
        raise InputError(
            "model.context follows from what is given: leave it out and say --given with columns "
            "of the table, or --given label for images."
        )
    if source is None:
        raise InputError(
            "no source was given; give a built-in name, a file or a folder, such as "
            "pushforward train digits."
        )
    if not isinstance(source, str):
        raise InputError(f"source = {source!r} will not do: it is a name or a path.")
    return Plan(source, name, model, fit, reading)


def _merged(levels: Sequence[Level]) -> Level:
    """One level with every section, of the strongest settings."""
    merged: Level = {"source": None, **{section: {} for section in SECTIONS}}
    for level in levels:
        for key, value in level.items():
            if key not in merged:
                within = next(iter(value), None) if isinstance(value, Mapping) else None
                raise _unknown(str(key) if within is None else f"{key}.{within}")
            if key == "source":
                merged[key] = value
                continue
            if not isinstance(value, Mapping):
                raise InputError(
                    f"{key} = {value!r} will not do: {key} is a section, with settings such as "
                    f"{key}.{_known(key, None)[0]}."
                )
            values = {str(name): item for name, item in value.items()}
            merged[key] = merge_fit(merged[key], values) if key == "fit" else merged[key] | values
    return merged


def merge_fit(weaker: Mapping[str, Any], stronger: Mapping[str, Any]) -> dict[str, Any]:
    """Merge settings of ``fit``; a limit of the stronger level replaces all limits of the weaker.

    Otherwise a recommended minute would end a run for which a hundred epochs were asked.
    """
    if any(limit in stronger for limit in LIMITS):
        weaker = {key: value for key, value in weaker.items() if key not in LIMITS}
    return {**weaker, **stronger}


# Checks ----------------------------------------------------------------------------------------


def _preset(name: Any) -> Preset:
    if isinstance(name, str) and name in PRESETS:
        return PRESETS[name]
    near = difflib.get_close_matches(str(name), PRESETS, n=1)
    hint = f"did you mean {near[0]}?" if near else "pushforward models lists them all."
    raise InputError(f"model.name = {name!r} is not a model; {hint}")


def _reading(data: Mapping[str, Any], preset: Preset) -> DataConfig:
    """The settings of reading data, in which lists may also be texts with commas."""
    data = dict(data)
    for name in ("columns", "given"):
        columns = data.get(name)
        if isinstance(columns, str):
            data[name] = [column.strip() for column in columns.split(",") if column.strip()]
        elif isinstance(columns, list):
            data[name] = [str(column) for column in columns]
    kinds = data.get("kinds")
    if isinstance(kinds, str):
        data["kinds"] = read_kinds(kinds, "data.kinds")
    fractions = data.get("fractions")
    if isinstance(fractions, str):
        data["fractions"] = fractions.split(",")
        if len(data["fractions"]) != 2:
            raise InputError(
                f"data.fractions = {fractions!r} will not do: give the shares of validation and "
                f"test, as 0.1,0.1."
            )
    checked: DataConfig = _check("data", data, DataConfig, preset)
    return checked


def _check(section: str, values: Mapping[str, Any], config: type[Any], preset: Preset) -> Any:
    """Build ``config`` from ``values``, with the section's name in front of what is wrong."""
    names = [item.name for item in dataclasses.fields(config)]
    for key in values:
        if key not in names and not (section == "model" and key == "shape"):
            raise _unknown(f"{section}.{key}", preset)
    try:
        return config(**{key: value for key, value in values.items() if key in names})
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        path = ".".join([section, *(str(part) for part in first["loc"])])
        message = first["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        raise InputError(f"{path} = {first['input']!r} will not do: {message}.") from None


def _known(section: str, preset: Preset | None) -> list[str]:
    """The settings of a section, for messages."""
    model = (preset or PRESETS["realnvp"]).config
    config = {"fit": FitConfig, "data": DataConfig, "model": model}[section]
    names = [item.name for item in dataclasses.fields(config)]
    return ["name", *names] if section == "model" else names


def _unknown(path: str, preset: Preset | None = None) -> InputError:
    """The error of a path that leads nowhere, with the nearest one that does."""
    known = {f"{part}.{key}": key for part in SECTIONS for key in _known(part, preset)}
    last = path.rpartition(".")[2]
    same = [full for full, key in known.items() if key == last]
    near = difflib.get_close_matches(path, [*known, *SECTIONS, "source"], n=1)
    section = path.partition(".")[0]
    meant = difflib.get_close_matches(section, SECTIONS, n=1)
    if meant and section not in SECTIONS:
        hint = f"did you mean {meant[0]}{f'.{last}' if f'{meant[0]}.{last}' in known else ''}?"
    elif same or near:
        hint = f"did you mean {(same or near)[0]}?"
    elif section in SECTIONS:
        hint = f"{section} has {', '.join(_known(section, preset))}."
    else:
        hint = "the sections are model, fit and data, beside source."
    return InputError(f"{path} is not a setting; {hint}")
