"""What training, storage and the verbs know of anything that learns from events."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from .card import model_card
from .checks import check_context, check_events
from .errors import InputError
from .layers import recalibrate
from .layers.layer import Shape
from .storage import Saved, write_model

__all__ = ["Density", "Model"]

_VERBS = ("export", "verify")
"""Commands, unlike the other things that may be refused, which are methods."""

Density = Literal["exact", "lower bound", "none"]


class Model(nn.Module):
    """Something that is trained on events of one shape: a flow, or what flows are compared with.

    Subclasses say what they can do by overriding methods, and in ``refuses`` why they cannot do
    the rest: method name -> sentence.

    Args:
        shape: the event shape, ``(D,)`` or ``(C, H, W)``.
        context: how many numbers of context it takes beside an event (0: none).
        name: what errors call it.
    """

    refuses: ClassVar[Mapping[str, str]] = {}
    about: ClassVar[str] = "A model of events of one shape."
    """What it is, for the card of a saved model."""
    example: ClassVar[Sequence[str]] = ("model.log_prob(x)", "model.sample(16, seed=0)")
    """How it is used, for the same card."""
    learner: ClassVar[str] = "objective"
    """How it is trained: along its ``objective``, or by the ``contest`` of two networks."""
    judged_by: ClassVar[str] = "log_prob"
    """What validation measures: ``log_prob``, ``objective`` or ``distance``."""
    training_defaults: ClassVar[Mapping[str, Any]] = {}
    """Settings of ``fit`` that suit it better than the defaults."""
    labels: int = 0
    """How many classes it tells apart; 0 for models that learn no labels."""

    def __init__(self, shape: Shape, *, context: int = 0, name: str = "Model") -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.context = context
        self.name = f"{name}({self.shape})"
        self.config: Any = None
        """The configuration it was built from, which is what ``save`` keeps."""
        self.facts: dict[str, Any] = {}
        """What is known about its training: data, columns, metrics. Saved with the model."""

    # What it is ------------------------------------------------------------------------------

    @property
    def dims(self) -> int:
        """How many numbers an event has."""
        return math.prod(self.shape)

    @property
    def levels(self) -> int | None:
        """The number of integer levels of the data that it takes; None for real numbers."""
        raise NotImplementedError

    @property
    def density(self) -> Density:
        """What its ``log_prob`` is: an equality, one draw of a lower bound, or refused."""
        return "none"

    @property
    def exact(self) -> bool:
        """Whether log_prob is an equality."""
        return self.density == "exact"

    @property
    def takes_missing(self) -> bool:
        """Whether NaN stands for a missing value of an event, and is no mistake."""
        return False

    @property
    def unit(self) -> str:
        """The unit in which its loss is printed: ``bits/dim`` or ``nats``."""
        return "nats" if self.levels is None else "bits/dim"

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type that it computes in."""
        return next(p.dtype for p in self.parameters())

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(p.device for p in self.parameters())

    @property
    def memory(self) -> str:
        """What a training step keeps for the way back: all, unless overridden."""
        return "store"

    @memory.setter
    def memory(self, memory: str) -> None:
        if memory != "store":
            raise InputError(
                f"{self.name} has no reversible layers, so its activations are kept: "
                f"memory='store' is what it takes."
            )

    # What it can do --------------------------------------------------------------------------

    def objective(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """What training makes large, of each event, in nats: ``(N,)``; data are not checked."""
        return self.log_prob(x, context, check=False)

    def log_prob(
        self, x: Any, context: Any = None, *, samples: int = 1, check: bool = True
    ) -> Tensor:
        """Log-density of each event, in nats: ``(N,)``."""
        raise self.refusal("log_prob")

    def bits_per_dim(
        self, x: Any, context: Any = None, *, samples: int = 1, check: bool = True
    ) -> Tensor:
        """Bits per number of each event of integers: ``(N,)``."""
        raise self.refusal("bits_per_dim")

    def sample(
        self,
        n: int,
        *,
        temperature: float = 1.0,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        context: Any = None,
        chunk: int | None = None,
    ) -> Tensor:
        """Draw ``n`` events."""
        raise self.refusal("sample")

    def encode(self, x: Any, context: Any = None) -> Tensor:
        """The latent of each event."""
        raise self.refusal("encode")

    def decode(self, z: Any, context: Any = None) -> Tensor:
        """The event of each latent."""
        raise self.refusal("decode")

    def initialise(self, x: Any, context: Any = None) -> None:
        """Set what is read off data before training, once; nothing unless overridden."""

    def settle(self, x: Tensor, context: Tensor | None = None) -> float:
        """Put exact statistics of training events in place of the running ones of batch norms.

        Returns:
            the largest factor by which a standard deviation was off; 1 if none was.
        """
        x, context = self.prepare(x, context, False)
        return max([1.0, *recalibrate(self, [(x, context)]).values()])

    def first_unsound_layer(self, x: Tensor, context: Tensor | None = None) -> str | None:
        """The first layer whose output is not finite, in words; None if none can be named."""
        return None

    def refusal(self, what: str) -> InputError:
        """Why it has no such method, as an error to raise."""
        reason = self.refuses.get(what, "that means nothing for this kind of model.")
        lacks = f"cannot be taken by {what}" if what in _VERBS else f"has no {what}"
        return InputError(f"{self.name} {lacks}: {reason}")

    # Files -----------------------------------------------------------------------------------

    def save(
        self, directory: str | os.PathLike[str], *, weights: Mapping[str, Tensor] | None = None
    ) -> None:
        """Write it as a directory: ``model.safetensors``, ``config.json``, ``README.md``.

        Args:
            directory: where; other files in it stay.
            weights: a state dict to write in place of its own, such as the best so far.

        Raises:
            InputError: it was built by hand, so that no configuration could rebuild it, or the
                place cannot be written.
        """
        if self.config is None:
            raise InputError(
                f"{self.name} was put together by hand, so no saved configuration could rebuild "
                f"it. Save its state_dict() with safetensors, or build it by a function of "
                f"pushforward.models."
            )
        dtype = str(self.dtype).removeprefix("torch.")
        if dtype not in ("float32", "float64"):
            raise InputError(
                f"{self.name} is in {dtype}, in which densities are too coarse to keep: save it as "
                f"flow.float() or flow.double()."
            )
        values = asdict(self.config)
        state = dict(self.state_dict() if weights is None else weights)
        saved = Saved(self.config.family, values, dtype, self.facts, state)
        parameters = sum(p.numel() for p in self.parameters())
        card = model_card(
            self.name,
            self.about,
            self.shape,
            self.levels,
            parameters,
            self.facts,
            density=self.density,
            example=self.example,
        )
        write_model(directory, saved, card)

    # Inside ----------------------------------------------------------------------------------

    def prepare(self, x: Any, context: Any, check: bool) -> tuple[Tensor, Tensor | None]:
        """Events and context on its device and in its type; looked at for faults if ``check``."""
        if check:
            x = check_events(
                x,
                name=self.name,
                shape=self.shape,
                levels=self.levels,
                missing=self.takes_missing,
            )
            context = check_context(context, name=self.name, size=self.context, rows=len(x))
        x = x.to(self.device)
        if x.dtype != self.dtype and self.levels is None and not self._wide(x):
            x = x.to(self.dtype)
        return x, None if context is None else context.to(self.device, self.dtype)

    def check_draw(
        self,
        n: int,
        temperature: float,
        seed: int | None,
        generator: torch.Generator | None,
        context: Any,
        chunk: int | None,
    ) -> tuple[Tensor | None, torch.Generator | None]:
        """The arguments of ``sample``, checked: the context of each event, and the generator."""
        if not isinstance(n, int) or n < 0:
            raise InputError(f"cannot draw {n} samples; give a whole number of at least 0.")
        if not (temperature >= 0 and math.isfinite(temperature)):
            raise InputError(f"temperature must be a number of at least 0; got {temperature}.")
        if chunk is not None and chunk < 1:
            raise InputError(f"chunk must be at least 1; got {chunk}.")
        if seed is not None and generator is not None:
            raise InputError("give a seed or a generator, not both.")
        if seed is not None:
            generator = torch.Generator(self.device).manual_seed(seed)
        context = check_context(context, name=self.name, size=self.context, rows=n)
        return None if context is None else context.to(self.device, self.dtype), generator

    def _wide(self, x: Tensor) -> bool:
        """Whether real numbers are to stay in a type that is wider than its own."""
        return False

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode for a while: no dropout, running statistics."""
        training = [module for module in self.modules() if module.training]
        self.eval()
        try:
            yield
        finally:
            for module in training:
                module.training = True
