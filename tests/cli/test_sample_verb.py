from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import fails, succeeds
from PIL import Image

from pushforward import load


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_images_as_a_picture(here, digits_model):
    text = succeeds("sample", digits_model, "-n", 6, "--columns", 3, "-o", "a.png", "--seed", 1)
    assert text == "6 samples written to a.png\n"
    assert pixels("a.png").shape == (2 * (64 + 4) + 4, 3 * (64 + 4) + 4, 3)
    succeeds("sample", digits_model, "-n", 6, "--columns", 3, "-o", "b.png", "--seed", 1)
    assert (pixels("a.png") == pixels("b.png")).all()
    succeeds("sample", digits_model, "-n", 6, "--columns", 3, "-o", "b.png", "--seed", 2)
    assert (pixels("a.png") != pixels("b.png")).any()


def test_default_is_samples_png(here, digits_model, moons_model):
    assert succeeds("sample", digits_model) == "64 samples written to samples.png\n"
    assert pixels("samples.png").shape == (8 * 68 + 4, 8 * 68 + 4, 3)
    assert succeeds("sample", moons_model) == "1,000 samples written to samples.png\n"


@pytest.mark.parametrize("name", ["made/", "made", "there.d"])
def test_images_as_a_folder(name, here, digits_model):
    Path("there.d").mkdir()
    succeeds("sample", digits_model, "-n", 3, "-o", name)
    assert sorted(p.name for p in Path(name).iterdir()) == ["00000.png", "00001.png", "00002.png"]
    assert pixels(Path(name, "00000.png")).shape == (8, 8)


def test_images_as_an_array(here, digits_model):
    succeeds("sample", digits_model, "-n", 5, "-o", "deep/down/x.npy", "--seed", 3)
    x = np.load("deep/down/x.npy")
    assert (x.shape, x.dtype) == ((5, 1, 8, 8), np.uint8)
    assert (x == load(digits_model).sample(5, seed=3).numpy()).all()


@pytest.mark.parametrize(("channels", "levels"), [(1, 256), (3, 256), (3, 17), (1, 2)])
def test_images_as_parquet_come_back(channels, levels, here):
    from pushforward import RealNVP, open_data

    RealNVP((channels, 4, 6), levels=levels, couplings=2, width=4).save("model")
    text = succeeds("sample", "model", "-n", 12, "-o", "x.parquet", "--seed", 3)
    assert text == "12 samples written to x.parquet\n"
    wanted = load("model").sample(12, seed=3).numpy()
    data = open_data("x.parquet", levels=levels, fractions=(0, 0))
    assert (data.levels, data.kind) == (levels, "images")
    assert (data.train == wanted).all()
    cells = pd.read_parquet("x.parquet")["image"]
    assert [cell["path"] for cell in cells] == [f"{i:05d}.png" for i in range(12)]


@pytest.mark.parametrize(
    ("channels", "levels", "said"),
    [
        (2, 256, "1 or 3 channels, as PNG; those of this model have 2. Give a name that ends in"),
        (1, 1000, "8 bits, as PNG; those of this model are of 1,000 levels. Give a name"),
        (1, None, "8 bits, as PNG; those of this model are real numbers. Give a name"),
    ],
)
def test_images_that_png_cannot_hold(channels, levels, said, here):
    from pushforward import RealNVP

    RealNVP((channels, 4, 4), levels=levels, couplings=2, width=4).save("model")
    assert said in fails("sample", "model", "-o", "x.parquet")
    assert not Path("x.parquet").exists()


def test_rows_as_tables(here, table_model):
    wanted = load(table_model).sample(7, seed=0, temperature=0.5).numpy()
    common = ["sample", table_model, "-n", 7, "--seed", 0, "--temperature", 0.5, "-o"]
    succeeds(*common, "x.parquet")
    succeeds(*common, "x.csv")
    succeeds(*common, "x.npy")
    parquet, text = pd.read_parquet("x.parquet"), pd.read_csv("x.csv", dtype=np.float32)
    assert list(parquet) == list(text) == ["age", "income, $^", "[red]height"]
    places = [3, 2, 16]  # as many digits as the table has
    rounded = np.stack([np.round(wanted[:, i], places[i]) for i in range(3)], 1)
    assert np.allclose(parquet.to_numpy(), rounded, rtol=1e-6)
    assert np.allclose(text.to_numpy(), parquet.to_numpy(), rtol=1e-6)
    assert (np.load("x.npy") == wanted).all()


def test_rows_as_a_picture_with_odd_names(here, table_model):
    succeeds("sample", table_model, "-o", "x.png")
    assert pixels("x.png").ndim == 3


def test_columns_without_names(here):
    from pushforward import RealNVP

    RealNVP((2,), couplings=1, width=4).save("model")
    succeeds("sample", "model", "-n", 2, "-o", "x.csv")
    assert Path("x.csv").read_text().startswith("x0,x1\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "x.csv"], "cannot tell the format of x.csv by its name: it should end in .png, "
         ".npy or .parquet, or name a folder/."),
        (["-o", "x.jpg"], "cannot tell the format of x.jpg by its name: it should end in .png, "),
        (["-o", ""], "an empty name names a folder"),
        (["-n", "0"], "-n takes a whole number from 1; got 0."),
        (["--columns", "0"], "--columns takes a whole number from 1; got 0."),
        (["--columns", "3", "-o", "x.npy"], "--columns is of pictures of images"),
        (["--seed", "-1"], "--seed takes a whole number from 0; got -1."),
        (["--temperature", "-1"], "temperature must be a number of at least 0; got -1.0."),
        (["--device", "abacus"], "there is no usable device 'abacus' here; use cpu"),
    ],
)  # fmt: skip
def test_mistakes_with_images(arguments, said, here, digits_model):
    assert fails("sample", digits_model, *arguments).startswith(said)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "x.jpg"], "cannot tell the format of x.jpg by its name: it should end in .png, "
         ".npy, .parquet or .csv."),
        (["-o", "folder"], "folder names a folder, which is for images; give a file that ends in "),
        (["--columns", "3"], "--columns is of pictures of images"),
    ],
)  # fmt: skip
def test_mistakes_with_rows(arguments, said, here, table_model):
    assert fails("sample", table_model, *arguments).startswith(said)
    assert list(here.iterdir()) == []


def test_what_is_not_a_model(here, photos, table_file, conditional_model):
    assert fails("sample", "none") == "there is no model at none: no such directory."
    assert "is not a saved model" in fails("sample", photos)
    assert "a saved model is a directory" in fails("sample", table_file)
    assert "numbers without names" in fails("sample", conditional_model)


def test_samples_that_are_not_finite(here, moons_model, monkeypatch):
    import torch

    from pushforward import Flow

    monkeypatch.setattr(Flow, "sample", lambda *a, **k: torch.full((4, 2), torch.nan))
    said = fails("sample", moons_model, "-n", 4, "-o", "x.csv")
    assert said.startswith("4 of 4 samples are not finite numbers; lower --temperature")
    assert list(here.iterdir()) == []


def test_a_picture_that_cannot_be_written(here, digits_model):
    Path("file").write_text("x")
    assert fails("sample", digits_model, "-o", "file/x.png").startswith("cannot write file/x.png: ")
