"""A source three times larger than the memory that the process may have trains all the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

LIMIT = 600 * 2**20
COLUMNS, ROWS = 16, 30_000_000  # 1.9 GB of float32; PyTorch alone takes 300 MB of the limit

RUN = """
import json, resource, sys
source, limit = sys.argv[1], int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))  # anonymous memory, not mapped files
import torch
import pushforward as pf
from pushforward.training import session

torch.set_num_threads(1)

def resident():
    lines = open("/proc/self/status").read().splitlines()
    size = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("Vm", "Rss"))}
    return int(size["VmRSS"]) // 1024, int(size["RssAnon"]) // 1024

seen, honest = [], session.Session._one_step
def one_step(self, batch):
    if self.step % 50 == 0:
        seen.append((self.step, *resident()))
    return honest(self, batch)
session.Session._one_step = one_step
data = pf.open_data(source)
opened = resident()
flow = pf.RealNVP(data.shape, width=8, couplings=2)
pf.fit(flow, data, batch_size=4096, max_steps=1500, validate_every=1500, threads=1, progress=False)
size = sum(part.nbytes for part in data.splits().values())
print(json.dumps({"opened": opened, "seen": seen, "size": size}))
"""


@pytest.mark.slow
def test_memory_stays_flat(tmp_path):
    """Six million of its eighteen million training rows are read, all over the file."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    source = tmp_path / "big"
    source.mkdir()
    rng = np.random.default_rng(0)
    for part in range(20):
        rows = rng.standard_normal((ROWS // 20, COLUMNS), dtype=np.float32)
        columns = {f"c{i}": rows[:, i] for i in range(COLUMNS)}
        pq.write_table(pa.table(columns), source / f"part-{part:02}.parquet", compression=None)
    environment = {
        **os.environ,
        "PUSHFORWARD_CACHE": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": "1",
        "ARROW_DEFAULT_MEMORY_POOL": "system",  # Arrow's own reserves a gigabyte of addresses
    }
    command = [sys.executable, "-c", RUN, str(source), str(LIMIT)]
    told = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert told.returncode == 0, told.stderr
    result = json.loads(told.stdout.splitlines()[-1])
    assert result["size"] > 3 * LIMIT
    _, resident, anonymous = np.array(result["seen"]).T
    print(f"\nsource {result['size'] >> 20} MiB, limit {LIMIT >> 20} MiB; resident MiB by step:")
    print([list(map(int, row)) for row in result["seen"][::5]])
    after = len(resident) // 5  # the optimiser's state and the first pages come early
    assert resident[after:].max() - resident[after:].min() < 150
    assert anonymous[after:].max() - anonymous[after:].min() < 40
    assert anonymous.max() * 2**20 < LIMIT
