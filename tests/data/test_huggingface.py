"""Objects of Hugging Face's datasets; most of it needs that package."""

import sys

import numpy as np
import pytest
from taking import RNG, encode, take

from pushforward.data import open_data
from pushforward.data.found import Request
from pushforward.data.huggingface import from_huggingface, is_huggingface, load_named
from pushforward.errors import InputError

PIXELS = RNG.integers(0, 256, (20, 5, 6, 3), dtype=np.uint8)


@pytest.fixture
def datasets():
    return pytest.importorskip("datasets")


def images(datasets, span=range(20)):
    features = datasets.Features(
        {"img": datasets.Image(), "kind": datasets.ClassLabel(names=["cat", "dog"])}
    )
    cells = {"img": [{"bytes": encode(PIXELS[i]), "path": None} for i in span]}
    return datasets.Dataset.from_dict(cells | {"kind": [i % 2 for i in span]}, features)


def test_other_objects_are_not_taken_for_it():
    assert not any(map(is_huggingface, ({}, "hf:a", np.zeros(3), None)))


@pytest.mark.parametrize("name", ["hf:", "hf:/", "hf:a//b", "hf:a/b/c/d"])
def test_a_name_must_be_one(name):
    with pytest.raises(InputError, match=r"hf:owner/name"):
        load_named(name, Request())


def test_without_the_package_the_way_to_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install 'pushforward\[hf\]'"):
        load_named("hf:ylecun/mnist", Request())


def test_without_the_hub_there_is_one_sentence(monkeypatch):
    class Package:
        @staticmethod
        def load_dataset(name, *config):
            raise ConnectionError(f"Couldn't reach {name!r} on the Hub\nmore {config}")

    monkeypatch.setitem(sys.modules, "datasets", Package)
    with pytest.raises(InputError, match=r"hf:a/b/c .*Couldn't reach 'a/b' on the Hub .*\. Check"):
        load_named("hf:a/b/c", Request())


def test_images_come_back_with_labels_and_their_names(datasets):
    stream = from_huggingface(images(datasets), Request())
    values, labels, keys, read = take(stream)
    np.testing.assert_array_equal(values, PIXELS.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(labels, np.arange(20) % 2)
    assert (stream.label_names, len(set(keys)), read) == (("cat", "dog"), 20, 20)
    np.testing.assert_array_equal(take(stream, start=7)[0], values[7:])
    chosen = images(datasets).select([4, 2, 9]).with_format("torch")
    np.testing.assert_array_equal(take(from_huggingface(chosen, Request()))[0], values[[4, 2, 9]])


def test_splits_go_by_their_names(datasets):
    parts = {"train": images(datasets, range(10)), "validation": images(datasets, range(10, 13))}
    both = datasets.DatasetDict(parts)
    assert is_huggingface(both)
    stream = from_huggingface(both, Request())
    assert stream.items == {"train": 10, "validation": 3}
    np.testing.assert_array_equal(
        take(stream, "validation")[0], PIXELS[10:13].transpose(0, 3, 1, 2)
    )
    stream = from_huggingface(datasets.DatasetDict(parts | {"extra": parts["train"]}), Request())
    assert stream.items == {"train": 10, "validation": 3}
    assert stream.notes == ["Of the data set, 'extra' was not read; pass it by itself."]
    parts["test"] = parts.pop("train")
    with pytest.raises(InputError, match=r"splits validation, test, but no train; pass the one"):
        from_huggingface(datasets.DatasetDict(parts), Request())


def test_the_only_split_is_the_data(datasets):
    only = datasets.DatasetDict({"whatever": images(datasets)})
    assert from_huggingface(only, Request()).items == {"train": 20}


def test_what_the_hub_gives_can_be_cached(datasets, tmp_path, monkeypatch):
    """Its Arrow files hold all of it; of an object that was passed that is not known."""
    images(datasets).save_to_disk(tmp_path / "set")
    loaded = datasets.load_from_disk(tmp_path / "set")
    monkeypatch.setattr(datasets, "load_dataset", lambda *name: loaded)
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "cache"))
    data = open_data("hf:a/b", cache=True, fractions=(0, 0))
    assert isinstance(data.train, np.memmap)
    np.testing.assert_array_equal(data.train, PIXELS.transpose(0, 3, 1, 2))
    assert (data.name, data.label_names) == ("a/b", ("cat", "dog"))
    assert from_huggingface(loaded, Request()).files() == []


def test_numeric_columns_are_rows(datasets):
    rows = RNG.normal(size=(30, 2))
    columns = {"a": rows[:, 0], "b": rows[:, 1], "text": ["x"] * 30, "label": np.arange(30) % 3}
    stream = from_huggingface(datasets.Dataset.from_dict(columns), Request())
    values, labels, _, _ = take(stream)
    np.testing.assert_array_equal(values, rows)
    np.testing.assert_array_equal(labels, np.arange(30) % 3)
    assert stream.columns == ("a", "b")
    with pytest.raises(InputError, match="no column 'z'"):
        _ = from_huggingface(datasets.Dataset.from_dict(columns), Request(columns=("z",))).shape


def test_streams_and_pictureless_sets_are_refused(datasets):
    with pytest.raises(InputError, match="streaming=False"):
        from_huggingface(images(datasets).to_iterable_dataset(), Request())
    with pytest.raises(InputError, match="no numeric column"):
        _ = from_huggingface(datasets.Dataset.from_dict({"text": ["a"]}), Request()).shape
