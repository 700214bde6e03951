"""FlowTransformer goes there and back, and what it gives is closer to normal."""

import numpy as np
import pandas as pd
import pytest
from quickly import quick, rows
from scipy import stats
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pushforward import InputError
from pushforward.sklearn import FlowTransformer


def test_there_and_back():
    x = rows(80)
    transformer = quick(FlowTransformer).fit(x)
    assert np.allclose(transformer.inverse_transform(transformer.transform(x)), x, rtol=1e-9)
    single = x.astype(np.float32)
    assert transformer.transform(single).dtype == np.float32
    assert transformer.inverse_transform(transformer.transform(single)).dtype == np.float32


def test_latents_are_closer_to_normal():
    rng = np.random.default_rng(0)
    x = np.exp(rng.normal(size=(600, 2)))
    x[:, 1] *= x[:, 0]
    z = FlowTransformer(
        max_steps=100, settings={"couplings": 2, "width": 32}, random_state=0
    ).fit_transform(x[:500])
    whole = [np.log(stats.kstest(v, "norm").statistic) for v in z.T]
    scaled = StandardScaler().fit_transform(x)
    before = [np.log(stats.kstest(v, "norm").statistic) for v in scaled.T]
    assert np.mean(whole) < np.mean(before) - 0.5
    assert abs(stats.spearmanr(z).statistic) < abs(stats.spearmanr(x).statistic) / 2


def test_names_and_frames_come_out():
    table = pd.DataFrame(rows(), columns=list("abc"))
    transformer = quick(FlowTransformer).set_output(transform="pandas").fit(table)
    names = [f"flowtransformer{i}" for i in range(3)]
    assert list(transformer.get_feature_names_out()) == names
    assert list(transformer.transform(table).columns) == names
    polars = quick(FlowTransformer).set_output(transform="polars").fit_transform(table)
    assert polars.columns == names


def test_it_stands_in_a_pipeline_and_comes_back_through_it():
    x = rows(80)
    line = make_pipeline(StandardScaler(), quick(FlowTransformer)).fit(x)
    assert np.allclose(line.inverse_transform(line.transform(x)), x, rtol=1e-8)


def test_latents_of_another_width_are_refused():
    with pytest.raises(InputError, match="latents have 3 numbers a row; got 2"):
        quick(FlowTransformer).fit(rows()).inverse_transform(np.zeros((4, 2)))
