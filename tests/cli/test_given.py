"""Conditional models from the command line: tables given columns, images given their label."""

import json

import numpy as np
import pandas as pd
import pytest
from commands import SMALL, fails, invoke, succeeds
from PIL import Image

import pushforward as pf
from pushforward.data import open_data
from pushforward.data.given import Given
from pushforward.jobs.given_data import read_with_context

PLAIN = ["--set", "model.base=normal", "--set", "model.couplings=2"]


@pytest.fixture(scope="session")
def flowers(tmp_path_factory):
    """A table whose length depends on a colour and a number, with a cell missing here and there."""
    rng = np.random.default_rng(0)
    n = 240
    size = rng.integers(0, 5, n)
    colour = rng.choice(["red", "blue", "light green"], n)
    frame = pd.DataFrame(
        {
            "length": size + 10.0 * (colour == "red") + 0.1 * rng.normal(size=n),
            "size": size,
            "colour": colour,
            "day": pd.date_range("2024-01-01", periods=n).strftime("%Y-%m-%d"),
            "kind": rng.choice(["u", "v"], n),
        }
    )
    frame.loc[3, "colour"] = None
    path = tmp_path_factory.mktemp("flowers") / "flowers.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def flower_model(flowers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "flowers"
    options = ["--given", "size,colour", "--out", folder, "--quiet"]
    small = ["--max-steps", 100, "--set", "model.width=16", *PLAIN]
    quick = ["--set", "fit.warmup=0", "--set", "fit.ema=0", "--lr", 0.01]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pushforward.cli.results.write_pages", lambda *seen: None)
        succeeds("train", flowers, *options, *small, *quick)
    return folder


@pytest.fixture(scope="session")
def digit_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "digits"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pushforward.cli.results.write_pages", lambda *seen: None)
        succeeds("train", "digits", "--given", "label", "--out", folder, "--quiet", *SMALL)
    return folder


# Reading ----------------------------------------------------------------------------------------


def test_given_columns_leave_the_rows_and_become_context(flowers):
    dataset = open_data(flowers, given=["size", "colour"])
    assert dataset.columns == ("length", "day", "kind")
    assert dataset.schema.names == dataset.columns
    assert dataset.given.names == ("size", "colour")
    assert "1 row" in dataset.notes[-1] or len(dataset) == 239
    for split, values in dataset.splits().items():
        assert dataset.context[split].shape == (len(values), 4)
        assert (dataset.context[split][:, 1:].sum(1) == 1).all()
    size = dataset.context["train"][:, 0]
    assert abs(size.mean()) < 1e-5
    assert size.std() == pytest.approx(1, abs=1e-5)


def test_context_stays_beside_its_row(flowers):
    dataset = open_data(flowers, given=["colour"])
    red = dataset.given.schema["colour"].categories.index("red")
    for split, values in dataset.splits().items():
        assert np.array_equal(values[:, 0] > 8, dataset.context[split][:, red] == 1)


def test_rows_lacking_what_is_given_are_left_out_with_a_note(flowers):
    dataset = open_data(flowers, given=["colour"], missing="keep")
    assert len(dataset) == 239
    assert "1 row left out: what is given is missing there." in dataset.notes


def test_labels_become_one_hot():
    dataset = open_data("digits", given="label")
    assert dataset.shape == (1, 8, 8)
    assert np.array_equal(dataset.context["test"].argmax(1), dataset.labels["test"])


def test_a_label_column_can_be_given_with_others():
    frame = pd.DataFrame({"label": [0, 1] * 20, "a": np.arange(40.0), "b": np.arange(40.0) ** 2})
    dataset = open_data(frame, given=["label", "a"])
    assert dataset.columns == ("b",)
    assert dataset.given.names == ("label", "a")


def test_what_is_given_survives_its_file(flowers):
    given = open_data(flowers, given=["size", "colour", "day"]).given
    again = Given.from_json(json.loads(json.dumps(given.to_json())))
    assert again == given
    values = given.parse("size=3, colour=light green, day=2024-02-01")
    assert np.array_equal(again.context(values), given.context(values))
    with pytest.raises(pf.InputError, match="was altered"):
        Given.from_json({"columns": given.schema.to_json(), "mean": [0], "std": [0], "order": []})


