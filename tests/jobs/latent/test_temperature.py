"""The same noise at every temperature, spread so many times as far."""

from __future__ import annotations

import pytest
import torch

from pushforward import GAN, VAE, Flow, InputError, RealNVP, RevNet, temperatures


def test_in_the_identity_flow_they_are_multiples_of_one_another():
    x = temperatures(Flow((3,), []), [0.0, 0.5, 1.0, 2.0], n=4, seed=3)
    assert x.shape == (4, 4, 3)
    assert (x[0] == 0).all()
    assert torch.equal(2 * x[1], x[2])
    assert torch.equal(2 * x[2], x[3])


def test_at_one_they_are_samples():
    flow = RealNVP((1, 4, 4), levels=17, width=8)
    assert torch.equal(temperatures(flow, [0.7, 1.0], n=3, seed=2)[1], flow.sample(3, seed=2))


@pytest.mark.parametrize("model", [GAN((2,)), VAE((2,), hidden=(4,))])
def test_other_models_have_temperatures_too(model):
    assert temperatures(model, n=2).shape == (4, 2, 2)


@pytest.mark.parametrize(
    ("values", "n", "said"),
    [
        ([], 1, "at least one temperature"),
        ([-1.0], 1, "at least 0; got -1"),
        ([1.0], 0, "one samp"),
    ],
)
def test_what_will_not_do_is_said(values, n, said):
    with pytest.raises(InputError, match=said):
        temperatures(Flow((2,), []), values, n=n)


def test_a_classifier_makes_no_events():
    with pytest.raises(InputError, match="a classifier"):
        temperatures(RevNet((1, 8, 8), levels=17, units=(1, 1), channels=(8, 16), stem=8))
