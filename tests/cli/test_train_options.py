"""Every setting has an option, with the default that it really has in the help."""

import dataclasses
import re
import sys
import types
from pathlib import Path

import pytest
import typer
import yaml
from commands import PLAIN, fails, succeeds

from pushforward.cli import app
from pushforward.cli.config import DataConfig
from pushforward.training import FitConfig

pytestmark = pytest.mark.usefixtures("undrawn")

NAMES = {("fit", "crop"): "augment_crop", ("fit", "seed"): "seed"}
CHOSEN = {
    "epochs": "20, and at least 2,000 steps",
    "max_steps": "none",
    "max_time": "none",
    "batch_size": "512 rows, 32 images (64 if few)",
    "clip": "2 bits/dim, 5 nats",
    "validate_every": "an epoch, within 100 to 500",
    "validate_on": "1,000 images, 20,000 rows",
    "device": "cpu",
    "threads": "1 for small work, else torch's own",
    "columns": "all that can be learned",
    "kinds": "as the cells look",
    "given": "none",
    "size": "as they are",
    "levels": "as the source has",
}
"""What None stands for."""


SETTINGS = [
    pytest.param(section, item.name, id=f"{section}.{item.name}")
    for section, config in (("fit", FitConfig), ("data", DataConfig))
    for item in dataclasses.fields(config)
]


@pytest.fixture(scope="module")
def options():
    command = typer.main.get_command(app).commands["train"]
    return {option.name: option for option in command.params}


@pytest.mark.parametrize(("section", "name"), SETTINGS)
def test_every_setting_has_an_option_that_tells_its_default(section, name, options):
    option = options[NAMES.get((section, name), name)]
    assert option.default is None
    told = re.search(r"\[dim\]Default: (.*)\.\[/dim\]$", option.help)[1]
    value = getattr(FitConfig() if section == "fit" else DataConfig(), name)
    if value is None:
        assert told == CHOSEN[name]
    elif isinstance(value, bool):
        assert told == ("on" if value else "off")
    elif isinstance(value, tuple):
        assert told == ",".join(map(str, value))
    elif isinstance(value, float):
        assert float(told) == value
    else:
        assert told == str(value)


def test_every_option_is_in_a_group(options):
    panels = {getattr(o, "rich_help_panel", None) for o in options.values() if o.name != "help"}
    assert len(panels - {None}) == 8
    loose = [o.name for o in options.values() if getattr(o, "rich_help_panel", 1) is None]
    assert set(loose) <= {"source", "help"}


def test_options_reach_their_settings(here):
    given = {
        "--fractions": "0.2,0.3", "--split-seed": "2", "--max-unreadable": "7", "--cache": "never",
        "--patience": "4", "--batch-size": "50", "--accumulate": "2", "--optimiser": "adamax",
        "--lr": "0.01", "--warmup": "3", "--schedule": "linear", "--clip": "9", "--ema": "0.5",
        "--weight-decay": "0.001", "--l2": "0", "--checkpoint-every": "5",
        "--validate-every": "4", "--validate-on": "100", "--rewinds": "2", "--threads": "1",
        "--precision": "float32", "--max-time": "1m",
    }  # fmt: skip
    arguments = [text for pair in given.items() for text in pair]
    succeeds("train", "two-moons", *PLAIN, *arguments, "--deterministic", "-q", "--out", "run")
    written = yaml.safe_load(Path("run/config.yaml").read_text())
    both = written["fit"] | written["data"]
    for option, text in given.items():
        value = both[option.removeprefix("--").replace("-", "_")]
        wanted = {"1m": 60.0, "0.2,0.3": [0.2, 0.3]}.get(text, text)
        assert value == wanted or str(value) == wanted or float(value) == float(wanted)
    assert both["deterministic"] is True


def test_augmentation_of_images(here):
    arguments = ["--shift", "0.5", "--augment-crop", "1", "--flip", "--crop", "random"]
    succeeds("train", "digits", *PLAIN, *arguments, "-q", "--out", "run")
    written = yaml.safe_load(Path("run/config.yaml").read_text())
    assert (written["fit"]["shift"], written["fit"]["crop"], written["fit"]["flip"]) == (0.5, 1, 1)
    assert written["data"]["crop"] == "random"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--schedule", "cosin"], "fit.schedule = 'cosin' will not do: input should be 'constant'"),
        (
            ["--crop", "left"],
            "data.crop = 'left' will not do: input should be 'centre' or 'random'",
        ),
        (["--fractions", "0.1"], "data.fractions = '0.1' will not do: give the shares of"),
        (["--cache", "on"], "data.cache = 'on' will not do"),
        (["--threads", "0"], "fit.threads = 0 will not do"),
        (["--augment-crop", "1", "--max-steps", "2"], "shift, crop and flip are for images"),
        (["--resume", "--force"], "--resume goes on with a run and --force replaces it"),
    ],
)
def test_mistakes_name_the_setting(arguments, said, here):
    assert fails("train", "two-moons", *arguments, "-q").startswith(said)
    assert not list(here.rglob("*.*"))


def test_tensorboard_is_asked_for_before_training(here, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = fails("train", "two-moons", "--tensorboard", "-q")
    assert said.startswith("--tensorboard needs TensorBoard, which is not installed; pip install")
    assert list(here.iterdir()) == []


def test_tensorboard_gets_every_metric_once(here, monkeypatch):
    written = {}

    class Writer:
        def __init__(self, folder):
            written.clear()
            self.folder = Path(folder)
            self.folder.mkdir(exist_ok=True)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            (self.folder / f"events.out.tfevents.{len(written)}").write_text("x")

        def add_scalar(self, tag, value, step):
            assert (tag, step) not in written
            written[tag, step] = value

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr("pushforward.cli.run.check_tensorboard", lambda: None)
    succeeds("train", "two-moons", *PLAIN, "-q", "--out", "run", "--tensorboard")
    assert {tag for tag, _ in written} > {"loss/train", "loss/validation", "run/lr"}
    more = ["--out", "run", "--resume", "--max-steps", "8"]
    succeeds("train", *more, "-q", "--tensorboard")
    assert {step for _, step in written} == {5, 8}
    assert len(list(Path("run/tensorboard").iterdir())) == 1
