"""Activations by name."""

from __future__ import annotations

from torch import nn

from ..errors import InputError

__all__ = ["ACTIVATIONS", "activation"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
}


def activation(name: str) -> nn.Module:
    """A new activation module; raises InputError for an unknown name."""
    if name not in ACTIVATIONS:
        raise InputError(
            f"there is no activation named {name!r}; choose from {', '.join(ACTIVATIONS)}."
        )
    return ACTIVATIONS[name]()
