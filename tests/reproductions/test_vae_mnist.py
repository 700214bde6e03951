"""The reproduction of the autoencoder runs, if only for a moment."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "reproductions" / "vae_mnist.py"


@pytest.mark.slow
@pytest.mark.skipif("PUSHFORWARD_DATA" not in os.environ, reason="needs the shared data")
def test_the_script_runs_and_draws(tmp_path):
    command = [sys.executable, str(SCRIPT), "--quick", "--threads", "1", "--work", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "2 epochs" in done.stdout
    for name in ("reconstructions", "samples", "curve", "manifold"):
        assert (tmp_path / "quick" / f"{name}.png").stat().st_size > 2_000
