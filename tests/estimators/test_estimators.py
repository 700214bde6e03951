"""What all estimators share: frames, names, seeds, pickles, and their places in scikit-learn."""

import pickle
import pickletools

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from quickly import ESTIMATORS, answers, quick, rows
from scipy import sparse
from sklearn.base import clone

import pushforward as pf
from pushforward.sklearn import FlowImputer

every = pytest.mark.parametrize("make", ESTIMATORS, ids=lambda make: make.__name__)


@every
def test_a_seed_repeats_it_and_touches_nothing_global(make):
    x = rows()
    numpy_before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    one, two, other = (quick(make, random_state=seed).fit(x) for seed in (1, 1, 2))
    if make is FlowImputer:
        x[0, 0] = np.nan  # of complete rows all say the same
    assert np.array_equal(answers(one, x), answers(two, x))
    assert not np.array_equal(answers(one, x), answers(other, x))
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)
    drawn = quick(make, random_state=np.random.RandomState(1)).fit(x)
    assert answers(drawn, x).shape == answers(one, x).shape


@every
def test_pickle_and_joblib_give_the_very_same_and_hold_no_code_of_torch(make, tmp_path):
    x = rows()
    fitted = quick(make).fit(x)
    data = pickle.dumps(fitted)
    named = {
        str(arg)
        for op, arg, _ in pickletools.genops(data)
        if "GLOBAL" in op.name or "UNICODE" in op.name
    }
    assert not any(text.startswith("torch") or "_rebuild_tensor" in text for text in named)
    joblib.dump(fitted, tmp_path / "it")
    for again in (pickle.loads(data), joblib.load(tmp_path / "it")):
        assert np.array_equal(answers(again, x), answers(fitted, x))
        assert again.get_params() == fitted.get_params()
    assert not hasattr(pickle.loads(pickle.dumps(quick(make))), "flow_")


def test_a_damaged_pickle_is_told_in_a_sentence():
    fitted = quick(pf.FlowDensity).fit(rows())
    state = fitted.__getstate__()
    state["flow_"] = {**state["flow_"], "weights": state["flow_"]["weights"][:-9]}
    with pytest.raises(pf.InputError, match="damaged or of another version"):
        quick(pf.FlowDensity).__setstate__(state)


@every
@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames_are_taken_and_names_are_held_to(make, frame):
    x = rows()
    table = frame({name: x[:, i] for i, name in enumerate("abc")})
    fitted = quick(make).fit(table)
    assert list(fitted.feature_names_in_) == ["a", "b", "c"]
    assert np.array_equal(answers(fitted, table), answers(quick(make).fit(x), x))
    with pytest.raises(ValueError, match="feature names should match"):
        answers(fitted, table[["b", "a", "c"]])
    with pytest.raises(ValueError, match="feature names should match"):
        answers(fitted, table[["a", "b"]])


@every
def test_clone_forgets_what_was_learned(make):
    fitted = quick(make, max_steps=2).fit(rows())
    fresh = clone(fitted)
    assert fresh.get_params() == fitted.get_params()
    assert not hasattr(fresh, "flow_")


@every
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_types_of_numbers(make, dtype):
    x = rows().astype(dtype)
    given = answers(quick(make).fit(x), x)
    assert np.isfinite(given).all()
    if hasattr(make, "transform"):
        assert given.dtype == (dtype if dtype != np.int64 else np.float64)


@every
@pytest.mark.parametrize(
    ("x", "said"),
    [
        (sparse.csr_matrix(np.eye(4)), "[Ss]parse"),
        ([["a", "b"], ["c", "d"]], "convert string to float"),
        ([[1.0, 2.0]], "minimum of 2"),
        (np.empty((5, 0)), "0 feature"),
        ([1.0, 2.0, 3.0], "2D array"),
    ],
    ids=["sparse", "text", "row", "nothing", "vector"],
)
def test_bad_tables_are_refused(make, x, said):
    with pytest.raises((ValueError, TypeError), match=said):
        quick(make).fit(x)


@every
@pytest.mark.parametrize("d", [1, 2, 40])
def test_constant_columns_few_rows_and_one_column(make, d):
    x = rows(12, d)
    x[:, -1] = 3.0
    assert np.isfinite(answers(quick(make).fit(x), x)).all()


@every
def test_a_model_or_a_setting_that_does_not_exist_is_told_in_a_sentence(make):
    with pytest.raises(pf.InputError, match="did you mean realnvp"):
        quick(make, model="realnvpp").fit(rows())
    with pytest.raises(pf.InputError, match="no setting 'wide'"):
        quick(make, settings={"wide": 3}).fit(rows())


@every
def test_another_model(make):
    fitted = make("maf", max_steps=2, settings={"layers": 1, "width": 8}, random_state=0).fit(
        rows()
    )
    assert fitted.flow_.name == "MAF((3,))"
    assert fitted.flow_.dtype == torch.float64
