"""Planar, radial and Sylvester flows as models: by name, in both directions, trained on data."""

import copy

import pytest
import torch

import pushforward as pf
from pushforward import InputError, PlanarFlow
from pushforward.layers import Inverted, Planar, Radial, Sylvester


@pytest.mark.parametrize(
    ("name", "kind", "count"),
    [("planar", Planar, 16), ("radial", Radial, 16), ("sylvester", Sylvester, 4)],
)
def test_presets_are_flows_of_their_layers(name, kind, count):
    flow = pf.create(name, shape=(3,))
    assert sum(type(layer) is kind for layer in flow.chain) == count
    turned = pf.create(name, shape=(3,), direction="sampling", layers=2)
    inner = [layer.layer for layer in turned.chain if isinstance(layer, Inverted)]
    assert [type(layer) for layer in inner] == [kind, kind]


def test_a_seed_repeats_the_weights_and_no_two_layers_are_alike():
    one, same, other = (PlanarFlow((2,), layers=3, seed=seed) for seed in (1, 1, 2))
    x = torch.randn(5, 2)
    for flow in (one, same, other):
        with torch.no_grad():
            for layer in flow.chain[1:]:
                layer.parameters_of.values[2:4] = 1.0
    assert torch.equal(one.log_prob(x), same.log_prob(x))
    assert not torch.equal(one.log_prob(x), other.log_prob(x))
    first, second = (one.chain[i].parameters_of.values for i in (1, 2))
    assert not torch.equal(first, second)


def test_the_sampling_direction_maps_noise_by_the_formula():
    flow = PlanarFlow((3,), layers=3, direction="sampling").double()
    for layer in flow.chain[1:]:
        torch.nn.init.normal_(layer.layer.parameters_of.values)
    z = torch.randn(50, 3).double()
    x = z
    for layer in reversed(flow.chain[1:]):
        x = layer.layer(x)[0]
    assert torch.allclose(flow.decode(z), x, atol=1e-12)
    assert torch.allclose(flow.encode(x), z, atol=1e-9)


@pytest.mark.parametrize("kind", ["planar", "radial", "sylvester"])
def test_fit_learns_from_rows(kind):
    generator = torch.Generator().manual_seed(0)
    angle = 6.3 * torch.rand(600, generator=generator)
    ring = torch.stack((angle.cos(), angle.sin()), dim=1)
    ring = ring + 0.15 * torch.randn(600, 2, generator=generator)
    flow = PlanarFlow((2,), kind, layers=4)
    before = copy.deepcopy(flow)
    before.initialise(ring)
    run = pf.fit(flow, ring.numpy(), max_steps=150, lr=1e-2, progress=False, threads=1)
    with torch.no_grad():
        assert flow.log_prob(ring).mean() > before.log_prob(ring).mean() + 0.02
    assert run.steps == 150


def test_a_context_chooses_the_density():
    flow = PlanarFlow((2,), layers=2, context=1, direction="sampling")
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    x = torch.randn(4, 2)
    assert not torch.allclose(flow.log_prob(x, [0.0]), flow.log_prob(x, [2.0]))
    sample, log_q = flow.rsample(6, context=torch.randn(6, 1), seed=0)
    assert sample.shape == (6, 2)
    assert sample.requires_grad
    assert log_q.shape == (6,)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: PlanarFlow((1, 8, 8)), "for rows"),
        (lambda: PlanarFlow((2,), "circular"), "kind"),
        (lambda: PlanarFlow((2,), couplings=3), "no setting 'couplings'"),
        (lambda: PlanarFlow((3,), "sylvester", columns=4), "1 to 3 columns"),
        (lambda: PlanarFlow((3,), columns=2), "columns=2 is of Sylvester layers"),
        (lambda: pf.create("planar"), "needs a shape"),
    ],
)
def test_what_is_impossible_is_said(call, said):
    with pytest.raises(InputError, match=said):
        call()
