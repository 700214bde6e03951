"""``compare``, as it is typed."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from commands import fails, invoke, succeeds

from pushforward import InputError, evaluate, load, open_data
from pushforward.cli.compare_runs import Contest
from pushforward.jobs.run_folder import is_run

SMALL = ["--budget", "1h", "--set", "fit.max_steps=4"]
SMALL += ["--set", "realnvp:model.width=8", "--set", "realnvp:model.base=normal"]


@pytest.fixture
def in_process(monkeypatch, undrawn):
    """Runs of ``train`` in this process: starting another takes longer than these runs do."""

    class Process:
        def __init__(self, words, stdout, stderr):
            assert words[:3] == [sys.executable, "-m", "pushforward"]
            result = invoke(*words[3:])
            stderr.write(result.stderr.encode())
            self.returncode = result.exit_code

        def wait(self, timeout=None):
            return self.returncode

    there = {"DEVNULL": subprocess.DEVNULL, "TimeoutExpired": subprocess.TimeoutExpired}
    monkeypatch.setattr("pushforward.jobs.comparing._SECOND", 0.05)
    monkeypatch.setattr(
        "pushforward.cli.compare_runs.subprocess", SimpleNamespace(Popen=Process, **there)
    )


@pytest.mark.slow
def test_a_run_is_a_process_of_its_own(here, table_file):
    succeeds("compare", table_file, "--models", "realnvp", *SMALL, "-o", "c")
    (model,) = json.loads((here / "c" / "compare.json").read_text())["models"]
    flow, test = load(here / "c" / "realnvp"), open_data(str(table_file)).test
    assert model["loss"] == pytest.approx(evaluate(flow, test).loss)


def test_what_a_process_complains_of_last_is_told(here, monkeypatch, table_file):
    program = here / "program"
    program.write_text("#!/bin/sh\necho 'note: small' >&2\necho 'error: no room' >&2\nexit 2\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    line = fails_late("compare", table_file, "--models", "realnvp", "-o", "c")
    assert line == "no model could be trained; realnvp failed: no room"
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    line = fails_late("compare", table_file, "--models", "realnvp", "-o", "d")
    assert "ended by SIGKILL" in line


@pytest.mark.usefixtures("in_process")
def test_models_are_trained_measured_and_shown(here, table_file):
    out = succeeds("compare", table_file, "--models", "realnvp", *SMALL, "-o", "both", "--seed", 3)
    assert "test nats" in out
    assert "pushforward" not in out  # but for paths it says what was found, no commands
    content = json.loads((here / "both" / "compare.json").read_text())
    (model,) = content["models"]
    flow = load(here / "both" / "realnvp")
    assert flow.config.width == 8
    assert flow.config.seed == 3
    assert flow.facts["metrics"]["steps"] == 4
    assert flow.facts["metrics"]["peak_memory"] == model["memory"] > 2**20
    test = open_data(str(table_file)).test
    assert model["loss"] == pytest.approx(evaluate(flow, test).loss)
    assert f"{model['loss']:.3f}" in out
    assert is_run(here / "both" / "realnvp")

    # It is not written over, but gone on with: what is finished stays.
    line = fails("compare", table_file, "--models", "realnvp", *SMALL, "-o", "both")
    assert "--resume" in line
    before = (here / "both" / "realnvp" / "best" / "model.safetensors").stat().st_mtime_ns
    succeeds(
        "compare", table_file, "--models", "realnvp", *SMALL, "-o", "both", "--seed", 3, "--resume"
    )
    after = (here / "both" / "realnvp" / "best" / "model.safetensors").stat().st_mtime_ns
    assert after == before


@pytest.mark.usefixtures("in_process")
def test_a_run_that_ends_with_nothing_learned_is_told_and_the_others_are_shown(
    here, monkeypatch, table_file
):
    from pushforward.cli import compare_runs

    honest = compare_runs._train

    def lame(contest, name, tell):
        return (0, "") if name == "nice" else honest(contest, name, tell)

    monkeypatch.setattr(compare_runs, "_train", lame)
    out = succeeds("compare", table_file, "--models", "nice,realnvp", *SMALL, "-o", "c")
    assert "nice failed: it learned nothing within its budget" in " ".join(out.split())
    models = json.loads((here / "c" / "compare.json").read_text())["models"]
    assert [model["name"] for model in models] == ["realnvp", "nice"]


def fails_late(*arguments):
    """Like ``fails``, for what was said something before; the last line."""
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    return result.stderr.strip().splitlines()[-1].removeprefix("error: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--models", "realnvq"], "did you mean realnvp?"),
        (["--models", " , "], "names no model"),
        (["--budget", "soon"], "--budget 'soon' will not do"),
        (["--budget", "0"], "above 0"),
        (["--models", "realnvp-cifar10"], "leave it out of --models"),
        (["--models", "realnvp", "--set", "maf:model.width=3"], "not compared"),
        (["--models", "realnvp", "--set", "realnvp:model.widht=3"], "model.width?"),
        (["--models", "realnvp", "--set", "fit.lr=fast"], "fit.lr = 'fast' will not do"),
        (["--resume", "--force"], "give one"),
    ],
)
def test_refusals_are_one_line_and_nothing_is_made(here, table_file, arguments, said):
    assert said in fails("compare", table_file, "-o", "c", *arguments)
    assert not (here / "c").exists()


def test_a_classifier_is_not_compared(here):
    assert "revnet: it is a classifier" in fails("compare", "digits", "--models", "revnet")
    assert not (here / "compare").exists()


def test_a_file_in_the_way_and_no_source(here, table_file):
    (here / "c").write_text("mine")
    assert "is a file" in fails("compare", table_file, "--models", "realnvp", "-o", "c")
    assert (here / "c").read_text() == "mine"
    assert "nowhere.csv" in fails("compare", "nowhere.csv", "--models", "realnvp")


def test_force_removes_runs_and_nothing_else(here):
    old = here / "c" / "realnvp"
    old.mkdir(parents=True)
    (old / "config.yaml").write_text("# Written by pushforward\n")
    (here / "c" / "compare.json").write_text("{}")
    (old / "mine.txt").write_text("mine")
    contest = Contest(here / "c", {}, None, 1.0)
    with pytest.raises(InputError, match="already holds a comparison"):
        contest.claim(resume=False, force=False)
    contest.claim(resume=False, force=True)
    assert [path.name for path in sorted((here / "c").rglob("*"))] == ["realnvp", "mine.txt"]
