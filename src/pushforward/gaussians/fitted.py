"""A Gaussian mixture as the base of a flow, read off the latents before training begins."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..layers.layer import Shape
from .mixture import GaussianMixture
from .search import Array, MixtureSearch, Reached, with_spread

__all__ = ["FittedMixture", "agree_on_base", "note_base", "take_base_size"]

_LARGEST_FULL = 256
"""Numbers per event up to which covariances are full."""
_FEW, _FOLDS, _SHARE = 1_000, 4, 5
"""Below so many rows, each place of the search is tried on so many folds; else a fifth is held out
once."""
_FEWEST = 20
"""Rows below which nothing is held out: one normal, its covariance shrunk."""
_STRIDES = ((1.0, 1.0), (0.5, 0.5))
"""Of the search: longer than for a mixture that is all there is; training does the rest."""
_WORK = 4e9
"""Of the search: rows times components times squared size, over all iterations. Counted, not
timed, so that the same data always give the same mixture; a few seconds at most."""


class FittedMixture(GaussianMixture):
    r"""A mixture of normals that EM fits to the latents of the data before the first step.

    .. math:: p(z) = \sum_k \pi_k\, \mathcal N(z;\, \mu_k,\, \Sigma_k)

    The layers of the flows of this library start at the identity, or at a linear map. Over this
    base they start at the best mixture that EM finds, whose number of components and blunting are
    chosen by the likelihood of rows held out, and training goes on from there, mixture and layers
    together. ``fit`` validates the mixture itself before its first step, and keeps what is best.

    Where there are too few rows to hold any out, or EM fails, it is one normal whose covariance is
    shrunk towards its diagonal.

    Args:
        shape: of a latent; images are flattened.
        components: K; None lets the held-out likelihood choose.
        seed: of EM, and of what is held out.

    Source: Dempster, Laird and Rubin 1977 (EM); Izmailov et al. 2020 (flows over mixtures).
    """

    reads_data = True
    fitted: Tensor

    def __init__(self, shape: Shape, components: int | None = None, seed: int = 0) -> None:
        kind: Literal["full", "diag"] = "full" if math.prod(shape) <= _LARGEST_FULL else "diag"
        super().__init__(shape, components or 1, kind)
        self.wanted, self.seed = components, seed
        self.register_buffer("fitted", torch.tensor(False))

    @torch.no_grad()
    def initialise(self, z: Tensor) -> None:
        """Fit the mixture to latents ``(N, *shape)``, unless that has been done before."""
        if bool(self.fitted) or len(z) == 0:
            return
        rows = z.flatten(1).double().cpu().numpy()
        found = best_mixture(rows, self.wanted, self.covariance, self.seed)
        self.resize(len(found[0]))
        self.set_moments(*(torch.from_numpy(part).to(self.anchor.device) for part in found))
        self.fitted.fill_(True)

    def resize(self, components: int) -> None:
        """Make room for so many components; their values are to be set."""
        if components == self.components:
            return
        like = GaussianMixture(self.shape, components, self.covariance)
        for name, value in like.named_parameters():
            setattr(self, name, nn.Parameter(value.detach().to(self.anchor)))
        self.components = components

    def _load_from_state_dict(self, state: Any, prefix: str, *args: Any) -> None:
        weights = state.get(f"{prefix}logits")
        if weights is not None and weights.ndim == 1 and len(weights):
            self.resize(len(weights))
        super()._load_from_state_dict(state, prefix, *args)


def note_base(flow: Any) -> None:
    """Put the number of components that data have chosen into the flow's configuration."""
    base = getattr(flow, "base", None)
    if isinstance(base, FittedMixture) and hasattr(flow.config, "base_components"):
        flow.config = replace(flow.config, base_components=base.components)


def take_base_size(flow: Any, state: Mapping[str, Tensor]) -> None:
    """Give the base of a flow that has seen no data the size that it has in a state dict."""
    base, weights = getattr(flow, "base", None), state.get("base.logits")
    if isinstance(base, FittedMixture) and weights is not None:
        base.resize(len(weights))
        note_base(flow)


def agree_on_base(flow: Any, share: Callable[[Any], Any]) -> None:
    """Give every process the base of the first one; ``share`` hands out that one's value."""
    base = getattr(flow, "base", None)
    if isinstance(base, FittedMixture):
        state = {name: value.cpu() for name, value in base.state_dict().items()}
        base.load_state_dict(share(state))
        note_base(flow)


# Choosing --------------------------------------------------------------------------------------


def best_mixture(
    z: Array, components: int | None, covariance: Literal["full", "diag"], seed: int
) -> tuple[Array, Array, Array]:
    """Weights ``(K,)``, means and covariances of the mixture that predicts held-out rows best."""
    if len(z) < max(_FEWEST, 5 * (components or 1)):
        return one_normal(z, covariance)
    z = with_spread(z, seed)
    order = np.random.default_rng(seed).permutation(len(z))
    folds = np.array_split(order, _FOLDS if len(z) < _FEW else _SHARE)
    held_out = folds if len(z) < _FEW else folds[:1]
    parts = [np.delete(z, fold, axis=0) for fold in held_out]

    size = z.shape[1] ** 2 if covariance == "full" else z.shape[1]
    most = _WORK / (len(parts[0]) * (size + 20 * z.shape[1]))  # iterations of one component
    spent = 0.0

    def measure(reached: Reached, part: int) -> float:
        nonlocal spent
        spent += 10 * reached.components
        return -reached.score(z[held_out[part]])

    def over(components: int) -> bool:
        return spent > 0 and spent + 20 * components * len(parts) > most

    search = MixtureSearch(
        parts,
        measure=measure,
        over=over,
        components=components,
        covariance=covariance,
        strides=_STRIDES,
        seed=seed,
    )
    search.run()
    (count, reg), (loss, iterations) = min(search.tried.items(), key=lambda item: item[1][0])
    reached = list(search.stages(z, count, reg, iterations)) if math.isfinite(loss) else []
    if not reached:
        return one_normal(z, covariance)
    last = reached[-1]
    return last.weights, last.means, last.covariances


def one_normal(z: Array, covariance: Literal["full", "diag"]) -> tuple[Array, Array, Array]:
    r"""One normal for any rows, be it a single one: mean, and a covariance shrunk to its diagonal.

    .. math:: \Sigma = \frac{N S + (D + 2) \operatorname{diag}(v)}{N + D + 2}

    with the variances v of the columns, 1 where a column does not vary.
    """
    n, dims = z.shape
    variance = z.var(axis=0)
    variance = np.where(variance > 1e-12, variance, 1.0)
    weights, means = np.ones(1), z.mean(axis=0, keepdims=True)
    if covariance == "diag":
        return weights, means, variance[None]
    away = z - means
    shrunk = (away.T @ away + (dims + 2) * np.diag(variance)) / (n + dims + 2)
    return weights, means, shrunk[None]
