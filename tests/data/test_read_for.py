"""Reading a source for a model that has a shape."""

import numpy as np
import pandas as pd
import pytest

from pushforward.data import open_data, read_for
from pushforward.errors import InputError

FRAME = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3)), columns=["a", "b", "c"])
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 9), dtype=np.uint8)


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "rows.csv"
    FRAME.assign(text="x").to_csv(path, index=False)
    return path


def test_order_is_the_sources(csv):
    np.testing.assert_array_equal(read_for(csv, shape=(3,)), FRAME.to_numpy())
    np.testing.assert_array_equal(read_for(IMAGES, shape=(3, 8, 9), levels=256), IMAGES)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_split_is_that_of_open_data(csv, split):
    expected = open_data(csv, columns=["c", "a"], split_seed=5).splits()[split]
    read = read_for(csv, shape=(2,), columns=["c", "a"], split=split, split_seed=5)
    np.testing.assert_array_equal(read, expected)


def test_columns_go_by_name_then_by_position(csv):
    expected = FRAME[["c", "a"]].to_numpy()
    for source in (csv, FRAME, open_data(FRAME, fractions=(0, 0))):
        np.testing.assert_array_equal(read_for(source, shape=(2,), columns=["c", "a"]), expected)
    # A model trained on rows without names takes a table by position, and the other way round.
    for source, columns in ((csv, ["x0", "x1", "x2"]), (FRAME.to_numpy(), ["a", "b", "c"])):
        np.testing.assert_array_equal(
            read_for(source, shape=(3,), columns=columns), FRAME.to_numpy()
        )


def test_one_event_is_a_batch_of_one():
    np.testing.assert_array_equal(read_for(IMAGES[0], shape=(3, 8, 9)), IMAGES[:1])
    last = IMAGES[0].transpose(1, 2, 0)
    np.testing.assert_array_equal(read_for(last, shape=(3, 8, 9)), IMAGES[:1])
    grey = read_for(IMAGES[0, 0], shape=(1, 8, 9))
    np.testing.assert_array_equal(grey, IMAGES[:1, :1])
    np.testing.assert_array_equal(read_for([1.0, 2.0, 3.0], shape=(3,)), [[1, 2, 3]])


def test_the_shape_settles_what_is_ambiguous():
    """(N, 9, 8, 3) looks channel-last; for a model of nine channels it is not."""
    values = np.zeros((2, 9, 8, 3), np.uint8)
    assert read_for(values, shape=(9, 8, 3)).shape == (2, 9, 8, 3)
    assert read_for(values, shape=(3, 9, 8)).shape == (2, 3, 9, 8)
    three_grey = np.zeros((3, 8, 8), np.uint8)
    assert read_for(three_grey, shape=(3, 8, 8)).shape == (1, 3, 8, 8)
    assert read_for(three_grey, shape=(1, 8, 8)).shape == (3, 1, 8, 8)


@pytest.mark.parametrize(
    ("source", "arguments", "said"),
    [
        (FRAME, {"shape": (2,)}, r"rows of 2 numbers; table has 3 .*\(a, b, c\)\. Choose 2"),
        (FRAME, {"shape": (4,)}, "rows of 4 numbers; table has 3"),
        (FRAME, {"shape": (2,), "columns": ["a", "z"]}, "no column 'z'"),
        (FRAME, {"shape": (1, 8, 8)}, r"images of shape \(1, 8, 8\); table holds rows of 3"),
        (np.zeros((5, 64)), {"shape": (1, 8, 8)}, r"Reshape them to \(N, 1, 8, 8\)"),
        (IMAGES, {"shape": (216,)}, r"Reshape them to \(N, 216\)"),
        (IMAGES, {"shape": (1, 8, 9)}, "greyscale"),
        (IMAGES, {"shape": (3, 16, 16)}, "Resize them to 16x16"),
        (IMAGES, {"shape": (3, 8, 9), "levels": 32}, "0 to 31"),
        ("digits", {"shape": (1, 8, 8), "levels": 256}, "256 levels; digits has 17"),
        (FRAME, {"shape": (3,), "split": "tests"}, "split"),
        (FRAME[:3], {"shape": (3,), "split": "test"}, "empty"),
        (FRAME, {"shape": (3,), "missing": "ignore"}, "missing"),
    ],
)
def test_what_does_not_fit_is_named(source, arguments, said):
    with pytest.raises(InputError, match=said):
        read_for(source, **arguments)


def test_missing_values_raise_stay_or_go(tmp_path):
    frame = FRAME.copy()
    frame.loc[7, "b"] = np.nan
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    for source in (frame, tmp_path / "a.csv", tmp_path / "a.parquet"):
        with pytest.raises(InputError, match=r"row 7 .*column 'b'"):
            read_for(source, shape=(3,))
        np.testing.assert_array_equal(read_for(source, shape=(3,), missing="keep"), frame)
        np.testing.assert_array_equal(read_for(source, shape=(3,), missing="drop"), frame.dropna())
        # What is missing in a column that the model does not have is nobody's concern.
        assert len(read_for(source, shape=(2,), columns=["a", "c"])) == len(frame)
    whole = pd.DataFrame({"a": [1, np.nan, 3], "b": [0, 1, 2]})
    np.testing.assert_array_equal(read_for(whole, shape=(2,), levels=4, missing="keep"), whole)
    with pytest.raises(InputError, match="levels"):
        read_for(whole, shape=(2,), levels=3, missing="keep")
    with pytest.raises(InputError, match="infinite"):
        read_for(frame.replace(frame.iloc[0, 0], np.inf), shape=(3,), missing="keep")
