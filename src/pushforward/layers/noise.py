"""Noise that is a function of the event it is added to, and of a seed.

Dequantisation adds noise to integers, also when a density is evaluated. Drawn from a stream, it
would make a value depend on the rows scored before it. Hashed from the event itself it does not:
log_prob is a function of the row, the same in any batch, order, process or machine.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["content_noise"]


def _signed(value: int) -> int:
    """The int64 with the bits of a uint64."""
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _shift(z: Tensor, bits: int) -> Tensor:
    """Logical shift right of int64."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _mix(z: Tensor) -> Tensor:
    """The finaliser of splitmix64 (Steele et al. 2014): a bijection with full avalanche."""
    z = (z ^ _shift(z, 30)) * _MIX_1
    z = (z ^ _shift(z, 27)) * _MIX_2
    return z ^ _shift(z, 31)


def _total(values: Tensor) -> Tensor:
    """The sum of ``(N, D)`` over D, modulo 2^64."""
    if not torch.compiler.is_exporting():
        return values.sum(1)
    while values.shape[1] > 1:  # the sum of ONNX's runtime does not wrap around, its addition does
        half = values.shape[1] // 2
        folded = values[:, :half] + values[:, half : 2 * half]
        values = torch.cat((folded, values[:, 2 * half :]), dim=1)
    return values.flatten() if values.shape[1] else values.sum(1)


def content_noise(
    x: Tensor, seed: Tensor, bits: int, dtype: torch.dtype, shape: tuple[int, ...] | None = None
) -> Tensor:
    r"""Uniform noise in (0, 1), hashed from each event ``x`` and a seed.

    Args:
        x: integers or real numbers, ``(N, *shape)``. Real numbers that differ in their last digit
            have independent noise.
        seed: int64 scalar; another seed gives independent noise.
        bits: the noise is :math:`(k + \frac12) / 2^{bits}` with k uniform: never on an edge.
        dtype: of the result.
        shape: of the noise of an event; that of ``x`` if None.

    Returns:
        noise ``(N, *shape)``.
    """
    flat = _integers(x.flatten(1))  # (N, D)
    # The seed stands here for torch.compile: it takes a product of a plain range for arithmetic of
    # loop indices, and C++ assumes that this never overflows (torch 2.13 then overruns memory).
    position = _mix((torch.arange(1, flat.shape[1] + 1, device=x.device) ^ seed) * _GOLDEN)
    key = _mix(_total(flat * (position | 1)) ^ _mix(seed * _GOLDEN + 1))  # (N,), modulo 2^64
    if shape is not None:
        place = torch.arange(1, math.prod(shape) + 1, device=x.device)
        position = _mix((place ^ seed) * _GOLDEN)
    hashed = _mix(key[:, None] + position)
    noise = (_shift(hashed, 64 - bits).to(dtype) + 0.5) * 2.0**-bits
    return noise.reshape(x.shape if shape is None else (x.shape[0], *shape))


def _integers(x: Tensor) -> Tensor:
    """Integers as they are; of real numbers the bits, 0 and -0 being the same."""
    if not x.is_floating_point():
        return x.to(torch.int64)
    return (x.detach().double() + 0.0).contiguous().view(torch.int64)
