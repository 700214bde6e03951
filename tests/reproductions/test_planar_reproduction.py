"""The reproduction of planar flows runs, if only for a moment."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "reproductions" / "planar.py"


@pytest.mark.slow
def test_the_script_runs_and_draws(tmp_path):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--work", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "U1 K = 2" in done.stdout
    assert (tmp_path / "quick" / "planar.png").stat().st_size > 5_000
