import json
import re
import shlex
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import yaml
from commands import PLAIN, fails, invoke, succeeds
from PIL import Image

from pushforward import load, open_data
from pushforward.errors import NumericalError
from pushforward.training.progress import Progress

FILES = {
    "best",
    "checkpoints",
    "config.yaml",
    "curves.png",
    "metrics.jsonl",
    "report.html",
    "samples.png",
}
WEIGHTS = "best/model.safetensors"


def names(folder):
    return {path.name for path in Path(folder).iterdir()} - {".lock"}


def test_images_end_to_end(here, photos):
    text = succeeds("train", photos, *PLAIN, "--size", "8")
    (folder,) = Path("runs").iterdir()
    assert names(folder) == FILES
    counts = {name: len(part) for name, part in open_data(photos, size=8).splits().items()}
    said = ", ".join(f"{count} {name}" for name, count in counts.items())
    for part in (f"images (3, 8, 8), 256 levels: {said}", "bits/dim"):
        assert part in text
    for name in ("best", "report.html", "samples.png", "config.yaml"):
        assert str(folder / name) in text
    flow = load(folder)
    assert flow.facts["model"] == "realnvp"
    data = flow.facts["data"]
    assert data["counts"] == counts
    assert (data["shape"], data["levels"], data["size"]) == ([3, 8, 8], 256, 8)
    assert not data["built_in"]
    metrics = flow.facts["metrics"]
    assert metrics["unit"] == "bits/dim"
    assert metrics["steps"] == 5
    assert metrics["stopped"] == "all steps done"
    assert metrics["test_events"] == counts["test"]
    assert flow.facts["fit"]["max_steps"] == 5
    assert flow.facts["parameters"] == sum(p.numel() for p in flow.parameters())
    assert json.loads((folder / "metrics.jsonl").read_text())["step"] == 5
    with Image.open(folder / "samples.png") as picture:
        assert picture.size == (8 * (8 * 8 + 4) + 4,) * 2  # 8 images of 8 pixels, each 8 wide


def test_rows_end_to_end(table_file, here):
    text = succeeds("train", table_file, *PLAIN, "--columns", "age,[red]height", "--out", "here")
    assert names("here") == FILES
    assert re.search(r"rows of 2 numbers: \d+ train, \d+ validation, \d+ test", text)
    assert "nats" in text
    assert text.count("may exceed 1") == 1
    flow = load("here")
    assert flow.facts["data"]["columns"] == ["age", "[red]height"]
    assert flow.facts["metrics"]["test_error"] > 0


def test_the_metric_is_that_of_the_saved_model(digits_model):
    told = json.loads(succeeds("eval", digits_model, "--json", "-"))["loss"]
    assert load(digits_model).facts["metrics"]["test"] == told


def test_quiet_prints_the_result_only(here):
    lines = succeeds("train", "two-moons", "--quiet", *PLAIN).splitlines()
    assert lines[0].split() == ["loss", "standard", "error", "events"]
    assert lines[1].split()[0] == "test"
    assert [line.split()[0] for line in lines[3:]] == [
        "folder",
        "model",
        "report",
        "samples",
        "settings",
    ]


def test_quiet_keeps_the_notes_of_the_data(table_file, here):
    result = invoke("train", table_file, "--quiet", *PLAIN)
    assert result.exit_code == 0
    assert result.stderr == "note: Columns with one and the same value were left out: city.\n"
    assert "note" not in result.stdout


def test_a_negative_loss_is_explained_once_when_quiet(here):
    path = here / "narrow.csv"
    rows = np.random.default_rng(0).normal(scale=1e-4, size=(60, 2))
    path.write_text("a,b\n" + "".join(f"{a},{b}\n" for a, b in rows))
    text = succeeds("train", path, "--quiet", *PLAIN)
    assert " ".join(text.split()).count("may exceed 1") == 1


def test_settings_reach_the_run_in_their_order(here, undrawn):
    Path("run.yaml").write_text(
        "source: two-moons\n"
        "model: {name: realnvp, couplings: 2, width: 4, depth: 1}\n"
        "fit: {lr: 1e-3, clip: 1.5, ema: 0.5, epochs: 100}\n"
        "data: {split_seed: 3}\n"
    )
    arguments = ["--set", "model.width=8", "--set", "fit.lr=2e-3", "--set", "fit.clip=2.5"]
    succeeds("train", "--config", "run.yaml", *arguments, "--lr", "3e-3", "--max-steps", "5", "-q")
    written = yaml.safe_load(Path("runs/two-moons/config.yaml").read_text())
    assert written["source"] == "two-moons"
    model, fit = written["model"], written["fit"]
    assert (model["couplings"], model["width"], model["depth"]) == (2, 8, 1)
    assert (fit["lr"], fit["clip"], fit["ema"]) == (3e-3, 2.5, 0.5)
    assert (fit["max_steps"], fit["epochs"]) == (5, None)
    assert written["data"]["split_seed"] == 3
    assert load("runs/two-moons").facts["data"]["split_seed"] == 3


