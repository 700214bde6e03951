"""The verbs on models that are no densities: what means something works, the rest is refused."""

import json

import numpy as np
import pytest
from commands import fails
from commands import succeeds as run
from PIL import Image

import pushforward as pf
from pushforward.cli.options import Split
from pushforward.cli.reading import read_labelled
from pushforward.errors import InputError
from pushforward.jobs.report import write_report


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A GAN and a classifier, saved after a few steps on the built-in digits."""
    root = tmp_path_factory.mktemp("models")
    digits = pf.open_data("digits")
    facts = {"data": {"name": "digits", "built_in": True}}
    gan = pf.GAN((1, 8, 8), levels=17, generator=(16,), discriminator=(16,), latent=4)
    revnet = pf.RevNet((1, 8, 8), levels=17, units=(1, 1), stem=8, channels=(8, 16))
    for name, model in (("gan", gan), ("revnet", revnet)):
        pf.fit(model, digits, max_steps=3, progress=False, threads=1)
        model.facts |= facts
        model.save(root / name)
    return root


def test_eval_measures_what_there_is(folders):
    said = run("eval", folders / "gan")
    assert "sliced Wasserstein" in said
    assert "no likelihood" in said
    said = run("eval", folders / "revnet")
    assert "cross-entropy" in said
    assert "error rate" in said
    assert "180" in said


def test_info_says_that_there_is_no_density(folders):
    for name in ("gan", "revnet"):
        assert "no density" in run("info", folders / name)
        assert json.loads(run("info", folders / name, "--json"))["density"] == "none"


@pytest.mark.parametrize(
    "arguments",
    [
        ("score", "gan", "digits"),
        ("encode", "gan", "digits", "-o", "z.npy"),
        ("verify", "gan"),
        ("export", "gan", "-o", "x.pt2"),
        ("score", "revnet", "digits"),
        ("encode", "revnet", "digits", "-o", "z.npy"),
        ("verify", "revnet"),
        ("export", "revnet", "-o", "x.pt2"),
        ("sample", "revnet", "-o", "x.png"),
    ],
)
def test_what_means_nothing_is_refused_in_a_sentence(folders, tmp_path, arguments):
    verb, name, *rest = arguments
    rest = [str(tmp_path / word) if "." in word else word for word in rest]
    said = fails(verb, folders / name, *rest)
    assert (f"cannot be taken by {verb}:" if verb in ("verify", "export") else " has no ") in said
    assert "flow" in said.lower() or "classif" in said
    assert not list(tmp_path.iterdir())


def classes_in_folders(place, names):
    for name in names:
        (place / name).mkdir(parents=True)
        for number in range(3):
            image = np.arange(64, dtype=np.uint8).reshape(8, 8) + number
            Image.fromarray(image).save(place / name / f"{number}.png")
    return place


def test_labels_are_compared_by_their_names(tmp_path):
    learned = classes_in_folders(tmp_path / "learned", ["bee", "cat", "dog"])
    sizes = ("--set", "model.units=[1]", "--set", "model.channels=[8]", "--set", "model.stem=8")
    options = ("--max-steps", "1", "--out", tmp_path / "run", "--quiet")
    run("train", learned, "--model", "revnet", *sizes, *options)
    model = pf.load(tmp_path / "run")
    some = classes_in_folders(tmp_path / "some", ["cat", "dog"])  # there they are 0 and 1
    assert sorted(read_labelled(model, str(some), Split.all)[1]) == [1, 1, 1, 2, 2, 2]
    other = classes_in_folders(tmp_path / "other", ["cat", "emu"])
    with pytest.raises(InputError, match=r"the class 'emu', which RevNet.* did not learn"):
        read_labelled(model, str(other), Split.all)
    model.facts = {}
    with pytest.raises(InputError, match="digits has integers of 17 levels"):
        read_labelled(model, "digits", Split.all)


def test_the_page_offers_what_the_model_answers(tmp_path):
    offered = {
        "nats": (True, True),
        "sliced Wasserstein": (True, False),
        "nats/label": (False,) * 2,
    }
    model = pf.RealNVP((2,), couplings=2, width=4)
    for unit, expected in offered.items():
        model.facts = {"metrics": {"unit": unit, "test": 1.5, "test_error_rate": 0.25}}
        model.save(tmp_path / "best")
        text = write_report(tmp_path).read_text()
        assert tuple(f"pushforward {verb} " in text for verb in ("sample", "verify")) == expected
        assert "25.00 %" in text


def test_a_gan_draws_pictures(folders, tmp_path):
    run("sample", folders / "gan", "-n", "4", "-o", tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 0


def test_train_takes_classes_from_the_data(tmp_path):
    options = ("--max-steps", "2", "--threads", "1", "--out", tmp_path / "run")
    sizes = ("--set", "model.units=[1]", "--set", "model.channels=[8]", "--set", "model.stem=8")
    said = run("train", "digits", "--model", "revnet", *options, *sizes)
    assert "wrong" in said
    assert pf.load(tmp_path / "run").labels == 10
    assert "cross-entropy" in run("eval", tmp_path / "run")


def test_labels_that_are_no_integers_are_in_the_way_of_classifiers_alone(tmp_path):
    images = np.arange(20 * 64, dtype=np.uint8).reshape(20, 1, 8, 8)
    np.savez(tmp_path / "x.npz", x=images, y=np.full(20, np.nan))
    options = ("--max-steps", "1", "--quiet", "--out")
    small = ("--set", "model.generator=[8]", "--set", "model.discriminator=[8]")
    run("train", tmp_path / "x.npz", "--model", "gan", *small, *options, tmp_path / "gan")
    said = fails("train", tmp_path / "x.npz", "--model", "revnet", *options, tmp_path / "revnet")
    assert "are integers; got torch.float64" in said
