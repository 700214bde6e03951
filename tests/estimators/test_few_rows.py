"""Of few rows no more is learned than is surely there, and none is held out from the result."""

import numpy as np
import pytest
from quickly import rows

import pushforward as pf
from pushforward.errors import NumericalError
from pushforward.sklearn import FlowDensity, few_rows
from pushforward.training import Run

SMALL = {"base_components": 1, "couplings": 2, "width": 8}


def make():
    return pf.RealNVP((2,), base="mixture", law="spline", **SMALL)


def told(monkeypatch, *curves):
    """Let ``fit`` give these curves of validation losses instead; what it is asked for."""
    asked, left = [], list(curves)

    def fit(flow, data, **options):
        asked.append((data, options))
        if not left:
            return flow.initialise(data.train)
        curve = left.pop(0)
        if curve is None:
            raise NumericalError("the loss was NaN")
        steps = range(0, 5 * len(curve), 5)
        records = [{"step": s, "validation": v} for s, v in zip(steps, curve, strict=True)]
        return Run("nats", records=records)

    monkeypatch.setattr(few_rows, "fit", fit)
    return asked


def test_each_row_is_predicted_once_and_all_are_learned_from_in_the_end(monkeypatch):
    x = np.repeat(rows(50, 2), 2, axis=0)  # each row twice
    asked = told(monkeypatch, *[(3.0, 2.0, 1.5, 2.0, 2.5, 3.0, 4.0)] * 8)
    few_rows.learn_from_few(make, x, {"lr": 1e-3}, 0)
    *folds, (whole, options) = asked
    held_out = np.concatenate([data.validation for data, _ in folds])
    assert np.array_equal(np.sort(held_out, 0), np.sort(x, 0))
    for data, _ in folds:
        assert len(data.train) + len(data.validation) == len(x)
        assert not set(map(tuple, data.train)) & set(map(tuple, data.validation))
    assert len(whole.train) == len(x)
    assert (options["max_steps"], options["lr"]) == (10, 1e-3)  # where the folds were best


@pytest.mark.parametrize(
    "curves",
    [
        [(2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6)] * 8,
        [(2.0, 1.9 if i % 2 else 2.09, *[2.2] * 5) for i in range(8)],  # a gain that may be chance
        [(2.0, 1.9, 1.8, 1.8, 1.8, 1.8, 1.8)] * 7 + [None],
        [(np.inf, 1.9, 1.8, 1.8, 1.8, 1.8, 1.8)] * 8,
    ],
    ids=["worse", "chance", "failed", "infinite"],
)
def test_without_a_sure_gain_the_mixture_of_all_rows_stays(monkeypatch, curves):
    x = rows(60, 2)
    asked = told(monkeypatch, *curves)
    flow = few_rows.learn_from_few(make, x, {}, 0).double().eval()
    assert all(len(data.validation) for data, _ in asked)  # no training on all of them
    mixture = make()
    mixture.initialise(x)
    assert np.allclose(flow.log_prob(x).detach(), mixture.double().eval().log_prob(x).detach())


def test_nothing_is_trained_below_forty_rows_nor_folded_from_three_hundred_on(monkeypatch):
    asked = told(monkeypatch)
    fitted = FlowDensity(settings=SMALL, random_state=0).fit(rows(39, 2))
    assert not asked
    assert np.isfinite(fitted.score(rows(39, 2)))

    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr("pushforward.sklearn.estimator.learn_from_few", refuse)
    few = {"max_steps": 1, "settings": SMALL, "random_state": 0}
    FlowDensity(**few).fit(rows(60, 2))  # who sets the steps gets them
    monkeypatch.setattr("pushforward.sklearn.estimator.fit", lambda *_, **__: None)
    FlowDensity(settings=SMALL).fit(rows(300, 2))


def test_it_learns_what_a_normal_cannot_hold(monkeypatch):
    monkeypatch.setattr(few_rows, "_FOLDS", 3)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 1)) ** 3
    x = np.c_[x, x**2 + 0.05 * rng.normal(size=(80, 1))]
    fitted = FlowDensity(settings=SMALL, random_state=0).fit(x)
    mixture = make()
    mixture.initialise(x)
    fresh = rng.normal(size=(500, 1)) ** 3
    fresh = np.c_[fresh, fresh**2 + 0.05 * rng.normal(size=(500, 1))]
    gain = fitted.score_samples(fresh) - mixture.eval().log_prob(fresh).detach().numpy()
    assert gain.mean() > 0.1
