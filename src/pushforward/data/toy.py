"""Toy densities in the plane, with exact definitions, for lessons and benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, log, pi

import numpy as np

from ..errors import InputError
from .found import Found, Part

__all__ = ["TOYS", "make_toy", "toy", "two_moons_log_density"]

_TRAIN, _HELD_OUT = 20_000, 2_000


def two_moons(n: int, rng: np.random.Generator, noise: float = 0.05) -> np.ndarray:
    """Two half circles of radius 1, as scikit-learn's ``make_moons`` places them.

    t ~ U(0, pi); with probability 1/2 each c = (cos t, sin t) or c = (1 - cos t, 1/2 - sin t);
    x = c + noise * N(0, I). The angles are drawn, not on a grid.
    """
    t = pi * rng.random(n)
    outer = rng.random(n) < 0.5
    centres = np.where(outer[:, None], _outer_moon(t), _inner_moon(t))
    return centres + noise * rng.standard_normal((n, 2))


def _outer_moon(t: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(t), np.sin(t)], axis=-1)


def _inner_moon(t: np.ndarray) -> np.ndarray:
    return np.stack([1 - np.cos(t), 0.5 - np.sin(t)], axis=-1)


def circles(n: int, rng: np.random.Generator) -> np.ndarray:
    """Two circles around the origin.

    t ~ U(0, 2 pi), r = 1 or r = 1/2 with probability 1/2 each;
    x = (r cos t, r sin t) + 0.05 * N(0, I).
    """
    t = 2 * pi * rng.random(n)
    r = np.where(rng.random(n) < 0.5, 1.0, 0.5)
    return r[:, None] * _outer_moon(t) + 0.05 * rng.standard_normal((n, 2))


def checkerboard(n: int, rng: np.random.Generator) -> np.ndarray:
    """Uniform on the 8 dark squares, of side 2, of a 4 x 4 board over [-4, 4]^2.

    Dark are the squares where floor(x0 / 2) + floor(x1 / 2) is even: the density is 1/32 there and
    0 elsewhere, its entropy log 32 nats.
    """
    column = rng.integers(-2, 2, n)
    row = 2 * rng.integers(-1, 1, n) + column % 2
    return 2 * (np.stack([column, row], axis=-1) + rng.random((n, 2)))


def spirals(n: int, rng: np.random.Generator) -> np.ndarray:
    """Two arms of one and a half turns.

    t = 3 pi sqrt(u), u ~ U(0, 1); s = +1 or -1 with probability 1/2 each;
    x = s * (-t cos t, t sin t) / 3 + 0.1 * N(0, I).
    """
    t = 3 * pi * np.sqrt(rng.random(n))
    sign = np.where(rng.random(n) < 0.5, 1.0, -1.0)
    arm = np.stack([-t * np.cos(t), t * np.sin(t)], axis=-1) / 3
    return sign[:, None] * arm + 0.1 * rng.standard_normal((n, 2))


def eight_gaussians(n: int, rng: np.random.Generator) -> np.ndarray:
    """Eight equal Gaussians of standard deviation 1/2 on a circle of radius 4.

    k ~ U{0, ..., 7}; x = 4 * (cos(pi k / 4), sin(pi k / 4)) + 0.5 * N(0, I).
    """
    centres = 4 * _outer_moon(pi / 4 * rng.integers(0, 8, n))
    return centres + 0.5 * rng.standard_normal((n, 2))


TOYS: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "two-moons": two_moons,
    "circles": circles,
    "checkerboard": checkerboard,
    "spirals": spirals,
    "eight-gaussians": eight_gaussians,
}


def make_toy(name: str, n: int, seed: int = 0) -> np.ndarray:
    """Draw ``n`` independent points of a toy density, float64 ``(n, 2)``.

    Args:
        name: ``two-moons``, ``circles``, ``checkerboard``, ``spirals`` or ``eight-gaussians``;
            each is defined in the docstring of the function that ``TOYS`` has under this name.
        n: how many.
        seed: of NumPy's default generator.

    Raises:
        InputError: no such density, or a negative number.
    """
    known = name.lower().replace("_", "-")
    if known not in TOYS:
        raise InputError(f"no toy density {name!r}; there are {', '.join(TOYS)}.")
    if n < 0 or seed < 0:
        raise InputError(f"n and seed must be 0 or more; got n={n}, seed={seed}.")
    return TOYS[known](n, np.random.default_rng(seed))


def toy(name: str, seed: int) -> Found:
    """Draw 20,000 train, 2,000 validation and 2,000 test rows, float32."""
    rows = make_toy(name, _TRAIN + 2 * _HELD_OUT, seed).astype(np.float32)
    train, validation, test = np.split(rows, [_TRAIN, _TRAIN + _HELD_OUT])
    parts = {"train": Part(train), "validation": Part(validation), "test": Part(test)}
    return Found(name, parts, splitting="fixed")


def two_moons_log_density(x: np.ndarray, noise: float = 0.05) -> np.ndarray:
    r"""Return the log-density of ``two-moons`` in nats, by quadrature in float64.

    .. math:: p(x) = \frac{1}{2\pi} \sum_{k=1}^{2} \int_0^\pi N(x;\, c_k(t), \sigma^2 I)\, dt

    Gauss-Legendre rules of 16 nodes on panels of about 2 sigma; the error is below 1e-9 nats up to
    a distance of 4 from the origin, where the density has long vanished.

    Args:
        x: ``(N, 2)``.
        noise: sigma, 0.05 as `make_toy` draws.

    Returns:
        float64 ``(N,)``.

    Raises:
        InputError: ``x`` is not ``(N, 2)`` or ``noise`` is not positive.
    """
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or x.shape[1] != 2:
        raise InputError(f"the density of two-moons takes points (N, 2); got shape {x.shape}.")
    if not noise > 0:
        raise InputError(f"noise must be positive; got {noise}.")
    t, weights = _panels(ceil(pi / (2 * noise)))
    centres = np.concatenate([_outer_moon(t), _inner_moon(t)])  # (2 T, 2)
    log_weights = np.log(np.tile(weights, 2)) - log(2 * pi) - log(2 * pi * noise**2)
    result = np.empty(len(x))
    for start in range(0, len(x), 1024):  # bounds the (rows, 2 T) matrix
        rows = x[start : start + 1024]
        square = ((rows[:, None] - centres) ** 2).sum(axis=-1)
        terms = log_weights - square / (2 * noise**2)
        top = terms.max(axis=1)
        result[start : start + 1024] = top + np.log(np.exp(terms - top[:, None]).sum(axis=1))
    return result


def _panels(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the nodes and weights of a composite Gauss-Legendre rule on [0, pi]."""
    nodes, weights = np.polynomial.legendre.leggauss(16)
    width = pi / count
    t = width * (np.arange(count)[:, None] + (nodes + 1) / 2)  # (count, 16)
    return t.ravel(), np.tile(weights * width / 2, count)
