"""Whether restored inputs are what they were: a sample of each, and a sum of every event."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import NumericalError

__all__ = ["Monitor"]

_NUMBERS = 256
"""How many numbers of each layer's input are remembered."""

_GOLDEN = 0.6180339887498949


class Monitor:
    r"""Compares what entered the layers of one run with what is restored of it.

    The error of a layer is :math:`\max_i |x'_i - x_i| / \max_i \max(|x_i|, |z_i|)` over some
    numbers of its input x and output z, spread evenly over events and their elements. Of what
    enters the first layer the sums of all events are compared too, so that no event is overlooked.
    Errors add up from the last layer to the first; the first one met beyond the tolerance is named.

    Args:
        x: what enters the first layer.
        watched: the first events of x, if only those are at hand where a layer is compared.

    Attributes:
        tolerance: the largest error that is borne.
    """

    def __init__(self, x: Tensor, watched: Tensor | None = None) -> None:
        watched = x if watched is None else watched
        self.tolerance = _tolerance(x.dtype)
        count = min(_NUMBERS, watched.numel())
        steps = torch.arange(count, dtype=torch.float64, device=x.device) * _GOLDEN
        self.places = (steps.frac() * watched.numel()).long()
        self.events = self.places // max(1, x.numel() // max(1, len(x)))
        self.sums = _sums(x)
        self.start(x)

    def bear_coarse_conditioners(self) -> None:
        """Restored numbers may round to other bfloat16 ones: an error as of 1e-3 then, not 1e-6."""
        self.tolerance = max(self.tolerance, 0.03)

    def bear_networks_in(self, dtype: torch.dtype) -> None:
        """The same where the networks round what they see to a type that is less fine than x."""
        self.tolerance = max(self.tolerance, _tolerance(dtype))

    def start(self, z: Tensor) -> None:
        """At the start of a way back, z being what left the last layer."""
        self.names: list[str] = []
        self.errors: list[Tensor] = []
        # Events that were not finite on the way there are nobody's fault.
        self.sound = torch.isfinite(self.sums) & torch.isfinite(_sums(z))

    def sample(self, x: Tensor) -> Tensor:
        """What is remembered of an input."""
        return x.detach().reshape(-1).take(self.places)

    def compare(self, name: str, sample: Tensor, x: Tensor, after: Tensor) -> None:
        """Compare one layer's restored input x with samples of that input and of its output."""
        if sample.numel() == 0:
            return
        size = torch.maximum(sample.abs(), after.abs())
        self.names.append(name)
        lost = self.sample(x) - sample
        self.errors.append(_relative(lost, size, self.sound[self.events]))

    def judge(self, x: Tensor) -> None:
        """At the end of the way back, x being what entered the first layer.

        Raises:
            NumericalError: an error is beyond the tolerance; names the layer and the ways out.
        """
        if not self.errors:
            return
        names = self.names
        overall = _relative(_sums(x) - self.sums, x.flatten(1).norm(dim=1), self.sound)
        *sampled, last = torch.stack([*self.errors, overall]).tolist()  # the one look at a GPU
        worst = max(*sampled, last)
        if worst <= self.tolerance:
            return
        beyond = [i for i, error in enumerate(sampled) if error > self.tolerance]
        # An event that was not among the sampled ones shows where the first layer begins.
        culprit = beyond[0] if beyond else -1
        raise NumericalError(
            f"memory='constant' could not restore what entered {names[culprit]} from what left it: "
            f"a relative error of {worst:.1g}, where {self.tolerance:.0e} is borne. Gradients "
            f"would be wrong. Use memory='checkpoint', float64 (flow.double()), or tighter bounds "
            f"on the scales."
        )


def _tolerance(dtype: torch.dtype) -> float:
    return max(1e-6, 3 * float(torch.finfo(dtype).eps) ** 0.5)  # 1e-3 in float32


def _sums(x: Tensor) -> Tensor:
    return x.detach().flatten(1).sum(1)


def _relative(lost: Tensor, size: Tensor, sound: Tensor) -> Tensor:
    """The largest loss relative to the largest size, among what is ``sound``."""
    lost = torch.where(sound, lost.abs().nan_to_num(nan=torch.inf), 0).max()
    size = torch.where(sound & torch.isfinite(size), size, 0).max()
    return lost / size.clamp(min=torch.finfo(size.dtype).tiny)
