"""What can be asked of a training run."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from ..models.settings import settings

__all__ = ["FitConfig", "seconds"]

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(value: Any) -> Any:
    """A time such as ``90``, ``"90s"``, ``"15m"``, ``"1h30m"`` or ``"7d"`` in seconds."""
    if not isinstance(value, str):
        return value
    text = value.strip().lower()
    if not re.fullmatch(r"\d+(\.\d+)?|(\d+(\.\d+)?\s*[smhd]\s*)+", text):
        raise ValueError("give a time such as 90s, 15m, 1h30m or 7d")
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text)
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0)]


@dataclass(config=settings, kw_only=True)
class FitConfig:
    """The settings of ``fit``. ``None`` stands for a default chosen from data and model."""

    epochs: float | None = Field(default=None, gt=0)
    """Passes over the training data."""
    max_steps: int | None = Field(default=None, ge=1)
    max_time: Seconds | None = None
    """Seconds, or a text such as 90s, 15m, 1h30m; training and validation together."""
    batch_size: int | None = Field(default=None, ge=1)
    """Images 32 (64 for fewer than 10,000), rows 512; never more than there are."""
    lr: float = Field(default=4e-3, gt=0)
    """Adam's learning rate, after the warm-up."""
    warmup: int = Field(default=100, ge=0)
    """Steps over which the rate rises from 0."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """How the rate falls to 0 over the budget (of whichever limit comes first)."""
    clip: float | None = Field(default=None, gt=0)
    """Largest norm of the gradient of the loss in its unit: 2 for bits/dim, 5 for nats."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled, as in AdamW."""
    ema: float = Field(default=0.995, ge=0, lt=1)
    """Decay of the averaged weights that are validated and kept; 0 keeps the plain ones."""
    patience: int | None = Field(default=30, ge=1)
    """Validations without a new best after which training ends; None never ends early."""
    validate_every: int | None = Field(default=None, ge=1)
    """Steps between validations: an epoch, within 100 to 500."""
    validate_on: int | None = Field(default=None, ge=1)
    """At most so many validation events at a time: 1,000 images, 20,000 rows."""
    shift: float = Field(default=0.0, ge=0, le=1)
    """Share of training images moved by up to one pixel in each direction."""
    flip: bool = False
    """Mirror half of the training images left to right."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the data's order, augmentation, noise and dropout."""
    device: str | None = None
    """Such as cpu or cuda; where the flow is, if not given."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads while training: one for small work, else torch's own number."""
