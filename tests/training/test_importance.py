"""Importance weights: what is estimated from known ones, and when nothing can be."""

import math

import numpy as np
import pytest
from scipy.stats import genpareto

from pushforward import NumericalError
from pushforward.training.importance import importance, pareto_k


def test_effective_samples_of_known_weights():
    assert importance([0.0, 0.0, 0.0, 0.0]).ess == 1
    assert importance([0.0, -800.0, -800.0, -800.0]).ess == pytest.approx(1 / 4)
    assert importance(np.log([1, 2, 3])).ess == pytest.approx(36 / 42)
    assert importance(np.log([1, 2, 3])).log_z == pytest.approx(math.log(2))


@pytest.mark.parametrize("k", [0.1, 0.4, 0.7, 1.2])
def test_pareto_k_of_weights_with_a_known_tail(k):
    found = []
    for seed in range(8):
        weights = genpareto.rvs(k, size=20_000, random_state=seed) + 1
        found.append(pareto_k(np.log(weights)))
        assert pareto_k(np.log(weights) - 1e4) == pytest.approx(found[-1], abs=1e-6)
    assert np.mean(found) == pytest.approx(k, abs=0.1)


def test_pareto_k_says_when_it_cannot_say():
    assert math.isnan(pareto_k(np.zeros(20)))
    assert pareto_k(np.zeros(100)) == -math.inf
    assert pareto_k(np.log(np.random.default_rng(0).uniform(size=5_000))) < 0, "bounded weights"


@pytest.mark.parametrize("spread", [10, 300, 1_000, 1e6, 1e15])
def test_pareto_k_is_large_where_one_weight_outweighs_all(spread):
    for n in (30, 2_000):
        noise = np.random.default_rng(0).exponential(size=n)
        assert pareto_k(spread * noise) > 2
        assert pareto_k(spread * noise - 1e4) > 2


def test_samples_outside_of_the_domain_weigh_nothing():
    half = importance([0.0, -math.inf] * 50)
    assert half.log_z == pytest.approx(-math.log(2))
    assert half.ess == pytest.approx(0.5)
    assert half.free_energy == half.free_energy_error == math.inf


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.0, math.nan, math.inf], "2 of 3 samples of the flow are NaN or infinite"),
        ([-math.inf, -math.inf], "all 2 samples of the flow have infinite energy"),
    ],
)
def test_weights_that_say_nothing_are_refused(values, said):
    with pytest.raises(NumericalError, match=said):
        importance(values)
