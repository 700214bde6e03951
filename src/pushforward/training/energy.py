"""What fitting asks of an energy, said in one sentence where it is not met."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..flow import Flow

__all__ = ["checked_energy"]

_TRIAL = 64


def checked_energy(energy: Any, flow: Flow) -> Callable[[Tensor], Tensor]:
    """The energy, tried on a few samples of the flow; from then on its shape is watched.

    Raises:
        InputError: no function, no tensor ``(N,)``, no gradient, or not finite there.
    """
    if not callable(energy):
        raise InputError(
            f"an energy is a function from events {_batch(flow)} to (N,); got "
            f"{type(energy).__name__}."
        )

    def watched(x: Tensor) -> Tensor:
        values = energy(x)
        if not isinstance(values, Tensor) or values.shape != (len(x),) or values.is_complex():
            got = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values)
            raise InputError(
                f"the energy maps events {_batch(flow)} to one real number each, a tensor (N,); "
                f"for {len(x)} events it gave {got if isinstance(got, str) else got.__name__}. Sum "
                f"over the numbers of an event with .sum(dim=1)."
            )
        return values

    generator = torch.Generator(flow.device).manual_seed(0)
    with torch.no_grad(), flow.evaluating():
        x = flow.rsample(_TRIAL, generator=generator)[0]
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        try:
            values = watched(x)
        except RuntimeError as error:
            if "numpy()" in str(error):
                raise InputError(_no_gradient("it turns events into NumPy arrays")) from None
            kind = str(x.dtype).removeprefix("torch.")
            error.add_note(f"The energy was given {len(x)} events {_batch(flow)} of {kind}.")
            raise
    _check_finite(values, x, "value")
    if not values.requires_grad:
        raise InputError(_no_gradient("its values are cut off from the events"))
    (slope,) = torch.autograd.grad(values.sum(), x, allow_unused=True)
    if slope is None:
        raise InputError(_no_gradient("its values do not depend on the events"))
    _check_finite(slope.flatten(1).sum(1), x, "gradient")
    return watched


def _batch(flow: Flow) -> str:
    return f"(N, {', '.join(map(str, flow.shape))})"


def _no_gradient(why: str) -> str:
    return (
        f"the energy has no gradient, by which alone a flow could learn: {why}. Compute it in "
        f"torch from its argument, without .detach(), .numpy() or torch.no_grad()."
    )


def _check_finite(values: Tensor, x: Tensor, what: str) -> None:
    bad = (~torch.isfinite(values)).nonzero().flatten()
    if not len(bad):
        return
    first = int(bad[0])
    kind = "NaN" if bool(torch.isnan(values[first])) else "infinite"
    numbers = x[first].detach().flatten().tolist()
    shown = ", ".join(f"{number:.3g}" for number in numbers[:4])
    raise InputError(
        f"the {what} of the energy is {kind} for {len(bad)} of {len(x)} samples of the flow, such "
        f"as ({shown}{', ...' if len(numbers) > 4 else ''}). It must be finite wherever the flow "
        f"can go: make walls smooth, or write it in coordinates without edges, for positive x as "
        f"U(exp(y)) - y.sum(dim=1)."
    )
