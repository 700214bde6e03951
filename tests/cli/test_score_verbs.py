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


@pytest.fixture
def holes(here):
    """A table of 200 rows; those that lack values, two whole batches of fifty among them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    lacking = np.zeros(200, bool)
    lacking[[3, 7, *range(50, 100), 199, *range(100, 150)]] = True
    x[lacking, rng.integers(0, 2, lacking.sum())] = np.nan
    pd.DataFrame(x, columns=["x0", "x1"]).to_csv("holes.csv", index=False)
    return lacking


@pytest.mark.usefixtures("in_small_batches")
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_incomplete_rows_keep_their_place(suffix, holes, moons_model):
    flow, out, read = load(moons_model), f"out.{suffix}", getattr(pd, f"read_{suffix}")
    x = pd.read_csv("holes.csv").to_numpy(np.float32)
    text = succeeds("score", moons_model, "holes.csv", "-o", out)
    assert text == f"97 scores written to {out}\n103 rows with missing values have no score\n"
    table = read(out)
    assert (table["row"] == np.arange(200)).all()
    assert (table["log_prob"].isna() == holes).all()
    np.testing.assert_allclose(table["log_prob"][~holes], log_prob(flow, x[~holes]), rtol=1e-5)
    text = succeeds("encode", moons_model, "holes.csv", "-o", out)
    assert text.endswith("103 rows with missing values have no latent\n")
    z = read(out).to_numpy()
    succeeds("encode", moons_model, "holes.csv", "-o", "z.npy")
    for latents in (z, np.load("z.npy")):
        assert (np.isnan(latents).all(axis=1) == holes).all()
        wanted = flow.encode(x[~holes]).detach()
        np.testing.assert_allclose(latents[~holes], wanted, rtol=1e-4, atol=1e-5)
    if suffix == "parquet":
        assert read(out).isna().sum().tolist() == [103, 103]


def test_incomplete_rows_are_printed_without_a_score(holes, moons_model):
    lines = succeeds("score", moons_model, "holes.csv").splitlines()
    assert lines[4].split() == ["3", "-"]
    assert lines[-1] == "103 rows with missing values have no score"
    assert "nan" not in " ".join(lines)
    Path("one.csv").write_text("x0,x1\n1,2\n3,\n")
    lines = succeeds("score", moons_model, "one.csv").splitlines()
    assert lines[-1] == "1 row with missing values has no score"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_files_of_a_folder_of_images_are_named(suffix, here):
    from PIL import Image

    from pushforward import RealNVP

    x = open_data("digits").test[:12]
    for i, image in enumerate(x):
        path = Path("photos", "odd" if i % 2 else "even", f"{i}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(path)
    flow, read = RealNVP((1, 8, 8), levels=256), getattr(pd, f"read_{suffix}")
    flow.eval().save("model")
    out = f"out.{suffix}"
    succeeds("encode", "model", "photos", "-o", out)
    table = read(out)
    assert list(table) == ["file", *(f"z{i}" for i in range(64))]
    assert table["file"][1] == "even/2.png"
    order = [int(Path(name).stem) for name in table["file"]]
    assert sorted(order) == list(range(12))
    wanted = flow.encode(x[order]).detach().reshape(12, 64)
    np.testing.assert_allclose(table.iloc[:, 1:], wanted, rtol=1e-3, atol=1e-4)
    succeeds("score", "model", "photos", "-o", out)
    assert list(read(out)) == ["row", "file", "log_prob", "bits_per_dim"]
    assert list(read(out)["file"]) == list(table["file"])
    succeeds("score", "model", "photos", "-o", out, "--split", "test")
    assert "file" not in read(out)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("fractions", [0.1], "facts.data.fractions = [0.1] will not do"),
        ("fractions", 3, "facts.data.fractions = 3 will not do"),
        ("split_seed", "x", "facts.data.split_seed = 'x' will not do"),
        ("size", [], "facts.data.size = [] will not do"),
        ("columns", 5, "facts.data.columns = 5 will not do"),
    ],
)
def test_altered_facts_are_one_sentence(name, value, said, here, moons_model):
    flow = load(moons_model)
    flow.facts["data"][name] = value
    flow.save("model")
    for split in ("all", "test"):
        assert said in fails("score", "model", "two-moons", "--split", split)


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
    Path("holes.csv").write_text("x0,x1\n,2\n3,\n")
    for verb in (["score"], ["encode", "-o", "z.npy"]):
        assert fails(*verb, moons_model, "holes.csv") == (
            "each of the 2 rows of holes.csv lacks a value; fill the missing values first."
        )
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

    def failing(flow, x, context=None, **options):
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

    def failing(self, x, context=None):
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
        told = json.loads(text)
        loss[samples] = told["loss"]
    assert loss[4] < loss[1]
    assert told["single"] == loss[1], "beside it, what papers report"


def test_eval_of_a_file_takes_its_own_test_part(table_model, table_file):
    text = succeeds("eval", table_model, table_file, "--json", "-")
    assert json.loads(text)["loss"] == load(table_model).facts["metrics"]["test"]
    text = succeeds("eval", table_model, table_file, "--split", "all", "--json", "-")
    assert json.loads(text)["events"] == 200
    text = succeeds("eval", table_model, table_file)
    assert "nats" in text
    paths = (str(table_model), str(table_file))
    rows = [line for line in text.splitlines() if not any(path in line for path in paths)]
    assert max(map(len, rows)) <= 80


def test_mistakes_of_eval(table_model, digits_model, conditional_model):
    assert fails("eval", table_model) == (
        f"{table_model} did not learn a built-in set, so say what to evaluate it on: pushforward "
        f"eval {table_model} DATA."
    )
    assert "samples must be at least 1" in fails("eval", digits_model, "--samples", 0)
    assert "conditional" in fails("eval", conditional_model, "two-moons")
