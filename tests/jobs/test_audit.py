"""Groups, regions and drift: what was planted is found, and nothing else is."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import pushforward as pf
from pushforward.data.detect import detect
from pushforward.errors import InputError
from pushforward.jobs.auditing.drift import drift_between
from pushforward.jobs.auditing.image_traits import image_traits
from pushforward.jobs.auditing.means import adjusted, equal_means, interval, memberships
from pushforward.jobs.auditing.page import write_audit
from pushforward.jobs.auditing.regions import rare_regions, unlikely_regions
from pushforward.jobs.tables.frames import frame_of
from pushforward.jobs.tables.mixed_table import MixedTable


def people(n, seed, old=0.02, cities=("Bonn", "Oslo")):
    """Few old women among people of working age."""
    rng = np.random.default_rng(seed)
    planted = rng.random(n) < old
    age = np.where(planted, rng.integers(66, 90, n), rng.integers(18, 61, n))
    sex = np.where(planted | (rng.random(n) < 0.5), "f", "m")
    return pd.DataFrame({
        "age": age,
        "sex": sex,
        "income": rng.normal(3000, 400, n) + 20 * age,
        "city": rng.choice(cities, n),
    })  # fmt: skip


def modelled(frame):
    """A mixture of normals fitted to the rows, no training: quick, and good enough."""
    schema = detect(frame)
    columns = tuple(schema.specs())
    flow = pf.RealNVP((len(schema),), columns=columns, base="mixture", couplings=2, width=8)
    flow.initialise(flow.prepare(schema.encode(frame), None, True)[0])
    flow.facts = {"data": {"schema": schema.to_json(), "columns": list(schema.names)}}
    return flow.eval()


@pytest.fixture(scope="module")
def rows():
    return people(1500, 0)


@pytest.fixture(scope="module")
def flow(rows):
    """Of two columns; the others are there to group by."""
    return modelled(rows[["age", "income"]])


@pytest.fixture(scope="module")
def by_sex(flow, rows):
    return pf.audit(flow, rows, "sex,city", people(1500, 1, old=0.15))


# Pieces ----------------------------------------------------------------------------------------


def test_intervals_hold_their_mean_and_p_values_are_holms():
    rng = np.random.default_rng(0)
    inside = np.zeros(2)
    for _ in range(400):
        x = rng.exponential(size=15)  # Student's own interval holds 90 %
        found, wide = interval(x, 1), interval(x, 20)
        inside += found["low"] < 1 < found["high"], wide["low"] < 1 < wide["high"]
        assert wide["low"] < found["low"] < x.mean() < found["high"] < wide["high"]
    assert 0.92 < inside[0] / 400 < 0.98
    assert inside[1] / 400 > 0.98
    wanted = stats.t.interval(0.95, 9, np.arange(10.0).mean(), stats.sem(np.arange(10.0)))
    assert interval(np.arange(10.0), 1)["low"] == pytest.approx(wanted[0])  # no skewness
    assert adjusted([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert adjusted([]) == []


def test_p_values_of_small_groups_are_uniform_though_log_p_has_a_long_tail():
    rng, p, welch = np.random.default_rng(1), [], []
    drawn = memberships(60)
    for _ in range(300):
        x = -rng.gamma(0.7, size=60)
        p.append(equal_means(x[:4], x[4:], drawn))
        welch.append(stats.ttest_ind(x[:4], x[4:], equal_var=False).pvalue)
    assert np.mean(np.array(p) <= 0.05) < 0.09 < np.mean(np.array(welch) <= 0.05)
    assert stats.kstest(p, "uniform").pvalue > 0.001
    assert equal_means(rng.normal(-9, 1, 8), rng.normal(0, 1, 52), drawn) == 1 / 2000
    many = rng.normal(size=300), rng.normal(0.2, 2.0, size=300)
    known = stats.ttest_ind(*many, equal_var=False).pvalue
    assert equal_means(*many, memberships(600)) == pytest.approx(known)


def test_an_unlikely_region_is_found_in_words(rows):
    table = MixedTable({"rows": rows})
    values = table.values(rows)
    rng = np.random.default_rng(0)
    log_prob = rng.normal(size=len(rows)) - 8 * (rows.age > 61) - 3 * (rows.city == "Oslo")
    regions = unlikely_regions(table, values, log_prob.to_numpy(), None, 0)
    assert "age > 6" in regions[0].name
    assert regions[0].high < -6
    assert sum(region.rows for region in regions) == len(rows)
    assert any("city = Oslo" in region.name for region in regions[:3])


def test_intervals_of_regions_hold_although_they_were_searched_for():
    """Of noise nothing is unlikely: a tree judged on the rows it learned from would disagree."""
    rng = np.random.default_rng(0)
    covered = total = 0
    frame = pd.DataFrame(rng.normal(size=(300, 3)))
    table = MixedTable({"rows": frame})
    for seed in range(20):
        log_prob = np.random.default_rng(seed + 100).normal(size=300)
        regions = unlikely_regions(table, table.values(frame), log_prob, None, seed)
        covered += all(r.low < 0 < r.high for r in regions)
        total += 1
    assert covered >= 0.85 * total


def test_under_represented_regions_are_found_against_a_reference():
    a, b = people(1500, 0), people(1500, 1, old=0.15)
    table = MixedTable({"a": a, "b": b})
    (region, *_) = rare_regions(table, table.values(a), table.values(b), 0)
    assert region.name.startswith("age > 6")
    assert region.share < 0.04
    assert region.expected > 0.1
    assert not rare_regions(table, table.values(a), table.values(people(1500, 2)), 0)


def test_no_drift_between_halves_has_uniform_p_values():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=2), "k": ["a", "b"]})
    table = MixedTable({"rows": frame})
    likelihoods, classifiers = [], []
    for seed in range(20):
        x = np.stack((rng.normal(size=120), rng.integers(0, 2, 120)), 1)
        log_prob = -(x[:, 0] ** 2) / 2
        cut = x[:60], x[60:], log_prob[:60], log_prob[60:]
        drift = drift_between(table, *cut, seed=seed)
        likelihoods.append(drift.p_likelihood)
        classifiers.append(drift.p_classifier)
    assert stats.kstest(likelihoods, "uniform").pvalue > 0.01
    assert stats.kstest(classifiers, "uniform").pvalue > 0.01


def test_the_likelihood_test_is_scipys_permutation_test():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": [0.0, 1.0]})
    a, b = rng.normal(size=40), rng.normal(0.4, 1, 40)
    drift = drift_between(MixedTable({"rows": frame}), a[:, None], b[:, None], a, b)
    wanted = stats.permutation_test(
        (a, b), lambda x, y: x.mean() - y.mean(), n_resamples=1999, rng=np.random.default_rng(1)
    )
    assert drift.p_likelihood == pytest.approx(wanted.pvalue, abs=0.03)


# The whole -------------------------------------------------------------------------------------


def test_a_planted_group_is_found(by_sex, rows):
    assert by_sex.drift.found
    assert any("age > 6" in sentence for sentence in by_sex.findings)
    groups = {group.name: group for group in by_sex.groups}
    assert set(groups) >= {"sex = f", "city = Oslo", "sex = f and city = Bonn"}
    assert groups["sex = f"].rows == (rows.sex == "f").sum()
    assert groups["sex = f"].scored == groups["sex = f"].rows
    assert by_sex.drift.columns[0].name in ("age", "income")


def test_the_means_of_groups_are_those_of_log_prob(by_sex, flow, rows):
    log_prob = pf.jobs.auditing.events.scores_of(flow, pf.jobs.auditing.events.Events(rows))
    group = next(g for g in by_sex.groups if g.name == "sex = m")
    assert group.log_prob == pytest.approx(log_prob[rows.sex == "m"].mean(), abs=0.05)
    test = stats.ttest_ind(log_prob[rows.sex == "m"], log_prob[rows.sex == "f"], equal_var=False)
    assert group.p_value >= test.pvalue


def test_drift_is_found_when_one_column_is_shifted(flow, rows):
    shifted = people(600, 5)
    shifted["income"] += 300
    drift = pf.audit(flow, rows, "sex", shifted).drift
    assert drift.found
    assert drift.columns[0].name == "income"
    assert "median" in drift.columns[0].said
    assert "income" in drift.sentence
    same = pf.audit(flow, rows, "sex", people(600, 6)).drift
    assert not same.found
    assert "No drift" in same.sentence


def test_rows_in_both_sets_are_told(flow, rows):
    result = pf.audit(flow, rows.iloc[:300], "sex", rows)
    assert "300 rows are in both sets" in " ".join(result.notes)
    assert not result.drift.found


def test_absent_and_tiny_groups_are_told(flow):
    rows = people(600, 0, old=0)
    rows.loc[:3, "city"] = "Rome"
    other = people(600, 1, old=0, cities=("Bonn", "Oslo", "Nice"))
    found = {g.name: g.finding for g in pf.audit(flow, rows, "city", other).groups}
    assert found["city = Nice"] == "absent"
    assert "tiny" in found["city = Rome"]
    balanced = {g.name: g for g in pf.audit(flow, rows, "city").groups}
    assert "under-represented" in balanced["city = Rome"].finding
    assert balanced["city = Rome"].expected == pytest.approx(1 / 3)


def test_without_a_model_one_is_learned_from_half(monkeypatch, flow, rows):
    seen = []

    def learn(frame, **settings):
        seen.append(frame)
        return flow

    monkeypatch.setattr("pushforward.jobs.learning.learn", learn)
    result = pf.audit(None, rows)
    assert result.learned
    assert len(seen[0]) == result.scored == len(rows) // 2
    assert result.by == ("sex", "city")
    assert "half" in " ".join(result.sentences)
    with pytest.raises(InputError, match="too few"):
        pf.audit(None, rows.iloc[:20])


def test_missing_cells_and_unknown_categories_have_no_score(rows):
    rows = rows.iloc[:400]
    flow = modelled(rows[["age", "sex", "income"]])
    holes = rows.copy()
    holes.loc[:99, "income"] = np.nan
    holes.loc[100:109, "sex"] = "x"
    result = pf.audit(flow, holes, "sex")
    assert result.scored == len(rows) - 110
    said = " ".join(result.sentences)
    assert "110 rows with missing cells" in said
    assert "sex = x" in said
    assert next(g for g in result.groups if g.name == "sex = x").log_prob is None


def test_columns_go_by_name_and_others_do_not_matter(by_sex, flow, rows):
    mixed = rows[["city", "income", "sex", "age"]].assign(name=[f"n{i}" for i in range(len(rows))])
    result = pf.audit(flow, mixed, "sex,city")
    assert result.log_prob == pytest.approx(by_sex.log_prob, abs=0.05)
    assert "name" in " ".join(result.notes)


def test_numbers_are_cut_at_quartiles(flow, rows):
    groups = pf.audit(flow, rows, ["age"]).groups
    assert sum(group.rows for group in groups) == len(rows)
    assert len(groups) == 4
    assert groups[0].name.startswith("age 18 to ")


def test_one_group_and_constant_columns(flow, rows):
    one = rows.assign(sex="f", always=1.0)
    result = pf.audit(flow, one, "sex,always")
    assert result.groups[0].p_value is None
    assert result.groups[0].share == 1
    assert "under-represented" not in result.groups[0].finding


def test_one_row_and_a_wide_table(flow, rows):
    single = pf.audit(flow, rows.iloc[:1], "sex")
    assert single.groups[0].rows == 1
    wide = rows.iloc[:60].join(pd.DataFrame(np.ones((60, 1000))).add_prefix("w"))
    assert pf.audit(flow, wide).events == 60


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda flow, rows: pf.audit(flow, rows, "height"), "no column 'height'"),
        (lambda flow, rows: pf.audit(flow, rows.drop(columns="age")), "'age'"),
        (lambda flow, rows: pf.audit(flow, rows.assign(age="old")), "'old'"),
        (lambda flow, rows: pf.audit(flow, rows.iloc[:0]), "no rows in the data"),
        (lambda flow, rows: pf.audit(flow, rows, reference=rows[["age"]]), "in the reference"),
        (lambda flow, rows: pf.audit("nowhere", rows), "nowhere"),
    ],
)
def test_mistakes_are_told(flow, rows, make, said):
    with pytest.raises(InputError, match=said):
        make(flow, rows)


def test_the_page_and_the_json(by_sex, tmp_path):
    path = write_audit(tmp_path / "a.html", by_sex, "pushforward audit <m>")
    text = path.read_text()
    for part in ("not what is fair", "data:image/png", "sex = f", "Drift", "audit &lt;m&gt;"):
        assert part in text
    assert "<script" not in text
    content = json.loads(json.dumps(by_sex.to_dict(), allow_nan=False))
    assert content["drift"]["p_value"] < 0.05
    assert content["groups"][0]["name"] == "sex = f"
    assert "not what is fair" in " ".join(by_sex.sentences)
    assert "age" in str(by_sex)


# Images ----------------------------------------------------------------------------------------


def test_traits_of_images():
    black, stripes = np.zeros((2, 3, 4, 4), np.uint8), np.zeros((1, 3, 4, 4), np.uint8)
    stripes[..., ::2] = 255
    frame = image_traits(np.concatenate((black, stripes)), 256)
    assert frame.loc[0].tolist() == [0, 0, 0, 0]
    assert frame.loc[2, "brightness"] == pytest.approx(0.5)
    assert frame.loc[2, "contrast"] == pytest.approx(0.5)
    assert frame.loc[2, "detail"] == pytest.approx(0.5)
    assert frame.loc[2, "colour"] == 0


def test_images_by_label_and_drift_of_brightness():
    data = pf.open_data("digits")
    flow = pf.RealNVP(data.shape, levels=data.levels, couplings=1, width=4)
    flow.initialise(flow.prepare(data.train[:200], None, True)[0])
    images = data.everything[:1000]
    result = pf.audit(flow.eval(), data)
    assert {group.name for group in result.groups} == {f"label = {i}" for i in range(10)}
    assert result.groups[0].rows > 100
    darker = (images[:500] * 0.7).astype(images.dtype)
    drift = pf.audit(flow, images[500:], None, darker).drift
    assert drift.found
    assert drift.columns[0].name in ("brightness", "contrast", "detail")
    with pytest.raises(InputError, match="takes a model"):
        pf.audit(None, data)


def test_files_are_read_as_in_training(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("zip;x\n00701;1,5\n00702;\n00701;tall\n00702;2,5\n")
    frame = frame_of(path)
    assert frame["zip"].tolist() == ["00701", "00702", "00701", "00702"]  # codes, not numbers
    table = MixedTable({"rows": pd.DataFrame({"x": [1.5, 2.5, "tall", *range(97)]}).assign(y=1.0)})
    assert table.notes[0].startswith("Left out: x, which holds 'tall' among its numbers")
    path.write_text("a,b\n1,2\n1,2,3\n")
    with pytest.raises(InputError, match=r"line 3 of a.csv \(3 cells for 2\) is no row"):
        frame_of(path)
