"""Divide a source into train, validation and test, the same way every time."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from ..errors import InputError
from .content import by_content, words_of
from .found import SPLITS, Found, Part
from .schema import Schema

__all__ = [
    "DRAWN",
    "check_fractions",
    "divide",
    "draw",
    "hashes",
    "join",
    "lacking",
    "permutation",
    "places",
]

_BLOCK = 1 << 17  # words that are hashed at a time: 1 MiB
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
DRAWN = ("test", "validation", "train")
"""What the numbers of `places` and `draw` stand for."""


def divide(found: Found, seed: int, fractions: tuple[float, float]) -> dict[str, Part]:
    """Return all three splits of what was found; the ones that the source brings are kept.

    The splits that the source lacks are drawn from its train part, each event by a hash of its
    content and ``seed`` (see `draw`). So an event stays in its split when the source grows, and
    equal events lie in one split. Each drawn split has at least one event from 10 events on;
    train always keeps at least one. Within a split the events are in the source's order.

    Raises:
        InputError: ``seed`` is negative, or ``fractions`` are not two numbers >= 0 that leave
            something for train.
    """
    check_fractions(seed, fractions)
    parts = dict(found.parts)
    if "train" not in parts:  # only test files, say: then they are simply the data
        parts = {"train": join(found)}
    train, empty = parts["train"], parts["train"].take(slice(0, 0))
    if found.splitting == "tail" and "test" in parts and fractions[0] > 0:
        cut = len(train.values) - min(len(parts["test"].values), len(train.values) // 2)
        parts["train"], parts["validation"] = train.take(slice(cut)), train.take(slice(cut, None))
    elif found.splitting == "permuted":
        parts |= _permuted(train, lacking(parts, fractions), seed)
    elif found.splitting == "hashed" and (shares := lacking(parts, fractions)):
        keys = hashes(train.values, found.schema) if train.keys is None else train.keys
        drawn = draw(keys, shares, seed)
        for number, split in enumerate(DRAWN):
            if split in shares or split == "train":
                parts[split] = train.take(np.flatnonzero(drawn == number))
    return {split: parts.get(split, empty) for split in SPLITS}


def check_fractions(seed: int, fractions: tuple[float, float]) -> None:
    """Raise `InputError` if these cannot say how to divide; see `divide`."""
    if seed < 0:
        raise InputError(f"split_seed must be 0 or more; got {seed}.")
    if len(fractions) != 2 or not all(0 <= f < 1 for f in fractions) or sum(fractions) >= 1:
        raise InputError(
            "fractions are the shares of validation and test, two numbers from 0 whose sum is "
            f"below 1; got {fractions}."
        )


def lacking(splits: Collection[str], fractions: tuple[float, float]) -> dict[str, float]:
    """Return the shares of the splits that are to be drawn, those not among ``splits``."""
    wanted = zip(("validation", "test"), fractions, strict=True)
    return {split: share for split, share in wanted if split not in splits and share > 0}


def hashes(values: np.ndarray, schema: Schema | None = None) -> np.ndarray:
    r"""Hash the content of each event to 64 bits.

    .. math:: h = m\Big(\sum_i m(w_i \oplus m(i))\Big)

    over the 64-bit words :math:`w_i` of an event, modulo :math:`2^{64}`, where m is the finaliser
    of splitmix64. Rows ``(N, D)`` are hashed as float64, zero of either sign alike, after their
    fractions were rounded to float32: a table of float32 has the same keys when it comes back from
    CSV. Categories enter by their words, where a ``schema`` tells them. Images are hashed by their
    bytes, padded to whole words with zeros.

    Returns:
        ``(N,)`` uint64.
    """
    rows = values.ndim == 2
    numbers = int(np.prod(values.shape[1:]))
    count = numbers if rows else -(-numbers * values.itemsize // 8)
    salts = _mix(np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN)
    result = np.empty(len(values), np.uint64)
    names = words_of(schema)
    step = max(1, _BLOCK // max(count, 1))
    for start in range(0, len(values), step):
        block = values[start : start + step]
        words = _rounded(by_content(block, names)) if rows else _padded(block, count)
        mixed = _mix(words.view(np.uint64) ^ salts)
        result[start : start + step] = _mix(mixed.sum(axis=1, dtype=np.uint64))
    return result


def _rounded(rows: np.ndarray) -> np.ndarray:
    exact = rows.astype(np.float64) + 0.0
    if rows.dtype == np.float32:
        return exact
    with np.errstate(over="ignore", invalid="ignore"):
        short = exact.astype(np.float32)
    # Large integers, such as numbers of customers or nanoseconds, would fall together.
    whole = exact == np.floor(exact)
    outside = ~np.isfinite(short) | (np.abs(short) < np.finfo(np.float32).tiny)
    return np.where(whole | outside, exact, short.astype(np.float64))


def _padded(images: np.ndarray, count: int) -> np.ndarray:
    little = images.astype(images.dtype.newbyteorder("<"), copy=False)
    flat = np.ascontiguousarray(little).reshape(len(images), -1).view(np.uint8)
    words = np.zeros((len(images), 8 * count), np.uint8)
    words[:, : flat.shape[1]] = flat
    return words


def _mix(words: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014, in Vigna's constants)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def places(keys: np.ndarray, shares: dict[str, float], seed: int) -> np.ndarray:
    """Return the split of each event by its key alone: 0 test, 1 validation, 2 train.

    With :math:`u = m(key, seed) / 2^{64}`: test where u is below the share of test, validation in
    the interval above it.
    """
    drawn, first, second = _drawn(keys, shares, seed)
    return np.where(drawn < first, 0, np.where(drawn < second, 1, 2)).astype(np.int8)


def _drawn(
    keys: np.ndarray, shares: dict[str, float], seed: int
) -> tuple[np.ndarray, np.uint64, np.uint64]:
    salt = _mix(np.array([seed % 2**64], np.uint64) + _GOLDEN)
    test, validation = shares.get("test", 0.0), shares.get("validation", 0.0)
    ends = [np.uint64(min(int(share * 2.0**64), 2**64 - 1)) for share in (test, test + validation)]
    return _mix(keys ^ salt), ends[0], ends[1]


def draw(keys: np.ndarray, shares: dict[str, float], seed: int) -> np.ndarray:
    """Return the split of each event, as `places` does, and none that must not be empty is.

    Train is never empty, the others not from 10 events on: where the intervals leave one empty, it
    gets the events nearest to its interval, all equal ones if the split that they come from has
    others.
    """
    result = places(keys, shares, seed)
    drawn, first, second = _drawn(keys, shares, seed)
    spans = {0: (0, int(first)), 1: (int(first), int(second)), 2: (int(second), 2**64)}
    for split in (2, 0, 1):
        wanted = split == 2 or (len(keys) >= 10 and shares.get(DRAWN[split], 0) > 0)
        if not wanted or not len(keys) or (result == split).any():
            continue
        counts = np.bincount(result, minlength=3)
        givers = np.flatnonzero((counts[result] > 1) | (split == 2))
        low, high = spans[split]
        above = drawn[givers] >= np.uint64(low)
        distance = np.where(
            above,
            drawn[givers] - np.uint64(min(max(high - 1, low), 2**64 - 1)),
            np.uint64(low) - drawn[givers],
        )
        nearest = givers[np.argmin(distance)]
        alike = np.flatnonzero((drawn == drawn[nearest]) & (result == result[nearest]))
        all_go = len(alike) < counts[result[nearest]] or split == 2
        result[alike if all_go else nearest] = split
    return result


def _permuted(train: Part, shares: dict[str, float], seed: int) -> dict[str, Part]:
    """Draw splits of exact size, in random order."""
    n = len(train.values)
    counts = {split: max(round(n * share), int(n >= 10)) for split, share in shares.items()}
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


def permutation(n: int, seed: int) -> np.ndarray:
    """Return a permutation of range(n) that depends on ``n`` and ``seed`` alone.

    It sorts the raw words of PCG64, whose stream NumPy promises never to change, where the
    shuffling algorithm of ``Generator.permutation`` may.
    """
    return np.argsort(np.random.PCG64(seed).random_raw(n), kind="stable")


def join(found: Found) -> Part:
    """Return all parts as one: train, validation, test, each in the source's order."""
    parts = [found.parts[split] for split in SPLITS if split in found.parts]
    if len(parts) == 1:
        return parts[0]
    labels = [part.labels for part in parts if part.labels is not None]
    keys = [part.keys for part in parts if part.keys is not None]
    return Part(
        np.concatenate([part.values for part in parts]),
        np.concatenate(labels) if len(labels) == len(parts) else None,
        np.concatenate(keys) if len(keys) == len(parts) else None,
    )