def test_values_may_hold_commas():
    frame = pd.DataFrame({"town": ["Bonn, Rhine", "Oslo"] * 10, "a": np.arange(20.0)})
    given = open_data(frame, given=["town"]).given
    bonn = given.schema["town"].categories.index("Bonn, Rhine")
    assert given.parse("town=Bonn, Rhine")[0, 0] == bonn


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["colur"], "colur"),
        (["length", "size", "colour", "day", "kind"], "all columns of flowers are given"),
        ([], "given is empty"),
    ],
)
def test_what_cannot_be_given(flowers, given, said):
    with pytest.raises(pf.InputError, match=said):
        open_data(flowers, given=given)


def test_images_are_given_their_label_alone():
    with pytest.raises(pf.InputError, match="which are given their label; got colour"):
        open_data("digits", given=["colour"])


# Training ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("undrawn")
def test_training_tells_what_is_given(flowers, here):
    out = succeeds("train", flowers, "--given", "size,colour", "--out", "run", *SMALL, *PLAIN)
    assert "given" in out
    assert "light green" in out
    flow = pf.load("run")
    assert flow.context == 4
    assert Given.of(flow).order == ("length", "size", "colour", "day", "kind")
    assert "given" in (here / "run/config.yaml").read_text()


def test_the_look_at_a_model_is_by_class_or_by_what_the_data_give(digit_model, flower_model, here):
    from pushforward.cli.given import contexts_to_draw
    from pushforward.cli.pages import draw_samples

    digits, flowers = pf.load(digit_model), pf.load(flower_model)
    context, across = contexts_to_draw(digits, None, 64)
    assert context.shape == (80, 10)
    assert across == 8
    assert np.array_equal(context.argmax(1), np.arange(10).repeat(8))
    draw_samples(digits, here / "digits.png")
    with Image.open("digits.png") as picture:
        assert picture.height > picture.width
    beside = np.eye(4, dtype=np.float32)[:3]
    context, across = contexts_to_draw(flowers, beside, 7)
    assert across is None
    assert np.array_equal(context, beside[[0, 1, 2, 0, 1, 2, 0]])
    assert contexts_to_draw(flowers, None, 7) == (None, None)


@pytest.mark.usefixtures("undrawn", "here")
def test_a_conditional_run_goes_on(flowers):
    succeeds("train", flowers, "--given", "size", "--out", "run", "--quiet", *SMALL, *PLAIN)
    succeeds("train", "--out", "run", "--resume", "--max-steps", 8, "--quiet")
    assert pf.load("run").facts["metrics"]["steps"] == 8


def test_learning_from_python_is_the_same(flowers):
    settings = {"max_steps": 3, "couplings": 2, "width": 8, "base": "normal", "progress": False}
    flow = pf.learn(str(flowers), given=["size"], **settings)
    assert flow.context == 1
    assert Given.of(flow).names == ("size",)


def test_other_models_take_no_context(flowers):
    with pytest.raises(pf.InputError, match="learns no conditional densities"):
        pf.learn(str(flowers), "gmm", given=["size"], progress=False)
    said = fails("train", flowers, "--given", "colur", "--out", "run")
    assert "no column 'colur'" in said
    said = fails("train", flowers, "--set", "model.context=3")
    assert "--given" in said


# Sampling ---------------------------------------------------------------------------------------


def test_samples_follow_what_is_given(flower_model, here):
    given = "size=4,colour=red"
    succeeds("sample", flower_model, "--given", given, "-n", 300, "-o", "red.csv", "--seed", 0)
    red = pd.read_csv("red.csv")
    assert list(red.columns) == ["length", "size", "colour", "day", "kind"]
    assert (red["size"] == 4).all()
    assert (red["colour"] == "red").all()
    given = "colour=blue,size=4"
    succeeds("sample", flower_model, "--given", given, "-n", 300, "-o", "blue.csv", "--seed", 0)
    assert red["length"].mean() > pd.read_csv("blue.csv")["length"].mean() + 3


