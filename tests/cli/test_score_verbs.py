import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import fails, succeeds

from pushforward import load, open_data
from pushforward.errors import NumericalError
from pushforward.scoring import score as log_prob


@pytest.fixture
def in_small_batches(monkeypatch):
    monkeypatch.setattr("pushforward.scoring.batch_for", lambda flow: 50)


# score -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("in_small_batches")
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_scores_of_images(suffix, here, digits_model):
    text = succeeds("score", digits_model, "digits", "--split", "test", "-o", f"s.{suffix}")
    assert text == f"180 scores written to s.{suffix}\n"
    table = pd.read_csv("s.csv") if suffix == "csv" else pd.read_parquet("s.parquet")
    assert list(table) == ["row", "log_prob", "bits_per_dim"]
    assert (table["row"] == np.arange(180)).all()
    wanted = log_prob(load(digits_model), open_data("digits").test)
    np.testing.assert_allclose(table["log_prob"], wanted, rtol=1e-6)
    np.testing.assert_allclose(table["bits_per_dim"], -wanted / (64 * math.log(2)), rtol=1e-6)


def test_bits_alone(here, digits_model):
    succeeds("score", digits_model, "digits", "--split", "validation", "--bits", "-o", "s.csv")
    assert list(pd.read_csv("s.csv")) == ["row", "bits_per_dim"]


@pytest.mark.usefixtures("in_small_batches")
def test_scores_of_rows_keep_the_order_of_the_source(here, table_model, table_file):
    succeeds("score", table_model, table_file, "-o", "s.csv")
    table = pd.read_csv("s.csv")
    assert list(table) == ["row", "log_prob"]
    rows = pd.read_csv(table_file)[["age", "income, $^", "[red]height"]].to_numpy()
    np.testing.assert_allclose(table["log_prob"], log_prob(load(table_model), rows), rtol=1e-5)
    shuffled = pd.read_csv(table_file).iloc[::-1]
    shuffled[["[red]height", "city", "income, $^", "age"]].to_csv("back.csv", index=False)
    succeeds("score", table_model, "back.csv", "-o", "t.csv")
    np.testing.assert_allclose(pd.read_csv("t.csv")["log_prob"][::-1], table["log_prob"])


def test_scores_are_printed_without_a_file(here, digits_model, moons_model):
    lines = succeeds("score", digits_model, "digits", "--split", "test").splitlines()
    assert lines[0].split() == ["row", "log_prob", "(nats)", "bits_per_dim"]
    assert [line.split()[0] for line in lines[1:11]] == [str(i) for i in range(10)]
    assert lines[11].startswith("... and 170 more")
    assert lines[13].startswith("bits_per_dim: mean ")
    text = succeeds("score", moons_model, "two-moons", "--split", "test")
    assert "log_prob (nats): mean -" in text
    assert list(here.iterdir()) == []


def test_fewer_rows_than_are_shown(here, table_model, table_file):
    Path("two.csv").write_text("".join(table_file.read_text().splitlines(keepends=True)[:3]))
    text = succeeds("score", table_model, "two.csv")
    assert "more" not in text
    assert "largest" in text


def test_mistakes_of_score(here, digits_model, moons_model, table_model, table_file, photos):
    assert fails("score", moons_model, "two-moons", "--bits") == (
        f"--bits is for models of integers; {moons_model} is a density of real numbers, in nats."
    )
    assert fails("score", digits_model, "digits", "-o", "s.txt") == (
        "cannot tell the format of s.txt by its name: it should end in .parquet or .csv."
    )
    assert fails("score", digits_model, "none.csv").startswith("no such file or folder: none.csv")
    assert "the model takes images" in fails("score", digits_model, photos)
    assert "there is no 'age'" in fails("score", table_model, "two-moons")
    Path("empty.csv").touch()
    assert fails("score", table_model, "empty.csv") == "empty.csv is an empty file."
    Path("holes.csv").write_text("x0,x1\n1,2\n3,\n")
    assert "has a missing value at row 1" in fails("score", moons_model, "holes.csv")
    Path("few.csv").write_text("x0,x1\n1,2\n3,4\n")
    said = fails("score", moons_model, "few.csv", "--split", "test")
    assert said.endswith("Take all of them with --split all.")
    Path("folder.csv").mkdir()
    assert "it is a folder" in fails("score", moons_model, "two-moons", "-o", "folder.csv")


