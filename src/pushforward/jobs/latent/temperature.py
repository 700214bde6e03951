"""Samples at several temperatures, from the same noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError
from ...model import Model

__all__ = ["TEMPERATURES", "temperatures"]

TEMPERATURES = (0.5, 0.7, 0.9, 1.0)


def temperatures(
    model: Model,
    values: Sequence[float] = TEMPERATURES,
    *,
    n: int = 8,
    seed: int = 0,
    context: Any = None,
) -> Tensor:
    r"""``n`` samples at each temperature T: :math:`x = f^{-1}(T \epsilon)`, the same noise at all.

    1 samples the density that was learned. Less keeps to the more probable: cleaner and less
    various, and at 0 one event alone. It is no sampling from p(x)^{1/T^2} for a flow that is not
    linear, and no paper's Real NVP had it: say so where such samples are shown.

    Args:
        model: whatever samples: a flow, VAE or GAN.
        values: the temperatures, each at least 0.
        n: samples at each.
        seed: of the noise.
        context: ``(context,)`` or ``(n, context)`` for a conditional model.

    Returns:
        ``(len(values), n, *shape)``.

    Raises:
        InputError: no temperature, or one below 0; or the model makes no events.
    """
    if not len(values):
        raise InputError("give at least one temperature, such as 0.7.")
    if n < 1:
        raise InputError(f"a temperature is shown by at least one sample; got {n}.")
    if "sample" in model.refuses:
        raise model.refusal("sample")
    drawn = [model.sample(n, temperature=t, seed=seed, context=context) for t in values]
    return torch.stack(drawn)
