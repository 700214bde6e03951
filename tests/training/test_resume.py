"""A run that is stopped anywhere goes on to the very same weights."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from trials import (
    flow_for,
    options_for,
    rows,
    same,
    small_run,
    weights,
    without_times,
)

from pushforward import InputError, RealNVP, fit, load
from pushforward.training import session
from pushforward.training.checkpoint import list_checkpoints

KINDS = ["rows", "no dropout", "batch norm", "images"]


class Stop(Exception):
    """Ends a run in the middle, as a kill would, but within this process."""


def stopped_run(monkeypatch, kind, folder, at, **options):
    """A run with a checkpoint at every step that dies after ``at`` of its own steps."""
    step, taken = session.Session._one_step, 0

    def one_step(self, batch):
        nonlocal taken
        if taken == at:
            raise Stop
        taken += 1
        return step(self, batch)

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(session.Session, "_one_step", one_step)
        small_run(kind, folder=folder, checkpoint_every=0.0, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_goes_on_to_the_same_bits(kind, tmp_path, monkeypatch):
    flow, run = small_run(kind)
    for at in (1, 6, 7, 23):
        folder = tmp_path / str(at)
        stopped_run(monkeypatch, kind, folder, at)
        resumed, again = small_run(kind, folder=folder, resume=True)
        assert same(weights(resumed), weights(flow)), at
        assert without_times(again.records) == without_times(run.records)
        assert without_times([again.best]) == without_times([run.best])


def test_it_can_be_stopped_again_and_again(tmp_path, monkeypatch):
    flow, _ = small_run(optimiser="adamax", schedule="plateau", accumulate=2)
    options = {"optimiser": "adamax", "schedule": "plateau", "accumulate": 2}
    stopped_run(monkeypatch, "rows", tmp_path, 5, **options)
    for more in (1, 9, 2):
        stopped_run(monkeypatch, "rows", tmp_path, more, resume=True, **options)
    resumed, _ = small_run(folder=tmp_path, resume=True, **options)
    assert same(weights(resumed), weights(flow))


def test_writing_checkpoints_changes_nothing(tmp_path):
    flow, _ = small_run()
    written, _ = small_run(folder=tmp_path, checkpoint_every=0.0)
    assert same(weights(written), weights(flow))
    names = [path.name for path in list_checkpoints(tmp_path)]
    assert names == ["step-00000023.safetensors", "step-00000024.safetensors"], "the last two"


def test_the_best_model_is_in_the_folder(tmp_path):
    flow, run = small_run(folder=tmp_path)
    loaded = load(tmp_path / "best")
    assert same(weights(loaded), weights(flow))
    metrics = loaded.facts["metrics"]
    assert metrics["validation"] == run.best["validation"]
    assert (metrics["steps"], metrics["stopped"]) == (24, "all steps done")
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == len(run.records)


def test_a_finished_run_has_nothing_left_to_do(tmp_path):
    flow, run = small_run(folder=tmp_path)
    again, same_run = small_run(folder=tmp_path, resume=True)
    assert same(weights(again), weights(flow))
    assert same_run.records == run.records
    _, longer = small_run(folder=tmp_path, resume=True, max_steps=30)
    assert longer.records[-1]["step"] == 30


def test_without_a_checkpoint_a_run_begins(tmp_path):
    flow, _ = small_run()
    resumed, _ = small_run(folder=tmp_path / "new", resume=True)
    assert same(weights(resumed), weights(flow))


# What cannot go on -----------------------------------------------------------------------------


def test_a_run_is_not_started_over_another(tmp_path):
    small_run(folder=tmp_path)
    with pytest.raises(InputError, match="holds checkpoints of a run; give resume=True"):
        small_run(folder=tmp_path)
    with pytest.raises(InputError, match="resume=True needs the folder"):
        small_run(resume=True)


def test_only_the_same_run_goes_on(tmp_path):
    small_run(folder=tmp_path)
    with pytest.raises(InputError, match=r"began with lr = 0\.004, but now it is 0\.1"):
        small_run(folder=tmp_path, resume=True, lr=0.1)
    flow = RealNVP((2,), width=9)
    with pytest.raises(InputError, match="of another architecture"):
        fit(flow, rows(120), folder=tmp_path, resume=True, **options_for("rows"))
    with pytest.raises(InputError, match="was learning from other data"):
        other = rows(120, seed=5)
        fit(flow_for("rows"), other, folder=tmp_path, resume=True, **options_for("rows"))


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, monkeypatch):
    flow, _ = small_run()
    stopped_run(monkeypatch, "rows", tmp_path, 9)
    _, newest = list_checkpoints(tmp_path)
    content = bytearray(newest.read_bytes())
    content[-5] ^= 1
    newest.write_bytes(content)
    resumed, run = small_run(folder=tmp_path, resume=True)
    assert same(weights(resumed), weights(flow))
    assert any("checksum" in said and "the one before" in said for said in run.events)

    stopped = tmp_path / "both"
    stopped_run(monkeypatch, "rows", stopped, 9)
    for path in list_checkpoints(stopped):
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"none of the checkpoints in .* can be read"):
        small_run(folder=stopped, resume=True)


# Streams ---------------------------------------------------------------------------------------


def stream():
    """Batches of uneven size, for ever, the same every time."""
    rng = np.random.default_rng(0)
    while True:
        yield rows(int(rng.integers(1, 40)), seed=int(rng.integers(1000)))


def test_a_stream_goes_on_where_it_was(tmp_path, monkeypatch):
    options = options_for("rows")
    flow = flow_for("rows")
    fit(flow, stream(), **options)
    step = session.Session._one_step

    def one_step(self, batch):
        if self.step == 10:
            raise Stop
        return step(self, batch)

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(session.Session, "_one_step", one_step)
        other = flow_for("rows")
        fit(other, stream(), folder=tmp_path, checkpoint_every=0.0, **options)
    resumed = flow_for("rows")
    fit(resumed, stream(), folder=tmp_path, resume=True, **{**options, "checkpoint_every": 0.0})
    assert same(weights(resumed), weights(flow))


# Real kills ------------------------------------------------------------------------------------

RUN = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import safetensors.torch
from trials import small_run
folder, kind, where = Path(sys.argv[2]), sys.argv[3], sys.argv[4]
if where != "-":  # die inside the writing of a checkpoint: name and how many calls go well
    name, _, good = where.partition(":")
    left = int(good)
    def dying(honest):
        def call(*args, **more):
            global left
            if any("step-" in str(arg) for arg in args):
                left -= 1
                if left < 0:
                    if name == "save_file":  # half of it
                        Path(args[1]).write_bytes(b"half of it")
                    os.kill(os.getpid(), signal.SIGKILL)
            return honest(*args, **more)
        return call
    if name == "save_file":
        safetensors.torch.save_file = dying(safetensors.torch.save_file)
    elif name == "replace":
        Path.replace = dying(Path.replace)
    elif name == "unlink":
        Path.unlink = dying(Path.unlink)
print("begins", flush=True)
small_run(kind, folder=folder, resume=True, checkpoint_every=0.0, max_steps=int(sys.argv[5]))
print("done", flush=True)
"""


