"""Models by name: presets to create, families to rebuild from a saved configuration."""

from __future__ import annotations

import difflib
import fnmatch
from typing import Any

from ..errors import InputError
from ..model import Model
from . import (
    course,
    flowpp,
    gan,
    glow,
    gmm,
    irevnet,
    jet,
    maf,
    nice,
    nsf,
    planar,
    realnvp,
    realnvp_paper,
    revnet,
    vae,
)
from .family import Family, Preset
from .settings import checked

__all__ = ["FAMILIES", "PRESETS", "create", "list_models", "rebuild"]

_MODULES = (
    course,
    flowpp,
    gan,
    glow,
    gmm,
    irevnet,
    jet,
    maf,
    nice,
    nsf,
    planar,
    realnvp,
    realnvp_paper,
    revnet,
    vae,
)
"""Where families are defined: each module has its FAMILIES and its PRESETS."""

PRESETS: dict[str, Preset] = {
    name: preset for module in _MODULES for name, preset in module.PRESETS.items()
}

FAMILIES: dict[str, Family] = {
    family.config.family: family for module in _MODULES for family in module.FAMILIES
}


def list_models(pattern: str = "*") -> list[str]:
    """The names that ``create`` knows, among those that match a shell pattern.

    Example:
        >>> list_models("realnvp-image*")
        ['realnvp-imagenet32', 'realnvp-imagenet64']
    """
    return fnmatch.filter(sorted(PRESETS), pattern)


def create(name: str, **options: Any) -> Any:
    """Build a model by name; options override the preset's settings.

    Returns:
        a ``Flow``, or another ``Model`` such as a GAN where the name is of one.

    Raises:
        InputError: no such name (the nearest ones are given), or an option that it has not.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=3)
        hint = "list_models(), or on the command line pushforward models, has all names."
        if near:
            hint = f"did you mean {' or '.join(near)}?"
        raise InputError(f"there is no model named {name!r}; {hint}")
    merged = {**PRESETS[name].settings, **options}
    if "shape" not in merged:
        raise InputError(f"the model {name!r} needs a shape: create({name!r}, shape=(D,)).")
    return PRESETS[name].make(**merged)


def rebuild(family: str, values: dict[str, Any]) -> Model:
    """The untrained model of a saved configuration.

    Raises:
        InputError: a family or a setting that this version does not know.
    """
    if family not in FAMILIES:
        raise InputError(
            f"the model is a {family!r}, which this version does not know; it knows "
            f"{', '.join(FAMILIES)}. Update pushforward."
        )
    known = FAMILIES[family]
    return known.build(checked(known.config, values, f"the saved {family} configuration"))
