"""Models by name: presets to create, families to rebuild from a saved configuration."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from ..flow import Flow
from .realnvp import RealNVP, RealNVPConfig, build_realnvp
from .realnvp_paper import RealNVPPaperConfig, build_realnvp_paper, realnvp_paper
from .settings import checked

__all__ = ["PRESETS", "Preset", "create", "list_models", "rebuild"]


@dataclass(frozen=True)
class Preset:
    """A named model: how to make it, what it is, and how its authors train it."""

    make: Callable[..., Flow]
    config: type[Any]
    """Its configuration: what can be set."""
    about: str
    settings: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


# The authors train by Adam at 1e-3 on batches of 64 and clip the gradient of the nats per image at
# 100; ``fit`` takes the loss in bits/dim, so the same clipping is 100 / (D ln 2). Their L2 of 5e-5,
# in nats as there, is on learned scales and magnitudes. All but ImageNet are mirrored at random.
def _paper(shape: tuple[int, int, int], about: str, **settings: Any) -> Preset:
    dims = shape[0] * shape[1] * shape[2]
    training = {
        "lr": 1e-3,
        "batch_size": 64,
        "clip": 100 / (dims * 0.6931471805599453),
        "schedule": "constant",
        "warmup": 0,
        "ema": 0.0,
        "l2": 5e-5,
        "flip": "ImageNet" not in about,
    }
    return Preset(realnvp_paper, RealNVPPaperConfig, about, {"shape": shape, **settings}, training)


PRESETS: dict[str, Preset] = {
    "realnvp": Preset(
        RealNVP, RealNVPConfig, "Real NVP of today for rows and images of any shape (give shape=)"
    ),
    "realnvp-cifar10": _paper(
        (3, 32, 32),
        "the paper's CIFAR-10 model, 19.6 M parameters; scales and maps as the paper",
        scales=2,
        width=64,
        blocks=8,
        average="running",
    ),
    "realnvp-imagenet32": _paper(
        (3, 32, 32),
        "the paper's ImageNet 32x32 model, 46.2 M parameters; as paper and code",
        scales=4,
        width=32,
        blocks=4,
    ),
    "realnvp-imagenet64": _paper(
        (3, 64, 64),
        "the paper's ImageNet 64x64 model; 2 residual blocks as the paper (code's README: 4)",
        scales=5,
        width=32,
        blocks=2,
    ),
    "realnvp-celeba": _paper(
        (3, 64, 64),
        "the paper's CelebA model; 2 residual blocks as the paper (code's README: 4)",
        scales=5,
        width=32,
        blocks=2,
    ),
    "realnvp-lsun": _paper(
        (3, 64, 64),
        "the paper's LSUN model; 2 residual blocks as the paper (code's README: 4)",
        scales=5,
        width=32,
        blocks=2,
    ),
}

_FAMILIES: dict[str, tuple[type[Any], Callable[[Any], Flow]]] = {
    RealNVPConfig.family: (RealNVPConfig, build_realnvp),
    RealNVPPaperConfig.family: (RealNVPPaperConfig, build_realnvp_paper),
}


def list_models(pattern: str = "*") -> list[str]:
    """The names that ``create`` knows, among those that match a shell pattern.

    Example:
        >>> list_models("realnvp-image*")
        ['realnvp-imagenet32', 'realnvp-imagenet64']
    """
    return fnmatch.filter(sorted(PRESETS), pattern)


def create(name: str, **options: Any) -> Flow:
    """Build a model by name; options override the preset's settings.

    Raises:
        InputError: no such name (the nearest ones are given), or an option that it has not.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(PRESETS)}."
        raise InputError(f"there is no model named {name!r}; {hint}")
    preset = PRESETS[name]
    merged = {**preset.settings, **options}
    if preset.make is RealNVP:
        if "shape" not in merged:
            raise InputError("the model 'realnvp' needs a shape: create('realnvp', shape=(D,)).")
        return RealNVP(merged.pop("shape"), **merged)
    return preset.make(**merged)


def rebuild(family: str, values: dict[str, Any]) -> Flow:
    """The untrained flow of a saved configuration.

    Raises:
        InputError: a family or a setting that this version does not know.
    """
    if family not in _FAMILIES:
        raise InputError(
            f"the model is a {family!r}, which this version does not know; it knows "
            f"{', '.join(_FAMILIES)}. Update pushforward."
        )
    config, build = _FAMILIES[family]
    return build(checked(config, values, f"the saved {family} configuration"))
