"""Two processes under torchrun take the steps that one would take."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file
from trials import flow_for, weights

from pushforward.training.checkpoint import list_checkpoints

RUN = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from trials import data_for, flow_for, options_for
import torch
import pushforward as pf
from pushforward.training import session

folder, kinds, more = Path(sys.argv[2]), sys.argv[3].split(","), json.loads(sys.argv[4])
rank = int(os.environ.get("RANK", "0"))
dies_at = more.pop("dies_at", None)
if dies_at is not None and rank == 1:
    honest = session.Session._one_step
    def one_step(self, batch):
        if self.step == dies_at:
            os._exit(3)
        return honest(self, batch)
    session.Session._one_step = one_step
print("begins", flush=True)
for kind in kinds:
    flow = flow_for(kind)
    for module in flow.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    flow.double()
    try:
        run = pf.fit(flow, data_for(kind), folder=folder / kind, **options_for(kind, **more))
    except pf.InputError as error:
        print("error:", error, flush=True)
        raise SystemExit(2)
    if rank == 0:
        print(kind, run.stopped, json.dumps(run.records), flush=True)
"""


def start(folder, kinds, processes, **more):
    """Run in processes of their own; ``more`` are options of fit."""
    here = str(Path(__file__).parent)
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "run.py"
    script.write_text(RUN)
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
        command += [f"--master-port={random.randrange(20000, 60000)}"]
    command += [str(script), here, str(folder), ",".join(kinds), json.dumps(more)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
        text=True,
    )


def finish(process):
    try:
        output, _ = process.communicate(timeout=100)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        # torchrun's children have sessions of their own, and hold the pipe.
        subprocess.run(["pkill", "-9", "-f", str(process.args[-4])], check=False)
        output, _ = process.communicate()
        pytest.fail(f"the processes wait for ever: {output}")
    return output


def results(folder, kinds, processes, **more):
    """The final weights of each kind, and the records."""
    process = start(folder, kinds, processes, **more)
    output = finish(process)
    assert process.returncode == 0, output
    records = [json.loads(line[line.index("[") :]) for line in output.splitlines() if "[{" in line]
    assert len(records) == len(kinds)
    return {
        kind: load_file(folder / kind / "best" / "model.safetensors") for kind in kinds
    }, records


def distance(one, other):
    return max(float((one[k].double() - other[k].double()).abs().max()) for k in one)


def test_two_processes_take_the_steps_of_one(tmp_path):
    """In float64, so that only rounding is left: batches that do not divide by two, a last batch
    of an epoch that is smaller, batch norms over both processes, noise and augmentation."""
    kinds = ["rows", "batch norm", "images"]
    more = {"batch_size": 17, "accumulate": 1, "patience": 2}
    alone, records = results(tmp_path / "one", kinds, 1, **more)
    both, records_of_both = results(tmp_path / "two", kinds, 2, **more)
    for kind in kinds:
        assert distance(alone[kind], both[kind]) < 1e-9, kind
    for mine, theirs in zip(records, records_of_both, strict=True):
        for one, other in zip(mine, theirs, strict=True):
            for key in ("step", "epoch", "train", "validation", "lr"):
                assert one[key] == pytest.approx(other[key], abs=1e-9)
    # It can fail: another seed gives other weights.
    assert distance(alone["rows"], weights_of_start()) > 1e-4


def weights_of_start():
    flow = flow_for("rows").double()
    return weights(flow)


@pytest.mark.slow
def test_more_processes_than_events_in_the_last_batch(tmp_path):
    more = {"batch_size": 53, "max_steps": 6, "validate_every": 2}  # 108 = 53 + 53 + 2
    kinds = ["rows", "batch norm"]
    alone, _ = results(tmp_path / "one", kinds, 1, **more)
    four, _ = results(tmp_path / "three", kinds, 3, **more)
    for kind in kinds:
        assert distance(alone[kind], four[kind]) < 1e-9


@pytest.mark.slow
def test_another_number_of_processes_goes_on(tmp_path):
    kinds = ["batch norm"]
    alone, _ = results(tmp_path / "one", kinds, 1, max_steps=24)
    folder = tmp_path / "mixed"
    for processes, steps in ((2, 7), (1, 13), (3, 24)):
        # A constant rate, for the schedule would see another end each time.
        both, _ = results(
            folder, kinds, processes, max_steps=steps, resume=True, schedule="constant"
        )
    steady, _ = results(tmp_path / "steady", kinds, 1, max_steps=24, schedule="constant")
    assert distance(steady["batch norm"], both["batch norm"]) < 1e-9
    assert distance(alone["batch norm"], both["batch norm"]) > 1e-6


@pytest.mark.slow
def test_a_dead_process_ends_all_with_a_sentence(tmp_path):
    begin = time.monotonic()
    process = start(
        tmp_path, ["batch norm"], 2, max_steps=10**6, max_time=300, dies_at=20, checkpoint_every=0.0
    )
    output = finish(process)
    assert time.monotonic() - begin < 100
    assert process.returncode != 0
    # torchrun may be quicker to end the other process than that process to say so.
    said = "another process of this run has ended" in output
    assert said or "Signal 15 (SIGTERM)" in output or "exitcode" in output
    resumed, _ = results(tmp_path, ["batch norm"], 2, max_steps=30, max_time=300, resume=True)
    assert resumed


@pytest.mark.slow
def test_a_signal_to_all_processes_saves_once_and_ends(tmp_path):
    process = start(tmp_path, ["rows"], 2, max_steps=10**6, max_time=300, checkpoint_every=1000.0)
    for _ in range(2):
        assert "begins" in process.stdout.readline()
    time.sleep(6)
    os.killpg(process.pid, signal.SIGTERM)
    finish(process)
    (checkpoint,) = list_checkpoints(tmp_path / "rows")
    step = int(checkpoint.stem.removeprefix("step-"))
    assert step > 5, "it had begun, and saved when it was told to end"
    more = {"max_steps": 10**6, "max_time": 300, "resume": True, "patience": 1}
    _, (records,) = results(tmp_path, ["rows"], 1, **more)
    assert records[-1]["step"] > step
