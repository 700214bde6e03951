"""Sets much larger than the memory that the process may take."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA is Linux's"),
]

ALLOWED = 64 << 20  # bytes
ROWS, COLUMNS, REPEATS = 100_000, 8, 32  # 205 MB of float64

WALK = """
import os, re, resource, sys
from pathlib import Path
import numpy as np
from pushforward.data import describe, open_data, release

def walk(path, cache):
    data = open_data(path, cache=cache)
    total = 0.0
    for values in data.splits().values():
        for start in range(0, len(values), 4096):
            total += float(values[start : start + 4096].sum())
            release(values)
    return len(data), total, describe(data)["counts"]["total"]

walk(sys.argv[1], True)  # imports, pools of threads
status = Path("/proc/self/status").read_text()
used = 1024 * int(re.search(r"VmData:\\s+(\\d+)", status)[1])
limit = used + int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
try:
    np.ones(int(sys.argv[3]) // 4)  # twice that much
except MemoryError:
    pass
else:
    sys.exit("the limit does not hold")
count, total, described = walk(sys.argv[2], None)
resident = int(re.search(r"RssFile:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
print(count, total, described, resident)
"""


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_memory_stays_flat(tmp_path, monkeypatch, ending):
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", "system")
    values = np.random.default_rng(0).normal(size=(ROWS, COLUMNS)).round(5)
    frame = pd.DataFrame(values, columns=[f"c{i}" for i in range(COLUMNS)])
    large, small = tmp_path / f"large.{ending}", tmp_path / f"small.{ending}"
    if ending == "csv":
        text = frame.to_csv(index=False).encode()
        header, rows = text.split(b"\n", 1)
        small.write_bytes(text)
        with large.open("wb") as file:
            file.write(header + b"\n")
            for _ in range(REPEATS):
                file.write(rows)
    else:
        table = pa.Table.from_pandas(frame)
        pq.write_table(table, small)
        with pq.ParquetWriter(large, table.schema) as writer:
            for _ in range(REPEATS):
                writer.write_table(table)
    assert values.nbytes * REPEATS > 3 * ALLOWED
    done = subprocess.run(
        [sys.executable, "-c", WALK, str(small), str(large), str(ALLOWED)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    count, total, described, resident = done.stdout.split()
    assert int(count) == int(described) == ROWS * REPEATS
    assert float(total) == pytest.approx(values.sum() * REPEATS, rel=1e-6)
    assert int(resident) < 300_000  # KiB; the map alone would be 200 MB more than the libraries
