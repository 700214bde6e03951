"""Settings to begin with for a data set: what ``pushforward train`` uses unless told otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # data stands below models in the house: only its type is named here
    from ..data import Dataset

__all__ = ["Recommendation", "recommend"]


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
    if n < 5_000:
        return Recommendation(
            {"levels": dataset.levels, "width": 64, "dropout": 0.1},
            {"batch_size": 128},
            "few rows: narrow networks and dropout against overfitting",
        )
    return Recommendation({"levels": dataset.levels}, {}, "enough rows for the plain defaults")
