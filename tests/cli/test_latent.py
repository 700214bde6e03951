"""The verbs that look into the latent space: what they write, and what they refuse."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from commands import SMALL, fails, succeeds
from PIL import Image

from pushforward import GAN, GMM, RealNVP, load, open_data


@pytest.fixture(scope="module")
def digits():
    return open_data("digits", fractions=(0, 0)).train


@pytest.fixture(scope="module")
def gan_model(tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "gan"
    GAN((1, 8, 8), levels=17, latent=4).save(out)
    return out


@pytest.fixture(scope="module")
def texture_model(tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "textures"
    RealNVP((1, 8, 8), levels=17, width=4, couplings=2, positions=False).save(out)
    return out


def trained(out, *arguments):
    """A small run without its report, which takes the most of its time."""
    with pytest.MonkeyPatch.context() as patch:
        written = lambda folder, *seen: (folder / "report.html").write_text("<p>drawn</p>")  # noqa: E731
        patch.setattr("pushforward.cli.results.write_pages", written)
        succeeds("train", *arguments, "--out", out, "--quiet", *SMALL)
    return out


@pytest.fixture(scope="module")
def label_model(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("models") / "labels", "digits", "--given", "label")


def size(path):
    with Image.open(path) as image:
        return image.size, getattr(image, "n_frames", 1)


# interpolate -----------------------------------------------------------------------------------


def test_interpolate_between_numbered_images(here, digits_model, digits):
    common = ["interpolate", digits_model, "--between", "3,17", "--between", "5,8", "--steps", 4]
    text = succeeds(*common, "-o", "x.npy")
    assert text == "2 x 4 events written to x.npy\n"
    x = np.load("x.npy")
    assert x.shape == (2, 4, 1, 8, 8)
    assert (x[:, 0] == digits[[3, 5]]).all()
    assert (x[:, -1] == digits[[17, 8]]).all()
    succeeds(*common)
    succeeds(*common, "-o", "way.gif")
    assert size("way.gif")[1] == 6, "there and back"


def test_interpolate_between_files_and_random_latents(here, digits_model, digits):
    for name, image in (("a.npy", digits[0]), ("b.npy", digits[1])):
        np.save(name, image[None])
    succeeds("interpolate", digits_model, "--between", "a.npy,b.npy", "-o", "x.npy")
    assert (np.load("x.npy")[0, [0, -1]] == digits[:2]).all()
    for name in ("one.npy", "two.npy"):
        succeeds("interpolate", digits_model, "--pairs", 2, "--seed", 1, "-o", name)
    assert (np.load("one.npy") == np.load("two.npy")).all()


def test_interpolate_rows_gives_a_table(here, table_model, table_file):
    text = succeeds("interpolate", table_model, table_file, "--between", "0,9", "--steps", 3)
    assert text == "1 x 3 events written to interpolation.csv\n"
    made, known = pd.read_csv("interpolation.csv"), pd.read_csv(table_file)
    assert list(made)[:2] == ["pair", "step"]
    assert made["step"].tolist() == [0, 1, 2]
    for column in list(made)[2:]:
        ends = made[column].iloc[[0, 2]].to_numpy(), known[column].iloc[[0, 9]].to_numpy()
        if known[column].dtype == float:
            assert ends[0] == pytest.approx(ends[1], rel=1e-3)
        else:
            assert (ends[0] == ends[1]).all()


def test_interpolate_a_gan_between_random_latents_only(here, gan_model):
    succeeds("interpolate", gan_model, "--seed", 0)
    assert "no way leads back" in fails("interpolate", gan_model, "digits", "--between", "0,1")


# manifold, temperature, extrapolate ------------------------------------------------------------


def test_manifold_of_four(here, digits_model, digits):
    common = ["manifold", digits_model, "--of", "0,11,22,33"]
    assert succeeds(*common, "-o", "m.npy") == "8 x 8 images written to m.npy\n"
    m = np.load("m.npy")
    found = m[[0, 0, 2, 2], [0, 2, 0, 2]]
    assert (found == digits[[0, 11, 22, 33]]).all()
    succeeds(*common)
    assert size("manifold.png")[0] == (4 + 8 * 68, 4 + 8 * 68)
    succeeds("manifold", digits_model, "--seed", 0, "--steps", 5, "-o", "m.gif")
    assert size("m.gif")[1] == 5, "round"


def test_temperature_of_images_and_rows(here, digits_model, table_model):
    text = succeeds("temperature", digits_model, "-n", 3, "--temperatures", "0.5,1", "-o", "t.npy")
    assert text == "2 x 3 samples written to t.npy\n"
    assert (np.load("t.npy")[1] == load(digits_model).sample(3, seed=0).numpy()).all()
    succeeds("temperature", digits_model, "-o", "t.gif")
    succeeds("temperature", table_model, "-n", 5)
    table = pd.read_csv("temperature.csv")
    assert table["temperature"].tolist() == [t for t in (0.5, 0.7, 0.9, 1.0) for _ in range(5)]
    assert table["age"].notna().all()


def test_extrapolate(here, texture_model, digits_model):
    text = succeeds("extrapolate", texture_model, "--seed", 0)
    assert text == "9 images of 16 x 16 pixels written to extrapolation.png\n"
    assert size("extrapolation.png")[0] == (3 * (128 + 4) + 4, 3 * (128 + 4) + 4)
    succeeds("extrapolate", texture_model, "--scale", 10, "-o", "x.npy", "--seed", 0)
    assert np.load("x.npy").shape == (1, 1, 80, 80)
    said = fails("extrapolate", digits_model)
    assert "hold for their places alone" in said
    assert "positions=False" in said
    assert "cannot tell the format" in fails("extrapolate", texture_model, "-o", "x.gif")


# resample, edit, nearest -----------------------------------------------------------------------


def test_resample(here, digits_model, digits):
    text = succeeds("resample", digits_model, "--events", "4,7", "-o", "r.npy")
    assert text == "2 images at 5 shares written to r.npy\n"
    assert (np.load("r.npy")[:, 0] == digits[[4, 7]]).all()
    succeeds("resample", digits_model, "--fill", "zero", "--keep", "50,25")
    assert size("resample.png")[1] == 1
    succeeds("resample", digits_model, "--keep", "100,50", "-o", "r.gif")


def test_edit_by_label(here, digits_model, digits):
    common = ["edit", digits_model, "--direction", "label=3", "--events", "1,2"]
    assert succeeds(*common, "-o", "e.npy") == "2 events at 5 strengths written to e.npy\n"
    e = np.load("e.npy")
    assert (e[:, 2] == digits[[1, 2]]).all()
    assert (e[:, 4] != digits[[1, 2]]).any()
    succeeds(*common, "--against", "label=1", "--strengths", "0,1")
    assert size("edit.png")[1] == 1


def test_edit_rows_by_a_column(here, table_model, table_file):
    common = ["edit", table_model, table_file, "--events", "0,5", "--strengths", "0,1"]
    succeeds(*common, "--direction", "age>45")
    table = pd.read_csv("edit.csv")
    assert list(table)[:2] == ["event", "strength"]
    assert table["event"].tolist() == [0, 0, 5, 5]
    older = table["age"].to_numpy().reshape(2, 2)
    assert (older[:, 1] > older[:, 0]).all()
    assert "no column 'height'" in fails(*common, "--direction", "height>1")
    assert "holds numbers" in fails(*common, "--direction", "age>old")
    assert "no event with the attribute" in fails(*common, "--direction", "age>4000")


def test_edit_of_a_conditional_model_exchanges_what_is_given(here, label_model, digits):
    common = ["edit", label_model, "digits", "--events", "1,2"]
    assert succeeds(*common, "-o", "e.npy") == "2 events given 10 values written to e.npy\n"
    e = np.load("e.npy")
    assert (e[[0, 1], [1, 2]] == digits[[1, 2]]).all(), "its own label: itself"
    succeeds(*common, "--given", "label=3", "--given", "label=8")
    assert "edited by --given" in fails(*common, "--direction", "label=3")
    assert "label" in fails(*common, "--given", "label=12")


def test_nearest_of_images(here, digits_model, digits):
    common = ["nearest", digits_model, "--events", "0,2", "-k", 3, "--draws", 2]
    assert succeeds(*common) == "3 neighbours of 2 events written to nearest.png\n"
    assert size("nearest.png")[1] == 1
    succeeds(*common, "-o", "n.csv")
    table = pd.read_csv("n.csv")
    assert list(table) == ["event", "space", "rank", "neighbour", "distance"]
    assert len(table) == 12
    first = table[(table["event"] == 2) & (table["space"] == "data") & (table["rank"] == 1)]
    gap = np.linalg.norm((digits * 1.0 - digits[2:3]).reshape(len(digits), -1), axis=1)
    gap[2] = np.inf
    assert first["neighbour"].item() == gap.argmin()
    assert first["distance"].item() == pytest.approx(gap.min())


def test_nearest_of_rows_to_those_of_another_file(here, table_model, table_file):
    pd.read_csv(table_file).iloc[[7, 3]].to_csv("new.csv", index=False)
    succeeds("nearest", table_model, table_file, "--of", "new.csv", "-k", 1)
    table = pd.read_csv("nearest.csv")
    assert table[table["space"] == "data"]["neighbour"].tolist() == [7, 3]
    assert "should end in .csv or .parquet" in fails(
        "nearest", table_model, table_file, "-o", "nearest.png"
    )


# Mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["interpolate", "--between", "3,9999"], "there is no event 9,999 in digits: it has 1,797"),
        (["interpolate", "--between", "3,-1"], "there is no event -1 in digits"),
        (["interpolate", "--between", "3"], "--between takes two"),
        (["interpolate", "--between", "3,nowhere.png"], "takes two numbers, or two files"),
        (["interpolate", "--between", "a.npy,nowhere.png"], "a.npy"),
        (["interpolate", "--steps", "1"], "at least 2 steps"),
        (["interpolate", "--pairs", "0"], "at least one pair"),
        (["interpolate", "--seed", "-1"], "--seed takes a whole number from 0"),
        (["interpolate", "-o", "x.csv"], "it should end in .png, .gif or .npy"),
        (["interpolate", "-o", "file/x.png"], "cannot write file/x.png"),
        (["interpolate", "-o", "file/x.gif"], "cannot write file/x.gif"),
        (["interpolate", "nowhere.csv", "--between", "0,1"], "nowhere.csv"),
        (["manifold", "--of", "1,2,3"], "four examples; got 3"),
        (["manifold", "--of", "1,2,3,x"], "--of takes whole numbers with commas between"),
        (["manifold", "--of", "1,2,3,9999"], "there is no event 9,999"),
        (["manifold", "--steps", "1"], "at least 2 steps"),
        (["temperature", "--temperatures", "hot"], "--temperatures takes numbers"),
        (["temperature", "--temperatures", "-1"], "at least 0; got -1"),
        (["temperature", "--temperatures", "nan"], "--temperatures takes numbers"),
        (["temperature", "-n", "0"], "at least one sample"),
        (["resample", "--keep", "0"], "--keep takes per cent above 0"),
        (["resample", "--keep", "150"], "--keep takes per cent above 0"),
        (["resample", "--events", ""], "--events takes whole numbers"),
        (["edit"], "say where to: --direction label=3"),
        (["edit", "--direction", "three"], "--direction takes label=3; got 'three'"),
        (["edit", "--direction", "label=12"], "digits has no label '12'; it has 0, 1, 2"),
        (["edit", "--direction", "label>3"], "is by label, as in label=3"),
        (["edit", "--direction", "smile=1"], "is by label, as in label=3; got smile="),
        (["edit", "--direction", "label=3", "--given", "label=3"], "is given nothing"),
        (["edit", "--direction", "label=3", "--strengths", "a"], "--strengths takes numbers"),
        (["nearest", "-k", "0"], "got k=0"),
        (["nearest", "-k", "5000"], "1,796 possible neighbours"),
        (["nearest", "--draws", "0"], "at least one draw"),
        (["nearest", "-o", "x.gif"], "it should end in .png, .csv or .parquet"),
    ],
)  # fmt: skip
def test_mistakes_with_images(arguments, said, here, digits_model):
    Path("file").write_text("x")
    verb, *rest = arguments
    assert said in fails(verb, digits_model, *rest)
    assert [path.name for path in here.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("manifold", "the manifold is for images"),
        ("resample", "resample is for images"),
        ("extrapolate", "extrapolate is for images"),
    ],
)
def test_verbs_of_images_refuse_rows(verb, said, here, moons_model):
    assert said in fails(verb, moons_model)


@pytest.mark.parametrize("verb", ["resample", "nearest", "edit"])
def test_a_gan_has_no_latents_of_images(verb, here, gan_model):
    assert "no way leads back" in fails(verb, gan_model, "digits")


def test_images_without_labels_have_no_direction(here, photos):
    RealNVP((3, 10, 12), couplings=2, width=4).save("model")
    said = fails("edit", "model", photos, "--direction", "label=3")
    assert "has no labels to learn a direction from" in said


def test_a_model_that_learned_no_built_in_set_is_told_the_data(here, texture_model):
    assert "say which data are meant: pushforward nearest MODEL DATA" in fails(
        "nearest", texture_model
    )


def test_a_mixture_has_no_shell(here):
    GMM((1, 4, 4), levels=17).save("model")
    assert "lie on no shell" in fails("manifold", "model")


def test_files_of_several_events_are_chosen_from_by_number(here, digits_model, digits):
    np.save("many.npy", digits[:5])
    said = fails("interpolate", digits_model, "--between", "many.npy,many.npy")
    assert "many.npy holds 5 events, of which --between takes one" in said


def test_conditional_models_are_refused_where_nothing_can_be_given(here, label_model):
    assert "conditional" in fails("nearest", label_model, "digits")


def test_conditional_models_are_given_the_same_for_all(here, label_model, digits):
    three = ["--given", "label=3"]
    flow, context = load(label_model), np.eye(10, dtype=np.float32)[3]
    succeeds("temperature", label_model, "-n", 3, "--temperatures", 1, *three, "-o", "t.npy")
    assert (np.load("t.npy")[0] == flow.sample(3, context=context, seed=0).numpy()).all()
    succeeds("interpolate", label_model, "--between", "3,17", *three, "-o", "i.npy")
    assert (np.load("i.npy")[0, [0, -1]] == digits[[3, 17]]).all()
    succeeds("manifold", label_model, "--of", "0,11,22,33", *three, "--steps", 4, "-o", "m.npy")
    assert (np.load("m.npy")[[0, 0, 1, 1], [0, 1, 0, 1]] == digits[[0, 11, 22, 33]]).all()
    for verb in ("temperature", "interpolate", "manifold"):
        assert "such as --given label=0" in fails(verb, label_model)
    assert "none of the 10" in fails("temperature", label_model, "--given", "label=12")


def test_resampled_images_of_a_conditional_model_keep_what_they_are_given(
    here, label_model, digits
):
    from pushforward import resample

    succeeds("resample", label_model, "--events", "4,7", "--keep", "100,25", "-o", "r.npy")
    context = np.eye(10, dtype=np.float32)[open_data("digits", fractions=(0, 0)).labels["train"]]
    flow, x = load(label_model), torch.as_tensor(digits[[4, 7]])
    wanted = resample(flow, x, keep=[1, 0.25], seed=0, context=context[[4, 7]])
    assert (np.load("r.npy") == wanted.numpy()).all()


def test_given_to_a_model_that_is_given_nothing_is_said(here, digits_model):
    assert "is given nothing" in fails("temperature", digits_model, "--given", "label=3")


def test_directions_are_those_of_python(here, digits_model):
    from pushforward import direction, edit

    flow, data = load(digits_model), open_data("digits")
    three = data.labels["train"] == 3
    along = direction(flow, data.train[three], data.train[~three])
    everything = open_data("digits", fractions=(0, 0)).train
    wanted = edit(flow, torch.as_tensor(everything[[1]]), along, strengths=[1.0])
    succeeds(
        "edit",
        digits_model,
        "--direction",
        "label=3",
        "--events",
        1,
        "--strengths",
        1,
        "-o",
        "e.npy",
    )
    assert (np.load("e.npy") == wanted.numpy()).all()


@pytest.fixture(scope="module")
def mixed_file(tmp_path_factory):
    rng = np.random.default_rng(0)
    age = rng.integers(18, 80, 120)
    table = pd.DataFrame({"age": age, "city": rng.choice(["Bonn", "Oslo", "Rome"], 120)})
    table["income"] = (1000 + 10 * age + rng.normal(size=120)).round(2)
    table["since"] = np.datetime64("2020-01-01") + rng.integers(0, 900, 120).astype("m8[D]")
    table.loc[3, "income"] = np.nan
    path = tmp_path_factory.mktemp("table") / "mixed.csv"
    table.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def mixed_model(tmp_path_factory, mixed_file):
    return trained(tmp_path_factory.mktemp("models") / "mixed", mixed_file)


def test_tables_keep_their_types_and_rows_with_gaps_their_numbers(here, mixed_model, mixed_file):
    known = pd.read_csv(mixed_file)
    succeeds("interpolate", mixed_model, mixed_file, "--between", "0,9", "--steps", 3)
    made = pd.read_csv("interpolation.csv")
    ends = made.iloc[[0, 2]].reset_index(drop=True)[list(known)]
    pd.testing.assert_frame_equal(ends, known.iloc[[0, 9]].reset_index(drop=True), rtol=1e-4)
    common = ["edit", mixed_model, mixed_file, "--strengths", "0,1"]
    succeeds(*common, "--events", "0,9", "--direction", "city=Rome", "-o", "e.parquet")
    moved = pd.read_parquet("e.parquet")
    assert list(moved) == ["event", "strength", *known]
    assert moved["city"].isin(["Bonn", "Oslo", "Rome"]).all()
    assert moved["city"].iloc[[0, 2]].tolist() == known["city"].iloc[[0, 9]].tolist()
    succeeds("nearest", mixed_model, mixed_file, "--events", "4", "-k", 118)
    found = pd.read_csv("nearest.csv")["neighbour"]
    assert set(found) == set(range(120)) - {3, 4}, "row 3 lacks a value"
    said = fails(*common, "--events", "3", "--direction", "city=Rome")
    assert "event 3 of" in said
    assert "lacks a value" in said
    said = fails(*common, "--events", "0", "--direction", "city=Paris")
    assert "city is never 'Paris'; it is one of" in said
    assert "compare it by = or !=" in fails(*common, "--events", "0", "--direction", "city>Bonn")
    assert "holds dates" in fails(*common, "--events", "0", "--direction", "since>later")


def test_directions_of_rows_are_learned_from_training_rows_alone(here, mixed_model, mixed_file):
    from pushforward import direction, edit
    from pushforward.cli.options import Split
    from pushforward.cli.reading import read

    flow = load(mixed_model)
    x = read(flow, str(mixed_file), Split.train)
    x = x[~np.isnan(x).any(axis=1)]
    assert 60 < len(x) < 119
    late = pd.to_datetime(pd.read_csv(mixed_file)["since"]) > "2021-03-01"
    everything = read(flow, str(mixed_file), Split.all, "keep")
    after = x[:, 3] > everything[~late, 3].max()
    assert 0 < after.sum() < len(x)
    wanted = edit(flow, everything[[0]], direction(flow, x[after], x[~after]), strengths=[1.0])
    common = ["--events", 0, "--strengths", 1, "--direction", "since>2021-03-01", "-o", "e.npy"]
    succeeds("edit", mixed_model, mixed_file, *common)
    assert (np.load("e.npy") == wanted.numpy()).all()
