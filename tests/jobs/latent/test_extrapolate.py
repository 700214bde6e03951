"""A flow of convolutions is the same flow on larger images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pushforward import GAN, GMM, NICE, Flow, Glow, InputError, Jet, RealNVP, create, extrapolate
from pushforward.jobs.latent import enlarge


def perturbed(flow, size=0.05):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += size * torch.randn(parameter.shape, generator=generator)
    return flow.eval()


def modern(**options):
    options = {"levels": 256, "width": 4, "couplings": 2, "positions": False, **options}
    return perturbed(RealNVP((1, 16, 16), **options))


def paper():
    options = {"levels": 17, "scales": 2, "width": 4, "blocks": 1}
    return perturbed(create("realnvp-cifar10", shape=(1, 8, 8), **options))


@pytest.mark.parametrize("make", [modern, paper])
def test_at_scale_one_it_is_sample(make):
    flow = make()
    drawn = extrapolate(flow, 3, scale=1, temperature=0.8, seed=5)
    assert torch.equal(drawn, flow.sample(3, temperature=0.8, seed=5))


@pytest.mark.parametrize("make", [modern, paper])
def test_all_weights_are_the_same_and_the_flow_is_still_one(make):
    flow = make()
    larger = enlarge(flow, 2)
    assert larger.shape == (1, *(2 * side for side in flow.shape[1:]))
    ours, theirs = flow.state_dict(), larger.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    x = larger.sample(2, seed=0)
    assert torch.isfinite(larger.log_prob(x)).all()
    assert extrapolate(flow, 1, scale=10, seed=0).shape[2:] == tuple(10 * s for s in flow.shape[1:])


def test_what_lies_far_from_the_edge_moves_with_its_latents():
    # The property that makes it sensible: inside, an image is a function of what lies around.
    larger = enlarge(modern(scales=2, couplings=1), 4).double()
    z = torch.randn(1, 1, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moved = larger.decode(z.roll((4, 8), (2, 3)))
    wanted = larger.decode(z).roll((4, 8), (2, 3))
    inside = (..., slice(28, 40), slice(28, 40))
    assert torch.equal(moved[inside], wanted[inside])
    assert not torch.equal(moved, wanted), "at the edge it is not so"


def test_the_numbers_of_a_larger_image_have_the_spread_of_the_smaller_one():
    flow = modern()
    small = flow.sample(400, seed=0)[..., 6:10, 6:10].double().flatten()
    large = extrapolate(flow, 20, scale=4, seed=1)[..., 8:-8, 8:-8].double().flatten()
    shares = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9]).double()
    apart = torch.quantile(large, shares) - torch.quantile(small, shares)
    assert apart.abs().max() < 8, "of 256 levels"
    assert float(large.std()) == pytest.approx(float(small.std()), rel=0.05)


def test_a_default_number_of_scales_stays_what_it_was():
    flow = RealNVP((1, 6, 6), width=4, couplings=1, positions=False)  # 12x12 would allow two
    larger = enlarge(flow, 2)
    squeezes = [sum("Squeeze" in type(m).__name__ for m in f.modules()) for f in (flow, larger)]
    assert squeezes[0] == squeezes[1] > 0
    odd = RealNVP((1, 5, 5), width=4, couplings=1, positions=False)
    assert extrapolate(odd, 1, scale=2, seed=0).shape == (1, 1, 10, 10)


def test_without_positions_a_conditioner_has_no_map():
    names = [set(RealNVP((1, 8, 8), width=4, positions=p).state_dict()) for p in (True, False)]
    assert {name.split(".")[-1] for name in names[0] - names[1]} == {"position"}
    assert not names[1] - names[0]


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (
            RealNVP((1, 8, 8), width=4),
            {},
            "hold for their places alone, the first 'chain.*position",
        ),
        (
            Glow((1, 8, 8), width=4, steps=1),
            {},
            "hold for their places alone, the first 'base.mean",
        ),
        (Jet((1, 8, 8), width=8, heads=2, couplings=2), {}, "cannot be "),
        (NICE((1, 4, 4), width=4), {}, "hold for their places alone"),
        (GMM((1, 4, 4)), {}, "hold for their places alone"),
        (GAN((1, 4, 4), latent=2), {}, "takes a fully convolutional flow"),
        (Flow((1, 4, 4), []), {}, "takes a fully convolutional flow"),
        (RealNVP((3,), width=4), {}, "extrapolate is for images"),
        (RealNVP((1, 8, 8), width=4, positions=False, context=2), {}, "is conditional: pass"),
        (RealNVP((1, 8, 8), width=4, positions=False), {"scale": 0}, "from 1, such as 2 or 10"),
        (RealNVP((1, 8, 8), width=4, positions=False), {"scale": 1.5}, "got 1.5"),
        (RealNVP((1, 8, 8), width=4, positions=False), {"n": -1}, "cannot draw -1"),
    ],
)
def test_what_will_not_do_is_said(model, options, said):
    with pytest.raises(InputError, match=said):
        extrapolate(model, **options)


def test_images_of_real_numbers_are_standardised_place_by_place():
    flow = RealNVP((1, 4, 4), levels=None, width=4, positions=False)
    flow.initialise(np.random.default_rng(0).normal(size=(50, 1, 4, 4)))
    with pytest.raises(InputError, match=r"layers\.0\.mean"):
        extrapolate(flow)
