"""The batch of a step is the same from memory and from disk, read ahead or not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pushforward.data.mapped import read_events
from pushforward.training.events import Events
from pushforward.training.feed import Feed
from pushforward.training.settings import FitConfig

CPU = torch.device("cpu")


def on_disk(tmp_path, values):
    path = tmp_path / "values.bin"
    path.write_bytes(values.tobytes())
    return np.memmap(path, values.dtype, "r", shape=values.shape)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((1000, 3), "f4"), ((300, 7), "f8"), ((90, 1, 5, 4), "u1"), ((9, 2), "u2")]
)
def test_events_are_read_as_they_lie(tmp_path, shape, dtype):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 200, shape).astype(dtype)
    array = on_disk(tmp_path, values)
    for index in (
        np.arange(len(values)),
        rng.permutation(len(values)),
        rng.integers(0, len(values), 50),
        np.array([3, 4, 5, 1, 2, 3, 0]),
        np.array([], int),
    ):
        read = read_events(array, index)
        assert read.dtype == values.dtype
        assert np.array_equal(read, values[index])
        assert np.array_equal(
            read_events(array[2:], index[index > 2] - 2), values[2:][index[index > 2] - 2]
        )
        assert np.array_equal(read_events(values, index), values[index])


@pytest.mark.parametrize("batch", [1, 64, 999])
def test_batches_from_disk_hold_the_events_of_their_index(tmp_path, batch):
    values = np.arange(60_000, dtype=np.float32).reshape(20_000, 3)
    feed = Feed(Events(on_disk(tmp_path, values)), FitConfig(batch_size=batch), CPU)
    assert feed.order.block > 1
    steps = [0, 1, 2, 5, 3, feed.per_epoch - 1, feed.per_epoch, 7]
    for step in steps:
        got = feed.batch(step)
        assert np.array_equal(got.x, values[got.index.numpy()])
        assert torch.equal(got.index, feed.order.batch(step))
    feed.close()


def test_an_epoch_from_disk_has_every_event_once(tmp_path):
    values = np.arange(30_000, dtype=np.float64).reshape(30_000, 1)
    feed = Feed(Events(on_disk(tmp_path, values)), FitConfig(batch_size=512), CPU)
    seen = torch.cat([feed.batch(step).x for step in range(feed.per_epoch)])
    feed.close()
    assert sorted(seen[:, 0].tolist()) == list(range(30_000))
    assert np.corrcoef(seen[:, 0], np.arange(30_000))[0, 1] < 0.5, "shuffled"


def test_some_events_are_drawn_fairly_and_repeatably(tmp_path):
    values = np.arange(20_000, dtype=np.float32)[:, None]
    for events in (Events(on_disk(tmp_path, values)), Events(torch.from_numpy(values))):
        some = events.some(500, seed=3)
        assert len(some) == 500
        assert len(set(some.x[:, 0].tolist())) == 500
        assert abs(float(some.x.mean()) - 10_000) < 4 * 20_000 / (12 * 500) ** 0.5
        assert torch.equal(some.x, events.some(500, seed=3).x)
        assert not torch.equal(some.x, events.some(500, seed=4).x)
        assert len(events.some(10**6)) == 20_000


def test_fingerprints_tell_data_apart():
    x = torch.randn(50, 2)
    one = Events(x).fingerprint()
    assert one == Events(x.clone()).fingerprint()
    others = [x[:-1], x.double(), x + 1e-6, x.reshape(50, 2, 1)]
    assert len({one, *(Events(other).fingerprint() for other in others)}) == 5
    assert Events(x, torch.ones(50, 1)).fingerprint() != one