@pytest.mark.usefixtures("in_small_batches")
@pytest.mark.parametrize("name", ["s.csv", "s.parquet"])
def test_a_failure_leaves_the_old_file(name, here, moons_model, monkeypatch):
    Path(name).write_text("old")
    calls = []

    def failing(flow, x, **options):
        calls.append(len(x))
        if len(calls) == 3:
            raise NumericalError("NaN in layer 3.")
        return log_prob(flow, x, **options)

    monkeypatch.setattr("pushforward.scoring.score", failing)
    assert fails("score", moons_model, "two-moons", "-o", name) == "NaN in layer 3."
    assert calls == [50, 50, 50]
    assert [path.name for path in here.iterdir()] == [name]
    assert Path(name).read_text() == "old"


# encode ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("in_small_batches")
def test_latents_of_images(here, digits_model):
    common = ["encode", digits_model, "digits", "--split", "test", "-o"]
    assert succeeds(*common, "z.npy") == "180 latents of 64 numbers written to z.npy\n"
    flow = load(digits_model)
    z = np.load("z.npy")
    x = open_data("digits").test
    assert z.shape == (180, *flow.latent_shape)
    np.testing.assert_allclose(z, flow.encode(x).detach(), rtol=1e-4, atol=1e-4)
    assert (flow.decode(z).numpy() == x).all()
    succeeds(*common, "z.parquet")
    table = pd.read_parquet("z.parquet")
    assert list(table) == [f"z{i}" for i in range(64)]
    assert (table.to_numpy() == z.reshape(180, 64)).all()


@pytest.mark.usefixtures("in_small_batches")
def test_latents_of_rows(here, table_model, table_file):
    succeeds("encode", table_model, table_file, "-o", "z.npy")
    succeeds("encode", table_model, table_file, "-o", "z.csv")
    table = pd.read_csv("z.csv", dtype=np.float32)
    assert list(table) == ["z0", "z1", "z2"]
    assert (table.to_numpy() == np.load("z.npy")).all()


def test_a_failing_encode_leaves_the_old_file(here, moons_model, monkeypatch):
    from pushforward import Flow

    def failing(self, x):
        raise NumericalError("NaN.")

    Path("z.npy").write_text("old")
    monkeypatch.setattr(Flow, "encode", failing)
    assert fails("encode", moons_model, "two-moons", "-o", "z.npy") == "NaN."
    assert [path.name for path in here.iterdir()] == ["z.npy"]
    assert Path("z.npy").read_text() == "old"


def test_mistakes_of_encode(here, moons_model, conditional_model):
    assert fails("encode", moons_model, "two-moons", "-o", "z.png") == (
        "cannot tell the format of z.png by its name: it should end in .npy, .parquet or .csv."
    )
    said = fails("encode", conditional_model, "two-moons", "-o", "z.npy")
    assert "is a conditional model" in said


# eval ------------------------------------------------------------------------------------------


def test_eval_of_the_built_in_set(here, digits_model):
    text = succeeds("eval", digits_model, "--json", "e.json")
    heading = " ".join(text.split()).startswith(f"{digits_model} on the test part of digits ")
    assert heading  # wherever a long path makes the line break
    assert "bits/dim" in text
    told = json.loads(Path("e.json").read_text())
    assert (told["data"], told["split"], told["events"]) == ("digits", "test", 180)
    assert told["unit"] == "bits/dim"
    assert f"{told['loss']:.4f}" in text
    wanted = log_prob(load(digits_model), open_data("digits").test)
    assert told["log_prob"] == pytest.approx(wanted.mean())


def test_more_samples_tighten_the_bound(digits_model):
    loss = {}
    for samples in (1, 4):
        text = succeeds("eval", digits_model, "--samples", samples, "--json", "-")
        loss[samples] = json.loads(text)["loss"]
    assert loss[4] < loss[1]


def test_eval_of_a_file_takes_its_own_test_part(table_model, table_file):
    text = succeeds("eval", table_model, table_file, "--json", "-")
    assert json.loads(text)["loss"] == load(table_model).facts["metrics"]["test"]
    text = succeeds("eval", table_model, table_file, "--split", "all", "--json", "-")
    assert json.loads(text)["events"] == 200
    text = succeeds("eval", table_model, table_file)
    assert "nats" in text
    rows = [line for line in text.splitlines() if str(table_file) not in line]
    assert max(map(len, rows)) <= 80


def test_mistakes_of_eval(table_model, digits_model, conditional_model):
    assert fails("eval", table_model) == (
        f"{table_model} did not learn a built-in set, so say what to evaluate it on: pushforward "
        f"eval {table_model} DATA."
    )
    assert "samples must be at least 1" in fails("eval", digits_model, "--samples", 0)
    assert "conditional" in fails("eval", conditional_model, "two-moons")
