"""``impute``: files come back whole, with nothing changed but what was empty."""

from __future__ import annotations

import csv
import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import SMALL, fails, succeeds
from PIL import Image

from pushforward.cli.filled_table import FilledTable

QUICK = ["--steps", "6"]


@pytest.fixture(scope="module")
def gaps(tmp_path_factory):
    """Columns of several kinds in text, some cells empty, with an id and free texts beside them."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("gaps") / "people.csv"
    age = rng.integers(18, 80, 120)
    cells = {
        "age": age.astype(str),
        "city": rng.choice(["Bonn", "Oslo"], 120),
        "income": np.round(1000 + 50 * age + rng.normal(0, 200, 120), 2).astype(str),
    }
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *cells, "note"])
        for i in range(120):
            known = [column[i] if rng.random() > 0.15 else "" for column in cells.values()]
            writer.writerow([f"p{i:03d}", *known, f'said "{i}", twice'])
    return path


@pytest.fixture(scope="module")
def model(gaps, tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "people"
    columns = ["--columns", "age,city,income"]
    succeeds("train", gaps, "--out", out, "--quiet", *columns, *SMALL)
    return out


def text_of(path):
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def test_cells_that_are_there_stay_and_the_others_fit_their_columns(model, gaps, tmp_path):
    out, sure = tmp_path / "filled.csv", tmp_path / "spread.csv"
    printed = succeeds("impute", model, gaps, "-o", out, "--spread", sure, *QUICK)
    before, after = text_of(gaps), text_of(out)
    empty = before == ""
    assert list(after.columns) == list(before.columns)
    assert (after[~empty].fillna("") == before[~empty].fillna("")).all(axis=None)
    assert (after != "").all(axis=None)
    assert after.age.str.fullmatch(r"\d+").all()
    assert set(after.city) == {"Bonn", "Oslo"}
    assert after.income.str.fullmatch(r"-?\d+(\.\d{1,2})?").all()
    assert len(pd.read_csv(sure)) == empty.to_numpy().sum()
    assert f"{empty.to_numpy().sum()} cells filled in" in printed
    assert "mean filled in" in printed


def test_draws_stand_one_beneath_the_other_with_a_number(model, gaps, tmp_path):
    out = tmp_path / "draws.csv"
    succeeds("impute", model, gaps, "--draws", 2, "-o", out, *QUICK)
    found = text_of(out)
    assert list(found.columns)[-1] == "draw"
    first, second = (found[found.draw == n].reset_index(drop=True) for n in "12")
    assert len(first) == len(second) == 120
    assert (first != second).drop(columns="draw").any(axis=None)


def test_parquet_keeps_its_types(model, gaps, tmp_path):
    frame = pd.read_csv(gaps).astype({"age": "Int64"})
    source, out = tmp_path / "people.parquet", tmp_path / "filled.parquet"
    frame.to_parquet(source, index=False)
    succeeds("impute", model, source, "--best", "-o", out, *QUICK)
    found = pd.read_parquet(out)
    assert str(found.age.dtype).lower() == "int64"
    known = frame.income.notna()
    assert (found.income[known] == frame.income[known]).all()
    assert not found.isna().any(axis=None)


def test_cells_of_every_arrow_type_keep_their_bits(tmp_path):
    day = datetime.datetime(2024, 1, 1, 1, 2, 3, 456)
    columns = {
        "f32": pa.array([0.1, None, -0.0], pa.float32()),
        "f64": pa.array([1e-300, float("nan"), 2.5], pa.float64()),
        "whole": pa.array([2**31 - 1, None, 3], pa.int32()),
        "large": pa.array([2**62 + 1, None, 3], pa.int64()),
        "price": pa.array([Decimal("0.10"), None, Decimal("7.00")], pa.decimal128(10, 2)),
        "when": pa.array([day, None, day], pa.timestamp("ns")),
        "word": pa.array(["x", None, "y"]).dictionary_encode(),
        "other": pa.array([[1], None, [2]]),
    }
    source, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table(columns), source)
    names = [name for name in columns if name != "other"]
    cells = [2.0, 2.0, 2, 2, 0.3, day, "y"]
    file = FilledTable(str(source), names, np.array([[False] * 7, [True] * 7, [False] * 7]))
    assert file.left == ["other"]
    file.write(out, [[[None, cell, None] for cell in cells]], numbered=False)
    found, given = pq.read_table(out), pq.read_table(source)
    assert found.schema.equals(given.schema)
    for name in columns:
        assert found[name].take([0, 2]).equals(given[name].take([0, 2]))
    assert found["price"][1].as_py() == Decimal("0.30")
    assert found.to_pylist()[1]["word"] == "y"


def test_blanks_in_texts_stay_and_empty_columns_are_named(tmp_path):
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("a, b,note\n1,  2,  said\n,3,\n")
    file = FilledTable(str(source), ["a", "b"], np.array([[False, False], [True, False]]))
    assert file.left == ["note"]
    file.write(out, [[[1, 7], [2, 3]]], numbered=False)
    assert out.read_text() == "a, b,note\n1,  2,  said\n7,3,\n"
    source.write_text('a,note\n1, "x, y"\n,z\n')  # a blank before a quote
    file = FilledTable(str(source), ["a"], np.array([[False], [True]]))
    file.write(out, [[[1, 7]]], numbered=False)
    assert out.read_text() == 'a,note\n1,"x, y"\n7,z\n'


def test_a_table_alone_is_learned_first(gaps, tmp_path):
    out = tmp_path / "filled.csv"
    small = tmp_path / "small.csv"
    small.write_text("\n".join(gaps.read_text().splitlines()[:60]) + "\n")
    succeeds("impute", small, "-o", out, "--max-time", "1s", *QUICK)
    assert (text_of(out) != "").all(axis=None)


def test_images_have_a_part_filled_in(digits_model, tmp_path):
    out, mask = tmp_path / "filled.png", tmp_path / "mask.png"
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(mask)
    succeeds("impute", digits_model, "digits", "--mask", mask, "--draws", 2, "-o", out, *QUICK)
    with Image.open(out) as picture:
        assert picture.size[1] > 8 * 8
    said = fails("impute", digits_model, "digits", "-o", out)
    assert "--mask left" in said
    assert "no file" in fails("impute", digits_model, "digits", "--mask", "middle", "-o", out)
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(mask)
    assert "hides nothing" in fails("impute", digits_model, "digits", "--mask", mask, "-o", out)


def test_mistakes_are_told_in_a_line(model, gaps, tmp_path):
    assert "should end in" in fails("impute", model, gaps, "-o", tmp_path / "filled.txt")
    assert "is of images" in fails("impute", model, gaps, "--mask", "left", "-o", "x.csv")
    assert "one of them" in fails("impute", model, gaps, "--best", "--draws", 2)
    assert "from 1" in fails("impute", model, gaps, "--draws", 0)
    assert "-o FILE.npy" in fails("impute", "two-moons", "-o", tmp_path / "x.csv")
    other = tmp_path / "other.csv"
    other.write_text("age,city\n3,Bonn\n")
    assert "income" in fails("impute", model, other, "-o", tmp_path / "x.csv")
