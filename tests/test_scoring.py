"""Scores in batches: the same as at once, and no more of a large file in memory than needed."""

import re
from pathlib import Path

import numpy as np
import pytest

from pushforward.bases import Uniform
from pushforward.flow import Flow
from pushforward.scoring import score

SMAPS = Path("/proc/self/smaps")


@pytest.mark.skipif(not SMAPS.exists(), reason="only Linux tells what of a map is in memory")
def test_memory_does_not_grow_with_a_mapped_file(tmp_path):
    rows = np.random.default_rng(0).uniform(0, 1.0001, size=(6000, 1000)).astype(np.float32)
    rows.tofile(tmp_path / "rows.bin")
    mapped = np.memmap(tmp_path / "rows.bin", np.float32, "r", shape=rows.shape)
    flow = Flow((1000,), [], Uniform((1000,)))
    expected = np.where(rows.max(axis=1) > 1, -np.inf, 0.0)
    np.testing.assert_array_equal(score(flow, mapped), expected)
    about = SMAPS.read_text().split("rows.bin\n")[1]
    resident = re.search(r"^Rss: +(\d+) kB", about, re.MULTILINE)
    assert resident is not None
    assert int(resident[1]) * 1024 < rows.nbytes / 4
