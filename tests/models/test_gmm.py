import numpy as np
import pytest
import torch

import pushforward as pf
from pushforward import InputError
from pushforward.models.gmm import GMM, MixtureFlow


def rows(n, seed=0):
    """Three normals in the plane, far from 0."""
    rng = np.random.default_rng(seed)
    centres = np.array([[100.0, 0.0], [104.0, 3.0], [96.0, 3.0]])
    return centres[rng.integers(0, 3, n)] + rng.normal(size=(n, 2)) * [0.5, 0.2]


def test_it_is_a_flow_before_and_after_it_is_fitted(tmp_path):
    x = rows(300)
    flow = GMM((2,))
    assert isinstance(flow, MixtureFlow)
    assert flow.density == "exact"
    pf.fit(flow, x, progress=False, max_steps=60)
    assert flow.config.components == flow.base.components > 1
    assert flow.config.reg > 0
    flow.save(tmp_path)
    loaded = pf.load(tmp_path)
    assert isinstance(loaded, MixtureFlow)
    assert torch.equal(loaded.log_prob(x), flow.log_prob(x))
    assert loaded.config == flow.config
    assert "mixture of normals" in (tmp_path / "README.md").read_text()
    assert torch.allclose(flow.decode(flow.encode(x)).double(), torch.from_numpy(x), atol=1e-3)
    assert pf.verify(flow, x).ok


def test_samples_are_like_the_data():
    x = rows(2000)
    flow = GMM((2,), components=3)
    pf.fit(flow, x, progress=False)
    drawn = flow.sample(2000, seed=0).numpy()
    assert np.allclose(drawn.mean(0), x.mean(0), atol=0.3)
    assert np.allclose(np.cov(drawn.T), np.cov(x.T), rtol=0.15, atol=0.3)


def test_integers_are_measured_in_bits_per_dim():
    x = np.random.default_rng(0).integers(0, 5, (200, 1, 2, 2)).astype(np.uint8)
    flow = GMM((1, 2, 2), levels=5, components=2)
    run = pf.fit(flow, x, progress=False)
    assert run.unit == flow.unit == "bits/dim"
    assert flow.density == "lower bound"
    # Uniform integers cost log2(5) bits each.
    assert abs(run.best["validation"] - np.log2(5)) < 0.25
    assert flow.sample(9, seed=0).max() < 5


def test_the_covariance_is_full_up_to_a_thousand_numbers():
    assert GMM((1, 28, 28)).base.covariance == "full"
    assert GMM((3, 32, 32)).base.covariance == "diag"
    assert GMM((3, 32, 32)).log_prob(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).shape == (1,)


def test_a_fitted_mixture_goes_on_by_gradients():
    flow = GMM((2,), components=3)
    pf.fit(flow, rows(300), progress=False)
    flow.log_prob(rows(50)).sum().backward()
    assert all(p.grad is not None for p in flow.parameters())


def test_options_are_checked():
    with pytest.raises(InputError, match="components"):
        GMM((2,), components=0)
    with pytest.raises(InputError, match="no setting 'context'"):
        GMM((2,), context=1)
    assert "gmm" in pf.list_models()
