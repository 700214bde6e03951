"""The verb: tables by themselves, models with data, pictures, and mistakes in one line."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from commands import fails, succeeds


@pytest.fixture
def odd_table(tmp_path):
    rng = np.random.default_rng(1)
    path = tmp_path / "odd.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["size", "weight", "town"])
        for i in range(150):
            size = rng.normal(10, 1)
            weight = 90.0 if i == 33 else round(3 * size + rng.normal(0, 0.5), 2)
            writer.writerow([round(size, 2), weight, "here" if i % 3 else "there"])
    return path


def test_a_table_alone(odd_table, here):
    said = succeeds("anomalies", odd_table, "-o", "scores.csv", "--false-alarms", "0.05")
    first = said.splitlines()[1]
    assert first.split()[0] == "33"
    assert "weight 90" in first
    assert "flagged" in said
    rows = list(csv.DictReader((here / "scores.csv").read_text().splitlines()))
    assert len(rows) == 150
    assert rows[33]["rank"] == "1"
    assert rows[33]["reason"] == "weight"
    assert float(rows[33]["because_weight"]) > 5
    assert rows[0]["flagged"] == "false"


def test_rows_with_gaps_are_scored_by_what_they_have(odd_table, here):
    lines = odd_table.read_text().splitlines()
    lines[34] = f",{lines[34].split(',')[1]},"  # size and town of row 33 are lost
    lines[50] = ",,"
    odd_table.write_text("\n".join(lines))
    said = succeeds("anomalies", odd_table, "--false-alarms", "0.05")
    assert said.splitlines()[1].split()[0] == "33"
    assert "1 row with missing values scored by the values that are there" in said
    assert "1 event with missing values without a score" in said


def test_a_model_and_other_data_with_columns_in_another_order(table_model, table_file, tmp_path):
    import pandas as pd

    frame = pd.read_csv(table_file)
    frame.loc[3, "age"] = 500
    shuffled = tmp_path / "new.csv"
    frame[list(frame)[::-1]].to_csv(shuffled, index=False)
    out = tmp_path / "scores.parquet"
    said = succeeds(
        "anomalies", table_model, shuffled, "--held-out", table_file, "-o", out, "--false-alarms",
        "0.05",
    )  # fmt: skip
    assert said.splitlines()[1].split()[0] == "3"
    assert "age 500" in said
    scores = pd.read_parquet(out)
    assert scores["p_value"].between(0, 1).all()
    assert scores["rank"].iloc[3] == 1


def test_the_source_of_training_is_calibrated_on_its_own_held_out_part(table_model, table_file):
    said = succeeds("anomalies", table_model, table_file)
    assert "validation and test of the training data" in said


def test_other_data_without_held_out_events_say_so(table_model, table_file, tmp_path):
    import pandas as pd

    other = tmp_path / "other.csv"
    pd.read_csv(table_file).head(50).to_csv(other, index=False)
    said = succeeds("anomalies", table_model, other, "--false-alarms", "0.001")
    assert "themselves" in said
    assert "no threshold" in said


def test_images_get_a_picture(digits_model, here):
    from pushforward import open_data

    np.save("few.npy", open_data("digits").test[:12])
    said = succeeds("anomalies", digits_model, "few.npy", "--picture", "top.png")
    assert "either" in said
    assert (here / "top.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.csv"], "nowhere.csv"),
        (["digits"], "holds images"),
        (["TABLE", "--false-alarms", "2"], "--false-alarms"),
        (["TABLE", "--score", "distance"], "one of auto"),
        (["TABLE", "-o", "scores.xlsx"], ".csv or .parquet"),
        (["TABLE", "--picture", "top.png"], "--picture is of images"),
        (["MODEL", "nowhere.csv"], "nowhere.csv"),
        (["MODEL"], "did not learn a built-in set"),
        (["MODEL", "LACKING"], "income"),
        (["MODEL", "TEXT"], "age"),
        (["EMPTY"], "empty"),
        (["FEW"], "complete rows"),
    ],
)
def test_mistakes_are_one_line(arguments, says, table_model, odd_table, here):
    (here / "lacking.csv").write_text("age,[red]height\n1,2\n3,4\n")
    (here / "text.csv").write_text('age,"income, $^",[red]height\n1,2,3\nold,5,6\n')
    (here / "empty.csv").write_text("")
    (here / "few.csv").write_text("a,b\n1,2\n2,3\n4,7\n")
    named = {"TABLE": odd_table, "MODEL": table_model}
    named |= {name.upper(): f"{name}.csv" for name in ("lacking", "text", "empty", "few")}
    assert says in fails("anomalies", *(str(named.get(a, a)) for a in arguments))
