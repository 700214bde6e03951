"""Inpainting: the conditional mode where it is known, and what must not change."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pushforward import NICE, Flow, InputError, RealNVP
from pushforward.jobs.imputation.inpaint import inpaint
from pushforward.layers import LULinear, Scaling


def gaussian(size=4, seed=0):
    """A flow that is a correlated normal density, and its precision matrix."""
    flow = Flow((size,), [LULinear(size, seed), Scaling((size,)), LULinear(size, seed + 1)])
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    matrix = flow(torch.eye(size))[0].T.detach().double().numpy()
    return flow.double(), matrix.T @ matrix


@pytest.mark.parametrize("noise", [False, True])
def test_it_climbs_to_the_conditional_mode_of_a_normal_density(noise):
    flow, precision = gaussian()
    seen = np.array([True, False, True, False])
    x = np.random.default_rng(0).normal(size=(6, 4))
    filled = inpaint(flow, x, torch.tensor(seen), steps=800, noise=noise, seed=3).numpy()
    known = x[:, seen]
    mode = -np.linalg.solve(precision[~seen][:, ~seen], precision[~seen][:, seen] @ known.T).T
    assert np.abs(filled[:, ~seen] - mode).max() < (0.25 if noise else 1e-3)
    assert (filled[:, seen] == known).all()


def test_projection_keeps_to_the_range_and_binds_where_the_mode_is_outside():
    flow, precision = gaussian()
    seen = torch.tensor([True, True, True, False])
    x = torch.tensor([[3.0, -3.0, 3.0, 0.0]], dtype=torch.float64)
    mode = -float(precision[3, :3] @ x[0, :3].numpy()) / precision[3, 3]
    low, high = (mode + 0.5, mode + 1.5)
    filled = inpaint(flow, x, seen, noise=False, low=low, high=high)
    assert float(filled[0, 3]) == pytest.approx(low, abs=1e-6)


@pytest.mark.parametrize("make", [NICE, RealNVP])
def test_observed_pixels_are_bit_identical_and_filled_ones_are_levels(make):
    flow = make((1, 4, 4), levels=17, width=8)
    x = torch.randint(0, 17, (3, 1, 4, 4), dtype=torch.uint8)
    mask = torch.zeros(3, 1, 4, 4, dtype=torch.bool)
    mask[0, :, :2] = mask[1, :, :, :2] = True
    filled = inpaint(flow, x, mask, steps=6)
    assert filled.dtype == torch.uint8
    assert torch.equal(filled[mask], x[mask])
    assert int(filled.max()) <= 16
    assert torch.equal(filled, inpaint(flow, x, mask, steps=6)), "the seed repeats it"
    assert not torch.equal(filled, inpaint(flow, x, mask, steps=6, seed=1))


def test_the_best_state_is_at_least_as_probable_as_start_and_last():
    flow, _ = gaussian()
    x, seen = torch.zeros(5, 4, dtype=torch.float64), torch.tensor([True, False, False, False])
    states = {
        "start": inpaint(flow, x, seen, steps=0),
        "last": inpaint(flow, x, seen, steps=30, keep="last"),
    }
    best = flow.log_prob(inpaint(flow, x, seen, steps=30))
    for state in states.values():
        assert (best >= flow.log_prob(state) - 1e-9).all()


def test_missing_places_may_hold_anything_and_a_start_may_be_given():
    flow, _ = gaussian()
    x = torch.full((1, 4), torch.nan, dtype=torch.float64)
    x[0, 0] = 1
    seen = ~torch.isnan(x)
    assert torch.isfinite(inpaint(flow, x, seen, steps=5)).all()
    start = torch.tensor([[9.0, 1.0, 2.0, 3.0]], dtype=torch.float64)
    assert inpaint(flow, x, seen, steps=0, start=start)[0].tolist() == [1, 1, 2, 3]


def test_weights_and_mode_are_left_alone():
    flow = NICE((3,)).train()
    inpaint(flow, torch.zeros(2, 3), torch.tensor([True, True, False]), steps=3)
    assert flow.training
    assert all(p.grad is None for p in flow.parameters())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"mask": torch.ones(3)}, "must be Boolean"),
        ({"mask": torch.ones(2, dtype=torch.bool)}, r"of that shape or \(2, 3\); got \(2,\)"),
        ({"x": torch.full((2, 3), torch.nan)}, "NaN"),
        ({"steps": -1}, "steps of at least 0"),
        ({"keep": "worst"}, "'best' or the 'last'"),
        ({"low": 1.0, "high": 0.0}, "low below high"),
        ({"low": [0.0, 1.0]}, r"one number or of the shape \(3,\)"),
        ({"largest": 0.0}, "above 0"),
        ({"flow": torch.nn.Linear(2, 2)}, "Linear is none"),
    ],
)
def test_what_will_not_do_is_said(change, sentence):
    options = {"flow": NICE((3,)), "x": torch.zeros(2, 3)}
    options["mask"] = torch.tensor([True, True, False])
    with pytest.raises(InputError, match=sentence):
        inpaint(**{**options, **change})


def test_integers_have_a_range_of_their_own():
    flow = NICE((1, 2, 2), levels=4, width=4)
    x = torch.zeros(1, 1, 2, 2, dtype=torch.uint8)
    with pytest.raises(InputError, match="leave out low and high"):
        inpaint(flow, x, torch.zeros(1, 2, 2, dtype=torch.bool), low=0.0)


def test_the_sampler_draws_from_the_conditional_and_keeps_what_was_seen():
    flow, precision = gaussian()
    seen = np.array([True, False, True, False])
    x = np.repeat(np.random.default_rng(0).normal(size=(1, 4)), 400, axis=0)
    filled = inpaint(flow, x, torch.tensor(seen), steps=12, method="sampler").numpy()
    inner = precision[~seen][:, ~seen]
    mode = -np.linalg.solve(inner, precision[~seen][:, seen] @ x[0, seen])
    assert (filled[:, seen] == x[:, seen]).all()
    deviation = np.sqrt(np.diag(np.linalg.inv(inner)))
    assert np.abs(filled[:, ~seen].mean(0) - mode).max() < 0.25 * deviation.max()
    assert np.allclose(filled[:, ~seen].std(0), deviation, rtol=0.2)


def test_another_method_is_refused():
    flow, _ = gaussian()
    with pytest.raises(InputError, match="'ascent' or 'sampler'"):
        inpaint(flow, torch.zeros(1, 4), torch.ones(4, dtype=torch.bool), method="magic")