def test_samples_for_the_rows_of_a_file(flower_model, here):
    rows = pd.DataFrame({"other": [1, 2], "colour": ["red", "blue"], "size": [0, 3]})
    rows.to_csv("rows.csv", index=False)
    succeeds("sample", flower_model, "--given-from", "rows.csv", "-n", 2, "-o", "out.parquet")
    out = pd.read_parquet("out.parquet")
    assert list(out["colour"]) == ["red", "red", "blue", "blue"]
    assert list(out["size"]) == [0, 0, 3, 3]
    succeeds("sample", flower_model, "--given-from", "rows.csv", "-o", "out.csv")
    assert len(pd.read_csv("out.csv")) == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("size=3", "colour is missing"),
        ("size=3,colour=pink", "none of the 3 that the model knows"),
        ("size=big,colour=red", "where a number should be"),
        ("sizes=3,colour=red", "Did you mean 'size'?"),
        ("red", "name=value"),
        ("size=1,size=2,colour=red", "twice"),
    ],
)
def test_what_the_model_does_not_know_is_one_sentence(flower_model, given, said, here):
    assert said in fails("sample", flower_model, "--given", given, "-o", "out.csv")


def test_a_conditional_table_wants_to_be_given_something(flower_model, table_model, here):
    assert "say --given size=" in fails("sample", flower_model, "-o", "out.csv")
    both = ["--given", "size=1,colour=red", "--given-from", "rows.csv"]
    assert "give one" in fails("sample", flower_model, *both, "-o", "out.csv")
    assert "given nothing" in fails("sample", table_model, "--given", "age=3", "-o", "out.csv")
    said = fails("sample", flower_model, "--given-from", "none.csv", "-o", "out.csv")
    assert "none.csv" in said


def test_values_beyond_those_seen_are_noted(flower_model, here):
    done = invoke("sample", flower_model, "--given", "size=50,colour=red", "-n", 2, "-o", "a.csv")
    assert done.exit_code == 0
    assert "size = 50 lies outside of 0 to 4" in done.stderr


def test_images_of_every_class_or_of_one(digit_model, here):
    succeeds("sample", digit_model, "-o", "all.png")
    with Image.open("all.png") as picture:
        assert picture.height > picture.width  # ten rows of eight
    succeeds("sample", digit_model, "--given", "label=3", "-n", 4, "-o", "three.npy")
    assert np.load("three.npy").shape == (4, 1, 8, 8)
    assert "none of the 10" in fails("sample", digit_model, "--given", "label=11", "-o", "a.png")


# Scores -----------------------------------------------------------------------------------------


def test_scores_take_what_is_given_from_the_data(flower_model, flowers, here):
    frame = pd.read_csv(flowers)[["kind", "colour", "day", "size", "length"]].head(20)
    frame.to_csv("new.csv", index=False)
    succeeds("score", flower_model, "new.csv", "-o", "scores.csv")
    found = pd.read_csv("scores.csv")["log_prob"]
    assert list(np.flatnonzero(found.isna())) == [3]
    flow = pf.load(flower_model)
    x, context = read_with_context(flow, "new.csv", missing="keep")
    whole = np.arange(20) != 3
    assert np.allclose(found[whole], flow.log_prob(x[whole], context[whole]).detach(), atol=1e-4)
    succeeds("encode", flower_model, "new.csv", "-o", "z.npy")
    assert np.isnan(np.load("z.npy")).any(axis=1).nonzero()[0].tolist() == [3]
    assert "no column" in fails("score", flower_model, _without(frame, "size"))
    assert "none of the 3" in fails("score", flower_model, _with(frame, colour="pink"))


def _without(frame, name):
    frame.drop(columns=name).to_csv("without.csv", index=False)
    return "without.csv"


def _with(frame, **cells):
    frame.assign(**cells).to_csv("with.csv", index=False)
    return "with.csv"


