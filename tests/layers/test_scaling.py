"""The diagonal scaling, and flattening, against what they are by definition."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from pushforward import Flow, InputError
from pushforward.bases import Logistic
from pushforward.layers import Flatten, Scaling


def test_a_scaled_logistic_density_is_that_of_scipy():
    flow = Flow((3,), [Scaling((3,))], Logistic((3,))).double()
    with torch.no_grad():
        flow.chain[0].log_scale.copy_(torch.tensor([-1.0, 0.0, 2.0]))
    x = np.random.default_rng(0).normal(scale=3, size=(7, 3))
    scale = np.exp(-np.array([-1.0, 0.0, 2.0]))
    truth = scipy.stats.logistic.logpdf(x, scale=scale).sum(1)
    assert flow.log_prob(x).detach().numpy() == pytest.approx(truth, abs=1e-12)


def test_fitted_by_maximum_likelihood_the_scales_are_those_of_the_data():
    x = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.1, 5.0])
    flow = Flow((2,), [Scaling((2,))])
    optimiser = torch.optim.LBFGS(flow.parameters(), line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        value = -flow.log_prob(x).mean()
        value.backward()
        return value

    for _ in range(3):
        optimiser.step(loss)
    spread = x.square().mean(0).sqrt()
    assert torch.allclose((-flow.chain[0].log_scale).exp(), spread, rtol=1e-3)


def test_it_may_start_from_the_spread_of_data_once():
    x = torch.randn(500, 3) * torch.tensor([0.01, 1.0, 30.0]) + 5
    x[:, 1] = 2.0
    layer = Scaling((3,), from_data=True)
    layer.initialise(x)
    spread = layer(x)[0].std(0, correction=0)
    assert spread[[0, 2]].tolist() == pytest.approx([1, 1], rel=1e-3)
    assert float(layer.log_scale.detach()[1]) == 0, "a number that never varies"
    layer.initialise(7 * x)
    assert torch.equal(layer(x)[0].std(0, correction=0), spread)
    plain = Scaling((3,))
    plain.initialise(x)
    assert not plain.log_scale.any()


def test_flatten_is_the_order_of_memory():
    x = torch.arange(24.0).reshape(2, 1, 3, 4)
    assert torch.equal(Flatten((1, 3, 4))(x)[0], torch.arange(24.0).reshape(2, 12))
    assert Flatten((1, 3, 4)).output_shape((1, 3, 4)) == (12,)


@pytest.mark.parametrize("layer", [Scaling((3,)), Flatten((3,))])
def test_another_shape_is_refused(layer):
    with pytest.raises(InputError, match=r"built for events of shape \(3,\); got \(4,\)"):
        layer.output_shape((4,))
