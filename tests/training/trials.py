"""Small runs that the tests of training share."""

from __future__ import annotations

import numpy as np
import torch

from pushforward import Dataset, RealNVP, fit

OPTIONS = {"max_steps": 24, "validate_every": 6, "batch_size": 16, "warmup": 2, "threads": 1}


def rows(n, seed=0, size=2):
    """Two Gaussians, shifted and stretched."""
    rng = np.random.default_rng(seed)
    centres = np.where(rng.random(n)[:, None] < 0.5, -2.0, 2.0)
    return (centres + 0.5 * rng.standard_normal((n, size))).astype(np.float32)


def rows_dataset(n=100, held_out=40):
    """Rows with a validation part of their own."""
    train, validation = rows(n, 0), rows(held_out, 1)
    return Dataset("rows", "rows", train.shape[1:], None, train, validation, train[:0])


def pictures(n, seed=0):
    """Dark images of 4x4 pixels."""
    return np.random.default_rng(seed).integers(0, 60, (n, 1, 4, 4)).astype(np.uint8)


def flow_for(kind, seed=0):
    """A flow with everything that has a state: dropout, noise, batch norms, ActNorm."""
    if kind == "images":
        return RealNVP((1, 4, 4), width=4, couplings=2, dropout=0.2, seed=seed)
    norm = "batch" if kind == "batch norm" else "actnorm"
    dropout = 0.0 if kind == "no dropout" else 0.2
    return RealNVP((2,), width=8, couplings=3, dropout=dropout, norm=norm, seed=seed)


def data_for(kind):
    """What ``flow_for`` learns from."""
    return pictures(120) if kind == "images" else rows(120)


def options_for(kind, **options):
    """Settings for such a run."""
    more = {"shift": 0.3, "flip": True, "crop": 1} if kind == "images" else {}
    return {**OPTIONS, **more, "progress": False, **options}


def weights(flow):
    """A copy of all that the flow holds."""
    return {key: value.clone() for key, value in flow.state_dict().items()}


def same(one, other):
    """Equal to the last bit."""
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def without_times(records):
    """Records, but for what the clock says."""
    clock = ("seconds", "items_per_second")
    return [{k: v for k, v in record.items() if k not in clock} for record in records]


def small_run(kind="rows", **options):
    """Train one; return the flow and its run."""
    flow = flow_for(kind)
    return flow, fit(flow, data_for(kind), **options_for(kind, **options))
