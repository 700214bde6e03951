"""Splits drawn by content."""

import math
import struct

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pushforward.data import open_data
from pushforward.data.found import Found, Part
from pushforward.data.splitting import divide, draw, hashes, permutation, places

SHARES = {"test": 0.1, "validation": 0.1}
TEST = [3, 4, 9, 15, 29, 36]  # of range(40) by seed 0
VALIDATION = [12, 33, 38]
WORD = st.integers(0, 2**64 - 1)


def mix(word):
    """The finaliser of splitmix64 in Python's own integers."""
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % 2**64
    return word ^ (word >> 31)


def rounded(value):
    """The nearest float32, by the packing of C, for fractions that have one."""
    if math.isinf(value) or value == int(value) or not 2.0**-126 <= abs(value) < 2.0**128:
        return value
    return struct.unpack("<f", struct.pack("<f", value))[0]


@settings(deadline=None)
@given(hnp.arrays(np.float64, (3, 4), elements=st.floats(allow_nan=False)))
def test_hashes_are_those_of_the_formula(rows):
    golden = 0x9E3779B97F4A7C15
    near = [[rounded(value) for value in row] for row in rows.tolist()]
    words = (np.array(near) + 0.0).view(np.uint64).tolist()
    expected = [
        mix(sum(mix(w ^ mix((i + 1) * golden % 2**64)) for i, w in enumerate(row)) % 2**64)
        for row in words
    ]
    assert hashes(rows).tolist() == expected


def test_hashes_see_content_and_nothing_else():
    rows = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    whole = hashes(rows)
    assert len(np.unique(whole)) == 500
    np.testing.assert_array_equal(hashes(rows.astype(np.float64)), whole)
    np.testing.assert_array_equal(hashes(rows[::-1]), whole[::-1])
    np.testing.assert_array_equal(hashes(rows[7:8]), whole[7:8])
    assert not np.isin(hashes(rows[:, ::-1]), whole).any()
    np.testing.assert_array_equal(hashes(np.array([[0.0]])), hashes(np.array([[-0.0]])))
    images = np.random.default_rng(0).integers(0, 9, (50, 3, 5, 5), dtype=np.uint8)
    assert len(np.unique(hashes(images))) == 50
    np.testing.assert_array_equal(hashes(np.asfortranarray(images)), hashes(images))


def test_a_table_of_float32_keeps_its_splits_in_text(tmp_path):
    """CSV gives float64 that differ from the float32 they were in the ninth digit."""
    frame = pd.DataFrame(np.random.default_rng(0).lognormal(0, 5, (500, 3)).astype(np.float32))
    frame.columns = list("abc")
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    text, binary = open_data(tmp_path / "t.csv"), open_data(tmp_path / "t.parquet")
    assert (text.train.dtype, binary.train.dtype) == (np.float64, np.float32)
    for split, values in binary.splits().items():
        np.testing.assert_array_equal(text.splits()[split].astype(np.float32), values)


def test_large_integers_do_not_fall_together():
    numbers = 10**15 + np.arange(1000.0)[:, None]
    assert len(np.unique(hashes(numbers))) == 1000


def test_no_bit_is_favoured():
    """Small integers are as random as anything: each bit is set in half of the hashes."""
    bits = np.unpackbits(hashes(np.arange(20_000.0)[:, None]).view(np.uint8)).reshape(-1, 64)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 5 * 0.5 / 20_000**0.5


def test_the_shares_are_kept_on_average():
    keys = hashes(np.arange(100_000.0)[:, None])
    for seed in range(3):
        counts = np.bincount(places(keys, {"test": 0.2, "validation": 0.05}, seed)) / 100_000
        np.testing.assert_allclose(counts, [0.2, 0.05, 0.75], atol=0.005)
    one, other = (places(keys, SHARES, seed) for seed in (0, 1))
    assert abs(np.mean(one == other) - (0.64 + 0.01 + 0.01)) < 0.01  # independent