@pytest.mark.parametrize("source", ["digits", "table"])
def test_config_yaml_repeats_the_run_to_the_bit(source, here, table_file, undrawn):
    given = table_file if source == "table" else source
    succeeds("train", given, *PLAIN, "--out", "first", "--seed", "4", "--set", "data.split_seed=2")
    succeeds("train", "--config", "first/config.yaml", "--out", "second")
    weights = [Path(name, WEIGHTS).read_bytes() for name in ("first", "second")]
    assert weights[0] == weights[1]
    assert Path("first/config.yaml").read_text() == Path("second/config.yaml").read_text()
    succeeds("train", "--config", "first/config.yaml", "--out", "third", "--seed", "5")
    assert Path("third", WEIGHTS).read_bytes() != weights[0]


def test_a_named_model_keeps_its_own_settings(here, undrawn):
    """The paper's optimiser, on its architecture made small."""
    small = ["--set", "model.width=4", "--set", "model.blocks=1", "--set", "model.shape=[1,8,8]"]
    succeeds("train", "digits", "--model", "realnvp-cifar10", *small, "--max-steps", "2", "-q")
    written = yaml.safe_load(Path("runs/digits/config.yaml").read_text())
    assert written["model"]["name"] == "realnvp-cifar10"
    assert written["model"]["shape"] == [1, 8, 8]
    assert written["model"]["average"] == "running"
    assert (written["fit"]["lr"], written["fit"]["schedule"]) == (1e-3, "constant")
    assert written["fit"]["l2"] == 5e-5
    assert load("runs/digits").levels == 17


# Where it is written ---------------------------------------------------------------------------


def test_the_next_free_folder_is_taken(here):
    Path("runs/two-moons").mkdir(parents=True)
    Path("runs/two-moons-2").mkdir()
    succeeds("train", "two_moons", *PLAIN, "-q")
    assert names("runs/two-moons-3") == FILES


def test_a_model_is_replaced_only_by_force(here):
    succeeds("train", "two-moons", *PLAIN, "-q", "--out", "model")
    before = Path("model", WEIGHTS).read_bytes()
    arguments = ["train", "two-moons", *PLAIN, "-q", "--out", "model", "--seed", "1"]
    assert fails(*arguments) == (
        "model already holds a run; give another --out, --resume to go on with it, or --force to "
        "replace it."
    )
    assert Path("model", WEIGHTS).read_bytes() == before
    Path("model/best/notes.txt").write_text("mine")
    Path("model/report.html").write_text("old")
    Path("model/checkpoints/step-99999999.safetensors").touch()
    said = fails("train", text_only(here), "--out", "model", "--force")
    assert "no column that can be learned" in said
    assert Path("model", WEIGHTS).read_bytes() == before
    succeeds(*arguments, "--force")
    assert Path("model", WEIGHTS).read_bytes() != before
    assert names("model") == FILES
    assert names("model/checkpoints") == {"step-00000005.safetensors"}
    assert Path("model/best/notes.txt").read_text() == "mine"


def text_only(folder):
    path = folder / "text.csv"
    path.write_text("name\n" + "".join(f"person {i}\n" for i in range(20)))
    return path


def test_a_saved_model_is_replaced_only_by_force(here, conditional_model):
    shutil.copytree(conditional_model, "model")
    arguments = ["train", "two-moons", *PLAIN, "-q", "--out", "model"]
    assert fails(*arguments) == (
        "model already holds a model; give another --out, or --force to replace it."
    )
    assert "holds a model, but no run to go on with" in fails(*arguments, "--resume")
    succeeds(*arguments, "--force")
    assert names("model") == FILES
    assert load("model").shape == (2,)


def test_places_that_cannot_be_written_are_refused_before_training(here):
    Path("file").write_text("x")
    assert fails("train", "digits", "--out", "file") == (
        "--out file is a file; give the name of a folder."
    )
    Path("other").mkdir()
    Path("other/config.json").write_text('{"of": "something else"}')
    assert "is not of a pushforward model" in fails("train", "digits", "--out", "other", "--force")
    Path("yaml").mkdir()
    Path("yaml/config.yaml").write_text("source: digits\n")
    assert "is not of a pushforward run" in fails("train", "digits", "--out", "yaml", "--force")
    assert Path("yaml/config.yaml").read_text() == "source: digits\n"
    assert "cannot make the folder" in fails("train", "digits", "--out", "file/inside")
    assert "cannot make the folder" in fails("train", "digits", "--out", "file/a/b")
    Path("runs").write_text("x")
    assert "cannot make the folder runs" in fails("train", "digits")


