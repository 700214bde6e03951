"""Divide a source into train, validation and test, the same way every time."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from .found import SPLITS, Found, Part

__all__ = ["divide", "join", "permutation"]


def permutation(n: int, seed: int) -> np.ndarray:
    """Return a permutation of range(n) that depends on ``n`` and ``seed`` alone.

    It sorts the raw words of PCG64, whose stream NumPy promises never to change, where the
    shuffling algorithm of ``Generator.permutation`` may.
    """
    return np.argsort(np.random.PCG64(seed).random_raw(n), kind="stable")


def divide(found: Found, seed: int, fractions: tuple[float, float]) -> dict[str, Part]:
    """Return all three splits of what was found; the ones that the source brings are kept.

    The splits that the source lacks are drawn from its train part. Within a drawn split the rows
    are in random order, so that a prefix of it is a fair sample. Each drawn split has at least one
    row from 10 rows on; train always keeps at least one.

    Raises:
        InputError: ``seed`` is negative, or ``fractions`` are not two numbers >= 0 that leave
            something for train.
    """
    if seed < 0:
        raise InputError(f"split_seed must be 0 or more; got {seed}.")
    if len(fractions) != 2 or not all(0 <= f < 1 for f in fractions) or sum(fractions) >= 1:
        raise InputError(
            "fractions are the shares of validation and test, two numbers from 0 whose sum is "
            f"below 1; got {fractions}."
        )
    parts = dict(found.parts)
    if "train" not in parts:  # only test files, say: then they are simply the data
        parts = {"train": join(found)}
    train, empty = parts["train"], parts["train"].take(slice(0, 0))
    if found.splitting == "tail" and "test" in parts and fractions[0] > 0:
        cut = len(train.values) - min(len(parts["test"].values), len(train.values) // 2)
        parts["train"], parts["validation"] = train.take(slice(cut)), train.take(slice(cut, None))
    elif found.splitting == "seeded":
        wanted = dict(zip(("validation", "test"), fractions, strict=True))
        lacking = {split: share for split, share in wanted.items() if split not in parts}
        parts |= _draw(train, lacking, seed)
    return {split: parts.get(split, empty) for split in SPLITS}


def _draw(train: Part, shares: dict[str, float], seed: int) -> dict[str, Part]:
    n = len(train.values)
    counts = {
        split: max(round(n * share), int(n >= 10 and share > 0)) for split, share in shares.items()
    }
    while sum(counts.values()) >= n:
        largest = max(counts, key=lambda split: counts[split])
        counts[largest] -= 1
    if not any(counts.values()):
        return {"train": train}
    order = permutation(n, seed)
    drawn = {}
    for split in ("test", "validation"):
        count = counts.get(split, 0)
        drawn[split], order = train.take(order[:count]), order[count:]
    return {split: drawn[split] for split in counts} | {"train": train.take(order)}


def join(found: Found) -> Part:
    """Return all parts as one: train, validation, test, each in the source's order."""
    parts = [found.parts[split] for split in SPLITS if split in found.parts]
    if len(parts) == 1:
        return parts[0]
    labels = [part.labels for part in parts if part.labels is not None]
    return Part(
        np.concatenate([part.values for part in parts]),
        np.concatenate(labels) if len(labels) == len(parts) else None,
    )
