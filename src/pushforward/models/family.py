"""What the registry knows of a family of models and of a model by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..model import Model

if TYPE_CHECKING:
    from .recommend import Recommendation

__all__ = ["Family", "Preset"]


@dataclass(frozen=True)
class Family:
    """How saved models of one kind are rebuilt."""

    config: type[Any]
    """A dataclass checked by pydantic, with its name in ``family``."""
    build: Callable[[Any], Model]
    """From a checked configuration to the untrained model."""


@dataclass(frozen=True)
class Preset:
    """A named model: how to make it, what it is, and how its authors train it."""

    make: Callable[..., Model]
    """Called with ``shape=`` and options."""
    config: type[Any]
    """Its configuration: what can be set."""
    about: str
    settings: dict[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    recommend: Callable[[Any], Recommendation] | None = None
    """From a data set to settings to begin with, where they depend on it."""
