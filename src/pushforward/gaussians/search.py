"""How many normals, and how blunt: a Gaussian mixture by EM, its size chosen by a measure."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np

__all__ = ["Array", "MixtureSearch", "Reached", "with_spread"]

Array = np.ndarray[Any, np.dtype[np.float64]]

_Place = tuple[float, float]
"""Of the search: log2 of the components, and log10 of what is added to variances."""

_ITERATIONS, _TOLERANCE = 200, 1e-3
"""Of one EM run: at most so many, and until the mean log-likelihood rises by no more nats."""
_REG = (1e-6, 1.0)
"""The least and the most that is added to variances, as a share of the mean variance."""
_SHARE, _STRIDES = -2.0, ((1.0, 0.5), (0.5, 0.25))
"""Of the search: where it begins, with that share, and the strides of its two passes."""


class Reached:
    """What an EM run has reached: weights ``(K,)``, means ``(K, D)``, covariances, and how.

    Attributes:
        score: the mean log-likelihood of rows ``(N, D)`` in nats; right until EM goes on.
    """

    def __init__(self, mixture: Any, reg: float, iterations: int) -> None:
        self.score: Callable[[Array], float] = mixture.score
        self.weights, self.means = mixture.weights_, mixture.means_
        self.covariances = mixture.covariances_
        self.components, self.reg, self.iterations = len(self.weights), reg, iterations


class MixtureSearch:
    """EM runs of more and more components, wherever a measure gets better.

    From one component on, it goes wherever the measure is less: twice the components, more or
    less added to variances, or both; then the same in half steps. What a run has reached after
    every few iterations is measured, so that the measure also says when to stop.

    Args:
        parts: what EM learns from, ``(M, D)`` of at least two rows: one, or several of which each
            place is tried on all.
        measure: the loss of what has been reached on a part, such as that of rows held out.
        over: whether to end, asked before so many components go through their next iterations.
        say: told in a sentence of a run that failed.
        components, reg: fixed, where they are given; else chosen.
        covariance: of each component.
        strides: of each pass: doublings of the components, and powers of ten of what is added.
        seed: of the starting responsibilities.

    Attributes:
        steps: EM iterations so far, of all runs.
        pace: seconds that the last few iterations took, per component.
        tried: the least loss at each number of components and reg that has been visited, and
            after how many iterations.
    """

    def __init__(
        self,
        parts: Sequence[Array],
        *,
        measure: Callable[[Reached, int], float],
        over: Callable[[int], bool],
        say: Callable[[str], object] = lambda _: None,
        components: int | None = None,
        reg: float | None = None,
        covariance: Literal["full", "diag"] = "full",
        strides: Sequence[_Place] = _STRIDES,
        seed: int = 0,
    ) -> None:
        from sklearn import config_context
        from sklearn.mixture import GaussianMixture

        self.make, self.settings = GaussianMixture, config_context
        self.parts, self.measure, self.over, self.say = parts, measure, over, say
        self.components, self.reg, self.covariance, self.seed = components, reg, covariance, seed
        self.strides = strides
        self.spread = float(parts[0].var(axis=0).mean()) or 1.0
        self.steps, self.pace = 0, 0.0
        self.tried: dict[tuple[int, float], tuple[float, int]] = {}

    def run(self, begin: tuple[int, float] | None = None) -> None:
        """Search until nothing is better or it is over.

        Args:
            begin: components and reg to begin at; the fixed ones, or one component, if None.
        """
        place = (0.0, _SHARE)
        if begin is not None:
            place = math.log2(begin[0]), math.log10(begin[1] / self.spread)
        if self.components is not None:
            place = math.log2(self.components), place[1]
        loss = self._loss(place)
        for step in self.strides:
            while not self.over(0):
                around = [(self._loss(other), other) for other in self._neighbours(place, step)]
                least, other = min(around, default=(math.inf, place))
                if least >= loss:
                    break
                loss, place = least, other

    def _neighbours(self, place: _Place, step: _Place) -> list[_Place]:
        """Where to look next; what is fixed stays."""
        size, reg = place
        more = 0.0 if self.components is not None else step[0]
        up = 0.0 if self.reg is not None else step[1]
        # More components want more to be added to their variances: hence both at once.
        longer = [(size + more, reg + up), (size + more, reg), (size, reg + up)]
        return [*longer, (size, reg - up), (max(0.0, size - more), reg)]

    def _loss(self, place: _Place) -> float:
        """The loss of a place; that of an earlier visit if there was one."""
        components = min(round(2 ** place[0]), *map(len, self.parts))
        share = min(max(10.0 ** place[1], _REG[0]), _REG[1])
        reg = self.reg or share * self.spread
        if (components, reg) not in self.tried:
            if self.over(0):
                return math.inf
            self.tried[components, reg] = self._em(components, reg)
        return self.tried[components, reg][0]

    def _em(self, components: int, reg: float) -> tuple[float, int]:
        """EM runs on all parts; the least loss on their way, and after how many iterations."""
        paths: list[list[tuple[float, int]]] = []
        for index, part in enumerate(self.parts):
            paths.append([])
            if self.over(components):
                break
            for reached in self.stages(part, components, reg):
                paths[-1].append((self.measure(reached, index), reached.iterations))
                if self.over(components):
                    break
        if not all(paths):  # out of time, or a run failed: of one part nothing is known
            return math.inf, 0
        longest = max(paths, key=len)
        losses = [
            float(np.mean([path[min(stage, len(path) - 1)][0] for path in paths]))
            for stage in range(len(longest))
        ]
        best = int(np.argmin(losses))
        return losses[best], longest[best][1]

    def stages(
        self, z: Array, components: int, reg: float, most: int = _ITERATIONS
    ) -> Iterator[Reached]:
        """What an EM run has reached after every few iterations; it ends early if it fails."""
        heavy = z.size * z.shape[1] * components > 1e10
        chunk = min(most, 1 if heavy else 10)
        mixture = self.make(
            components,
            covariance_type=self.covariance,
            reg_covar=reg,
            tol=_TOLERANCE,
            max_iter=chunk,
            warm_start=True,
            random_state=self.seed,
        )
        done = 0
        while done < most:
            began = time.monotonic()
            # With its dispatch on, the user's own choice, scikit-learn refuses to begin by k-means.
            with warnings.catch_warnings(), self.settings(array_api_dispatch=False):
                # That it has not converged yet, or that there are fewer points than clusters.
                warnings.simplefilter("ignore")
                try:
                    mixture.fit(z)
                except ValueError as error:
                    self.say(f"EM with {components} components failed: {error}")
                    return
            done += mixture.n_iter_
            self.steps += mixture.n_iter_
            self.pace = chunk * (time.monotonic() - began) / (components * mixture.n_iter_)
            yield Reached(mixture, reg, done)
            if mixture.converged_:
                return


def with_spread(z: Array, seed: int) -> Array:
    """``z`` as EM can learn from it: at least two rows, and no column of them constant.

    Of a constant column no spread can be learned: it is made standard normal, rather than of a
    spread that is the less the better.
    """
    if len(z) == 1:  # scikit-learn asks for two
        z = z.repeat(2, axis=0)
    constant = z.min(axis=0) == z.max(axis=0)
    z = z.copy()
    z[:, constant] += np.random.default_rng(seed).standard_normal((len(z), int(constant.sum())))
    return z
