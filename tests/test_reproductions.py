"""Every reproduction runs from end to end, in its short form; the table of results is in step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent.parent / "reproductions"
SHARED = ("record.py", "table.py", "tabular_models.py")
SCRIPTS = sorted(path.name for path in HERE.glob("*.py") if path.name not in SHARED)


def run(*arguments, folder):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, arguments)]
    told = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    assert told.returncode == 0, told.stderr
    return told.stdout


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_it_runs_and_leaves_results_alone(script, tmp_path):
    data = os.environ.get("PUSHFORWARD_DATA")
    if not data and script != "planar.py":
        pytest.skip("set PUSHFORWARD_DATA")
    given = ["--data", Path(data).absolute()] if script != "planar.py" else []
    results = {path: path.stat().st_mtime_ns for path in (HERE / "results").glob("*")}
    run(HERE / script, *given, "--quick", "--work", tmp_path / "work", folder=tmp_path)
    after = {path: path.stat().st_mtime_ns for path in (HERE / "results").glob("*")}
    assert after == results


@pytest.mark.parametrize("path", sorted((HERE / "results").glob("*.json")), ids=lambda p: p.stem)
def test_a_result_says_how_it_was_made_and_is_in_the_table(path):
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result["rows"]
    assert result["protocol"]
    assert result["command"].startswith("python reproductions/")
    page = (HERE / "README.md").read_text(encoding="utf-8")
    for row in result["rows"]:
        assert row["ours"] in page, "run reproductions/table.py"
    for name in result["pictures"]:
        assert (HERE / "pictures" / name).exists()
        assert f"pictures/{name}" in page
