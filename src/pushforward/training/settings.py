"""What can be asked of a training run."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from ..errors import InputError
from ..models.settings import settings

__all__ = ["FitConfig", "seconds", "step_limit"]

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

    # Limits
    epochs: float | None = Field(default=None, gt=0)
    """Passes over the training data."""
    max_steps: int | None = Field(default=None, ge=1)
    max_time: Seconds | None = None
    """Seconds, or a text such as 90s, 15m, 1h30m; training and validation together."""
    patience: int | None = Field(default=30, ge=1)
    """Validations without a new best after which training ends; None never ends early."""

    # Optimisation
    batch_size: int | None = Field(default=None, ge=1)
    """Images 32 (64 for fewer than 10,000), rows 512; never more than there are. The whole batch
    of a step, however many processes and parts share it."""
    accumulate: int = Field(default=1, ge=1)
    """Parts in which a batch goes through the flow: the same gradient in a part of the memory."""
    optimiser: Literal["adam", "adamw", "adamax", "sgd"] = "adamw"
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """How much of past gradients a step follows: of sgd, and the first beta of the others."""
    lr: float = Field(default=4e-3, gt=0)
    """The learning rate, after the warm-up."""
    warmup: int = Field(default=100, ge=0)
    """Steps over which the rate rises from 0."""
    schedule: Literal["constant", "linear", "cosine", "steps", "plateau"] = "cosine"
    """How the rate falls: to 0 over the budget (of whichever limit comes first), to a tenth after
    half of it and again after three quarters, or by half after every 5 validations without a new
    best."""
    clip: float | None = Field(default=None, gt=0)
    """Largest norm of the gradient of the loss in its unit: 2 for bits/dim, 5 for nats."""
    ema: float = Field(default=0.995, ge=0, lt=1)
    """Decay of the averaged weights that are validated and kept; 0 keeps the plain ones."""

    # Regularisation and augmentation
    weight_decay: float = Field(default=0.0, ge=0)
    """Of matrices and kernels only: decoupled with adamw, else added to the gradient."""
    l2: float = Field(default=0.0, ge=0)
    """Coefficient of the paper's penalty, in nats per event: the sum of squares of weight-norm
    magnitudes and of the tanh scales of checkerboard couplings."""
    shift: float = Field(default=0.0, ge=0, le=1)
    """Share of training images moved by up to one pixel in each direction."""
    crop: int = Field(default=0, ge=0)
    """Training images get an edge of so many pixels and are cut to size at a random place."""
    flip: bool = False
    """Mirror half of the training images left to right."""

    # Validation and checkpoints
    validate_every: int | None = Field(default=None, ge=1)
    """Steps between validations: an epoch, within 100 to 500."""
    validate_on: int | None = Field(default=None, ge=1)
    """At most so many validation events at a time: 1,000 images, 20,000 rows."""
    checkpoint_every: float = Field(default=60.0, ge=0)
    """Seconds between checkpoints, where a folder is given."""
    rewinds: int = Field(default=5, ge=0)
    """How often a run may go back to its last good state after a NaN or an exploding gradient."""

    # Precision and speed
    precision: Literal["float32", "bf16"] = "float32"
    """Of the conditioners while training; densities are never below float32."""
    memory: Literal["store", "checkpoint", "constant"] = "store"
    """What a step keeps for its gradient: all, the input of each coupling, or the output alone."""
    compile: bool = False
    """Let torch.compile make the training step faster, after a minute or so of compiling."""
    deterministic: bool = False
    """Only algorithms that repeat to the last bit, on GPUs too."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the data's order, augmentation, noise and dropout."""
    device: str | None = None
    """Such as cpu or cuda; where the flow is, if not given."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads while training: one for small work, else torch's own number."""


def step_limit(config: FitConfig, per_epoch: int | None) -> int | None:
    """The number of steps, or None if only time limits the run; an epoch has ``per_epoch``.

    Raises:
        InputError: epochs are asked of a stream, which has none.
    """
    limits = []
    if config.epochs is not None:
        if per_epoch is None:
            raise InputError("a stream has no epochs; give max_steps or max_time.")
        limits.append(math.ceil(config.epochs * per_epoch))
    if config.max_steps is not None:
        limits.append(config.max_steps)
    if not limits and config.max_time is None:
        limits.append(max(2_000, 20 * (per_epoch or 0)))
    return min(limits) if limits else None
