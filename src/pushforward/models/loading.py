"""From a model's directory back to the flow that was saved."""

from __future__ import annotations

import os
from typing import cast

import torch

from ..checks import usable_device
from ..errors import InputError
from ..flow import Flow
from ..storage import model_folder, read_model
from .registry import rebuild

__all__ = ["load"]


def load(directory: str | os.PathLike[str], *, device: str = "cpu") -> Flow:
    """Read a model that ``save`` wrote, in evaluation mode, with the very same log_prob.

    It is a ``Flow``, or another ``Model`` (a GAN, a classifier) where one was saved.

    Args:
        directory: the model's directory, or that of a run, which holds it as ``best``.
        device: where to put it.

    Raises:
        InputError: no model there, or one that is cut short, altered, from a newer version, or
            not of this library; says which file and what to do.
    """
    place = usable_device(device)
    saved = read_model(directory)
    try:
        flow = rebuild(saved.family, saved.config).to(getattr(torch, saved.dtype))
    except (RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{directory} describes a model that cannot be built ({error}); it was altered."
        ) from error
    path = model_folder(directory) / "model.safetensors"
    expected = flow.state_dict()
    for key in sorted(expected.keys() ^ saved.weights.keys()):
        where = "misses" if key in expected else "has an unknown"
        raise InputError(f"{path} {where} tensor {key!r}; save the model again.")
    for key, value in expected.items():
        given = saved.weights[key]
        if value.shape != given.shape or value.dtype != given.dtype:
            raise InputError(
                f"{path}: tensor {key!r} is {tuple(given.shape)} {given.dtype}, but the "
                f"configuration makes it {tuple(value.shape)} {value.dtype}; the two files do not "
                f"belong together."
            )
    flow.load_state_dict(saved.weights)
    flow.facts = saved.facts
    return cast(Flow, flow.to(place).eval())
