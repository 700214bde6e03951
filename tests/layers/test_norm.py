"""FlowBatchNorm and ActNorm: statistics, log-dets, starts, restarts and recalibration."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import pytest
import torch

from pushforward import InputError
from pushforward.elementwise import Affine, LearnedTanh
from pushforward.layers import ActNorm, Chain, Coupling, FlowBatchNorm, Squeeze, recalibrate
from pushforward.layers.masks import as_mask
from pushforward.moments import RunningMoments
from pushforward.nets import MLP, ResNet
from registry import MASKS, perturb

IMAGE = (3, 3, 4)
masks = pytest.mark.parametrize("mask", [None, *MASKS["image"].values()], ids=str)


def random(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def changed_moments(x, kept):
    """Mean and biased variance of each channel over its changed elements, by numpy alone."""
    x, kept = x.numpy(), kept.numpy()
    values = [x[:, c][:, ~kept[c]] for c in range(len(kept))]
    mean = np.array([v.mean() if v.size else 0.0 for v in values])
    variance = np.array([v.var() if v.size else 0.0 for v in values])
    return torch.as_tensor(mean), torch.as_tensor(variance)


def kept_by(mask, shape=IMAGE):
    return torch.zeros(shape, dtype=torch.bool) if mask is None else as_mask(mask, shape)


# FlowBatchNorm, training -----------------------------------------------------------------------


@masks
def test_training_normalises_the_changed_part_by_its_own_moments(mask):
    norm, kept = FlowBatchNorm(IMAGE, mask).double().train(), kept_by(mask)
    x = 3 * random(6, *IMAGE) + 5
    z, log_det = norm(x)
    mean, variance = changed_moments(x, kept)
    deviation = torch.sqrt(variance + 1e-4)
    expected = (x - mean[:, None, None]) / deviation[:, None, None]
    assert torch.allclose(z, torch.where(kept, x, expected), atol=1e-12)
    changed = (~kept).sum((1, 2))
    total = -(changed * torch.log(deviation)).sum()
    assert torch.allclose(log_det, total.expand(6), atol=1e-12)


def test_training_on_rows_counts_each_column():
    norm = FlowBatchNorm((4,), "half").double().train()
    x = random(50, 4) * torch.tensor([1.0, 2, 3, 4]) + 7
    z, _ = norm(x)
    assert torch.equal(z[:, :2], x[:, :2])
    assert torch.allclose(z[:, 2:].mean(0), torch.zeros(2, dtype=torch.float64), atol=1e-12)
    assert np.allclose(z[:, 2:].numpy().std(0), 1, atol=1e-4)


@masks
def test_evaluation_uses_running_moments_and_counts_only_what_changes(mask):
    norm, kept = FlowBatchNorm(IMAGE, mask).double().eval(), kept_by(mask)
    perturb(norm, 1)
    mean, variance = (m.flatten() for m in norm.moments.estimate())
    x = random(4, *IMAGE)
    z, log_det = norm(x)
    expected = (x - mean[:, None, None]) / torch.sqrt(variance + 1e-4)[:, None, None]
    assert torch.allclose(z, torch.where(kept, x, expected), atol=1e-12)
    spread = torch.log(variance + 1e-4)[:, None, None].expand(IMAGE)
    assert torch.allclose(log_det, (-0.5 * spread[~kept].sum()).expand(4), atol=1e-12)


def test_a_fresh_norm_takes_the_running_moments_for_mean_0_and_variance_1():
    x = random(3, *IMAGE)
    z, log_det = FlowBatchNorm(IMAGE, eps=0.0).double().eval()(x)
    assert torch.equal(z, x)
    assert torch.equal(log_det, torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize("average", ["batch", "running"])
def test_running_moments_are_a_weighted_mean_of_batches_from_the_first_on(average):
    rate = 0.3
    norm = FlowBatchNorm((2,), average=average, rate=rate).double().train()
    batches = [random(9, 2, seed=s) * (s + 1) + s for s in range(4)]
    for count, batch in enumerate(batches, start=1):
        norm(batch)
        weights = np.array([rate * (1 - rate) ** (count - 1 - k) for k in range(count)])
        weights /= weights.sum()  # the first batch alone counts fully: no bias towards 0 or 1
        moments = [(b.numpy().mean(0), b.numpy().var(0)) for b in batches[:count]]
        mean, variance = norm.moments.estimate()
        assert np.allclose(mean, sum(w * m for w, (m, _) in zip(weights, moments, strict=True)))
        assert np.allclose(variance, sum(w * v for w, (_, v) in zip(weights, moments, strict=True)))


def test_averaging_as_in_appendix_e_normalises_by_the_average_that_includes_the_batch():
    rate = 0.1
    norm = FlowBatchNorm((3,), average="running", rate=rate, eps=1e-4).double().train()
    first, second = random(8, 3, seed=1) + 2, 3 * random(8, 3, seed=2)
    norm(first)
    z, log_det = norm(second)
    share = rate / (rate + rate * (1 - rate))  # of the second batch among two, without start bias
    mean = (1 - share) * first.mean(0) + share * second.mean(0)
    variance = (1 - share) * first.var(0, correction=0) + share * second.var(0, correction=0)
    assert torch.allclose(z, (second - mean) / torch.sqrt(variance + 1e-4), atol=1e-12)
    assert torch.allclose(log_det, -0.5 * torch.log(variance + 1e-4).sum().expand(8), atol=1e-12)
    stored_mean, stored_variance = norm.moments.estimate()
    assert torch.allclose(stored_mean, mean, atol=1e-12)
    assert torch.allclose(stored_variance, variance, atol=1e-12)


@pytest.mark.parametrize("average", ["batch", "running"])
def test_the_gradient_passes_through_this_batch_alone(average):
    norm = FlowBatchNorm((2, 1, 3), "checkerboard", average=average).double().train()
    first = random(4, 2, 1, 3, seed=1).requires_grad_()
    norm(first)
    state = copy.deepcopy(norm.state_dict())

    def outputs(x):
        twin = FlowBatchNorm((2, 1, 3), "checkerboard", average=average).double().train()
        twin.load_state_dict(state)
        return twin(x)

    # Finite differences hold the past fixed, so an equal gradient has no share of the past.
    x = random(3, 2, 1, 3, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(outputs, (x,))
    z, log_det = norm(x)
    (z.square().sum() + log_det.sum()).backward()
    assert first.grad is None


def test_a_batch_of_one_row_has_no_variance():
    norm = FlowBatchNorm((3,)).train()
    with pytest.raises(InputError, match=r"one row.*average='running'"):
        norm(torch.randn(1, 3))
    assert float(norm.moments.weight) == 0, "nothing was taken into the averages"
    z, _ = FlowBatchNorm((2, 4, 4)).train()(torch.randn(1, 2, 4, 4))  # one image has many pixels
    assert torch.isfinite(z).all()
    running = FlowBatchNorm((3,), average="running").train()
    running(torch.randn(8, 3))
    assert torch.isfinite(running(torch.randn(1, 3))[0]).all()
    z, _ = norm.eval()(torch.randn(1, 3))
    assert torch.isfinite(z).all()


def test_the_inverse_in_training_goes_by_running_moments():
    norm = FlowBatchNorm((3,)).double().train()
    perturb(norm)
    x = random(5, 3)
    back, log_det = norm.inverse(norm.eval()(x)[0])
    assert torch.allclose(norm.train().inverse(norm.eval()(x)[0])[0], x, atol=1e-12)
    assert torch.allclose(back, x, atol=1e-12)
    assert torch.allclose(log_det, -norm(x)[1])


def test_an_unknown_average_is_refused():
    with pytest.raises(InputError, match="'batch' or 'running'; got 'lag'"):
        FlowBatchNorm((3,), average="lag")


# Recalibration ---------------------------------------------------------------------------------


def small_flow():
    """Norms between couplings whose conditioner has batch norms of its own."""
    net = partial(ResNet, width=3, blocks=1)
    law = Affine(LearnedTanh(0.5))
    layers = [
        FlowBatchNorm((2, 4, 4)),
        Coupling((2, 4, 4), "channels", net, law),
        FlowBatchNorm((2, 4, 4), "channels"),
        Squeeze(),
        FlowBatchNorm((8, 2, 2), "checkerboard", average="running"),
    ]
    return perturb(Chain(layers).double(), 3)


def test_recalibration_gives_the_exact_moments_of_what_reaches_each_norm():
    flow = small_flow().eval()
    data = 2 * random(37, 2, 4, 4) + 1
    recalibrate(flow, list(data.split(8)))  # the last batch is smaller: it counts for less
    x = data
    for layer in flow:
        if isinstance(layer, FlowBatchNorm):
            mean, variance = changed_moments(x.detach(), layer.kept)
            found_mean, found_variance = layer.moments.estimate()
            assert torch.allclose(found_mean.flatten(), mean, atol=1e-10)
            assert torch.allclose(found_variance.flatten(), variance, atol=1e-10)
        x, _ = layer(x)


def test_recalibration_averages_the_moments_inside_conditioners():
    flow = small_flow()
    data = random(24, 2, 4, 4)
    before = copy.deepcopy(flow).eval()
    recalibrate(flow, list(data.split(6)))
    # The first norm of the conditioner sees the kept channel of what the first layer makes,
    # and that pass happens before the flow's own norms are renewed.
    seen = before[0](data)[0][:, :1]
    batches = [(b.mean(), b.var(correction=0)) for b in seen.split(6)]
    mean, variance = flow[1].conditioner.norm_in.moments.estimate()
    assert torch.allclose(mean.flatten(), torch.stack([m for m, _ in batches]).mean())
    assert torch.allclose(variance.flatten(), torch.stack([v for _, v in batches]).mean())


def test_recalibration_restores_modes_and_rates():
    flow = small_flow().train()
    flow[1].eval()  # a frozen part stays as it is
    modes = [module.training for module in flow.modules()]
    rates = [m.rate for m in flow.modules() if isinstance(m, RunningMoments)]
    recalibrate(flow, [random(8, 2, 4, 4)])
    assert [module.training for module in flow.modules()] == modes
    assert [m.rate for m in flow.modules() if isinstance(m, RunningMoments)] == rates
    assert not any(m.collecting for m in flow.modules() if isinstance(m, RunningMoments))


def test_recalibration_survives_an_error_in_the_data():
    flow = small_flow().train()
    with pytest.raises(RuntimeError):
        recalibrate(flow, [random(8, 2, 4, 4), random(8, 5)])
    assert flow.training
    assert not any(m.collecting for m in flow.modules() if isinstance(m, RunningMoments))


def test_recalibration_is_a_fixed_point_of_itself_and_says_how_far_it_moved():
    flow = Chain([FlowBatchNorm((2,), eps=0.0), FlowBatchNorm((2,), "half", eps=0.0)]).double()
    data = torch.tensor([3.0, 5.0], dtype=torch.float64) * random(500, 2)
    drift = recalibrate(flow, [data])
    deviation = data.std(0, correction=0)
    assert drift["layers.0"] == pytest.approx(float(deviation.max()))  # started from 1
    assert drift["layers.1"] == pytest.approx(1.0)
    assert recalibrate(flow, [data])["layers.0"] == pytest.approx(1.0)


def test_recalibration_takes_contexts_along():
    net = partial(MLP, hidden=(4,))
    flow = Chain([Coupling((2,), "half", net, context=1), FlowBatchNorm((2,))]).double()
    perturb(flow)
    x, context = random(20, 2), random(20, 1, seed=1)
    recalibrate(flow, [(x[:9], context[:9]), (x[9:], context[9:])])
    seen = flow[0](x, context)[0].detach()
    assert torch.allclose(flow[1].moments.estimate()[0], seen.mean(0))


# ActNorm ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3,), (3, 4, 5)])
def test_the_first_training_batch_is_standardised_and_no_other(shape):
    norm = ActNorm(shape).double().train()
    over = (0, *range(2, len(shape) + 1))
    first = 4 * random(64, *shape) - 9
    z, log_det = norm(first)
    assert np.allclose(z.detach().numpy().mean(over), 0, atol=1e-12)
    assert np.allclose(z.detach().numpy().std(over), 1, atol=1e-12)
    deviation = first.numpy().std(over)
    pixels = torch.Size(shape[1:]).numel()
    assert log_det[0].item() == pytest.approx(-pixels * np.log(deviation).sum())

    kept = copy.deepcopy(norm.state_dict())
    norm(100 + random(64, *shape))
    assert all(torch.equal(kept[key], value) for key, value in norm.state_dict().items())


def test_evaluation_never_starts_it():
    norm = ActNorm((2,)).eval()
    x = torch.randn(10, 2) + 5
    assert torch.equal(norm(x)[0], x)
    assert not norm.initialised


def test_initialise_starts_it_without_training_mode():
    norm = ActNorm((2,)).eval()
    x = 3 * torch.randn(1000, 2) + 5
    norm.initialise(x)
    assert norm(x)[0].mean(0).abs().max() < 1e-5


def test_a_resumed_model_does_not_start_again():
    norm = ActNorm((2,)).train()
    norm(torch.randn(100, 2) + 3)
    resumed = ActNorm((2,)).train()
    resumed.load_state_dict(norm.state_dict())
    x = torch.randn(100, 2) - 50
    assert torch.equal(resumed(x)[0], norm(x)[0])
    assert torch.equal(resumed.bias, norm.bias)
    # and the other way round: a model set back to its start does start again
    started = ActNorm((2,)).train()
    started(torch.randn(100, 2))
    started.load_state_dict(ActNorm((2,)).state_dict())
    assert started(x)[0].mean().abs() < 1e-4


@pytest.mark.parametrize("shape", [(2,), (2, 1, 1)])
def test_a_batch_of_one_is_shifted_and_not_scaled(shape):
    norm = ActNorm(shape).train()
    z, log_det = norm(torch.full((1, *shape), 7.0))
    assert torch.equal(z, torch.zeros_like(z))
    assert torch.equal(log_det, torch.zeros(1))


def test_a_constant_channel_is_shifted_and_not_scaled():
    norm = ActNorm((2, 3, 3)).train()
    x = torch.randn(10, 2, 3, 3)
    x[:, 1] = 0.1
    z = norm(x)[0].detach()
    assert z[:, 0].std(correction=0) == pytest.approx(1, abs=1e-5)
    assert z[:, 1].abs().max() < 1e-6
    assert norm.log_scale[1] == 0


def test_a_huge_offset_costs_no_more_than_the_digits_it_takes():
    for offset in (1e4, -1e5):
        norm = ActNorm((1,)).train()
        x = 2 * torch.randn(5000, 1) + offset
        z = norm(x)[0].detach().double()
        ulp = 2.0**-23 * abs(offset)
        assert abs(float(z.mean())) < ulp
        assert float(z.std()) == pytest.approx(1, abs=ulp)


def test_an_empty_batch_does_not_count_as_the_first():
    norm = ActNorm((2,)).train()
    norm(torch.empty(0, 2))
    assert not norm.initialised
    assert norm(torch.randn(100, 2) + 9)[0].mean().abs() < 1e-4
