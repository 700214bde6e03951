"""Real sets, by the variable PUSHFORWARD_DATA; skipped where it is unset."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from pushforward.data import open_data, read_for

FOLDER = os.environ.get("PUSHFORWARD_DATA")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(FOLDER is None, reason="PUSHFORWARD_DATA is not set"),
]


def folder(name):
    path = Path(FOLDER or "") / name
    if not path.exists():
        pytest.skip(f"no {name} in PUSHFORWARD_DATA")
    return path


def test_mnist():
    start = time.perf_counter()
    data = open_data(folder("mnist"))
    assert time.perf_counter() - start < 10
    assert [len(part) for part in data.splits().values()] == [50000, 10000, 10000]
    assert data.shape == (1, 28, 28)
    np.testing.assert_array_equal(data.labels["train"][:5], [5, 0, 4, 1, 9])
    np.testing.assert_array_equal(data.labels["test"][:5], [7, 2, 1, 0, 4])
    assert data.everything.mean() / 255 == pytest.approx(0.1309, abs=5e-4)


def test_one_shard_of_cifar10():
    path = folder("cifar10") / "train-00000-of-00005.parquet"
    data = open_data(path)
    assert (len(data), data.shape, data.levels) == (10000, (3, 32, 32), 256)
    assert data.label_names[3] == "cat"
    images = read_for(path, shape=(3, 32, 32), levels=256)
    np.testing.assert_array_equal(images[0, :, 0, 0], [59, 62, 63])  # the first image is a frog


def test_power():
    data = open_data(folder("tabular") / "power_2007h1.parquet")
    assert len(data) == 282_636 - 3_775
    assert any("3,775 rows" in note for note in data.notes)
