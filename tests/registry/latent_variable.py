"""Latent-variable models: a VAE with all that it may be built of, and mixtures of normals."""

from __future__ import annotations

from functools import partial

from pushforward.models.gmm import GMM
from pushforward.models.vae import VAE

__all__ = ["OTHERS"]

_vae = partial(VAE, hidden=(6,), latent=2, couplings=2, width=4)

OTHERS = {
    "vae-rows": partial(_vae, (3,), posterior="flow"),
    "vae-rows-context": partial(_vae, (3,), prior="flow", context=2, observation="normal"),
    "vae-binary": partial(_vae, (1, 2, 2), levels=2, observation="bernoulli"),
    "vae-categorical": partial(_vae, (1, 2, 2), levels=5, observation="categorical"),
    "vae-logistic": partial(_vae, (2,), levels=9, observation="logistic"),
    "gmm-rows": partial(GMM, (3,), components=2, covariance="full"),
    "gmm-levels": partial(GMM, (1, 2, 2), levels=5, components=2, covariance="diag"),
}
