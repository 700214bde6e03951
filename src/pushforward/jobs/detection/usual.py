"""Learn what is usual from rows that may hold anomalies themselves."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...data import Dataset, open_data
from ...data.found import counted
from ...errors import InputError
from ...flow import Flow
from ...gaussians.mixture import GaussianMixture
from ...models import GMM
from ..learned_data import read_as_learned

__all__ = ["Usual", "learn_usual", "usual_flow"]

Array = np.ndarray[Any, np.dtype[Any]]

_FEWEST = 10
"""Complete rows that say what is usual."""
_FOLDS, _SMALL, _WIDE = 5, 2_000, 200
"""Up to 2,000 rows, each is scored by a density that did not learn its fold, and none is lost;
above 200 columns, whose densities take long, two folds do."""
_BLUNT = 1e-2
"""Least variance of a normal before the noise is added, in variances of a column."""
_FENCE = 15.0
"""Widths of the middle half from the median: a normal reaches 4."""


@dataclass(frozen=True, eq=False)
class Usual:
    """A density of what is usual in a source, and the source as it was read.

    Attributes:
        flow: the density.
        events: all rows ``(N, D)``, in the source's order.
        held_out: the rows that were not learned, of a large source.
        crossed: of a small one, whose rows were all learned: densities of all rows but a fold, and
            which of the events are in that fold.
    """

    flow: Flow
    events: Array
    held_out: Array | None
    crossed: tuple[tuple[Flow, Array], ...] = ()


def learn_usual(
    data: Any,
    *,
    trim: float = 0.3,
    noise: float = 1.0,
    components: int | None = None,
    seed: int = 0,
) -> Usual:
    """Learn a density of usual rows from any source of rows.

    Of more than 2,000 complete rows, a tenth and a tenth are held out; fewer are learned all, and
    five times but for a fifth (in wide tables twice but for a half), so that each can be scored by
    a density that did not learn it.

    See ``usual_flow``, which takes the arguments. Rows that lack values are not learned.

    Raises:
        InputError: the source cannot be read, is of images, or has fewer than 20 complete rows.
    """
    dataset: Dataset = open_data(data, split_seed=seed, schema="auto")
    if dataset.kind == "images":
        raise InputError(
            f"{dataset.name} holds images; train a model of them first: pushforward train DATA, "
            f"then pushforward anomalies MODEL DATA."
        )
    counts = {split: len(values) for split, values in dataset.splits().items()}
    total = sum(counts.values())
    if total < 2 * _FEWEST:
        raise InputError(
            f"{dataset.name} has {counted(total, 'row')} without gaps; what is usual takes "
            f"{2 * _FEWEST} complete rows at least."
        )
    small = total <= _SMALL
    if small:
        counts = {"train": total}
    options: dict[str, Any] = {"trim": trim, "noise": noise, "components": components}
    known: dict[str, Any] = {
        "name": dataset.name,
        "kind": "rows",
        "shape": list(dataset.shape),
        "counts": counts,
        "split_seed": seed,
    }
    if dataset.columns is not None:
        known["columns"] = list(dataset.columns)
    if dataset.schema is not None:
        known["schema"] = dataset.schema.to_json()
        specs = dataset.schema.specs()
        if any(spec["count"] is not None for spec in specs):
            # Numbers stay as they are, be they integers: only codes have no distances.
            options["columns"] = [
                s if s["count"] is not None else {"kind": "number"} for s in specs
            ]
    flow = usual_flow(dataset.everything if small else dataset.train, seed=seed, **options)
    flow.facts = {"model": "gmm", "data": known}
    events = read_as_learned(flow, data, missing="keep")
    if not small:
        return Usual(flow, events, np.concatenate([dataset.validation, dataset.test]))
    whole = np.flatnonzero(~np.isnan(events).any(axis=1))
    order = np.random.default_rng(seed).permutation(whole)
    crossed = []
    folds = _FOLDS if events.shape[1] <= _WIDE else 2
    for fold in (np.sort(order[k::folds]) for k in range(folds)):
        rest = np.setdiff1d(whole, fold)
        crossed.append((usual_flow(events[rest], seed=seed, **options), fold))
    return Usual(flow, events, None, tuple(crossed))


def usual_flow(
    rows: Array,
    *,
    trim: float = 0.3,
    noise: float = 1.0,
    components: int | None = None,
    columns: Any = None,
    seed: int = 0,
) -> Flow:
    r"""A density of usual rows: few normals, under noise, learned from the core of the rows.

    .. math:: p_\sigma = p * N(0, \sigma^2 I) \quad \text{of standardised columns}

    A density that follows its data closely finds the anomalies among them usual, since it has
    learned them. Three things keep this one from it. Noise: :math:`p_\sigma` ranks rows as the
    distances to their neighbours do, and directions in which nothing varies do not count for more
    than others; a mixture of normals takes :math:`\sigma^2 I` into its covariances exactly.
    Capacity: few normals, by EM. Trimming: the share ``trim`` of the rows that are least probable
    under twice the noise is left out and EM goes again, a concentration step of FAST-MCD; anomalies
    that had made a normal of their own lose it. So that a single huge value does not stretch its
    column, means and deviations are then those of rows within fences.

    Args:
        rows: ``(N, D)``; those with missing values (NaN) are not learned.
        trim: 0 where all rows are known to be usual.
        noise: :math:`\sigma`, in standard deviations of the columns.
        components: normals; 16 where rows are trimmed, else 64, but 20 rows at least for each.
        columns: a ``ColumnSpec`` for each column, where some hold codes of categories; those are
            spread over cells as wide as they are frequent.
        seed: of EM.

    Raises:
        InputError: a setting is impossible, or fewer than ten rows are complete.

    Source: Rousseeuw and Van Driessen 1999 (FAST-MCD); Vincent 2011 (densities under noise).
    """
    _check(trim, noise, components)
    rows = np.asarray(rows, np.float64)
    rows = rows[~np.isnan(rows).any(axis=1)]
    if len(rows) < _FEWEST:
        raise InputError(f"what is usual takes {_FEWEST} complete rows at least; got {len(rows)}.")
    wanted = components or (16 if trim else 64)
    flow = GMM((rows.shape[1],), columns=columns, seed=seed)
    flow.initialise(_fenced(rows) if trim else rows)
    with torch.no_grad():
        z = flow.latents(torch.from_numpy(rows)).double().numpy()
    found = _mixture(z, wanted, seed)
    if trim:
        score = _log_prob(found, 2 * noise, z)
        found = _mixture(z[score >= np.quantile(score, trim)], wanted, seed)
    flow.take(_smooth(found, noise), None)
    return flow.eval()


def _fenced(rows: Array) -> Array:
    """The rows with every number within its column's fences, for means and deviations to be usual.

    One row that is a thousand times as large as all others would stretch its column's deviation,
    and with it the noise, until nothing in that column could be unusual any more.
    """
    low, middle, high = np.quantile(rows, [0.25, 0.5, 0.75], axis=0)
    reach = np.where(high > low, _FENCE * (high - low), np.inf)  # mostly one value: no measure
    return np.clip(rows, middle - reach, middle + reach)


def _check(trim: float, noise: float, components: int | None) -> None:
    if not 0 <= trim < 1:
        raise InputError(f"trim is a share of the rows from 0 to below 1; got {trim}.")
    if not (noise >= 0 and math.isfinite(noise)):
        raise InputError(f"noise is a number of standard deviations from 0; got {noise}.")
    if components is not None and components < 1:
        raise InputError(f"a mixture needs at least one component; got {components}.")


def _mixture(z: Array, components: int, seed: int) -> Any:
    """A mixture by EM, as scikit-learn's."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture as SklearnMixture

    with warnings.catch_warnings():
        # Under the noise to come, the last digits of EM do not matter; equal rows make one normal.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return SklearnMixture(
            max(1, min(components, len(z) // 20)),
            reg_covar=_BLUNT,
            max_iter=20,
            tol=1e-2,
            random_state=seed,
        ).fit(z)


def _smooth(found: Any, noise: float) -> GaussianMixture:
    """The mixture under noise, as a base."""
    components, dims = found.means_.shape
    covariances = found.covariances_ + noise**2 * np.eye(dims)
    base = GaussianMixture((dims,), components).double()
    base.set_moments(
        torch.from_numpy(found.weights_),
        torch.from_numpy(found.means_),
        torch.from_numpy(covariances),
    )
    return base


def _log_prob(found: Any, noise: float, z: Array) -> Array:
    """The log-density of the mixture under noise at each row, ``(N,)``."""
    base = _smooth(found, noise)
    with torch.no_grad():
        return torch.cat([base.log_prob(part) for part in torch.from_numpy(z).split(4096)]).numpy()
