from pathlib import Path

import numpy as np
import pytest
import typer
from commands import fails, succeeds
from PIL import Image

from pushforward import list_models
from pushforward.cli import app
from pushforward.cli.config import DataConfig
from pushforward.cli.listing import _captions
from pushforward.cli.output import number
from pushforward.data import Dataset


def test_models_are_listed():
    text = succeeds("models")
    for name in list_models():
        assert f"\n{name} " in text
    assert max(map(len, text.splitlines())) <= 80


def test_models_by_pattern():
    text = succeeds("models", "realnvp-image*")
    names = [line.split()[0] for line in text.splitlines()[1:] if not line.startswith(" ")]
    assert names == ["realnvp-imagenet32", "realnvp-imagenet64"]
    assert fails("models", "xyz") == "no model matches 'xyz'; pushforward models lists them all."


def test_data_of_images(here):
    text = succeeds("data", "digits", "--sheet", "sheet.png")
    for part in (
        "1,797 images (1, 8, 8), uint8",
        "1,437 train, 180 validation, 180 test",
        "17 (integers 0 to 16)",
        "10 different",
        "drawn in sheet.png",
    ):
        assert part in text
    with Image.open("sheet.png") as sheet:
        assert sheet.size == (8 * 80 + 8, 8 * (72 + 18 + 8) + 8)
        assert np.asarray(sheet).std() > 50


def test_data_of_rows(here, table_file):
    text = succeeds("data", table_file, "--sheet", "sheet.png")
    assert "200 rows of 3 numbers" in text
    assert "Columns with one and the same value were left out: city." in text
    header, *rows = text.split("\n\n")[1].splitlines()
    assert header.split() == ["column", "kind", "mean", "std", "min", "max", "missing"]
    assert [row.split("  ")[0] for row in rows[:3]] == ["age", "income, $^", "[red]height"]
    assert max(map(len, text.splitlines())) <= 80
    assert Path("sheet.png").exists()


def test_data_takes_columns_and_size(table_file, photos):
    text = succeeds("data", table_file, "--columns", "age, [red]height")
    assert "rows of 2 numbers" in text
    assert "images (3, 4, 4)" in succeeds("data", photos, "--size", 4)


def test_missing_values_are_counted(here):
    lines = ["a,b"] + [f"{i},{'' if i % 5 == 0 else i}" for i in range(20)]
    Path("holes.csv").write_text("\n".join(lines) + "\n")
    text = succeeds("data", "holes.csv")
    assert "20 rows of 2 numbers" in text
    assert text.splitlines()[-1].split()[-1] == "4"


def test_mistakes_of_data(here, table_file):
    assert fails("data", "digit").startswith("no such file or folder: digit. Did you mean 'digits'")
    assert "has no column 'x'" in fails("data", table_file, "--columns", "x")
    assert fails("data", table_file, "--sheet", "sheet.jpg") == (
        "cannot tell the format of sheet.jpg by its name: it should end in .png."
    )
    assert fails("data", "digits", "--crop", "left") == (
        "--crop is one of centre, random; got left."
    )
    assert fails("data", "digits", "--cache", "on") == (
        "--cache is one of auto, always, never; got on."
    )
    Path("empty.csv").touch()
    assert fails("data", "empty.csv") == "empty.csv is an empty file."
    Path("text.csv").write_text("name\nx\ny\n")
    assert "2 rows of 1 number" in succeeds("data", "text.csv")
    said = fails("data", "text.csv", "--kinds", "name=number")
    assert said.startswith("column 'name' is to be a number, but it holds cells that are none")
    assert fails("data", "text.csv", "--kinds", "name").startswith("--kinds takes columns and")
    Path("file.xyz").write_text("x")
    assert "has no format that is known by its name" in fails("data", "file.xyz")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.23456789, "1.2346"),
        (-0.00012345678, "-0.00012346"),
        (1e-7, "1e-07"),
        (39485.4, "39,485"),
        (123456789.0, "123,456,789"),
        (1.2345678e12, "1.2346e+12"),
        (2.5, "2.5"),
        (100.0, "100"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
    ],
)
def test_numbers_are_short(value, text):
    assert number(value) == text


def test_captions_are_names_where_labels_have_names():
    values = np.zeros((6, 1, 2, 2), dtype=np.uint8)
    labels = {"train": np.array([0, 1, 2, -1, 1, 0])}
    index = np.array([0, 2, 3, 4])

    def captions(labels, names):
        dataset = Dataset(
            *("set", "images", (1, 2, 2), 256, values, values[:0], values[:0]),
            labels=labels,
            label_names=names,
        )
        return _captions(dataset, index)

    assert captions(labels, ("cat", "dog", "owl")) == ["cat", "owl", "", "dog"]
    assert captions(labels, None) == ["0", "2", "-1", "1"]
    assert captions(None, None) is None
    assert captions({"train": np.arange(1000)}, None) is None


def test_data_reads_by_default_as_train_does():
    verbs = typer.main.get_command(app).commands
    shared = {p.name: p.default for p in verbs["data"].params if hasattr(DataConfig, p.name)}
    assert set(shared) == {"columns", "kinds", "size", "crop", "max_unreadable", "cache"}
    for name, default in shared.items():
        assert default == getattr(DataConfig(), name)


def test_info_of_a_run_is_that_of_its_model(moons_model):
    assert succeeds("info", moons_model, "--json").replace("moons/best", "moons") == succeeds(
        "info", moons_model / "best", "--json"
    ).replace("moons/best", "moons")