def start(folder, kind, where, steps, processes=1):
    """Start a run in processes of its own, as a group that one signal kills."""
    here = str(Path(__file__).parent)
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
        command += [f"--master-port={random.randrange(20000, 60000)}"]
    script = folder.parent / "run.py"
    script.write_text(RUN)
    command += [str(script), here, str(folder), kind, where, str(steps)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdout=pipe, stderr=subprocess.STDOUT, env=environment, start_new_session=True
    )


def finish(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output.decode()
    return output.decode()


def final_weights(folder):
    return load_file(folder / "best" / "model.safetensors")


def kill_when_it_has_begun(process, seconds):
    process.stdout.readline()
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_a_real_kill_changes_nothing(tmp_path):
    flow, _ = small_run("batch norm", max_steps=24)
    folder = tmp_path / "run"
    process = start(folder, "batch norm", "replace:10", 24)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert len(list_checkpoints(folder)) == 2
    finish(start(folder, "batch norm", "-", 24))
    assert same(final_weights(folder), weights(flow))
    assert not list((folder / "checkpoints").glob(".step*")), "what was half written has gone"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_kills_change_nothing(tmp_path, kind):
    """Ten kills each: at random moments, and inside the writing of checkpoints."""
    steps = 400
    flow, _ = small_run(kind, max_steps=steps)
    folder, generator = tmp_path / "run", random.Random(kind)
    for _ in range(6):
        process = start(folder, kind, "-", steps)
        kill_when_it_has_begun(process, generator.uniform(0.1, 2.5))
    for where in ("save_file", "replace", "unlink", "save_file"):
        process = start(folder, kind, f"{where}:{generator.randrange(20)}", steps)
        process.communicate(timeout=120)
        assert process.returncode in (-signal.SIGKILL, 0)
    finish(start(folder, kind, "-", steps))
    assert same(final_weights(folder), weights(flow))


@pytest.mark.slow
def test_kills_of_two_processes_change_nothing(tmp_path):
    """Against two processes that were left alone; and one process takes over in the end."""
    steps = 150
    alone = tmp_path / "alone" / "run"
    alone.parent.mkdir()
    finish(start(alone, "batch norm", "-", steps, processes=2))
    folder, generator = tmp_path / "killed" / "run", random.Random(0)
    folder.parent.mkdir()
    for _ in range(4):
        process = start(folder, "batch norm", "-", steps, processes=2)
        kill_when_it_has_begun(process, generator.uniform(0.5, 3))
    finish(start(folder, "batch norm", "-", steps, processes=2))
    assert same(final_weights(folder), final_weights(alone))
