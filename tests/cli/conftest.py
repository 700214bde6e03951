"""Small sources and the small models trained on them, which the tests share."""

import csv

import numpy as np
import pytest
from commands import PLAIN, SMALL, succeeds
from PIL import Image


@pytest.fixture(scope="session")
def table_file(tmp_path_factory):
    """A table of three numeric columns with names that are hard to print, and one of texts."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("table") / "people.csv"
    age = rng.normal(40, 10, 200)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["age", "income, $^", "[red]height", "city"])
        for i in range(200):
            writer.writerow([round(age[i], 3), round(1000 * age[i] + i, 2), rng.gamma(2.0), "here"])
    return path


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Twelve colour images of 12x10 pixels."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("photos")
    for i in range(12):
        pixels = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def digits_model(tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "digits"
    succeeds("train", "digits", "--out", out, "--quiet", *SMALL)
    return out


@pytest.fixture(scope="session")
def table_model(tmp_path_factory, table_file):
    out = tmp_path_factory.mktemp("models") / "people"
    succeeds("train", table_file, "--out", out, "--quiet", *PLAIN)
    return out


@pytest.fixture(scope="session")
def moons_model(tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "moons"
    succeeds("train", "two-moons", "--out", out, "--quiet", *PLAIN)
    return out


@pytest.fixture(scope="session")
def conditional_model(tmp_path_factory):
    from pushforward import RealNVP

    out = tmp_path_factory.mktemp("models") / "conditional"
    RealNVP((2,), context=3, couplings=2, width=8).save(out)
    return out


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch):
    """Whatever the terminal that runs the tests."""
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def undrawn(monkeypatch):
    """For tests of something else than pictures, which take the most of a small run's time."""

    def pages(folder, *seen):
        (folder / "report.html").write_text("<p>drawn</p>")

    monkeypatch.setattr("pushforward.cli.results.write_pages", pages)
