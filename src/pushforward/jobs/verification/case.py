"""A flow under examination, and how a measurement becomes a verdict."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...errors import InputError
from ...flow import Flow
from ...layers import Chain, OnColumns
from .layerwise import LayerReport
from .report import Check, Verdict

__all__ = ["Case", "judge"]


@dataclass
class Case:
    """A flow, the events it is looked at with, and what its layers do one by one.

    Attributes:
        native: a copy in evaluation mode.
        double: a copy of that in float64.
        x: the events, in the flow's precision or integers.
        context: a row for each, or None.
        y: the real numbers that the layers before ``body`` make of x; x itself if there are none.
        body: the place of the first layer that maps real numbers.
        core: the place of the first layer that does not merely change units.
        generator: of everything random, on the device of ``double``.
        directions: how many random perturbations are tried.
        layers: the layers by themselves.
        notes: what was not looked at, and why.
    """

    native: Flow
    double: Flow
    x: Tensor
    context: Tensor | None
    y: Tensor
    body: int
    core: int
    generator: torch.Generator
    directions: int
    layers: list[LayerReport] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        device = self.generator.device
        self.dtype = str(self.native.dtype).removeprefix("torch.")
        self.discrete = self.native.levels is not None
        self.bounded = any(isinstance(layer, OnColumns) for layer in self.native.chain)
        self.context64 = None if self.context is None else self.context.to(device, torch.float64)
        self.x64 = self.x.to(device) if self.discrete else self.x.to(device, torch.float64)
        self.y64 = self.y.to(device, torch.float64)
        self.z64 = self.double.base.sample(len(self.x), 1.0, self.generator)
        self.precisions = [(self.dtype, self.native, self.y, self.context)]
        if self.dtype != "float64":
            self.precisions.append(("float64", self.double, self.y64, self.context64))
        self.invertible = self._has_inverse()
        if not self.invertible:
            self.notes.append("the inverse and sampling: a layer has no inverse.")
        self.restores = all(getattr(m, "restores", True) for m in self.native.chain.modules())
        if not self.restores:
            self.notes.append(
                "the way from x to its latent and back: both are drawn, and nothing is inverted; "
                "what is measured are the layers before and after that."
            )

    def _has_inverse(self) -> bool:
        one = None if self.context64 is None else self.context64[:1]
        try:
            self.double.chain.inverse(self.z64[:1], one)
        except (NotImplementedError, InputError):
            return False
        return True

    def after(self, flow: Flow, start: int, stop: int | None = None) -> Chain:
        """The layers of a copy from one place on, up to another."""
        return Chain(list(flow.chain)[start:stop])

    def log_prob(self, flow: Flow, y: Tensor) -> Tensor:
        """The log-density of real numbers under a copy, nats; contexts as for the events."""
        context = None if self.context is None else self.context.to(flow.base.anchor)
        z, log_det = self.after(flow, self.body)(y, context)
        return flow.base.log_prob(z) + log_det

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers of the shape of a batch and on its device, float64."""
        device = self.generator.device
        draws = torch.randn(
            like.shape, generator=self.generator, dtype=torch.float64, device=device
        )
        return draws.to(like.device)

    def worst(self, column: str, beyond: float = 0.0) -> str | None:
        """The layer with the largest entry in a column of the reports, if beyond a bound."""
        found = [(getattr(layer, column), layer.name) for layer in self.layers]
        named = [(value, name) for value, name in found if value is not None and value > beyond]
        return max(named, key=lambda pair: pair[0])[1] if named else None

    def worst_inverse(self, dtype: str) -> str | None:
        """The layer whose own round trip is worst in a precision."""
        return self.worst("inverse" if dtype == self.dtype else "inverse64")


def judge(
    group: str,
    name: str,
    value: float,
    tolerance: float,
    limit: float,
    meaning: str,
    layer: str | None = None,
) -> Check:
    """Pass up to ``tolerance``, warn up to ``limit``, fail beyond it and where it is NaN."""
    verdict: Verdict = "pass" if value <= tolerance else "warn" if value <= limit else "fail"
    return Check(
        group=group,
        name=name,
        value=value,
        tolerance=tolerance,
        verdict=verdict,
        meaning=meaning,
        layer=None if verdict == "pass" else layer,
    )
