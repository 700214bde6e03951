"""Synthetic rows beside real ones: what is good is found good, and what is bad, bad."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import f1_score, roc_auc_score

import pushforward as pf
from pushforward.errors import InputError
from pushforward.jobs.quality.neighbours import nearest, nearness, smote
from pushforward.jobs.quality.page import write_quality
from pushforward.jobs.quality.usefulness import task_of
from pushforward.jobs.tables.marginals import associations, column_distances
from pushforward.jobs.tables.mixed_table import MixedTable
from pushforward.jobs.tables.two_sample import auc_of, separate


def people(n, seed, holes=True):
    """Numbers, integers, text, truth values, dates, and missing cells."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, n)
    income = np.exp(rng.normal(8, 0.4, n)) + 60 * age
    if holes:
        income[rng.random(n) < 0.1] = np.nan
    day = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), "D")
    city = rng.choice(["Bonn", "Oslo", "Rome"], n, p=[0.6, 0.3, 0.1])
    ok = rng.random(n) < 1 / (1 + np.exp(-(age - 50) / 5))
    return pd.DataFrame({"age": age, "income": income, "city": city, "ok": ok, "day": day})


@pytest.fixture(scope="module")
def halves():
    return people(300, 0), people(300, 1)


@pytest.fixture(scope="module")
def good(halves):
    return pf.synthetic_quality(*halves, people(300, 2), target="ok")


# Pieces against other programs -------------------------------------------------------------------


def test_distances_and_associations_are_those_of_scipy(halves):
    a, b = (frame.drop(columns="day") for frame in halves)
    table = MixedTable({"a": a, "b": b})
    x, y = table.values(a), table.values(b)
    found = dict(zip(table.names, column_distances(table, x, y), strict=True))
    assert found["age"] == pytest.approx(stats.ks_2samp(a.age, b.age).statistic)
    income = stats.ks_2samp(a.income.dropna(), b.income.dropna()).statistic
    assert found["income"] == pytest.approx(income)
    shares = [frame.city.value_counts(normalize=True) for frame in (a, b)]
    assert found["city"] == pytest.approx(abs(shares[0] - shares[1]).sum() / 2)
    matrix = associations(table, x)
    both = a[["age", "income"]].dropna()
    assert matrix[0, 1] == pytest.approx(stats.pearsonr(both.age, both.income).statistic)
    counts = pd.crosstab(a.city, a.ok)
    assert matrix[2, 3] == pytest.approx(
        stats.contingency.association(counts.to_numpy(), method="cramer")
    )
    groups = [group.age.to_numpy() for _, group in a.groupby("ok")]
    between = sum(len(g) * (g.mean() - a.age.mean()) ** 2 for g in groups)
    assert matrix[0, 3] == pytest.approx(np.sqrt(between / ((a.age - a.age.mean()) ** 2).sum()))
    assert (matrix == matrix.T).all()


def test_the_auc_is_that_of_scikit_learn_and_the_p_value_of_scipy():
    rng = np.random.default_rng(0)
    a, b = np.round(rng.normal(size=80), 1), np.round(rng.normal(0.3, 1, 60), 1)
    auc, error, p = auc_of(a, b)
    truth = np.repeat([0, 1], [80, 60])
    assert auc == pytest.approx(roc_auc_score(truth, np.concatenate((a, b))))
    wanted = stats.mannwhitneyu(a, b, use_continuity=False, method="asymptotic").pvalue
    assert p == pytest.approx(wanted)
    draws = [auc_of(rng.choice(a, 80), rng.choice(b, 60))[0] for _ in range(400)]
    assert error == pytest.approx(np.std(draws), rel=0.15)


def test_the_score_is_the_f1_of_scikit_learn(halves):
    a, b = halves
    table = MixedTable({"a": a, "b": b})
    x, y = table.values(a), table.values(b)
    task = task_of(table, "city", x)
    from pushforward.jobs.tables.two_sample import trees

    column = table.names.index("city")
    model = trees(task.categories, seed=0).fit(np.delete(x, column, 1), x[:, column])
    wanted = f1_score(y[:, column], model.predict(np.delete(y, column, 1)), average="macro")
    assert task.score(x, y) == pytest.approx(wanted)


def test_smote_lies_between_neighbours_and_keeps_classes():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=60), "k": rng.choice(["a", "b"], 60)})
    frame["x"] += 100 * (frame.k == "b")
    table = MixedTable({"rows": frame})
    train = table.values(frame)
    made = smote(table, train, 500, target=1, seed=0)
    assert set(made[:, 1]) == {0.0, 1.0}
    for code in (0.0, 1.0):
        real = train[train[:, 1] == code, 0]
        drawn = made[made[:, 1] == code, 0]
        assert real.min() <= drawn.min()
        assert drawn.max() <= real.max()
    assert not np.isin(made[:, 0], train[:, 0]).all()


def test_p_values_of_the_classifier_are_uniform_without_a_difference():
    rng = np.random.default_rng(0)
    flat = np.zeros(2, bool)
    p_values = [
        separate(rng.normal(size=(40, 2)), rng.normal(size=(40, 2)), flat, seed=i).p_value
        for i in range(25)
    ]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


# The whole -------------------------------------------------------------------------------------


def test_rows_of_the_same_source_are_good(good):
    made = good.synthetic
    assert made.auc_low < 0.5 < made.auc_high
    assert made.marginal < 0.1
    assert made.association < 0.1
    assert 0.4 < made.near.nearer < 0.6
    assert abs(made.useful - good.real.useful) < 0.12
    assert good.measure == "macro F1"
    assert good.warning is None
    assert "no proof" in str(good)


