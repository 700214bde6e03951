r"""The log-determinant of a map, measured by automatic differentiation: the layer is not believed.

The Jacobian of an image layer has too many entries to be written down, but nearly always a
structure that a few products :math:`J^\top u` with random u reveal and prove. Each proof below
holds with probability one over the draw of u (at rounding level), at the events looked at:

* permutation: :math:`J^\top u` is u rearranged, twice in the same way; :math:`\log|\det J| = 0`;
* element-wise: :math:`(J^\top u)_i / u_i` is the same for two draws of u, so J is diagonal;
* coupling: with a the elements that z repeats and b the others, :math:`J_{aa} = I`,
  :math:`J_{ab} = 0` and :math:`J_{bb}` diagonal, each shown as above; J is then triangular;
* mixing: :math:`J^\top u` at a pixel depends on u at that pixel alone; C products give its block;
* dense: up to 1024 numbers, the whole Jacobian, row by row.

What fits none of them is estimated without bias, with a standard error:
:math:`\log|\det J| = \tfrac12 \operatorname{tr} \log J^\top J` by stochastic Lanczos quadrature.
Source: Ubaru, Chen and Saad 2017, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Map", "Measured", "jacobian_log_det", "measure_log_det"]

Map = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]
"""A layer or its inverse: ``(x, context) -> (z, log_det)``."""

_Draw = Callable[[], Tensor]

DENSE = 1024
"""Up to this many numbers an event the Jacobian is written down if no structure is found."""
MIXED = 512
"""Up to this many channels each pixel's block is written down."""
SAME = 1e-9
"""Relative difference below which two float64 numbers are called the same."""


@dataclass(frozen=True)
class Measured:
    """A measured log-determinant.

    Attributes:
        log_det: ``(M,)`` nats, float64: of the first M events.
        how: the structure that was proven, ``dense`` or ``estimate``; or, with NaN, ``none`` if the
            map has no derivative and ``not finite`` if it has no finite one.
        error: standard error of an estimate, in nats; 0 where the measurement is exact.
    """

    log_det: Tensor
    how: str
    error: float = 0.0


