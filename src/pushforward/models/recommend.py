"""Settings to begin with for a data set: what ``pushforward train`` uses unless told otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # data stands below models in the house: only its type is named here
    from ..data import Dataset

__all__ = ["Recommendation", "recommend", "recommend_rows"]

_FEW_ROWS, _FEW_COLUMNS = 5_000, 64
"""Rows below which networks are narrow, and columns up to which splines are worth their time."""
_NARROW = 16
"""Columns up to which they are so where there are more rows: on POWER, of 6 columns, 29 seconds of
splines reach 1.18 nats on held-out rows, and 15 seconds of affine couplings .49, their best long
before."""


@dataclass(frozen=True)
class Recommendation:
    """Options for ``RealNVP`` and for ``fit``, with the reason in a sentence."""

    model: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


def recommend(dataset: Dataset) -> Recommendation:
    """Choose capacity and regularisation by the kind and the amount of data.

    Few images overfit within a minute: small shifts and dropout hold that off (on 1,437 digits
    they are worth 0.3 bits/dim at the end of training). Large sets need neither.
    """
    n = len(dataset.train)
    if dataset.kind == "images":
        if n < 10_000:
            return Recommendation(
                {"levels": dataset.levels, "dropout": 0.2},
                {"shift": 0.3, "max_time": 60.0},
                "few images: dropout and one-pixel shifts against overfitting, one minute",
            )
        return Recommendation(
            {"levels": dataset.levels}, {"max_time": 900.0}, "many images: fifteen minutes"
        )
    found = recommend_rows(n, dataset.shape[0])
    if dataset.given is not None and "base" in found.model:
        # The best mixture knows nothing of what is given, and would have to be unlearned.
        reason = "few rows: a small model, in small steps"
        found = replace(found, model={**found.model, "base": "normal"}, reason=reason)
    return replace(found, model={"levels": dataset.levels, **found.model})


def recommend_rows(n: int, dims: int) -> Recommendation:
    """Choose by the number of rows and of their columns.

    Few rows begin at the best Gaussian mixture and leave it for as long as validation gets
    better: the figures are in docs/scikit-learn.md.
    """
    # A step of splines takes 2.4 times that of affine couplings at 6 columns, 16 times at 1,000.
    law = "spline" if dims <= _FEW_COLUMNS else "affine"
    if n < _FEW_ROWS:
        return Recommendation(
            {"base": "mixture", "law": law, "couplings": 4, "width": 64, "dropout": 0.1},
            {
                "batch_size": 128,
                "lr": 5e-3,
                "max_steps": 500,
                "validate_every": 25,
                "patience": 8,
            },
            "few rows: from the best Gaussian mixture on, while validation gets better",
        )
    if dims <= _NARROW:
        return Recommendation({"law": "spline"}, {}, "enough rows for wide networks; splines")
    return Recommendation({}, {}, "enough rows for the plain defaults")
