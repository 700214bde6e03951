"""Rows that lack numbers: the bound, beside the exact likelihood of what is observed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from pushforward import Flow, InputError, RealNVP, fit, load
from pushforward.gaussians.mixture import GaussianMixture
from pushforward.layers import FillMissing

WEIGHTS = torch.tensor([0.3, 0.7], dtype=torch.float64)


def mixture(components, size=4, seed=0):
    """A density in closed form as a flow, and its parameters."""
    rng = np.random.default_rng(seed)
    means = torch.from_numpy(1.5 * rng.normal(size=(components, size)))
    roots = torch.from_numpy(rng.normal(size=(components, size, 2 * size)))
    covariances = roots @ roots.mT / (2 * size)
    base = GaussianMixture((size,), components)
    base.set_moments(WEIGHTS[:components], means, covariances)
    flow = Flow((size,), [FillMissing((size,))], base).double()
    base.set_moments(WEIGHTS[:components], means, covariances)
    return flow, means.numpy(), covariances.numpy()


def exact(row, means, covariances):
    o = ~np.isnan(row)
    weights = WEIGHTS.numpy()[: len(means)]
    parts = [
        multivariate_normal(m[o], c[np.ix_(o, o)]).logpdf(row[o])
        for m, c in zip(means, covariances, strict=True)
    ]
    return logsumexp(parts, b=weights / weights.sum())


def with_gaps(x, share=0.3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    gaps = torch.rand(x.shape, generator=generator) < share
    gaps[gaps.all(dim=1), 0] = False
    return torch.where(gaps, torch.nan, x)


def test_of_a_normal_density_whose_q_is_right_one_draw_is_exact():
    flow, means, covariances = mixture(1)
    layer = flow.chain[0]
    layer.mean.copy_(torch.from_numpy(means[0]))
    layer.precision.copy_(torch.from_numpy(np.linalg.inv(covariances[0])))
    x = with_gaps(flow.sample(20, seed=0))
    truth = [exact(row, means, covariances) for row in x.numpy()]
    assert np.allclose(flow.log_prob(x).detach(), truth, atol=1e-9)


@pytest.mark.parametrize("components", [1, 2])
def test_the_bound_rises_to_the_exact_likelihood_of_what_is_observed(components):
    flow, means, covariances = mixture(components)
    flow.initialise(with_gaps(flow.sample(400, seed=0)))
    x = with_gaps(flow.sample(100, seed=5), seed=2)
    truth = np.mean([exact(row, means, covariances) for row in x.numpy()])
    with torch.no_grad():
        one, some, many = (float(flow.log_prob(x, samples=k).mean()) for k in (1, 10, 150))
    assert one < some + 1e-3 < many + 2e-3
    assert many == pytest.approx(truth, abs=0.01)
    assert one < truth - 0.02 or components == 1


def test_complete_rows_go_through_untouched_and_exactly():
    layer = FillMissing((3,))
    x = torch.randn(5, 3)
    z, log_det = layer(x)
    assert torch.equal(z, x)
    assert torch.equal(log_det, torch.zeros(5))
    assert torch.equal(layer.inverse(x)[0], x)


@pytest.mark.parametrize("size", [5, 200])
def test_a_row_is_worth_the_same_in_any_batch_and_nan_is_nan(size):
    layer = FillMissing((size,)).eval()
    x = with_gaps(torch.randn(40, size))
    layer.initialise(x)
    z, log_det = layer(x)
    assert torch.isfinite(z).all()
    assert torch.equal(z[x.isfinite()], x[x.isfinite()])
    assert torch.equal(layer(x[7:8])[0], z[7:8])
    assert torch.allclose(layer(x[7:8])[1], log_det[7:8])
    assert torch.equal(layer(torch.where(x.isnan(), -x, x))[0], z)
    layer.train()
    assert not torch.equal(layer(x)[0], z)


def test_log_det_of_wide_rows_is_the_density_of_what_was_drawn():
    size = 150
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 3)) @ rng.normal(size=(3, size)) + rng.normal(size=(300, size))
    layer = FillMissing((size,)).eval()
    layer.initialise(with_gaps(torch.from_numpy(rows)))
    x = with_gaps(torch.from_numpy(rows[:3]), 0.5)
    z, log_det = layer.double()(x)
    loading, mean = layer.loading.numpy(), layer.mean.numpy()
    covariance = loading @ loading.T + np.diag(layer.noise.numpy())
    for row, filled, told in zip(x.numpy(), z.numpy(), log_det.numpy(), strict=True):
        o = ~np.isnan(row)
        observed = multivariate_normal(mean[o], covariance[np.ix_(o, o)]).logpdf(row[o])
        joint = multivariate_normal(mean, covariance).logpdf(filled)
        assert told == pytest.approx(observed - joint, abs=1e-4)


def test_rows_are_for_rows():
    with pytest.raises(InputError, match="rows"):
        FillMissing((1, 4, 4))


# Flows -----------------------------------------------------------------------------------------


def incomplete(n=400, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, 3)) @ np.array([[1.0, 0.8, 0.0], [0.0, 0.5, 1.0], [0.3, 0.0, 0.4]])
    rows[rng.random(rows.shape) < 0.25] = np.nan
    return rows


def test_a_flow_learns_from_incomplete_rows_and_is_found_again_on_disk(tmp_path):
    rows = incomplete()
    flow = RealNVP((3,), missing=True, couplings=2, width=16)
    assert flow.takes_missing
    assert flow.density == "lower bound"
    before = np.isnan(rows).all(1).sum()
    assert before > 0
    fit(flow, rows, max_steps=30, progress=False)
    some = flow.log_prob(rows)
    assert torch.isfinite(some).all()
    flow.save(tmp_path / "model")
    assert torch.equal(load(tmp_path / "model").log_prob(rows), some)
    assert torch.isfinite(flow.sample(10, seed=0)).all()


def test_a_stream_and_a_context_may_come_with_gaps():
    rows = incomplete().astype(np.float32)
    flow = RealNVP((3,), missing=True, couplings=2, width=8)
    fit(flow, iter(rows), max_steps=3, batch_size=32, progress=False)
    flow = RealNVP((3,), missing=True, context=1, couplings=2, width=8)
    context = np.ones((len(rows), 1), dtype=np.float32)
    fit(flow, rows, context=context, max_steps=3, progress=False)


def test_a_flow_without_it_names_the_way():
    with pytest.raises(InputError, match=r"RealNVP\(\(3,\), missing=True\)"):
        RealNVP((3,)).log_prob(incomplete())


def test_infinite_values_are_no_missing_ones():
    rows = incomplete()
    rows[0, 0] = np.inf
    with pytest.raises(InputError, match="infinite"):
        RealNVP((3,), missing=True).log_prob(rows)


def test_rows_that_lack_everything_are_scored_but_teach_nothing():
    flow = RealNVP((3,), missing=True, couplings=2, width=8)
    assert torch.isfinite(flow.log_prob(torch.full((2, 3), torch.nan))).all()
    with pytest.raises(InputError, match="lacks every value"):
        fit(flow, np.full((20, 3), np.nan), max_steps=1, progress=False)


def test_constant_memory_gives_the_same_gradients():
    rows = torch.from_numpy(incomplete(50)).double()
    flow = RealNVP((3,), missing=True, couplings=4, width=8).double()
    flow.initialise(rows)
    flow.eval()
    found = []
    for memory in ("store", "constant"):
        flow.memory = memory
        flow.zero_grad()
        flow.log_prob(rows).sum().backward()
        found.append(torch.cat([p.grad.flatten() for p in flow.parameters()]))
    assert torch.allclose(*found, atol=1e-8)
