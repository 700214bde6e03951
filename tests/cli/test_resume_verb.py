"""A run goes on where it stopped, with its own settings, and says what to type."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from commands import PLAIN, fails, invoke, succeeds

from pushforward import load
from pushforward.training.checkpoint import alone_in
from pushforward.training.progress import Progress

pytestmark = pytest.mark.usefixtures("undrawn")

STEPS = ["--max-steps", "6", *PLAIN[2:]]


def settings(folder):
    return yaml.safe_load(Path(folder, "config.yaml").read_text())


def weights(folder):
    return Path(folder, "best", "model.safetensors").read_bytes()


def cut_short(monkeypatch, *arguments, after=3):
    """Train, and be killed after a few steps, as by a crash that no handler sees."""

    class Crash(BaseException):
        pass

    update = Progress.update

    def patched(self, *, step, **more):
        update(self, step=step, **more)
        if step == after:
            raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "update", patched)
        with pytest.raises(Crash):
            invoke("train", *arguments, "--checkpoint-every", "0", "-q")


def test_a_run_that_was_cut_short_ends_as_if_it_had_not_been(here, monkeypatch):
    succeeds("train", "two-moons", *STEPS, "-q", "--out", "whole", "--checkpoint-every", "0")
    cut_short(monkeypatch, "two-moons", *STEPS, "--out", "cut")
    assert not Path("cut/report.html").exists()
    text = succeeds("train", "--out", "cut", "--resume")
    assert "going on from step" in text
    assert weights("cut") == weights("whole")
    assert Path("cut/report.html").exists()
    assert settings("cut") == settings("whole")
    assert load("cut").facts["metrics"]["stopped"] == "all steps done"


def test_the_same_command_may_be_given_again_and_again(here, monkeypatch):
    arguments = ["two-moons", *STEPS, "--seed", "3", "--out", "run"]
    succeeds("train", *arguments, "--resume", "-q")  # nothing there yet: it begins
    before = weights("run")
    text = succeeds("train", *arguments, "--resume")
    assert "is finished after 6 steps (all steps done); its model stays" in " ".join(text.split())
    assert text.splitlines()[-1].strip() == ("pushforward train --out run --resume --max-steps 12")
    assert weights("run") == before


def test_a_limit_can_be_raised(here):
    succeeds("train", "two-moons", *STEPS, "-q", "--out", "run")
    succeeds("train", "--out", "run", "--resume", "--max-steps", "9", "-q", "--threads", "1")
    assert settings("run")["fit"]["max_steps"] == 9
    steps = [
        json.loads(line)["step"] for line in Path("run/metrics.jsonl").read_text().splitlines()
    ]
    assert steps == [6, 9]
    assert load("run").facts["metrics"]["steps"] == 9


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--lr", "1"], "run was begun with fit.lr = 0.004; got 1.0."),
        (["--seed", "5"], "run was begun with model.seed = 0; got 5."),
        (["--set", "model.width=9"], "run was begun with model.width = 8; got 9."),
        (["--model", "realnvp-cifar10"], "run was begun with model.name = realnvp; got realnvp-c"),
        (["--split-seed", "1"], "run was begun with data.split_seed = 0; got 1."),
        (["circles"], "run was begun with source = two-moons; got circles."),
        (["--columns", "a,b"], "run was begun with data.columns = None; got ['a', 'b']."),
    ],
)
def test_another_setting_is_refused(arguments, said, here, moons_run):
    assert fails("train", *arguments, "--out", "run", "--resume").startswith(said)


@pytest.fixture
def moons_run(here, moons_model):
    shutil.copytree(moons_model, "run")
    return Path("run")


def test_what_may_differ_is_accepted(here, moons_run):
    given = ["--device", "cpu", "--checkpoint-every", "9", "--patience", "2", "--max-time", "1h"]
    succeeds("train", "two_moons", *given, "--out", "run", "--resume", "-q", "--max-steps", "7")
    fit = settings("run")["fit"]
    assert (fit["device"], fit["checkpoint_every"], fit["patience"]) == ("cpu", 9.0, 2)
    assert (fit["max_time"], fit["max_steps"]) == (3600.0, 7)


def test_without_a_folder_the_newest_run_of_the_source_goes_on(here):
    for name in ("first", "second", "third"):
        source = "circles" if name == "third" else "two-moons"
        succeeds("train", source, *STEPS, "-q", "--out", f"runs/{name}")
        time.sleep(0.02)
    text = succeeds("train", "two-moons", "--resume", "--max-steps", "8", "-q")
    assert "runs/second" in text
    assert settings("runs/second")["fit"]["max_steps"] == 8
    assert settings("runs/first")["fit"]["max_steps"] == 6
    text = succeeds("train", "eight-gaussians", *STEPS, "--resume", "-q")
    assert "runs/eight-gaussians" in text
    assert "--resume needs a run to go on with" in fails("train", "--resume")


def test_a_source_is_the_same_however_its_path_is_written(here, table_file):
    arguments = [*STEPS, "-q", "--resume", "--out", "run"]
    succeeds("train", table_file, *arguments)
    other = os.path.relpath(table_file)
    succeeds("train", other, *arguments[:-4], "--resume", "--out", "run", "--max-steps", "7")
    assert settings("run")["source"] == str(table_file)


def test_a_run_and_its_data_may_move(here, table_file, monkeypatch):
    """The settings hold the whole path; data that are no longer there may be given anew."""
    Path("one").mkdir()
    shutil.copy(table_file, "one/table.csv")
    monkeypatch.chdir("one")
    succeeds("train", "table.csv", *STEPS, "-q", "--out", "../run")
    monkeypatch.chdir(here)
    assert settings("run")["source"] == str(here / "one" / "table.csv")
    succeeds("train", "--out", "run", "--resume", "-q", "--max-steps", "7")
    shutil.move("run", "moved")
    shutil.move("one", "two")
    assert "no such file" in fails("train", "--out", "moved", "--resume", "--max-steps", "8")
    again = ["--out", "moved", "--resume", "-q", "--max-steps", "8"]
    succeeds("train", "two/table.csv", *again)
    assert settings("moved")["source"] == str(here / "two" / "table.csv")
    shutil.move("two/table.csv", "table.csv")
    Path("other.csv").write_text(Path("table.csv").read_text().replace("1", "2"))
    result = invoke("train", "other.csv", "--out", "moved", "--resume", "-q", "--max-steps", "9")
    assert result.exit_code == 2
    assert "was learning from other data" in result.stderr
    assert settings("moved")["source"] == str(here / "two" / "table.csv"), "it is as it was"


def test_settings_that_were_edited_by_hand(here, moons_run):
    path = Path("run/config.yaml")
    text = path.read_text()
    path.write_text(text.replace("lr: 0.004", "lr: 0.1"))
    said = fails("train", "--out", "run", "--resume", "-q", "--max-steps", "8")
    assert said.startswith("the run in run began with lr = 0.004, but now it is 0.1; ")
    path.write_text(text.replace("width: 8", "width: 9"))
    said = fails("train", "--out", "run", "--resume", "-q", "--max-steps", "8")
    assert "of another architecture than RealNVP((2,)); restore the model's settings" in said
    path.write_text(text.split("\n", 1)[1])
    said = fails("train", "--out", "run", "--resume", "-q", "--max-steps", "8")
    assert "no longer begins with the line '# Written by pushforward'" in said
    path.write_text(text)
    succeeds("train", "--out", "run", "--resume", "-q", "--max-steps", "8")


def test_what_ends_a_run_tells_how_to_go_on(here, monkeypatch):
    def full(*given):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        once = Progress.update

        def update(self, *, step, **more):
            once(self, step=step, **more)
            if step == 3:
                patch.setattr("safetensors.torch.save_file", full)

        patch.setattr(Progress, "update", update)
        result = invoke(
            "train", "two-moons", *STEPS, "-q", "--out", "run", "--checkpoint-every", "0"
        )
    assert result.exit_code == 2
    assert result.stderr == (
        "error: cannot write run/checkpoints/step-00000003.safetensors: No space left on device. "
        "Free some space there or choose another place. To go on from step 2: pushforward train "
        "--out run --resume\n"
    )
    succeeds("train", "--out", "run", "--resume", "-q")


def test_a_crash_before_the_first_checkpoint_begins_anew(here, monkeypatch):
    def crash(self, *, step, **more):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "update", crash)
        with pytest.raises(MemoryError):
            invoke("train", "two-moons", *STEPS, "-q", "--out", "run")
    succeeds("train", "two-moons", *STEPS, "-q", "--out", "run", "--resume")
    assert load("run").facts["metrics"]["steps"] == 6


@pytest.mark.slow
def test_two_processes_make_one_run(here):
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--master-port", "29513", "-m", "pushforward", "train", "two-moons", *STEPS),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in Path("runs").iterdir()] == ["two-moons"]
    assert done.stdout.count("report ") == 1
    assert load("runs/two-moons").facts["fit"]["processes"] == 2
    again = subprocess.run(
        [*command, "--resume"], capture_output=True, text=True, timeout=300, env=environment
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("is finished") == 1
    assert "torchrun --nproc-per-node 2 -m pushforward train" in again.stdout


@pytest.mark.slow
def test_a_mistake_is_told_once_by_two_processes(here):
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--master-port", "29514", "-m", "pushforward", "train", "nothing.csv"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode != 0
    assert done.stderr.count("error: no such file or folder: nothing.csv") == 1


def test_other_processes_let_the_first_speak(here, monkeypatch):
    """And speak for themselves if it has had nothing to say by then."""
    waited = []
    monkeypatch.setattr("pushforward.cli.program.time.sleep", waited.append)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    fails("train", "nothing.csv")
    assert waited == []
    monkeypatch.setenv("RANK", "1")
    assert fails("train", "nothing.csv").startswith("no such file")
    assert waited == [5.0]


def test_reading_a_run_that_has_no_model_yet(here, moons_run):
    shutil.rmtree("run/best")
    assert fails("sample", "run") == (
        "run is the folder of a run that has not saved a model yet; wait for its first checkpoint."
    )


def test_an_interrupted_measurement_is_made_up_for(here, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pushforward.cli.results.measure", interrupted)
        result = invoke("train", "two-moons", *STEPS, "-q", "--out", "run")
    assert result.exit_code == 130
    assert "pushforward train --out run --resume" in result.stderr
    before = weights("run")
    assert "test" in succeeds("train", "--out", "run", "--resume", "-q")
    assert load("run").facts["metrics"]["test"] is not None
    assert weights("run") == before
    assert "is finished" in succeeds("train", "--out", "run", "--resume", "-q")


@pytest.mark.parametrize("option", ["--force", "--resume"])
def test_a_folder_in_which_another_process_trains_is_left_alone(option, here, moons_run):
    before = weights("run")
    with alone_in(moons_run):
        said = fails("train", "two-moons", "--out", "run", option, "-q", "--max-steps", "9")
    assert said.startswith("another process is training in run; wait for it")
    assert weights("run") == before
