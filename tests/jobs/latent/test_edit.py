"""Directions are differences of means, and contexts are exchanged around the same latent."""

from __future__ import annotations

import pytest
import torch

from pushforward import GAN, Flow, InputError, RealNVP, direction, edit, swap
from pushforward.layers import Scaling


def scaled(size=3):
    flow = Flow((size,), [Scaling((size,))])
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.copy_(torch.linspace(0.2, 0.9, size).reshape(parameter.shape))
    return flow.double()


def test_in_a_linear_flow_it_shifts_by_the_difference_of_the_means():
    flow, generator = scaled(), torch.Generator().manual_seed(0)
    having = 2 + torch.randn(50, 3, dtype=torch.float64, generator=generator)
    lacking = torch.randn(70, 3, dtype=torch.float64, generator=generator)
    along = direction(flow, having, lacking)
    moved = edit(flow, lacking[:4], along, strengths=[-1, 0, 0.5, 1])
    shift = having.mean(0) - lacking.mean(0)
    for index, strength in enumerate((-1, 0, 0.5, 1)):
        wanted = lacking[:4] + strength * shift
        assert (moved[:, index] - wanted).abs().max() < 1e-9


def test_at_strength_zero_images_are_themselves():
    flow = RealNVP((1, 4, 4), levels=17, width=8)
    x = torch.randint(0, 17, (6, 1, 4, 4))
    along = direction(flow, x[:3], x[3:])
    moved = edit(flow, x[:2], along, strengths=[0.0, 1.0])
    assert torch.equal(moved[:, 0], x[:2])
    assert not torch.equal(moved[:, 1], x[:2])


def test_the_mean_does_not_depend_on_the_batches(monkeypatch):
    flow, x = scaled(), torch.randn(20, 3, dtype=torch.float64)
    whole = direction(flow, x[:12], x[12:])
    monkeypatch.setattr("pushforward.jobs.latent.latents.batch_for", lambda model: 5)
    assert (direction(flow, x[:12], x[12:]) - whole).abs().max() < 1e-12


def test_a_context_is_exchanged():
    flow = RealNVP((2,), context=3, width=16, couplings=2)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    x, own, all_three = torch.randn(4, 2), torch.eye(3)[[0, 1, 2, 0]], torch.eye(3)
    swapped = swap(flow, x, own, all_three)
    assert swapped.shape == (4, 3, 2)
    z = flow.encode(x, own)
    for row, label in enumerate((0, 1, 2, 0)):
        assert (swapped[row, label] - x[row]).abs().max() < 1e-4, "its own context: itself"
    for other in range(3):
        again = flow.encode(swapped[:, other], all_three[other].expand(4, 3))
        assert (again - z).abs().max() < 1e-4, "the latent stays"
    assert (swapped[:, 0] - swapped[:, 1]).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda f, x: direction(f, x[:0], x), "no event with the attribute"),
        (lambda f, x: direction(f, x, x[:0]), "no event without the attribute"),
        (lambda f, x: edit(f, x, torch.zeros(3)), r"the direction has shape \(3,\)"),
        (lambda f, x: edit(f, x, torch.zeros(2), strengths=[]), "at least one strength"),
        (lambda f, x: edit(f, x[:, :1], torch.zeros(2)), "rows of 2 numbers"),
        (lambda f, x: swap(f, x, None, torch.eye(2)), "is not conditional"),
        (lambda f, x: direction(GAN((2,)), x, x), "no way leads back"),
        (lambda f, x: edit(f, x, torch.ones(2), strengths=[1e39]), "infinite values"),
    ],
)
def test_what_will_not_do_is_said(call, said):
    flow = RealNVP((2,), width=8, couplings=2)
    with pytest.raises(InputError, match=said):
        call(flow, torch.randn(5, 2))
