"""Linear layers over the first event dimension: features of a row, channels of an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import InputError
from .layer import Layer, Shape, constant_log_det

__all__ = ["Conv1x1", "Flip", "LULinear", "Permutation", "Rotation"]


def _pixels(x: Tensor) -> int:
    """How many vectors one event holds: 1 for rows, H*W for images."""
    count = 1
    for size in x.shape[2:]:
        count *= size
    return count


def _apply_matrix(matrix: Tensor, x: Tensor) -> Tensor:
    """Multiply each vector along dimension 1: ``(C, C), (N, C, ...) -> (N, C, ...)``."""
    matrix = matrix.to(x.dtype)
    # Autocast would run this product in bfloat16; the data path keeps its precision.
    with torch.autocast(x.device.type, enabled=False):
        if x.ndim == 2:
            return x @ matrix.T
        return torch.matmul(matrix, x.flatten(2)).reshape(x.shape)


class Permutation(Layer):
    """Reorder the first event dimension: ``z[:, i] = x[:, order[i]]``; log_det 0.

    Args:
        order: a permutation of ``0 .. C-1``.

    Raises:
        InputError: ``order`` is not a permutation.
    """

    order: Tensor

    def __init__(self, order: Sequence[int] | Tensor) -> None:
        super().__init__()
        positions = torch.as_tensor(order, dtype=torch.long)
        if positions.ndim != 1 or sorted(positions.tolist()) != list(range(len(positions))):
            raise InputError(
                f"Permutation needs each of 0 to {positions.numel() - 1} once; "
                f"got {positions.tolist()}."
            )
        self.register_buffer("order", positions)

    @classmethod
    def random(cls, size: int, seed: int = 0) -> Permutation:
        """A permutation drawn from ``seed``; the state dict keeps it."""
        return cls(torch.randperm(size, generator=torch.Generator().manual_seed(seed)))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Reorder."""
        return x.index_select(1, self.order), constant_log_det(x, 0.0)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Restore the order."""
        return z.index_select(1, torch.argsort(self.order)), constant_log_det(z, 0.0)

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged; the first dimension must have the permutation's size."""
        return _check_channels(self, len(self.order), shape)

    def extra_repr(self) -> str:
        """Show the size."""
        return f"size={len(self.order)}"


class Flip(Layer):
    """Reverse the first event dimension; log_det 0."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Reverse."""
        return x.flip(1), constant_log_det(x, 0.0)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Reverse back."""
        return z.flip(1), constant_log_det(z, 0.0)


class Rotation(Layer):
    r"""Multiply by a fixed random orthogonal matrix: :math:`z = Q x`; log_det 0.

    The matrix is drawn in float64 from the Haar measure and kept as the bits of float64 numbers,
    so that ``.double()`` finds all its digits: a matrix rounded to float32 is orthogonal, and thus
    inverted by its transpose, to 1e-7 only.
    """

    bits: Tensor

    def __init__(self, size: int, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        gauss = torch.randn(size, size, dtype=torch.float64, generator=generator)
        q, r = torch.linalg.qr(gauss)
        self.register_buffer("bits", (q * r.diagonal().sign()).view(torch.int64))

    @property
    def matrix(self) -> Tensor:
        """Q, float64."""
        return self.bits.view(torch.float64)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Rotate."""
        return _apply_matrix(self.matrix, x), constant_log_det(x, 0.0)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Rotate back."""
        return _apply_matrix(self.matrix.T, z), constant_log_det(z, 0.0)

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged; the first dimension must have the matrix's size."""
        return _check_channels(self, len(self.bits), shape)

    def extra_repr(self) -> str:
        """Show the size."""
        return f"size={len(self.bits)}"


class LULinear(Layer):
    r"""A learned linear map, kept in LU form so that its determinant costs nothing.

    .. math:: z = P L (U + \operatorname{diag}(d))\, x, \qquad
              \log|\det| = HW \sum_i \log|d_i|, \qquad d_i = \sigma_i e^{s_i}

    L is unit lower and U strictly upper triangular; the permutation P and the signs
    :math:`\sigma` are fixed. On images this is the invertible 1x1 convolution. It starts as a
    random rotation (``seed``), or as the identity (``seed=None``).

    Shapes: x, z ``(N, C)`` or ``(N, C, H, W)``; log_det ``(N,)`` in nats.
    Source: Kingma and Dhariwal 2018 (Glow), section 3.2.
    """

    order: Tensor
    signs: Tensor

    def __init__(self, size: int, seed: int | None = 0) -> None:
        super().__init__()
        matrix = torch.eye(size, dtype=torch.float64)
        if seed is not None:
            matrix = Rotation(size, seed).matrix
        p, lower, upper = torch.linalg.lu(matrix)
        diagonal = upper.diagonal()
        dtype = torch.get_default_dtype()
        # P as a row order: (P v)[i] = v[order[i]]
        self.register_buffer("order", p.argmax(dim=1))
        self.register_buffer("signs", diagonal.sign().to(torch.int8))
        self.lower = nn.Parameter(lower.tril(-1).to(dtype))
        self.upper = nn.Parameter(upper.triu(1).to(dtype))
        self.log_diagonal = nn.Parameter(diagonal.abs().log().to(dtype))

    def _factors(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        eye = torch.eye(len(self.order), dtype=dtype, device=self.lower.device)
        lower = self.lower.to(dtype).tril(-1) + eye
        diagonal = self.signs.to(dtype) * self.log_diagonal.to(dtype).exp()
        return lower, self.upper.to(dtype).triu(1) + torch.diag(diagonal)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Multiply."""
        lower, upper = self._factors(x.dtype)
        with torch.autocast(x.device.type, enabled=False):
            matrix = lower @ upper
        z = _apply_matrix(matrix.index_select(0, self.order), x)
        return z, constant_log_det(x, self.log_diagonal.sum() * _pixels(x))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Solve the two triangular systems."""
        lower, upper = self._factors(z.dtype)
        # (N, C, ...) -> (C, N * pixels): one right-hand side a column
        columns = z.index_select(1, torch.argsort(self.order)).transpose(0, 1)
        flat = columns.reshape(columns.shape[0], -1)
        flat = torch.linalg.solve_triangular(lower, flat, upper=False, unitriangular=True)
        flat = torch.linalg.solve_triangular(upper, flat, upper=True)
        x = flat.reshape(columns.shape).transpose(0, 1).contiguous()
        return x, constant_log_det(z, -self.log_diagonal.sum() * _pixels(z))

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged; the first dimension must have the matrix's size."""
        return _check_channels(self, len(self.order), shape)

    def extra_repr(self) -> str:
        """Show the size."""
        return f"size={len(self.order)}"


Conv1x1 = LULinear
"""The invertible 1x1 convolution: ``LULinear`` over the channels of an image."""


def _check_channels(layer: Layer, size: int, shape: Shape) -> Shape:
    if not shape or shape[0] != size:
        raise InputError(
            f"{type(layer).__name__} works on {size} features or channels; got events of "
            f"shape {shape}."
        )
    return shape
