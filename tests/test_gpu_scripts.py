"""The scripts that are made for a GPU run from end to end, here on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

HERE = Path(__file__).parent.parent / "benchmarks"


def run(*arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, arguments)]
    told = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert told.returncode == 0, told.stderr
    return told.stdout


@pytest.mark.slow
def test_the_speed_table_comes_last(tmp_path):
    out = run(HERE / "gpu.py", "--device", "cpu", "--quick", "--out", tmp_path)
    table = out[out.index("| workload") :].splitlines()
    (file,) = tmp_path.iterdir()
    found = json.loads(file.read_text())
    assert len(table) == len(found["rows"]) + 2
    assert {row["work"] for row in found["rows"]} == {"training step", "log_prob", "sampling"}
    assert all(row["milliseconds"] > 0 for row in found["rows"])
    out = run(HERE / "gpu.py", "--device", "cpu", "--quick", "--minutes", "0", "--out", tmp_path)
    assert "There was no time for" in out


@pytest.mark.slow
def test_cifar10_trains_goes_on_and_leaves_its_results(tmp_path):
    common = [HERE / "cifar10.py", "--data", "not there", "--device", "cpu", "--out", tmp_path]
    run(*common, "--steps", "2")
    out = run(*common, "--steps", "3")
    assert "all steps done" in out
    found = json.loads((tmp_path / "cifar10.json").read_text())
    assert [record["step"] for record in found["curve"]][-1] == 3
    assert 7 < found["test"]["bits_per_dim"] < 9
    weights = [load_file(tmp_path / "weights" / name) for name in found["weights"]]
    assert sum(len(part) for part in weights) > 100
    assert (tmp_path / "samples.png").stat().st_size > 1000


@pytest.mark.slow
def test_the_curves_of_cifar10_are_drawn_side_by_side_and_nothing_is_trained_twice(tmp_path):
    common = [HERE / "cifar10_curves.py", "--data", "not there", "--device", "cpu", "--quick"]
    run(*common, "--out", tmp_path, "--models", "jet,flowpp")
    found = json.loads((tmp_path / "quick" / "cifar10_curves.json").read_text())
    assert list(found) == ["jet", "flowpp"]
    assert all(7 < each["test"]["bits_per_dim"] < 10 for each in found.values())
    assert all(each["curve"][-1]["step"] == 2 for each in found.values())
    assert (tmp_path / "quick" / "cifar10_curves.png").stat().st_size > 1000
    out = run(*common, "--out", tmp_path, "--models", "jet")
    assert "step" not in out
    assert "jet: test" in out
