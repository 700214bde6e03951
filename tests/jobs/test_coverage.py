"""Coverage of intervals: right models, models that are wrong by a known factor, a real table."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

import pushforward as pf
from pushforward.jobs.coverage import coverage
from pushforward.layers import Layer


class AboutContext(Layer):
    """z = (x - c) / s: a normal about its context, s times as wide as that of the data."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x, context=None):
        log_det = torch.full((len(x),), -x.shape[1] * math.log(self.scale))
        return (x - context) / self.scale, log_det

    def inverse(self, z, context=None):
        log_det = torch.full((len(z),), z.shape[1] * math.log(self.scale))
        return z * self.scale + context, log_det


def rows(n=2_000):
    generator = torch.Generator().manual_seed(1)
    c = 3 * torch.randn(n, 2, generator=generator)
    return c + torch.randn(n, 2, generator=generator), c


def test_a_right_model_covers_what_it_says():
    x, c = rows()
    found = coverage(pf.Flow((2,), [AboutContext(1.0)], context=2), x, c, draws=99)
    assert found.largest < 3.5
    assert found.distance.max() < 1.63 / math.sqrt(len(x))  # 1 %
    assert np.allclose(found.error, np.sqrt([0.25, 0.16, 0.09, 0.0475]) / math.sqrt(2_000))


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_a_wrong_model_covers_what_theory_says(scale):
    x, c = rows()
    found = coverage(pf.Flow((2,), [AboutContext(scale)], context=2), x, c, draws=499)
    expected = [1 - 2 * stats.norm.sf(scale * stats.norm.isf((1 - p) / 2)) for p in found.levels]
    assert np.abs(found.covered - expected).max() < 0.045
    assert np.sign(found.covered[0, 0] - 0.5) == np.sign(scale - 1)


def test_the_context_matters():
    x, c = rows(500)
    flow = pf.Flow((2,), [AboutContext(1.0)], context=2)
    assert coverage(flow, x, c.flip(0)).covered[0, 2] < 0.6


def test_ranks_of_integers_are_uniform_too():
    """Draws that often equal the value: only a randomised rank is uniform."""
    flow = pf.RealNVP((2,), levels=3, couplings=2, width=8)
    x = flow.sample(1_500, seed=5)
    found = coverage(flow, x, draws=49)
    assert found.distance.max() < 1.63 / math.sqrt(1_500)
    assert stats.kstest(found.pit[:, 0], "uniform").statistic == pytest.approx(found.distance[0])


def test_it_prints_names_levels_and_what_they_mean():
    x, c = rows(50)
    flow = pf.Flow((2,), [AboutContext(1.0)], context=2)
    found = coverage(flow, x, c, names=["length", "weight"], levels=[0.9])
    assert "length" in str(found)
    assert "90 %" in str(found)
    assert set(found.to_dict()) >= {"names", "levels", "covered", "error", "events"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"draws": 0}, "draws must be at least 1"),
        ({"levels": [90]}, "levels lie between 0 and 1"),
        ({"names": ["a"]}, "2 columns have as many names"),
        ({"context": None}, "is conditional"),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments, said):
    x, c = rows(10)
    flow = pf.Flow((2,), [AboutContext(1.0)], context=2)
    with pytest.raises(pf.InputError, match=said):
        coverage(flow, x, **{"context": c, **arguments})


def test_images_and_empty_tables_are_refused():
    with pytest.raises(pf.InputError, match="columns of rows"):
        coverage(pf.RealNVP((1, 4, 4), couplings=1, width=4), np.zeros((2, 1, 4, 4), np.uint8))
    with pytest.raises(pf.InputError, match="no rows"):
        coverage(pf.Flow((2,), []), np.zeros((0, 2)))


@pytest.mark.slow
def test_a_real_table_is_covered_as_it_says():
    """Diabetes progression given ten measurements, on rows that were held out."""
    from sklearn.datasets import load_diabetes

    from pushforward.data import open_data

    frame = load_diabetes(as_frame=True).frame
    given = [name for name in frame.columns if name != "target"]
    fractions = (0.15, 0.4)
    flow = pf.learn(frame, given=given, fractions=fractions, progress=False)
    data = open_data(frame, given=given, fractions=fractions)
    found = coverage(flow, data.test, data.context["test"], names=data.columns)
    assert found.events > 150
    assert np.abs(found.covered - np.array(found.levels)).max() < 0.12
    # Without the measurements intervals that hold as much are wider.
    draws = flow.sample(199, context=data.context["test"][0], seed=0)
    assert draws.std() < 0.95 * float(np.std(data.train))
