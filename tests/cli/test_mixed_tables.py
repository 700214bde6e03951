"""Tables of numbers, categories, dates and empty cells, from the file to synthetic rows."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from commands import SMALL, fails, invoke, succeeds

import pushforward as pf
from pushforward.data.schema import Schema

N = 160
TINY = [*SMALL, "--set", "model.base=normal"]


def people(seed=0):
    rng = np.random.default_rng(seed)
    income = rng.lognormal(7, 0.8, N)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, N),
            "income": np.round(income, 2),
            "city": rng.choice(["Bonn", "Oslo", "São Paulo"], N),
            "smoker": rng.choice(["yes", "no"], N),
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, N), "D"),
            "name": [f"person {i}" for i in range(N)],
        }
    )
    frame["age"] = frame["age"].astype("Int64").where(rng.random(N) > 0.1)
    frame["city"] = frame["city"].where(rng.random(N) > 0.1)
    return frame


@pytest.fixture(scope="module")
def people_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("people") / "people.csv"
    people().to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def people_model(tmp_path_factory, people_file):
    out = tmp_path_factory.mktemp("models") / "mixed"
    text = succeeds("train", people_file, "--out", out, *TINY)
    return out, text


def test_the_header_tells_the_kinds(people_model):
    _, text = people_model
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert any(line.startswith("columns age: integer, ") for line in lines)
    for told in (
        "income: number, heavy tails" if "heavy" in text else "income: number",
        "smoker: boolean ('no', 'yes')",
        "since: date",
    ):
        assert told in lines
    assert "name (text with 160 different values in 160 rows)" in " ".join(lines)


def test_samples_are_a_table_like_the_one_learned(people_model, people_file, tmp_path):
    model, _ = people_model
    succeeds("sample", model, "-n", 300, "--seed", 1, "-o", tmp_path / "x.csv")
    succeeds("sample", model, "-n", 300, "--seed", 1, "-o", tmp_path / "x.parquet")
    drawn, real = pd.read_csv(tmp_path / "x.csv"), pd.read_csv(people_file)
    assert list(drawn) == ["age", "income", "city", "smoker", "since"]
    assert drawn["age"].dtype == np.int64
    assert set(drawn["city"]) <= {"Bonn", "Oslo", "São Paulo"}
    assert set(drawn["smoker"]) == {"yes", "no"}
    cents = drawn["income"] * 100
    assert np.allclose(cents, cents.round(), rtol=0, atol=1e-6)
    assert (
        pd.to_datetime(drawn["since"], format="%Y-%m-%d").between("2020-01-01", "2022-07-01").all()
    )
    for name in ("age", "income"):
        assert drawn[name].between(real[name].min(), real[name].max()).all()
    typed = pd.read_parquet(tmp_path / "x.parquet")
    assert str(typed["age"].dtype) == "Int64"
    assert str(typed["since"].dtype).startswith("datetime64")
    assert (typed["city"] == drawn["city"]).all()


def test_samples_as_a_picture_and_as_codes(people_model, tmp_path):
    model, _ = people_model
    succeeds("sample", model, "-n", 50, "-o", tmp_path / "x.png")
    succeeds("sample", model, "-n", 50, "-o", tmp_path / "x.npy")
    codes = np.load(tmp_path / "x.npy")
    assert set(np.unique(codes[:, 2])) <= {0.0, 1.0, 2.0}


def test_scores_by_name_and_of_rows_that_lack_values(people_model, people_file, tmp_path):
    model, _ = people_model
    turned = tmp_path / "turned.csv"
    frame = pd.read_csv(people_file, dtype=str)
    frame[list(frame)[::-1]].to_csv(turned, index=False)
    succeeds("score", model, people_file, "-o", tmp_path / "a.csv")
    succeeds("score", model, turned, "-o", tmp_path / "b.csv")
    one, two = pd.read_csv(tmp_path / "a.csv"), pd.read_csv(tmp_path / "b.csv")
    assert one.equals(two)
    assert one["log_prob"].notna().all()


def test_incomplete_rows_are_measured_and_have_no_latent(people_model, people_file, tmp_path):
    """The model learned from such rows: nobody is told to drop them or to build another."""
    model, _ = people_model
    lacking = int(pd.read_csv(people_file).drop(columns="name").isna().any(axis=1).sum())
    assert lacking
    out = succeeds("eval", model, people_file, "--split", "all", "--json", tmp_path / "e.json")
    assert json.loads((tmp_path / "e.json").read_text())["events"] == N, out
    out = succeeds("encode", model, people_file, "-o", tmp_path / "z.npy")
    assert f"{lacking} rows with missing values have no latent" in out
    assert int(np.isnan(np.load(tmp_path / "z.npy")).any(axis=1).sum()) == lacking
    out = invoke("verify", model, people_file).stdout
    assert f"{lacking} rows with missing values have no part in this." in " ".join(out.split())


def test_python_reads_what_the_command_line_learned(people_model, people_file):
    model, _ = people_model
    flow = pf.load(model)
    schema = Schema.of(flow)
    assert schema.names == ("age", "income", "city", "smoker", "since")
    frame = pd.read_csv(people_file)
    back = schema.decode(schema.encode(frame))
    assert (back["income"] == frame["income"]).all()
    assert (back["smoker"] == frame["smoker"]).all()
    assert flow.takes_missing


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.assign(city="Rome"), "column 'city' holds 'Rome' (line 2 of new.csv), which"),
        (lambda f: f.drop(columns="city"), "new.csv has no column 'city'; it has age"),
        (
            lambda f: f.assign(income="much"),
            "column 'income' of new.csv holds text (row 0: 'much')",
        ),
        (
            lambda f: f.assign(since="soon"),
            "column 'since' holds 'soon' (line 2 of new.csv), where",
        ),
        (lambda f: f[:0], "new.csv has zero rows."),
    ],
)
def test_tables_that_do_not_fit(people_model, change, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    change(people()).to_csv("new.csv", index=False)
    assert fails("score", people_model[0], "new.csv").startswith(said)


def test_wishes_on_the_command_line(people_file, here, undrawn):
    arguments = ["--kinds", "age=category,income=number", "--missing", "drop", "-q", "--out", "run"]
    succeeds("train", people_file, *TINY, *arguments)
    facts = json.loads((here / "run/best/config.json").read_text())["facts"]["data"]
    kinds = {column["name"]: column["kind"] for column in facts["schema"]}
    assert kinds["age"] == "category"
    assert facts["counts"]["train"] < 140  # incomplete rows are gone
    written = yaml.safe_load((here / "run/config.yaml").read_text())
    assert written["data"]["kinds"] == {"age": "category", "income": "number"}
    assert written["data"]["missing"] == "drop"
    assert "columns" not in written["model"]
    again = invoke("train", "--out", "run", "--resume", "--max-steps", 8, "-q")
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--kinds", "age"], "data.kinds takes columns and their kinds, as age=number"),
        (["--kinds", "age=colour"], "data.kinds.age = 'colour' will not do: input should be"),
        (["--kinds", "old=number"], "people.csv has no column 'old'; it has age"),
        (["--kinds", "city=number"], "column 'city' is to be a number, but it holds cells"),
        (["--missing", "fill"], "data.missing = 'fill' will not do: input should be 'auto'"),
        (["--model", "planar", "--missing", "observed"], "planar cannot learn from rows that lack"),
        (["--model", "planar", "--kinds", "age=number"], "planar takes columns as plain numbers"),
    ],
)
def test_mistakes_of_wishes(people_file, arguments, said, here):
    assert fails("train", people_file, *arguments, "-q").startswith(said)


def test_other_models_take_the_numbers(people_file, here, undrawn):
    result = invoke("train", people_file, "--model", "planar", "--max-steps", 3, "--out", "run")
    assert result.exit_code == 0, result.output
    assert "Columns that are not numeric were left out: city, smoker, since, name." in " ".join(
        result.stdout.split()
    )


def test_learn_does_what_train_does(people_file):
    settings = {"couplings": 2, "width": 8, "base": "normal", "max_steps": 5, "progress": False}
    flow = pf.learn(people_file, **settings)
    frame = Schema.of(flow).decode(flow.sample(20, seed=0))
    assert list(frame) == ["age", "income", "city", "smoker", "since"]
    same = pf.learn(people(), columns=["city", "age"], missing="drop", **settings)
    assert same.shape == (2,)
    assert not same.takes_missing
    with pytest.raises(pf.InputError, match="learn has no setting 'epoch'; did you mean epochs"):
        pf.learn(people_file, epoch=3)
    with pytest.raises(pf.InputError, match="no model named 'realnv'; did you mean realnvp"):
        pf.learn(people_file, "realnv")


def test_card_info_and_report_tell_the_kinds(people_model):
    model, _ = people_model
    card = (model / "best/README.md").read_text()
    assert "| smoker | boolean ('no', 'yes') | 0 |" in card
    assert "'kind':" not in card
    assert "smoker: boolean ('no', 'yes')" in succeeds("info", model)
    assert "smoker: boolean (" in (model / "report.html").read_text()
