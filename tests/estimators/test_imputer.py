"""FlowImputer fills in what is missing, by what the other columns say, and nothing else."""

import numpy as np
import pandas as pd
import pytest
from quickly import answers, quick, rows
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pushforward as pf
from pushforward import InputError
from pushforward.sklearn import FlowImputer


def with_gaps(x, share=0.2, seed=1):
    gaps = np.random.default_rng(seed).random(x.shape) < share
    return np.where(gaps, np.nan, x), gaps


@pytest.fixture(scope="module")
def correlated():
    """A normal with strong correlations, whose conditional mean is known."""
    covariance = np.array([[1.0, 0.9], [0.9, 1.0]])
    x = np.random.default_rng(0).multivariate_normal([3, -1], covariance, 400)
    x, gaps = x.copy(), np.zeros((400, 2), bool)
    gaps[:100, 1] = True
    return x, gaps, -1 + 0.9 * (x[:, 0] - 3)


@pytest.fixture(scope="module")
def learned(correlated):
    x, gaps, _ = correlated
    settings = {"couplings": 2, "width": 8, "base_components": 1}
    given = np.where(gaps, np.nan, x)
    return FlowImputer(max_steps=3, settings=settings, random_state=0).fit(given), given


def test_the_mean_is_the_conditional_mean(correlated, learned):
    x, gaps, expected = correlated
    imputer, given = learned
    filled = imputer.transform(given)
    assert np.abs(filled - expected[:, None])[gaps].mean() < 0.15  # of a deviation of 0.44
    assert np.array_equal(filled[~gaps], x[~gaps])


def test_draws_keep_the_spread_that_means_take_away(correlated, learned):
    _, gaps, expected = correlated
    imputer, given = learned
    imputer.set_params(strategy="draw")
    drawn = imputer.transform(given)
    imputer.set_params(strategy="mean")
    assert np.std((drawn - expected[:, None])[gaps]) == pytest.approx(np.sqrt(0.19), rel=0.2)


def test_it_repeats_and_leaves_the_table_alone():
    given, _ = with_gaps(rows(24))
    before = given.copy()
    one, two = (quick(FlowImputer).fit(given).transform(given) for _ in range(2))
    assert np.array_equal(one, two)
    assert np.array_equal(given, before, equal_nan=True)
    assert np.isfinite(one).all()


def test_names_types_and_pipelines():
    given, _ = with_gaps(rows(24))
    table = pd.DataFrame(given.astype(np.float32), columns=list("abc"))
    imputer = quick(FlowImputer).set_output(transform="pandas").fit(table)
    filled = imputer.transform(table)
    assert list(filled.columns) == list(imputer.get_feature_names_out()) == ["a", "b", "c"]
    assert (filled.dtypes == np.float32).all()
    line = make_pipeline(quick(FlowImputer), StandardScaler()).fit(table)
    assert np.isfinite(line.transform(table)).all()


def test_rows_without_any_value_and_complete_tables_are_filled_too():
    given, _ = with_gaps(rows(24))
    given[3] = np.nan
    assert np.isfinite(quick(FlowImputer).fit_transform(given)).all()
    complete = quick(FlowImputer).fit(rows(24))
    assert np.isfinite(complete.transform(given)).all()


def test_a_column_without_any_value_is_refused():
    table = pd.DataFrame(rows(24), columns=list("abc")).assign(b=np.nan)
    with pytest.raises(InputError, match="column b has no value in any row"):
        quick(FlowImputer).fit(table)


def test_an_unknown_strategy_is_refused():
    with pytest.raises(InputError, match="strategy is one of mean, best, draw; got 'median'"):
        quick(FlowImputer, strategy="median").fit(rows())


def test_its_flow_gives_several_draws(learned):
    imputer, given = learned
    assert pf.impute(imputer.flow_, given[:5], draws=3).draws.shape == (3, 5, 2)


@pytest.mark.parametrize("make", [pf.FlowDensity, pf.FlowOutlierDetector, pf.FlowTransformer])
def test_the_others_refuse_missing_cells(make):
    given, fitted = with_gaps(rows())[0], quick(make).fit(rows())
    for ask in (quick(make).fit, lambda x: answers(fitted, x)):
        with pytest.raises(InputError, match="by FlowImputer before it"):
            ask(given)
