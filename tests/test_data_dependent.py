"""What flows read off data: once, whatever was looked at first, whatever the order of the data."""

import numpy as np
import pytest
import torch

import pushforward as pf
from pushforward.layers import ActNorm, Standardize
from pushforward.training.events import Events


def test_a_look_before_fit_does_not_spoil_it():
    x = 5000 + 1000 * torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    options = {"max_steps": 60, "progress": False}
    looked, fresh = (pf.RealNVP((2,), couplings=4, width=16) for _ in range(2))
    looked.log_prob(x[:5])
    runs = [pf.fit(flow, x, **options) for flow in (looked, fresh)]
    assert runs[0].best["validation"] == runs[1].best["validation"]


def test_a_trained_actnorm_is_not_initialised_again():
    norm = ActNorm((2,)).train()
    norm(torch.randn(50, 2) * 3)
    with torch.no_grad():
        norm.bias += 1  # a step of an optimiser
    before = norm.bias.clone()
    norm.initialise(torch.randn(50, 2) * 9)
    assert torch.equal(norm.bias, before)


def test_learning_from_own_samples_is_not_overwritten_by_a_look_at_data():
    flow = pf.RealNVP((2,), couplings=2, width=8)
    flow.rsample(10, seed=0)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.1
    before = flow.sample(5, seed=1)
    flow.log_prob(100 + torch.randn(50, 2))
    assert torch.equal(flow.sample(5, seed=1), before)


def test_validation_is_a_random_part_of_sorted_data():
    events = Events(torch.arange(10_000)[:, None], None)
    part = events.some(1000)
    assert len(part) == len(part.x.unique()) == 1000
    assert abs(float(part.x.double().mean()) - 5000) < 400
    assert events.some(20_000) is events


@pytest.mark.parametrize("scale", [1e-13, 1e-30, 1e13])
def test_any_unit_of_measurement_will_do(scale):
    x = scale * np.random.default_rng(0).normal(size=(500, 2))
    flow = pf.RealNVP((2,), couplings=2, width=8)
    flow.initialise(x)
    flow.eval()
    truth = 0.5 * (x / scale) ** 2 + np.log(scale) + 0.5 * np.log(2 * np.pi)
    assert -flow.log_prob(x).detach().mean() == pytest.approx(truth.sum(1).mean(), abs=0.05)


def test_timestamps_come_back_whole(tmp_path):
    x = 1.7e12 + np.arange(1000.0)[:, None] * 3.6
    flow = pf.RealNVP((1,))
    flow.initialise(x)
    flow.eval().save(tmp_path / "model")
    for model in (flow, pf.load(tmp_path / "model")):
        back = model.decode(model.encode(x)).detach().numpy()
        assert back.dtype == np.float64
        assert np.abs(back - x).max() < 0.01
        assert len(np.unique(model.sample(500, seed=0))) == 500


def test_standardise_keeps_float64_figures_in_any_type():
    layer = Standardize((2,))
    layer.initialise(torch.tensor([[1.0, 2.0], [4.0, 9.0]], dtype=torch.float64) / 3)
    mean = layer.mean.clone()
    for converted in (layer.float(), layer.bfloat16(), layer.double()):
        assert torch.equal(converted.mean, mean)


def test_values_beyond_measure_are_one_sentence():
    flow = pf.RealNVP((1,))
    with pytest.raises(pf.InputError, match="mean or spread is infinite"):
        pf.fit(flow, np.array([[1e300], [-1e300], [1.7e308]] * 20), progress=False)


def test_shift_and_flip_are_for_images():
    with pytest.raises(pf.InputError, match="are for images"):
        pf.fit(pf.RealNVP((2,)), torch.randn(50, 2), shift=0.3)


def test_half_precision_is_not_saved(tmp_path):
    with pytest.raises(pf.InputError, match="bfloat16"):
        pf.RealNVP((2,)).bfloat16().save(tmp_path / "model")


def test_a_flow_is_made_of_layers():
    with pytest.raises(pf.InputError, match="got Linear, which has no inverse"):
        pf.Flow((2,), [torch.nn.Linear(2, 2)])
