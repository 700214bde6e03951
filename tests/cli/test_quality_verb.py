import json

import numpy as np
import pandas as pd
import pytest
from commands import fails, succeeds


@pytest.fixture
def files(here):
    """Real rows, other real rows, good synthetic rows, and copies."""
    rng = np.random.default_rng(0)
    for name in ("real", "unseen", "good"):
        x = rng.normal(size=(120, 2)).round(4)
        kind = np.where(x[:, 0] + rng.normal(0, 0.3, 120) > 0, "high", "low")
        frame = pd.DataFrame({"x [m]": x[:, 0], "y": x[:, 1], "kind": kind})
        frame.to_csv(f"{name}.csv", index=False)
    pd.read_csv("real.csv").to_parquet("copies.parquet")
    return here


def test_the_table_is_printed(files):
    text = succeeds("quality", "real.csv", "good.csv", "--unseen", "unseen.csv")
    assert text.splitlines()[0].split() == ["measured", "synthetic", "SMOTE", "real", "best"]
    assert "told from real rows, AUC" in text
    assert "no proof" in text
    assert "trees learned" not in text


def test_copies_are_warned_of_and_the_page_tells_it(files):
    text = succeeds(
        "quality", "real.csv", "copies.parquet", "--target", "kind", "--html", "q.html",
        "--json", "q.json",
    )  # fmt: skip
    assert "do not hand these out" in text.replace("\n", " ")
    assert "macro F1" in text
    page = (files / "q.html").read_text()
    assert "do not hand these out" in page
    assert "pushforward quality real.csv copies.parquet --target kind --html q.html" in page
    content = json.loads((files / "q.json").read_text())
    assert content["synthetic"]["near"]["copies"] == 1
    assert "do not hand" in content["warning"]


def test_a_model_in_the_place_of_rows(here, table_model, table_file):
    text = succeeds("quality", table_file, table_model)
    assert "closer than 95 % of unseen rows" in text
    assert json.loads(succeeds("quality", table_file, table_model, "--json", "-"))["test_rows"] > 9


def test_mistakes_are_told_in_one_line(files, digits_model):
    assert "no column 'kin'" in fails("quality", "real.csv", "good.csv", "--target", "kin")
    assert "nowhere.csv" in fails("quality", "real.csv", "nowhere.csv")
    assert "ends in .html" in fails("quality", "real.csv", "good.csv", "--html", "q.pdf")
    pd.read_csv("good.csv").drop(columns="y").to_csv("less.csv", index=False)
    assert "'y' in the synthetic rows" in fails("quality", "real.csv", "less.csv")
    pd.read_csv("good.csv").assign(y="many").to_csv("text.csv", index=False)
    assert "'many'" in fails("quality", "real.csv", "text.csv")
    pd.read_csv("good.csv").iloc[:0].to_csv("none.csv", index=False)
    assert "no rows" in fails("quality", "real.csv", "none.csv")
    assert "images" in fails("quality", "digits", digits_model)
    assert "images" in fails("quality", "digits", "good.csv")
