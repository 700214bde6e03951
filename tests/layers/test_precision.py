"""Conditioners in bfloat16: everything else stays as precise as it was."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch

from pushforward import InputError
from pushforward.elementwise import Affine, LearnedTanh
from pushforward.layers import Chain, Coupling, FlowBatchNorm, conditioners_in
from pushforward.moments import RunningMoments
from pushforward.nets import MLP, ConvNet, ResNet
from pushforward.nets.resnet import BatchNorm
from registry import build_flow, context_for, events, perturb

SHAPE = (2, 8, 8)
NETS = {
    "mlp": partial(MLP, hidden=(16, 16)),
    "convnet": partial(ConvNet, width=8),
    "resnet": partial(ResNet, width=8, blocks=1),
}
every_net = pytest.mark.parametrize("net", NETS)
FLOWS = ["realnvp-image-levels", "realnvp-image-context", "realnvp-paper", "realnvp-rows-3"]


def coupling(net):
    torch.manual_seed(0)
    return perturb(Coupling(SHAPE, "channels", NETS[net], Affine(LearnedTanh(0.5)))).eval()


@every_net
def test_a_coupling_inverts_to_the_accuracy_of_its_law(net):
    layer, x = coupling(net), torch.randn(16, *SHAPE)
    plain, _ = layer(x)
    with conditioners_in(layer, torch.bfloat16):
        z, log_det = layer(x)
        back, inverse_log_det = layer.inverse(z)
    assert z.dtype == log_det.dtype == back.dtype == torch.float32
    assert torch.allclose(back, x, atol=1e-5)
    assert torch.allclose(log_det, -inverse_log_det, atol=1e-5)
    assert 1e-4 < (z - plain).abs().max() < 0.1, "the conditioner did compute in bfloat16"
    assert torch.equal(layer(x)[0], plain), "and does so no longer"


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("training", [False, True])
def test_densities_and_gradients_stay_float32_and_close(name, training):
    flow = copy.deepcopy(build_flow(name)).float().train(training)
    x, context = events(flow, 32, dtype=torch.float32), context_for(flow, 32, dtype=torch.float32)
    twin = copy.deepcopy(flow)
    with conditioners_in(flow, torch.bfloat16):
        value = flow.log_prob(x, context)
        value.sum().backward()
    expected = twin.log_prob(x, context)
    assert value.dtype == torch.float32
    assert torch.isfinite(value).all()
    difference = (value - expected).abs().max() / x[0].numel()
    assert 0 < difference < 0.05
    expected.sum().backward()
    found, wanted = (torch.cat([p.grad.flatten() for p in f.parameters()]) for f in (flow, twin))
    assert found.dtype == torch.float32
    assert torch.cosine_similarity(found, wanted, dim=0) > 0.95


def test_a_flow_of_several_couplings_goes_there_and_back():
    flow = copy.deepcopy(build_flow("realnvp-image-real")).float()
    x = events(flow, 32, dtype=torch.float32)
    with conditioners_in(flow, torch.bfloat16):
        assert torch.allclose(flow.decode(flow.encode(x)), x, atol=1e-4)


def test_batch_norms_inside_take_their_moments_in_float32():
    layer = coupling("resnet").train()
    seen = {}
    for module in layer.modules():
        if isinstance(module, BatchNorm):
            module.moments = RunningMoments((len(module.moments.mean), 1, 1), 0.1)
            module.register_forward_hook(lambda m, args, out: seen.update({m: args[0]}))
    with conditioners_in(layer, torch.bfloat16):
        layer(torch.randn(64, *SHAPE) + 3)
    assert torch.bfloat16 in {x.dtype for x in seen.values()}, "features within the network"
    for norm, x in seen.items():
        mean, variance = (value.flatten().double() for value in norm.moments.estimate())
        exact = x.detach().double()
        assert torch.allclose(mean, exact.mean((0, 2, 3)), rtol=1e-5, atol=1e-6)
        assert torch.allclose(variance, exact.var((0, 2, 3), correction=0), rtol=1e-5, atol=1e-6)


def test_a_float64_flow_stays_float64():
    layer, x = coupling("resnet").double(), torch.randn(4, *SHAPE, dtype=torch.float64)
    plain = layer(x)[0]
    with conditioners_in(layer, torch.bfloat16):
        assert torch.equal(layer(x)[0], plain)


def test_precisions_are_restored_and_none_is_one_of_them():
    flow = Chain([coupling("mlp"), FlowBatchNorm(SHAPE), coupling("mlp")])
    flow[0].precision = torch.float16
    with pytest.raises(KeyError), conditioners_in(flow, torch.bfloat16):
        assert flow[0].precision == flow[2].precision == torch.bfloat16
        with conditioners_in(flow, None):
            assert flow[0].precision is flow[2].precision is None
        raise KeyError
    assert flow[0].precision is torch.float16
    assert flow[2].precision is None


def test_other_types_are_refused():
    with pytest.raises(InputError, match=r"got torch\.float32; conditioners can run in"):
        conditioners_in(coupling("mlp"), torch.float32).__enter__()
