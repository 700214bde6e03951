"""What the estimators share: how a flow is fitted to a table, kept, pickled and asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ..errors import InputError
from ..flow import Flow
from ..models.recommend import recommend_rows
from ..models.registry import create
from ..scoring import score
from ..threads import few_threads
from ..training import fit
from .few_rows import FEW, learn_from_few
from .packing import packed, unpacked

__all__ = ["Array", "FlowEstimator", "seed_from"]

Array = np.ndarray[Any, np.dtype[Any]]


class FlowEstimator(BaseEstimator):
    """An estimator that learns a flow: ``flow_``, with ``n_features_in_`` columns.

    A pickle of it holds the flow as safetensors and JSON, as saved models do, and no code.
    """

    _begin: ClassVar[Mapping[str, Any]] = {}
    """Settings of the model that its job asks for, over the recommended ones."""

    def __init__(
        self,
        model: str = "realnvp",
        *,
        max_steps: int | None = None,
        settings: Mapping[str, Any] | None = None,
        training: Mapping[str, Any] | None = None,
        random_state: Any = None,
    ) -> None:
        self.model = model
        self.max_steps = max_steps
        self.settings = settings
        self.training = training
        self.random_state = random_state

    def _table(self, X: Any, *, reset: bool, **options: Any) -> Array:
        """``X`` as float64 or float32 ``(N, D)``, checked as scikit-learn does.

        Raises:
            InputError: cells are missing, where the estimator takes none.
        """
        least = 2 if reset else 1
        dtype = (np.float64, np.float32)
        if not reset:
            check_is_fitted(self)
        try:
            return validate_data(
                self, X, reset=reset, dtype=dtype, ensure_min_samples=least, **options
            )
        except ValueError as error:
            if "contains NaN" not in str(error):
                raise
            raise InputError(
                f"X contains NaN, missing cells that {type(self).__name__} does not take; fill "
                f"them in first, by FlowImputer before it in a pipeline, or drop their rows."
            ) from None

    def _learn(self, x: Array, **asked: Any) -> None:
        """Fit ``flow_``: recommended settings for so many rows, what is asked, then the user's."""
        seed = seed_from(self.random_state)
        options: dict[str, Any] = {"seed": seed}
        training: dict[str, Any] = {"seed": seed, "progress": False}
        if self.model == "realnvp":
            advice = recommend_rows(*x.shape)
            options |= {**advice.model, **self._begin}
            training |= advice.training
        options |= {**asked, **(self.settings or {})}
        if self.max_steps is not None:
            training["max_steps"] = self.max_steps

        def make() -> Flow:
            return create(self.model, shape=(x.shape[1],), **options)

        flow = make()
        ours = self.model == "realnvp" and self.max_steps is None and not self.training
        if ours and len(x) < FEW and flow.base.reads_data and not flow.takes_missing:
            flow = learn_from_few(make, x, training, seed)
        else:
            fit(flow, x, **{**training, **(self.training or {})})
        # float64: the score of a row is then the same, to all digits that count, beside any others
        self.flow_ = flow.double().eval()

    def _log_prob(self, x: Array) -> Array:
        with few_threads(self.flow_, len(x)):
            return score(self.flow_, x)

    def _apply(self, what: str, x: Array) -> Array:
        """``encode`` or ``decode``, in the type of ``x``."""
        with few_threads(self.flow_, len(x)), torch.no_grad():
            rows = torch.tensor(x, dtype=torch.float64)  # a copy, for x may be read-only
            parts = [getattr(self.flow_, what)(part) for part in rows.split(4096)]
            return torch.cat(parts).numpy().astype(x.dtype)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "flow_" in state:
            state["flow_"] = packed(state["flow_"])
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        state = dict(state)
        if isinstance(state.get("flow_"), dict):
            state["flow_"] = unpacked(state["flow_"])
        super().__setstate__(state)

    flow_: Flow


def seed_from(random_state: Any) -> int:
    """A seed of this library from what scikit-learn takes: None, an int or a RandomState."""
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
