"""What classifies or makes events without a density: i-RevNet, RevNet, ResNet, GAN."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pushforward.model import Model
from pushforward.models import GAN, IRevNet, RevNet
from pushforward.models.irevnet import IRevNetConfig, irevnet_chain

from .case import Case

_TINY = IRevNetConfig(shape=(2, 2, 4), units=(1, 2), strides=(1, 2), bottleneck=1)

LAYERS: dict[str, Case] = {
    "irevnet-body": Case(partial(irevnet_chain, _TINY, (2, 2, 4)), (2, 2, 4)),
}

OTHERS: dict[str, Callable[[], Model]] = {
    "gan-rows": partial(GAN, (2,), generator=(8, 8), discriminator=(8,)),
    "gan-image": partial(GAN, (1, 4, 4), levels=17, latent=3, generator=(8, 8), output_norm=True),
    "irevnet": partial(IRevNet, (1, 4, 4), levels=17, units=(1, 1), strides=(1, 2), channels=4),
    "revnet": partial(RevNet, (1, 4, 4), units=(1, 1), stem=4, channels=(4, 6), levels=17),
    "resnet": partial(
        RevNet, (1, 4, 4), units=(1, 2), stem=4, channels=(4, 6), levels=17, blocks="plain"
    ),
}
