"""Whitening: what numpy finds in the whitened data, and what regularisation does to it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

import pushforward as pf
from pushforward import Flow, InputError
from pushforward.layers import Whiten


def correlated(n=3000, size=6, seed=0):
    rng = np.random.default_rng(seed)
    return 5 + rng.normal(size=(n, size)) @ rng.normal(size=(size, size)) * 10.0 ** np.arange(
        -3, size - 3
    )


def fitted(x, *arguments, **options):
    layer = Whiten(x.shape[1:], *arguments, **options).double()
    layer.initialise(torch.as_tensor(x))
    return layer


@pytest.mark.parametrize("kind", ["zca", "pca"])
def test_whitened_data_have_mean_zero_and_the_identity_as_covariance(kind):
    x = correlated()
    z = fitted(x, kind, eps=0)(torch.tensor(x))[0].numpy()
    assert np.abs(z.mean(0)).max() < 1e-9
    assert np.abs(np.cov(z.T, bias=True) - np.eye(6)).max() < 1e-5


def test_zca_is_the_symmetric_inverse_root_of_the_covariance():
    x = correlated()
    layer = fitted(x, eps=0)
    matrix = layer(torch.eye(6) + layer.mean)[0].detach().numpy()
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    assert matrix == pytest.approx(vectors @ np.diag(values**-0.5) @ vectors.T, rel=1e-4, abs=1e-7)
    assert matrix == pytest.approx(matrix.T, abs=1e-9)


def test_pca_puts_the_directions_of_least_variance_first():
    layer = fitted(correlated(), "pca")
    assert (layer.log_scale.diff() <= 0).all()


def test_with_a_normal_base_it_is_the_normal_density_of_the_data():
    x = correlated(size=3)
    layer = fitted(x, eps=0)
    flow = Flow((3,), [layer]).double()
    truth = scipy.stats.multivariate_normal(x.mean(0), np.cov(x.T, bias=True)).logpdf(x[:50])
    assert flow.log_prob(x[:50]).numpy() == pytest.approx(truth, abs=1e-6)


def test_regularisation_adds_a_share_of_the_mean_variance():
    x = correlated()
    values = np.linalg.eigvalsh(np.cov(x.T, bias=True))
    layer = fitted(x, eps=0.1)
    scale = -0.5 * np.log(values + 0.1 * values.mean())
    assert layer.log_scale.numpy() == pytest.approx(scale, abs=1e-6)


def test_numbers_that_never_vary_and_fewer_events_than_numbers_stay_finite():
    x = np.zeros((5, 20))
    x[:, :2] = np.random.default_rng(0).normal(size=(5, 2))
    layer = fitted(x)
    z, log_det = layer(torch.tensor(x))
    assert torch.isfinite(z).all()
    assert torch.isfinite(log_det).all()
    constant = fitted(np.ones((4, 3)))
    assert torch.equal(constant.log_scale, torch.zeros(3, dtype=torch.float64))


def test_it_is_fitted_once():
    layer = fitted(correlated())
    before = layer.bits.clone()
    layer.initialise(torch.tensor(correlated(seed=1)))
    assert torch.equal(layer.bits, before)


def test_it_is_inverted_to_all_digits_after_a_stay_in_float32():
    x = torch.tensor(correlated())
    layer = fitted(x).float().double()
    assert float((layer.inverse(layer(x)[0])[0] - x).abs().max()) < 1e-10


def test_training_gives_it_as_many_events_as_it_wants():
    x = np.random.default_rng(0).integers(0, 256, (1500, 1, 15, 20), dtype=np.uint8)
    flow = pf.NICE((1, 15, 20), whiten="zca", width=4, eps=0)
    assert flow.chain[1].wants_events == 1200
    pf.fit(flow, x, max_steps=1, progress=False)
    # Of 1,000 events, which other layers get, the covariance of 300 numbers would be rougher.
    spread = 12 * np.exp(-2 * flow.chain[1].log_scale.numpy())  # uniform pixels vary by 1 / 12
    edge = (1 - np.sqrt(300 / 1200)) ** 2  # Marchenko and Pastur
    assert spread.min() == pytest.approx(edge, abs=0.05)


@pytest.mark.parametrize(
    ("options", "sentence"), [({"kind": "lda"}, "'zca' or 'pca'"), ({"eps": -1}, "at least 0")]
)
def test_what_it_cannot_be_is_said(options, sentence):
    with pytest.raises(InputError, match=sentence):
        Whiten((3,), **options)


def test_values_beyond_measure_are_one_sentence():
    with pytest.raises(InputError, match="covariance is infinite"):
        Whiten((2,)).initialise(torch.full((3, 2), 1e300, dtype=torch.float64) * torch.randn(3, 2))