def test_copies_raise_the_privacy_warning(halves):
    copied = pf.synthetic_quality(*halves, halves[0])
    assert copied.synthetic.near.copies == 1
    assert "do not hand these out" in copied.warning
    assert copied.warning in str(copied)
    # Without unseen rows as well: real rows are compared among themselves then.
    assert pf.synthetic_quality(halves[0], None, halves[0].sample(frac=1)).warning


def test_nearly_copies_raise_it_too(halves):
    close = halves[0].dropna()
    close = close.assign(income=close.income + 1.0)
    assert pf.synthetic_quality(*halves, close).warning


def test_a_few_copies_among_new_rows_are_found():
    rng = np.random.default_rng(0)
    train, test, made = (rng.normal(size=(400, 3)) for _ in range(3))
    unseen = nearest(test, train)
    assert not nearness(nearest(made, train), unseen).memorised
    made[:120] = train[:120]
    assert nearness(nearest(made, train), unseen).memorised


def test_copies_that_real_rows_share_are_no_warning():
    rng = np.random.default_rng(0)
    train, test, made = (
        pd.DataFrame({"a": rng.integers(0, 3, 300), "b": rng.choice(["x", "y"], 300)})
        for _ in range(3)
    )
    result = pf.synthetic_quality(train, test, made)
    assert result.synthetic.near.copies > 0.9
    assert result.warning is None


@pytest.mark.parametrize(("change", "worst"), [("age", "age"), ("city", "city"), ("hole", "age")])
def test_a_wrong_column_is_named(halves, change, worst):
    made = people(300, 2)
    if change == "age":
        made["age"] += 30
    elif change == "city":
        made["city"] = "Rome"
    else:
        made["age"] = made["age"].where(np.arange(300) % 2 == 0)
    result = pf.synthetic_quality(*halves, made)
    assert result.synthetic.worst_column == worst
    assert result.synthetic.auc_low > 0.6


def test_rows_without_the_relation_are_less_useful(halves):
    made = people(300, 2)
    made["ok"] = np.random.default_rng(0).permutation(made["ok"])
    result = pf.synthetic_quality(*halves, made, target="ok")
    assert result.synthetic.useful < result.real.useful - 0.1


def test_numbers_are_a_regression_and_few_integers_classes(halves):
    made = people(300, 2)
    assert pf.synthetic_quality(*halves, made, target="income").measure == "R²"
    frames = [f.assign(ok=f.ok.astype(int)) for f in (*halves, made)]
    # A model of numbers draws 0.98 for a class: the nearest class is meant.
    frames[2]["ok"] = frames[2]["ok"] + 0.02
    result = pf.synthetic_quality(*frames, target="ok")
    assert result.measure == "macro F1"
    assert result.synthetic.useful > 0.6


def test_columns_may_come_in_another_order_and_with_others(halves, good):
    a, b = halves
    made = people(300, 2)[["day", "ok", "city", "income", "age"]].assign(more=1)
    again = pf.synthetic_quality(a, b, made, target="ok")
    assert again.to_dict() == good.to_dict()


def test_constant_empty_and_identifying_columns(halves):
    frames = [
        f.assign(one=1.0, none=np.nan, name=[f"{i}-{k}" for k in range(len(f))])
        for i, f in enumerate((*halves, people(300, 2)))
    ]
    result = pf.synthetic_quality(*frames)
    assert "none" in result.notes[0]
    assert "name" in result.notes[0]
    assert result.columns["one"] == 0
    assert np.isfinite(result.synthetic.association)


def test_wide_and_tiny_tables():
    rng = np.random.default_rng(0)
    wide = [pd.DataFrame(rng.normal(size=(16, 1000)).round(0)) for _ in range(3)]
    assert len(pf.synthetic_quality(*wide).columns) == 1000
    few = [frame.iloc[:3, :1] for frame in wide]
    assert pf.synthetic_quality(*few).synthetic.auc == 0.5


def test_arrays_and_polars_are_tables_too():
    polars = pytest.importorskip("polars")
    rng = np.random.default_rng(0)
    x, y, z = (rng.normal(size=(100, 2)) for _ in range(3))
    plain = pf.synthetic_quality(x, y, z)
    frames = [polars.DataFrame({"x0": v[:, 0], "x1": v[:, 1]}) for v in (x, y, z)]
    assert pf.synthetic_quality(*frames).to_dict() == plain.to_dict()


def test_a_column_without_any_synthetic_value_is_no_accident(halves):
    result = pf.synthetic_quality(*halves, halves[0].assign(income=np.nan), target="income")
    assert result.columns["income"] > 0.8
    assert result.to_dict()["synthetic"]["useful"] is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.drop(columns="age"), "there is no column 'age' in the synthetic rows"),
        (lambda f: f.assign(age="old"), "holds numbers in the real rows and 'old'"),
        (lambda f: f.iloc[:0], "there are no rows in the synthetic rows"),
    ],
)
def test_mistakes_are_told(halves, change, said):
    with pytest.raises(InputError, match=said):
        pf.synthetic_quality(*halves, change(people(50, 2)))


def test_a_target_that_is_not_there(halves):
    with pytest.raises(InputError, match="no column 'height'"):
        pf.synthetic_quality(*halves, halves[0], target="height")


def test_the_page_and_the_json(good, tmp_path):
    path = write_quality(tmp_path / "q.html", good, "<rows>", "pushforward quality a b")
    text = path.read_text()
    for part in ("&lt;rows&gt;", "SMOTE", "data:image/png", "pushforward quality a b", "macro F1"):
        assert part in text
    assert "<script" not in text
    content = json.loads(json.dumps(good.to_dict(), allow_nan=False))
    assert content["synthetic"]["near"]["rows"] == 300
