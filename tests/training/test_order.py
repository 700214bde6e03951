"""The order of events: each once an epoch, at random, and known from the step alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pushforward.training.order import Order, seed_of


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 300),
    batch=st.integers(1, 40),
    block=st.integers(1, 20),
    together=st.integers(1, 5),
    seed=st.integers(0, 2**31 - 1),
)
def test_every_event_comes_once_an_epoch(n, batch, block, together, seed):
    batch = min(n, batch)
    order = Order(n, batch, seed, block=block, together=together)
    for epoch in (0, 3):
        steps = range(epoch * order.per_epoch, (epoch + 1) * order.per_epoch)
        batches = [order.batch(step) for step in steps]
        assert all(len(index) == batch for index in batches[:-1])
        seen = torch.cat(batches).tolist()
        assert len(set(seen)) == len(seen), "none twice"
        left_out = n - len(seen)
        assert left_out == (1 if n % batch == 1 and 1 < batch < n else 0)


@pytest.mark.parametrize("block", [1, 7])
def test_any_step_can_be_asked_for_at_any_time(block):
    steps = list(range(60))
    forwards = Order(103, 10, 5, block=block, together=3)
    expected = [forwards.batch(step) for step in steps]
    shuffled = np.random.default_rng(0).permutation(steps)
    order = Order(103, 10, 5, block=block, together=3)
    for step in shuffled:
        assert torch.equal(order.batch(int(step)), expected[step])
        fresh = Order(103, 10, 5, block=block, together=3)
        assert torch.equal(fresh.batch(int(step)), expected[step])


def test_epochs_and_seeds_differ():
    order, other = Order(50, 50, 0), Order(50, 50, 1)
    assert not torch.equal(order.batch(0), order.batch(1))
    assert not torch.equal(order.batch(0), other.batch(0))


def test_events_of_a_block_stay_near_one_another():
    order = Order(10_000, 100, 0, block=10, together=50)
    for step in (0, 37, 99):
        blocks = {int(i) // 10 for i in order.batch(step)}
        window = {
            int(i) // 10 for s in range(step // 5 * 5, step // 5 * 5 + 5) for i in order.batch(s)
        }
        assert len(window) == 50, "five batches of a window read fifty blocks, each to its end"
        assert blocks <= window


def test_positions_are_uniform_over_epochs():
    order = Order(20, 5, 3)
    first = [int(order.batch(4 * epoch)[0]) for epoch in range(2000)]
    counts = np.bincount(first, minlength=20)
    assert ((counts - 100) ** 2 / 100).sum() < 45, "chi square, 19 degrees of freedom: p = .0007"


def test_seeds_of_neighbours_are_unrelated():
    seeds = {seed_of(a, b) for a in range(100) for b in range(100)}
    assert len(seeds) == 10_000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seed_of(0, 1) != seed_of(1, 0)
    bits = np.array([[seed >> i & 1 for i in range(63)] for seed in sorted(seeds)])
    assert np.abs(bits.mean(0) - 0.5).max() < 0.03
