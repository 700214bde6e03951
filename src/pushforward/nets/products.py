"""Matrix products without a graph, by whichever of torch's two libraries is the faster one.

torch multiplies float32 matrices by MKL, which on AMD processors leaves the AVX-512 units unused:
oneDNN, which torch ships for its convolutions, is then about twice as fast on all but small
matrices. Elsewhere, and for anything but float32 on such a processor, these are torch's products.

They record no gradients: for handwritten backward passes, and for evaluation.
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["input_gradient", "linear", "onednn_is_faster", "weight_gradient"]

_ROWS, _WORTHWHILE = 256, 350_000
"""Rows of a batch, and multiplications, from which on oneDNN regains its greater cost per call."""


def linear(x: Tensor, weight: Tensor, bias: Tensor, *, relu: bool = False) -> Tensor:
    """``x W^T + b``, then perhaps ReLU: ``(N, I), (O, I), (O,) -> (N, O)``."""
    if _by_onednn(x, weight.numel()):
        return _onednn()(_dense(x), weight, bias, "relu" if relu else "none", [], "")
    y = nn.functional.linear(x, weight, bias)
    return y.relu_() if relu else y


def input_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    """``G W``, the gradient of ``linear`` by x: ``(N, O), (O, I) -> (N, I)``."""
    if _by_onednn(gradient, weight.numel()):
        return _onednn()(_dense(gradient), weight.t(), None, "none", [], "")
    return torch.mm(gradient, weight)


def weight_gradient(gradient: Tensor, x: Tensor) -> Tensor:
    """``G^T x``, the gradient of ``linear`` by W: ``(N, O), (N, I) -> (O, I)``."""
    if not _by_onednn(x, gradient.shape[1] * x.shape[1]):
        return torch.mm(gradient.t(), x)
    a, b = _dense(gradient).t(), _dense(x).t()
    if len(a) <= len(b):  # it likes the smaller side first
        return _onednn()(a, b, None, "none", [], "")
    return _onednn()(b, a, None, "none", [], "").t()


def _by_onednn(batch: Tensor, size: int) -> bool:
    """Whether it is worth it for a product of a batch ``(N, ...)`` with a matrix of a size."""
    return (
        len(batch) >= _ROWS
        and len(batch) * size >= _WORTHWHILE
        and batch.dtype == torch.float32
        and batch.is_cpu
        and onednn_is_faster()
        and bool(torch.backends.mkldnn.enabled)  # a user's switch
    )


def _dense(x: Tensor) -> Tensor:
    """A copy of a mere slice of a wider batch, on which oneDNN may take a hundred times longer."""
    return x.contiguous()


@functools.cache
def onednn_is_faster() -> bool:
    """Whether this processor is one on which MKL takes its slow path, and oneDNN is at hand."""
    return (
        torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and "AuthenticAMD" in _processor()
        and _onednn() is not None
    )


@functools.cache
def _onednn() -> Any:
    """oneDNN's linear layer; None where this torch has it no more, or not in this form."""
    operation = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if operation is None:
        return None
    try:
        one = torch.ones(1, 1)
        with torch.no_grad():
            right = float(operation.default(one, one, one[0], "none", [], "")) == 2
    except (AttributeError, RuntimeError, TypeError):
        return None
    return operation.default if right else None


def _processor() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:  # not Linux
        return platform.processor()