def test_splits_never_change():
    """The splits of saved models hang on these numbers."""
    data = open_data(np.arange(40.0))
    assert data.test[:, 0].tolist() == TEST
    assert data.validation[:, 0].tolist() == VALIDATION


@settings(max_examples=40, deadline=None)
@given(n=st.integers(30, 150), more=st.integers(0, 150), seed=st.integers(0, 5))
def test_more_rows_move_none(n, more, seed):
    rows = np.random.default_rng(0).normal(size=(300, 2))
    few = open_data(rows[:n], split_seed=seed)
    many = open_data(np.concatenate([rows[n : n + more], rows[:n]]), split_seed=seed)
    if min(map(len, few.splits().values())) < 2:  # one may have been lent
        return
    for split, part in few.splits().items():
        kept = many.splits()[split]
        np.testing.assert_array_equal(kept[len(kept) - len(part) :], part)


def test_equal_rows_are_in_one_split():
    rows = np.random.default_rng(0).normal(size=(100, 2)).repeat(3, axis=0)
    seen = [set(map(tuple, part)) for part in open_data(rows).splits().values()]
    assert sum(map(len, seen)) == len(set().union(*seen)) == 100


@settings(max_examples=200, deadline=None)
@given(
    keys=st.lists(st.one_of(WORD, st.integers(0, 3)), min_size=1, max_size=40),
    test=st.floats(0, 0.6),
    validation=st.floats(0, 0.39),
    seed=st.integers(0, 3),
)
def test_none_is_empty_and_equal_keys_stay_together_where_they_can(keys, test, validation, seed):
    keys = np.array(keys, np.uint64)
    shares = {"test": test, "validation": validation}
    drawn = draw(keys, shares, seed)
    counts = np.bincount(drawn, minlength=3)
    assert counts[2] >= 1
    if len(keys) >= 10:
        assert all(counts[i] for i, share in enumerate((test, validation)) if share > 0)
    if len(np.unique(keys)) >= 30:
        assert all(len(set(drawn[keys == key])) == 1 for key in keys)
    moved = drawn != places(keys, shares, seed)
    assert moved.sum() <= np.unique(keys, return_counts=True)[1].max() * 3


def test_the_nearest_event_is_lent():
    keys = np.arange(12, dtype=np.uint64)
    tiny = {"test": 1e-9, "validation": 1e-9}
    drawn = draw(keys, tiny, 0)
    # Both intervals lie at zero, so the two smallest numbers go there.
    wide = [places(keys, {"test": share}, 0) for share in np.linspace(0, 0.9, 400)]
    first = next(np.flatnonzero(drawn_ == 0) for drawn_ in wide if (drawn_ == 0).any())
    assert np.flatnonzero(drawn == 0).tolist() == first.tolist()
    assert (drawn == 1).sum() == 1


def test_keys_take_the_place_of_values():
    values, keys = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60, dtype=np.uint64)
    parts = divide(Found("a", {"train": Part(values, keys=keys)}), 0, (0.2, 0.2))
    other = divide(Found("a", {"train": Part(values * 2, keys=keys)}), 0, (0.2, 0.2))
    for split, part in parts.items():
        np.testing.assert_array_equal(part.values * 2, other[split].values)
        np.testing.assert_array_equal(part.keys, other[split].keys)


@pytest.mark.parametrize("seed", [0, 7])
def test_the_digits_keep_their_permutation(seed):
    order = permutation(1797, seed)
    images = open_data("digits", fractions=(0, 0)).train
    undone = np.empty_like(images)
    undone[...] = images
    data = open_data("digits", split_seed=seed)
    np.testing.assert_array_equal(data.test, undone[order[:180]])
    np.testing.assert_array_equal(data.validation, undone[order[180:360]])
    np.testing.assert_array_equal(data.train, undone[order[360:]])
