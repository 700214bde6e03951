"""Splitting, arrays and the Dataset itself."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pushforward.data import BUILT_IN, Dataset, describe, open_data, read_for
from pushforward.data.splitting import permutation
from pushforward.errors import InputError

ROWS = np.random.default_rng(0).normal(size=(200, 3))
DIGITS = [1, 0, 2, 6, 6, 4, 8, 5, 7, 1]  # the first labels of test by seed 1


def sorted_rows(values):
    return values[np.lexsort(values.reshape(len(values), -1).T)]


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 400),
    validation=st.floats(0, 0.49),
    test=st.floats(0, 0.5),
    seed=st.integers(0, 2**31),
)
def test_splits_are_a_partition_and_repeat(n, validation, test, seed):
    index = np.arange(n, dtype=np.float32)
    data = open_data(index, fractions=(validation, test), split_seed=seed)
    assert sorted(data.everything.ravel()) == list(range(n))
    assert len(data.train) >= 1
    for part, share in ((data.validation, validation), (data.test, test)):
        assert abs(len(part) - share * n) <= 6 * (n * share * (1 - share)) ** 0.5 + 2
        assert (np.diff(part[:, 0]) > 0).all()  # in the source's order
        if n >= 10 and share > 0:
            assert len(part) >= 1
        if share == 0:
            assert not len(part)
    again = open_data(index, fractions=(validation, test), split_seed=seed)
    np.testing.assert_array_equal(data.everything, again.everything)


def test_permutation_never_changes():
    """The splits of the digits hang on these numbers."""
    assert permutation(10, 0).tolist() == [3, 2, 1, 8, 6, 0, 7, 4, 5, 9]
    assert not np.array_equal(permutation(10, 0), permutation(10, 1))
    labels = open_data("digits", split_seed=1).labels
    assert labels["test"][:10].tolist() == DIGITS


def test_labels_stay_with_their_rows(tmp_path):
    values = np.arange(100, dtype=np.float32)[:, None]
    np.savez(tmp_path / "a.npz", X=values, y=np.arange(100) * 2)
    data = open_data(tmp_path / "a.npz")
    for split, part in data.splits().items():
        np.testing.assert_array_equal(data.labels[split], part[:, 0] * 2)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.float32, np.float64, np.dtype(">f4"), np.dtype(">i2")]),
        hnp.array_shapes(min_dims=1, max_dims=2, max_side=12),
        elements={"min_value": 0, "max_value": 100},
    )
)
def test_npy_gives_the_rows_back(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("npy") / "rows.npy"
    np.save(path, values)
    rows = values.reshape(len(values), -1)
    read = read_for(path, shape=rows.shape[1:])
    np.testing.assert_array_equal(read, rows)
    assert read.dtype == (np.float64 if values.dtype == np.float64 else np.float32)
    np.testing.assert_array_equal(
        sorted_rows(open_data(path).everything), sorted_rows(rows.astype(read.dtype))
    )


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 4).flatmap(
        lambda n: hnp.arrays(np.uint8, st.tuples(st.just(n), *[st.integers(5, 8)] * 2, st.just(3)))
    )
)
def test_channel_last_and_first_are_the_same_images(values):
    last, first = open_data(values), open_data(values.transpose(0, 3, 1, 2))
    assert last.shape == first.shape == (3, *values.shape[1:3])
    np.testing.assert_array_equal(last.everything, first.everything)
    assert any("channel-last" in note for note in last.notes)
    assert not first.notes


@pytest.mark.parametrize(
    ("values", "given_levels", "levels", "dtype"),
    [
        (np.full((4, 1, 5, 5), 255, np.uint8), None, 256, np.uint8),
        (np.full((4, 1, 5, 5), 31, np.uint8), 32, 32, np.uint8),
        (np.full((4, 1, 5, 5), 200, np.int64), None, 256, np.uint8),
        (np.full((4, 1, 5, 5), 200.0), None, 256, np.uint8),
        (np.full((4, 1, 5, 5), 1.0), None, 2, np.uint8),
        (np.full((4, 1, 5, 5), True), None, 2, np.uint8),
        (np.full((4, 1, 5, 5), 300, np.uint16), None, 65536, np.uint16),
        (np.full((4, 1, 5, 5), 1023, np.int32), 1024, 1024, np.uint16),
    ],
)
def test_levels_of_images(values, given_levels, levels, dtype):
    data = open_data(values, levels=given_levels)
    assert (data.kind, data.levels, data.train.dtype) == ("images", levels, dtype)
    np.testing.assert_array_equal(data.train, values[: len(data.train)])


def test_integers_beyond_float32_stay_apart():
    values = np.array([[2**24], [2**24 + 1]])
    assert len(np.unique(read_for(values, shape=(1,)))) == 2


IMAGES = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 8))
BAD_ARRAYS = {
    "NaN": (np.where(ROWS[3, 1] == ROWS, np.nan, ROWS), r"row 3 .*column 'x1'"),
    "infinite": (np.where(ROWS[3, 1] == ROWS, np.inf, ROWS), r"infinite.*row 3 .*column 'x1'"),
    "masked": (np.ma.masked_equal(ROWS, ROWS[3, 1]), r"row 3 .*column 'x1'"),
    "fractions": (IMAGES / 255, r"pass the integers"),
    "normalised": (IMAGES / 127.5 - 1, r"pass the original integers"),
    "negative": (IMAGES - 1, r"0 to 255; .* from -1"),
    "deep": (IMAGES * 16, r"levels=4096"),
    "complex": (ROWS + 1j, "complex"),
    "object": (np.array([[1, "a"]], object), "Python objects"),
    "dates": (np.array(["2020-01-01"], "M8[D]"), "dates"),
    "text": (["a", "b"], "text"),
    "records": (np.zeros(3, [("a", "f4")]), "records"),
    "ragged": ([[1.0, 2.0], [3.0]], "differ in length"),
    "no rows": (np.zeros((0, 3)), "zero rows"),
    "no columns": (np.zeros((3, 0)), "no numbers"),
    "five axes": (np.zeros((2, 2, 2, 2, 2)), r"\(2, 2, 2, 2, 2\)"),
    "one number": (np.float64(3), "single value"),
    "nothing": (None, "NoneType"),
}


@pytest.mark.parametrize("what", BAD_ARRAYS)
def test_unusable_arrays_are_refused_in_one_sentence(what):
    source, said = BAD_ARRAYS[what]
    with pytest.raises(InputError, match=said):
        open_data(source)


@pytest.mark.parametrize(
    "arguments",
    [
        {"split_seed": -1},
        {"fractions": (0.5, 0.5)},
        {"fractions": (-0.1, 0.1)},
        {"columns": "x0"},
        {"columns": ["y"]},
        {"size": 8},
        {"levels": 2},
    ],
    ids=str,
)
def test_unusable_arguments_are_refused(arguments):
    with pytest.raises(InputError):
        open_data(ROWS, **arguments)


def test_torch_tensors_of_any_kind():
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(ROWS, requires_grad=True)
    np.testing.assert_array_equal(read_for(tensor, shape=(3,)), ROWS)
    half = torch.arange(4, dtype=torch.bfloat16)
    np.testing.assert_array_equal(read_for(half, shape=(1,))[:, 0], [0, 1, 2, 3])
    with pytest.raises(InputError, match="dense"):
        open_data(torch.eye(3).to_sparse())


def test_arrays_can_be_written_to_and_leave_the_source_alone():
    frozen = ROWS.copy()
    frozen.flags.writeable = False
    assert read_for(frozen, shape=(3,)).flags.writeable
    data = open_data(ROWS)
    before = ROWS.copy()
    data.train[:] = 0
    np.testing.assert_array_equal(ROWS, before)


def test_columns_pick_and_order_unnamed_rows():
    data = open_data(ROWS, columns=["x2", "x0"], fractions=(0, 0))
    np.testing.assert_array_equal(data.train, ROWS[:, [2, 0]])
    assert data.columns == ("x2", "x0")


@pytest.mark.parametrize("splits", [{"x_train": 40, "x_test": 7}, {"train": 40, "val": 3}])
def test_npz_keeps_its_own_splits(tmp_path, splits):
    np.savez(tmp_path / "a.npz", **{key: ROWS[:n] for key, n in splits.items()})
    data = open_data(tmp_path / "a.npz")
    sizes = {split: len(values) for split, values in data.splits().items()}
    own, drawn = ("test", "validation") if "x_test" in splits else ("validation", "test")
    assert sizes[own] == list(splits.values())[1]
    assert sizes["train"] + sizes[drawn] == 40
    assert 1 <= sizes[drawn] <= 12


def test_pickles_are_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (sys.exit, (1,))

    np.save(tmp_path / "a.npy", np.array([Bomb()], object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", X=np.array([Bomb()], object))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(InputError, match="never loaded"):
            open_data(tmp_path / name)


@pytest.mark.parametrize("keep", [0, 20, 200, 500])
@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_cut_numpy_files_are_refused(tmp_path, ending, keep):
    path = tmp_path / f"a{ending}"
    np.save(path, ROWS) if ending == ".npy" else np.savez(path, X=ROWS)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"a\.np"):
        open_data(path)


@pytest.mark.parametrize("source", ["digits", "two_moons", ROWS, IMAGES.astype(np.uint8)])
def test_description_is_json_and_right(source):
    data = open_data(source)
    summary = json.loads(json.dumps(describe(data)))
    everything = data.everything
    assert summary["counts"]["total"] == len(data) == len(everything)
    assert summary["min"] == everything.min()
    assert summary["max"] == everything.max()
    if data.kind == "rows":
        means = [column["mean"] for column in summary["columns"]]
        np.testing.assert_allclose(means, everything.mean(axis=0, dtype=np.float64))
        stds = [column["std"] for column in summary["columns"]]
        np.testing.assert_allclose(stds, everything.std(axis=0, dtype=np.float64))


def test_digits_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    original = datasets.load_digits()
    np.testing.assert_array_equal(
        read_for("digits", shape=(1, 8, 8), levels=17)[:, 0], original.images
    )
    data = open_data("digits")
    assert [len(part) for part in data.splits().values()] == [1437, 180, 180]
    assert (data.levels, data.shape, data.train.dtype) == (17, (1, 8, 8), np.uint8)
    counts = np.bincount(np.concatenate(list(data.labels.values())))
    np.testing.assert_array_equal(counts, np.bincount(original.target))


def test_constant_columns_are_noted():
    data = open_data(np.column_stack([ROWS, np.ones(len(ROWS))]))
    assert any("x3" in note for note in data.notes)
    assert not open_data(ROWS).notes


def test_a_dataset_is_a_source():
    data = open_data(ROWS)
    assert open_data(data) is data
    picked = open_data(data, columns=["x1"])
    np.testing.assert_array_equal(picked.test[:, 0], data.test[:, 1])
    np.testing.assert_array_equal(read_for(data, shape=(3,)), data.everything)
    assert isinstance(picked, Dataset)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("two-moon", "'two-moons'"),
        ("digit", "'digits'"),
        ("nowhere/photos", "no such file or folder"),
        ("https://example.org/a.csv", "download"),
        ("", "empty string"),
        ("a" * 5000, "cannot be the path"),
    ],
)
def test_wrong_paths_say_what_there_is(source, said):
    with pytest.raises(InputError, match=said) as error:
        open_data(source)
    if said == "no such file or folder":
        assert all(name in str(error.value) for name in BUILT_IN)


def test_near_misses_of_files_are_suggested(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match="'photos'"):
        open_data(tmp_path / "photo")


def test_unknown_endings_and_folders_are_refused(tmp_path):
    (tmp_path / "model.pkl").write_bytes(b"hello")
    for source in (tmp_path / "model.pkl", tmp_path):
        with pytest.raises(InputError, match="idx"):
            open_data(source)
    np.save(tmp_path / "rows.npy", ROWS)
    with pytest.raises(InputError, match=r"rows\.npy"):
        open_data(tmp_path)


def test_importing_is_light():
    code = (
        "import sys, pushforward.data; "
        "heavy = {'torch', 'pandas', 'pyarrow', 'PIL', 'sklearn'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


def test_labels_that_are_texts_become_numbers_in_the_order_of_the_alphabet(tmp_path):
    images = np.zeros((4, 1, 2, 2), np.uint8)
    texts = {"y_train": np.array([b"dog", b"cat"] * 2), "y_test": np.array(["dog", "ant"] * 2)}
    np.savez(tmp_path / "x.npz", x_train=images, x_test=images, **texts)
    dataset = open_data(tmp_path / "x.npz")
    assert dataset.label_names == ("ant", "cat", "dog")
    assert dataset.labels["test"].tolist() == [2, 0, 2, 0]
    assert set(dataset.labels["train"].tolist()) <= {1, 2}