def test_a_failed_run_leaves_no_folder(here, monkeypatch):
    def diverge(*arguments, **options):
        raise NumericalError("the loss is NaN.")

    monkeypatch.setattr("pushforward.cli.results.fit", diverge)
    result = invoke("train", "digits", "--quiet")
    assert (result.exit_code, result.stderr) == (2, "error: the loss is NaN.\n")
    assert names("runs") == set()


def test_odd_names_make_plain_folders(here):
    path = here / "my data (v2).csv"
    path.write_text("a,b\n" + "".join(f"{i},{i % 7}\n" for i in range(30)))
    succeeds("train", path, *PLAIN, "-q")
    assert names("runs") == {"my-data-v2"}


# Interruption ----------------------------------------------------------------------------------


@pytest.fixture
def signalled(monkeypatch):
    """Let a signal come after the third step; the fourth is the last one then."""
    update = Progress.update

    def signalling(number):
        def patched(self, *, step, **more):
            update(self, step=step, **more)
            if step == 3:
                signal.raise_signal(number)

        monkeypatch.setattr(Progress, "update", patched)

    return signalling


def test_interrupt_keeps_the_best_so_far_and_exits_with_130(here, signalled):
    signalled(signal.SIGINT)
    result = invoke("train", "two-moons", *PLAIN, "-q")
    assert result.exit_code == 130
    assert result.stderr == (
        "interrupted; go on with\n    pushforward train --out runs/two-moons --resume\n"
    )
    assert "nats" in result.stdout
    assert names("runs/two-moons") == FILES
    metrics = load("runs/two-moons").facts["metrics"]
    assert (metrics["stopped"], metrics["steps"]) == ("interrupted", 4)


def test_sigterm_saves_a_checkpoint_and_no_more(here, signalled):
    signalled(signal.SIGTERM)
    result = invoke("train", "two-moons", *PLAIN, "-q", "--out", "it's here")
    assert result.exit_code == 143
    assert result.stdout == ""
    command = result.stderr.splitlines()[1].strip()
    assert shlex.split(command)[1:] == ["train", "--out", "it's here", "--resume"]
    assert names("it's here/checkpoints") == {"step-00000004.safetensors"}
    assert not Path("it's here/report.html").exists()


def test_interrupt_before_the_first_step_leaves_nothing(here, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("pushforward.cli.results.fit", interrupted)
    result = invoke("train", "two-moons", "-q")
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")
    assert names("runs") == set()


# Mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no source was given"),
        (["nothing.csv"], "no such file or folder: nothing.csv"),
        (["digits", "--set", "fit.lrr=3"], "fit.lrr is not a setting; did you mean fit.lr?"),
        (["digits", "--lr", "-1"], "fit.lr = -1.0 will not do"),
        (["digits", "--epochs", "0"], "fit.epochs = 0.0 will not do"),
        (["digits", "--max-time", "soon"], "fit.max_time = 'soon' will not do: give a time such"),
        (["digits", "--model", "reelnvp"], "model.name = 'reelnvp' is not a model; did you mean r"),
        (["digits", "--device", "abacus"], "there is no usable device 'abacus' here; use cpu"),
        (["digits", "--config", "none.yaml"], "cannot read the configuration none.yaml: No such"),
        (["digits", "--set", "model.scales=9"], "RealNVP cannot make 9 scales of 8x8 images"),
        (
            ["digits", "--set", "model.levels=256"],
            "realnvp is for integers of 256 levels, but digits has 17 levels; leave model.levels",
        ),
        (["digits", "--set", "model.shape=[1,4,4]"], "realnvp is for events of shape (1, 4, 4), "),
        (
            ["digits", "--model", "realnvp-cifar10", "--set", "model.width=4"],
            "realnvp-cifar10 is for events of shape (3, 32, 32), but those of digits have shape "
            "(1, 8, 8); set model.shape=[1,8,8], or use --model realnvp.",
        ),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(arguments, said, here):
    assert fails("train", *arguments).startswith(said)
    assert list(here.iterdir()) == []


def test_wrong_columns_and_empty_files(here, table_file):
    said = fails("train", table_file, "--columns", "age,incme")
    assert said.startswith("people.csv has no column 'incme'")
    Path("empty.csv").touch()
    assert fails("train", "empty.csv") == "empty.csv is an empty file."
    Path("folder").mkdir()
    assert "is empty" in fails("train", "folder")
    assert names(".") == {"empty.csv", "folder"}