class _Pullback:
    r"""One recorded pass of a map; calling it gives :math:`J^\top u` for each event: ``(N, D)``."""

    def __init__(self, function: Map, x: Tensor, context: Tensor | None) -> None:
        with torch.enable_grad():
            self.x = x.detach().clone().requires_grad_()
            self.z, _ = function(self.x, context)

    def __call__(self, u: Tensor) -> Tensor:
        u = u.expand(len(self.x), -1).reshape(self.z.shape)
        (product,) = torch.autograd.grad(
            self.z, self.x, u, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return product.flatten(1)


def jacobian_log_det(function: Map, x: Tensor, context: Tensor | None = None) -> Tensor:
    """Write the Jacobian of each event down and take its determinant: ``(N,)`` nats.

    The cost is D backward passes; D is the number of elements of an event.
    """
    size = x[0].numel()
    eye = torch.eye(size, dtype=x.dtype, device=x.device)
    copies = max(1, min(size, 2**14 // size) // len(x))  # of each event, for as many rows at once
    many = x.repeat_interleave(copies, 0)
    pullback = _Pullback(function, many, _repeated(context, copies))
    rows = []
    for part in eye.split(copies):
        u = torch.zeros(copies, size, dtype=x.dtype, device=x.device)
        u[: len(part)] = part
        product = pullback(u.repeat(len(x), 1)).reshape(len(x), copies, size)
        rows.append(product[:, : len(part)])
    return torch.linalg.slogdet(torch.cat(rows, dim=1))[1]  # (N, D, D) -> (N,)


def measure_log_det(
    function: Map,
    x: Tensor,
    context: Tensor | None,
    generator: torch.Generator,
    *,
    probes: int = 16,
    steps: int = 32,
) -> Measured:
    """Measure the log-determinant of ``function`` at the events ``x`` ``(N, *shape)``, float64.

    Args:
        function: the map; its events must not look at one another.
        x: where to measure. Without a structure, the first few events, or the first only.
        context: ``(N, K)`` or None.
        generator: of the random directions.
        probes: random vectors of an estimate; its error falls with their square root.
        steps: Lanczos steps of an estimate, each a pass forwards, backwards and two more.
    """

    def draw() -> Tensor:
        # Away from 0, so that ratios keep their digits; continuous, so that proofs hold.
        size = (1, x[0].numel())
        sign = torch.randint(0, 2, size, generator=generator, device=x.device) * 2 - 1
        return sign * (0.5 + torch.rand(size, generator=generator, dtype=x.dtype, device=x.device))

    pullback = _Pullback(function, x, context)
    nothing = torch.full((len(x),), math.nan, dtype=x.dtype, device=x.device)
    if not pullback.z.requires_grad:
        return Measured(nothing, "none")
    if not bool(torch.isfinite(pullback.z).all() and torch.isfinite(pullback(draw())).all()):
        return Measured(nothing, "not finite")

    for structure in (_permutation, _elementwise, _coupling, _mixing):
        found = structure(pullback, draw)
        if found is not None:
            return Measured(found, structure.__name__.strip("_"))
    size = x[0].numel()
    few = max(1, DENSE // (4 * size))
    x, context = x[:few], None if context is None else context[:few]
    if size <= DENSE:
        return Measured(jacobian_log_det(function, x, context), "dense")
    value, error = _estimate(function, x, context, draw, probes, steps)
    return Measured(value, "estimate", error)


def _repeated(context: Tensor | None, times: int) -> Tensor | None:
    return None if context is None else context.repeat_interleave(times, 0)


def _permutation(pullback: _Pullback, draw: _Draw) -> Tensor | None:
    u, other = draw(), draw()
    back = pullback(u)
    if not torch.equal(back, back[:1].expand_as(back)):
        return None
    if not torch.equal(back[0].sort().values, u[0].sort().values):
        return None
    order = torch.empty_like(back[0], dtype=torch.long)
    order[back[0].argsort()] = u[0].argsort()
    if not torch.equal(pullback(other), other[:, order].expand_as(back)):
        return None
    return torch.zeros(len(back), dtype=back.dtype, device=back.device)


def _elementwise(pullback: _Pullback, draw: _Draw) -> Tensor | None:
    everywhere = torch.ones_like(pullback.x[0].flatten(), dtype=torch.bool)
    return _diagonal(pullback, draw, everywhere)


def _coupling(pullback: _Pullback, draw: _Draw) -> Tensor | None:
    if pullback.z.shape != pullback.x.shape:
        return None
    kept = (pullback.z == pullback.x).flatten(1).all(0)  # (D,)
    if not kept.any() or kept.all():
        return None
    u = torch.where(kept, draw(), 0)
    back = pullback(u)
    if not torch.equal(back, u.expand_as(back)):  # J_aa = I and J_ab = 0
        return None
    return _diagonal(pullback, draw, ~kept)


def _diagonal(pullback: _Pullback, draw: _Draw, among: Tensor) -> Tensor | None:
    """The log-determinant of the block of J over the elements ``among``, if it is diagonal."""
    u, other = draw()[:, among], draw()[:, among]
    whole = torch.zeros_like(among, dtype=u.dtype)[None]
    slope = pullback(whole.masked_scatter(among, u))[:, among] / u
    again = pullback(whole.masked_scatter(among, other))[:, among] / other
    if not bool(((slope - again).abs() <= SAME * slope.abs()).all()):
        return None
    return slope.abs().log().sum(1)


def _mixing(pullback: _Pullback, draw: _Draw) -> Tensor | None:
    shape = pullback.x.shape  # (N, C, ...)
    if pullback.z.shape != shape or shape[1] > MIXED or math.prod(shape[2:]) == 1:
        return None
    some = (draw().reshape(1, shape[1], -1)[:, :1] > 0).expand(1, shape[1], -1).reshape(1, -1)
    if bool((pullback(torch.where(some, draw(), 0))[:, ~some[0]] != 0).any()):
        return None  # one pixel's output depends on another pixel
    rows = []
    for channel in range(shape[1]):
        u = torch.zeros(1, shape[1], math.prod(shape[2:]), dtype=pullback.x.dtype)
        u[:, channel] = 1
        rows.append(pullback(u.flatten(1).to(pullback.x.device)).reshape(shape[0], shape[1], -1))
    blocks = torch.stack(rows, dim=1)  # (N, C out, C in, pixels)
    u = draw()
    product = (blocks * u.reshape(1, shape[1], 1, -1)).sum(1)  # (N, C in, pixels)
    back = pullback(u)
    if not bool(((product.flatten(1) - back).abs() <= SAME * back.abs().amax()).all()):
        return None
    return torch.linalg.slogdet(blocks.permute(0, 3, 1, 2))[1].sum(1)


def _estimate(
    function: Map,
    x: Tensor,
    context: Tensor | None,
    draw: _Draw,
    probes: int,
    steps: int,
) -> tuple[Tensor, float]:
    r"""Half of :math:`\operatorname{tr} \log J^\top J` of one event, and its standard error.

    Products J q are central differences in float64, right to about ten digits.
    """
    many, same = x.expand(probes, *x.shape[1:]), _repeated(context, probes)
    pullback = _Pullback(function, many, same)
    size = x.numel()
    step = 1e-5 * math.sqrt(size) * max(float(x.square().mean().sqrt()), 1e-3)

    def normal_product(q: Tensor) -> Tensor:
        move = step * q.reshape(many.shape)
        change = function(many + move, same)[0] - function(many - move, same)[0]
        return pullback(change.flatten(1) / (2 * step))

    q = torch.cat([draw().sign() for _ in range(probes)]) / math.sqrt(size)  # (K, D)
    basis, diagonal, beside = [q], [], []
    for _ in range(steps):
        w = normal_product(q)
        diagonal.append((w * q).sum(1))
        for _ in range(2):  # twice is enough to stay orthogonal
            for earlier in basis:
                w = w - (w * earlier).sum(1, keepdim=True) * earlier
        norm = w.norm(dim=1)
        beside.append(norm)
        q = w / norm.clamp(min=1e-300)[:, None]
        basis.append(q)
    whole = _quadrature(diagonal, beside, size)
    shorter = _quadrature(diagonal[: -steps // 4], beside[: -steps // 4], size)
    spread = float(whole.std()) / math.sqrt(probes)
    return whole.mean()[None], spread + abs(float(whole.mean() - shorter.mean()))


def _quadrature(diagonal: list[Tensor], beside: list[Tensor], size: int) -> Tensor:
    """Gauss quadrature of half the logarithm, from Lanczos' tridiagonal matrices: ``(K,)``."""
    off = torch.stack(beside[:-1], dim=1)
    matrix = torch.diag_embed(torch.stack(diagonal, dim=1))
    matrix = matrix + torch.diag_embed(off, 1) + torch.diag_embed(off, -1)
    nodes, vectors = torch.linalg.eigh(matrix)
    weights = vectors[:, 0].square()
    return 0.5 * size * (weights * nodes.clamp(min=1e-300).log()).sum(1)
