"""Training on what can only be read in its order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from trials import flow_for, options_for, rows

from pushforward import InputError, RealNVP, fit
from pushforward.training.streaming import Stream, is_stream


class Endless(IterableDataset):
    def __iter__(self):
        for i in range(10**9):
            yield rows(1, seed=i)[0]


def batches(*sizes):
    start = 0
    for size in sizes:
        yield np.arange(start, start + 2 * size, dtype=np.float32).reshape(size, 2)
        start += 2 * size


def test_batches_are_cut_to_size_in_the_streams_order():
    stream = Stream(RealNVP((2,)), batches(3, 50, 1, 2, 60), hold_out=5)
    assert stream.held_out[0][:, 0].tolist() == [0, 2, 4, 6, 8]
    x, _ = stream.batch(0, 40)
    assert x[:, 0].tolist() == list(range(10, 90, 2))
    x, _ = stream.batch(40, 40)
    assert x[:, 0].tolist() == list(range(90, 170, 2))
    x, _ = stream.batch(100, 40)
    assert x[:, 0].tolist() == list(range(210, 232, 2)), "some skipped, and the end"
    assert len(stream.batch(111, 40)[0]) == 0


def test_an_iterable_is_read_again_without_what_is_held_out():
    data = [rows(20, seed=i) for i in range(3)]
    stream = Stream(RealNVP((2,)), data.__iter__, hold_out=25)
    first, _ = stream.batch(0, 35)
    again, _ = stream.batch(35, 35)
    assert torch.equal(first, again)
    assert torch.equal(first, torch.from_numpy(np.concatenate(data)[25:]))


def test_a_short_stream_holds_out_a_tenth():
    stream = Stream(RealNVP((2,)), iter([rows(30)]))
    assert len(stream.held_out[0]) == 3
    assert len(stream.batch(0, 100)[0]) == 27
    stream = Stream(RealNVP((2,)), lambda: iter([rows(30)]), hold_out=30)
    assert len(stream.held_out[0]) == 3, "not all of them, though there are just as many"
    stream = Stream(RealNVP((2,)), iter([rows(1)]))
    assert len(stream.held_out[0]) == 1
    assert len(stream.batch(0, 100)[0]) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: iter([rows(16, seed=i) for i in range(30)]),
        lambda: lambda: (rows(16, seed=i) for i in range(30)),
        lambda: DataLoader(TensorDataset(torch.from_numpy(rows(500))), batch_size=20),
        lambda: DataLoader(Endless(), batch_size=8),
        Endless,
    ],
)
def test_fit_takes_streams(make):
    run = fit(flow_for("rows"), make(), **options_for("rows", max_steps=8))
    assert run.records[-1]["step"] == 8
    assert run.records[-1]["validation"] < 20
    assert run.records[-1]["epoch"] == 0


def test_a_stream_that_ends_ends_the_run():
    run = fit(flow_for("rows"), iter([rows(100)]), **options_for("rows", max_steps=50))
    assert run.stopped == "the stream has ended"
    assert run.records[-1]["step"] == 6, "90 events in batches of 16"


def test_contexts_come_along():
    flow = RealNVP((2,), width=8, couplings=2, context=3)

    def pairs():
        for i in range(100):
            yield rows(16, seed=i), np.ones((16, 3), np.float32)

    run = fit(flow, pairs, **options_for("rows", max_steps=8))
    assert run.records[-1]["step"] == 8
    with pytest.raises(InputError, match="is conditional: pass"):
        fit(flow, lambda: iter([rows(16)]), **options_for("rows"))
    with pytest.raises(InputError, match="let it give pairs"):
        fit(flow, pairs, context=np.ones((3, 3)), **options_for("rows"))


def test_what_is_wrong_in_a_stream_is_named():
    with pytest.raises(InputError, match=r"scores rows of 2 numbers.*\(100, 3\)"):
        fit(flow_for("rows"), iter([rows(100, size=3)]), **options_for("rows"))
    with pytest.raises(InputError, match="gave no event"):
        fit(flow_for("rows"), iter([]), **options_for("rows"))
    with pytest.raises(InputError, match="a stream has no epochs; give max_steps"):
        fit(flow_for("rows"), iter([rows(100)]), epochs=2, progress=False)
    bad = rows(700)
    bad[650] = np.nan
    with pytest.raises(InputError, match="missing values"):
        fit(flow_for("rows"), iter([bad[:600], bad[600:]]), **options_for("rows"))


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (np.zeros((3, 2)), False),
        (torch.zeros(3, 2), False),
        ([[1.0, 2.0]], False),
        ("digits", False),
        (TensorDataset(torch.zeros(3, 2)), False),
        (iter([1]), True),
        (lambda: iter([1]), True),
        ((x for x in [1]), True),
    ],
)
def test_streams_are_told_from_other_data(data, answer):
    assert is_stream(data) is answer
