"""What all classifiers share: images in, log-probabilities of labels out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from ..checks import check_labels
from ..errors import InputError
from ..layers import Chain
from ..layers.layer import Shape
from ..model import Model
from ..nets.batch_norm import BatchNorm

__all__ = ["ChannelScale", "Classifier", "in_float64"]

_NO_DENSITY = "a classifier knows p(label | x) and no density of x: classify(x) gives the former."

_SHORT = 20
"""Blocks from whose output float32 restores the input well enough; float64 takes a fifth longer."""


class ChannelScale(nn.Module):
    r"""Subtract the mean of each channel and divide by its standard deviation, read off data once.

    .. math:: z_c = (x_c / r - \mu_c) / \sigma_c

    with r the range of the integers (1 for real numbers). A constant channel is divided by 1.
    """

    mean: Tensor
    std: Tensor
    fitted: Tensor

    def __init__(self, channels: int, levels: int | None) -> None:
        super().__init__()
        self.range = 1 if levels is None else levels - 1
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("std", torch.ones(channels, 1, 1))
        self.register_buffer("fitted", torch.tensor(False))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)``, integers or real numbers, to numbers of moderate size."""
        return (x.to(self.mean.dtype) / self.range - self.mean) / self.std

    def inverse(self, z: Tensor) -> Tensor:
        """Undo; integers come as real numbers."""
        return (z * self.std + self.mean) * self.range

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Read mean and spread off images, unless that has been done."""
        if bool(self.fitted) or not len(x):
            return
        values = x.double().div(self.range).transpose(0, 1).flatten(1)  # (C, N * H * W)
        std = values.std(1, correction=0)
        self.mean.copy_(values.mean(1).reshape_as(self.mean))
        self.std.copy_(torch.where(std > 0, std, 1).reshape_as(self.std))
        self.fitted.fill_(True)


class Classifier(Model):
    r"""A network that tells how probable each label is for an image.

    .. math:: \log p(y \mid x) = h(f(x))_y - \log \sum_k e^{h(f(x))_k}

    f is made of the modules in ``body``, of which those that are a ``Chain`` are invertible and
    take part in ``memory="constant"``; h is batch norm, ReLU, the mean over positions and a linear
    layer. ``classify`` and ``predict`` are its face; it has no density of x and draws no samples.
    Training makes :math:`\log p(y \mid x)` large: labels travel where a flow's context does,
    as integers ``(N,)``.

    Args:
        shape: ``(C, H, W)``.
        labels: how many classes there are.
        levels: integer levels of the images; None for real numbers.
        body: modules from scaled images to features ``(N, features, H', W')``.
        features: channels of the last features.
        name: what errors call it.
    """

    judged_by = "objective"
    about = "A classifier: it knows p(label | x) and no density of x."
    example = ("model.classify(x)  # (N, classes) log-probabilities", "model.predict(x)")
    refuses: ClassVar[Mapping[str, str]] = {
        "log_prob": _NO_DENSITY,
        "bits_per_dim": _NO_DENSITY,
        "sample": "a classifier knows p(label | x) and makes no x. Train a flow, such as RealNVP.",
        "encode": "a classifier gives log-probabilities of labels: use classify(x).",
        "verify": "it checks inverses and densities of flows, and a classifier has no density.",
        "export": "it writes log_prob, encode or decode of flows. A classifier is a torch module "
        "from images to logits: torch.export.export(model.eval(), (x,)) takes it.",
        "decode": "a classifier gives log-probabilities of labels: use classify(x).",
    }
    training_defaults: ClassVar[Mapping[str, Any]] = {
        "optimiser": "sgd",
        "lr": 0.1,
        "batch_size": 100,
        "weight_decay": 2e-4,
        "schedule": "steps",
        "warmup": 0,
        "ema": 0.0,
        "patience": None,
    }

    def __init__(
        self,
        shape: Shape,
        labels: int,
        levels: int | None,
        body: list[nn.Module],
        features: int,
        *,
        name: str,
    ) -> None:
        super().__init__(shape, name=name)
        self.labels = labels
        self._levels = levels
        self.scale = ChannelScale(shape[0], levels)
        self.body = nn.ModuleList(body)
        self.norm = BatchNorm(features)
        self.last = nn.Linear(features, labels)

    @property
    def levels(self) -> int | None:
        """The integer levels of the images; None for real numbers."""
        return self._levels

    @property
    def unit(self) -> str:
        """Of its loss, the cross-entropy."""
        return "nats/label"

    @property
    def memory(self) -> str:
        """What a training step keeps for the way back; see ``Flow.memory``.

        Raises:
            InputError: another way than ``store`` for a network without reversible blocks.
        """
        return next((part.memory for part in self.body if isinstance(part, Chain)), "store")

    @memory.setter
    def memory(self, memory: str) -> None:
        chains = [part for part in self.body if isinstance(part, Chain)]
        if not chains and memory != "store":
            raise InputError(
                f"{self.name} has no reversible blocks, so its activations are kept: use "
                f"memory='store', or a RevNet."
            )
        for chain in chains:
            chain.memory = memory

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The logits ``(N, classes)`` of prepared images; labels are ignored."""
        h = self._features(self.scale(x))
        h = relu(self.norm(h)).mean((2, 3))
        logits: Tensor = self.last(h)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def _features(self, h: Tensor) -> Tensor:
        for part in self.body:
            if not isinstance(part, Chain):
                h = part(h)
            elif part.memory == "constant" and len(part) > _SHORT and torch.is_grad_enabled():
                h = part(in_float64(h))[0].to(h.dtype)
            else:
                h = part(h)[0]
        return h

    def objective(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The log-probability of the right label, in nats: ``(N,)``."""
        x, labels = self.prepare(x, context, False)
        assert labels is not None
        return self(x).log_softmax(1).gather(1, labels[:, None])[:, 0]

    def classify(self, x: Any) -> Tensor:
        """The log-probability of each label, ``(N, classes)``, in nats and evaluation mode.

        Raises:
            InputError: the images are not of this shape or kind.
        """
        x, _ = super().prepare(x, None, True)
        with self.evaluating():
            logits: Tensor = self(x)
        return logits.log_softmax(1)

    @torch.no_grad()
    def predict(self, x: Any) -> Tensor:
        """The most probable label of each image: ``(N,)``."""
        return self.classify(x).argmax(1)

    def initialise(self, x: Any, context: Any = None) -> None:
        """Read mean and spread of the channels off data, once."""
        self.scale.initialise(self.prepare(x, context, True)[0])

    def prepare(self, x: Any, context: Any, check: bool) -> tuple[Tensor, Tensor | None]:
        """Images on its device, and labels beside them."""
        x, _ = super().prepare(x, None, check)
        if check and context is not None:
            context = check_labels(context, name=self.name, classes=self.labels, rows=len(x))
        return x, None if context is None else context.to(self.device)


def in_float64(h: Tensor) -> Tensor:
    """What enters blocks that are to be inverted; their networks compute in their own type.

    Each block rounds what it adds to. The inverse of a deep network enlarges those errors, a
    thousand times in 50 blocks; with float64 between the networks there is nothing to enlarge.
    """
    return h if h.device.type == "mps" else h.double()  # mps knows no float64