def test_a_split_is_that_of_training(flower_model, flowers):
    flow = pf.load(flower_model)
    counts = flow.facts["data"]["counts"]
    for split, count in counts.items():
        x, context = read_with_context(flow, str(flowers), split=split)
        assert (len(x), context.shape) == (count, (count, 4))
        learned = open_data(flowers, given=["size", "colour"], missing="keep")
        assert np.array_equal(x, learned.splits()[split])
        assert np.array_equal(context, learned.context[split])


def test_the_split_is_the_same_whether_something_is_given(flowers):
    whole, part = open_data(flowers, schema="auto"), open_data(flowers, given=["kind", "size"])
    for split, values in part.splits().items():
        assert np.array_equal(values[:, 0], whole.splits()[split][:, 0])


def test_eval_gives_each_row_its_own_context(flower_model, flowers, here):
    """Rows in another order score the same; rows with the context of others score worse."""
    frame = pd.read_csv(flowers).dropna()
    frame.sample(frac=1, random_state=0).to_csv("turned.csv", index=False)
    frame.to_csv("whole.csv", index=False)
    other = frame["colour"].map({"red": "blue", "blue": "red", "light green": "red"})
    frame.assign(colour=other).to_csv("wrong.csv", index=False)
    losses = {}
    for name in ("whole", "turned", "wrong"):
        options = ["--split", "all", "--no-coverage", "--json", f"{name}.json"]
        succeeds("eval", flower_model, f"{name}.csv", *options)
        losses[name] = json.loads((here / f"{name}.json").read_text())["loss"]
    assert losses["turned"] == pytest.approx(losses["whole"], rel=1e-5)
    assert losses["wrong"] > losses["whole"] + 1


def test_eval_leaves_out_what_is_not_given(flower_model, flowers):
    out = succeeds("eval", flower_model, flowers, "--split", "all", "--no-coverage")
    assert "events            239" in out
    assert "1 row with missing values has no part in this." in out


def test_a_conditional_density_integrates_to_one():
    """Over a grid, for contexts of every kind; a sum over the codes of the discrete column."""
    rng = np.random.default_rng(0)
    n = 400
    kind = rng.choice(["u", "v", "w"], n)
    frame = pd.DataFrame(
        {"x": rng.normal(size=n) + (kind == "u"), "kind": kind, "c": rng.random(n)}
    )
    frame["b"] = rng.choice(["yes", "no"], n)
    options = {"max_steps": 20, "width": 8, "couplings": 2, "progress": False}
    flow = pf.learn(frame, given=["kind", "c"], **options)
    given = Given.of(flow)
    x = np.linspace(-12, 12, 1201)
    for text in ("kind=u,c=0.1", "kind=w,c=0.9"):
        total = 0.0
        for code in (0.0, 1.0):
            rows = np.stack([x, np.full_like(x, code)], axis=1)
            context = given.context(given.parse(text))[0]
            density = flow.log_prob(rows, context=context, samples=64).exp().detach().numpy()
            total += np.trapezoid(density, x)
        assert total == pytest.approx(1, abs=0.03)


def test_eval_shows_the_coverage_of_a_conditional_table(flower_model, flowers, here):
    out = succeeds("eval", flower_model, flowers)
    assert "coverage of central intervals" in out
    assert "length" in out
    assert "coverage" not in succeeds("eval", flower_model, flowers, "--no-coverage")
    succeeds("eval", flower_model, flowers, "--json", "eval.json")
    assert json.loads((here / "eval.json").read_text())["coverage"]["levels"] == [
        0.5,
        0.8,
        0.9,
        0.95,
    ]


def test_images_are_scored_by_their_own_class(digit_model, here):
    succeeds("score", digit_model, "digits", "--split", "test", "-o", "scores.csv")
    flow, dataset = pf.load(digit_model), open_data("digits", given="label")
    expected = flow.log_prob(dataset.test, dataset.context["test"]).detach()
    assert np.allclose(pd.read_csv("scores.csv")["log_prob"], expected, rtol=1e-4)
    succeeds("eval", digit_model)
    assert "columns of a table" in fails("eval", digit_model, "--coverage")


def test_verbs_that_take_no_context_say_so(flower_model, flowers):
    assert "conditional model" in fails("verify", flower_model, flowers)
