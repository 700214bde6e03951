"""The manifold of four examples is equation 19 of the Real NVP paper."""

from __future__ import annotations

import math

import pytest
import torch

from pushforward import GAN, GMM, VAE, Flow, InputError, RealNVP, manifold
from pushforward.jobs.manifold import manifold as plane


def test_it_is_the_formula_of_the_paper():
    flow = Flow((1, 2, 2), []).double()
    z = torch.randn(4, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = manifold(flow, z, steps=8)
    for i in range(8):
        for j in range(8):
            a, b = i * math.pi / 4, j * math.pi / 4
            wanted = math.cos(a) * (math.cos(b) * z[0] + math.sin(b) * z[1])
            wanted = wanted + math.sin(a) * (math.cos(b) * z[2] + math.sin(b) * z[3])
            assert (x[i, j] - wanted).abs().max() < 1e-12


def test_the_four_images_are_in_their_places():
    flow = RealNVP((1, 4, 4), levels=17, width=8)
    x = torch.randint(0, 17, (4, 1, 4, 4))
    images = manifold(flow, x)
    assert images.shape == (8, 8, 1, 4, 4)
    for place, image in zip(((0, 0), (0, 2), (2, 0), (2, 2)), x, strict=True):
        assert torch.equal(images[place], image)


def test_random_latents_and_models_with_noise_of_their_own():
    assert manifold(RealNVP((1, 4, 4), width=8), steps=3, seed=0).shape == (3, 3, 1, 4, 4)
    assert manifold(GAN((1, 4, 4), latent=5), steps=3, seed=0).shape == (3, 3, 1, 4, 4)


def test_a_vae_of_two_latent_numbers_shows_its_plane():
    vae = VAE((1, 4, 4), levels=2, latent=2, hidden=(8,))
    assert torch.equal(manifold(vae, steps=5).flatten(0, 1), plane(vae, 5))


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (RealNVP((3,), width=8), {}, "rows of 3 numbers; the manifold is for images"),
        (GMM((1, 2, 2)), {}, "lie on no shell"),
        (RealNVP((1, 4, 4), width=8), {"x": torch.zeros(3, 1, 4, 4)}, "four examples; got 3"),
        (RealNVP((1, 4, 4), width=8), {"steps": 1}, "at least 2 steps"),
        (GAN((1, 4, 4), latent=5), {"x": torch.zeros(4, 1, 4, 4)}, "no way leads back"),
    ],
)
def test_what_will_not_do_is_said(model, options, said):
    with pytest.raises(InputError, match=said):
        manifold(model, **options)
