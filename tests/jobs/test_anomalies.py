"""Anomalies: calibrated p-values, planted ones found, and what cannot be used said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score

import pushforward as pf
from pushforward.jobs.detection.anomalies import anomalies
from pushforward.jobs.detection.incomplete import observed_log_prob
from pushforward.jobs.detection.scores import against, batch_typicality, codec_bits, score_name
from pushforward.jobs.detection.usual import learn_usual, usual_flow

COVARIANCE = np.array([[1.0, 0.95, 0.0], [0.95, 1.0, 0.0], [0.0, 0.0, 1.0]])


def usual_rows(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).multivariate_normal(np.zeros(3), COVARIANCE, n)


@pytest.fixture(scope="module")
def flow() -> pf.Flow:
    model = pf.GMM((3,), components=1).double()
    model.base.set_moments(torch.ones(1), torch.zeros(1, 3), torch.from_numpy(COVARIANCE)[None])
    return model.eval()


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    height = generator.normal(170, 9, 400)
    frame = pd.DataFrame(
        {
            "height": height.round(1),
            "weight": (height - 100 + generator.normal(0, 5, 400)).round(1),
            "city": generator.choice(["Bonn", "Oslo"], 400),
        }
    )
    frame.loc[17, ["height", "weight"]] = 150.0, 140.0
    return frame


def test_false_alarms_keep_to_the_rate(flow) -> None:
    flagged = []
    for seed in range(20):
        held_out, rows = usual_rows(199, seed), usual_rows(500, 100 + seed)
        found = anomalies(flow, rows, held_out=held_out, false_alarms=0.1, explain=False)
        flagged.append(found.flags.mean())
        np.testing.assert_array_equal(found.flags, found.p_values <= 0.1)
    # The rate itself varies from calibration to calibration, by a beta distribution.
    assert abs(np.mean(flagged) - 0.1) < 4 * np.sqrt(0.1 * 0.9 / 200 / 20) + 0.01


def test_order_scores_and_reasons_of_planted_rows(flow) -> None:
    rows = usual_rows(300, 1)
    rows[5] = [2.0, -2.0, 0.0]  # nothing about each column, all about the two of them
    rows[9, 2] = 6.0
    found = anomalies(flow, rows, held_out=usual_rows(500, 2))
    assert set(found.order[:2]) == {5, 9}
    assert found.flags[[5, 9]].all()
    assert found.p_values[9] == pytest.approx(1 / 501)
    np.testing.assert_allclose(found.scores, -flow.log_prob(rows).detach().numpy())
    assert {why.column for why in found.why(5)} == {"x0", "x1"}
    assert [why.column for why in found.why(9)] == ["x2"]
    assert found.why(9)[0].gain == pytest.approx(18, abs=0.1)
    frame = found.to_frame()
    assert len(frame) == 300
    assert frame["rank"].iloc[found.order[0]] == 1
    assert frame["reason"].iloc[9] == "x2"
    assert "flagged" in str(found)


def test_rows_that_lack_values_are_scored_by_those_that_they_have(flow) -> None:
    rows = usual_rows(50, 3)
    rows[4] = [np.nan, 5.0, 0.0]
    rows[5] = [2.0, -2.0, np.nan]  # only together unusual
    rows[6] = np.nan
    found = anomalies(flow, rows, held_out=usual_rows(400, 4))
    assert set(found.order[:2]) == {4, 5}
    assert found.p_values[[4, 5]].max() <= 0.01
    assert [why.column for why in found.why(4)] == ["x1"]
    assert {why.column for why in found.why(5)} == {"x0", "x1"}
    assert found.why(4)[0].gain == pytest.approx(12.5, abs=0.1)  # half of the squared distance
    assert np.isnan(found.p_values[6])
    assert not found.flags[6]
    assert found.order[-1] == 6


def test_the_density_of_some_columns_is_the_marginal() -> None:
    generator = np.random.default_rng(5)
    frame = pd.DataFrame({"a": generator.gamma(2, size=300), "b": generator.normal(size=300)})
    frame["b"] += frame["a"]
    frame["c"] = np.where(frame["a"] + generator.normal(size=300) > 2, "x", "y")
    flow = learn_usual(frame).flow
    some = learn_usual(frame).events[:40].copy()
    some[:, 1] = np.nan
    grid = np.linspace(-40, 40, 4001)
    whole = np.repeat(some, len(grid), axis=0)
    whole[:, 1] = np.tile(grid, len(some))
    # The noise of the codes depends on the row, so that cells are compared without it.
    whole, part = whole[:, :2], some[:, :2]
    flow = usual_flow(learn_usual(frame).events[:, :2])
    joint = flow.log_prob(whole).detach().double().exp().reshape(len(some), -1)
    expected = torch.trapezoid(joint, dx=grid[1] - grid[0], dim=1).log().numpy()
    away = observed_log_prob(flow, part) - expected
    np.testing.assert_allclose(away, away[0], atol=1e-5)  # the same constant for all


def test_p_values_of_incomplete_rows_are_uniform(flow) -> None:
    usual = usual_rows(400, 20)
    rows = usual_rows(600, 21)
    rows[np.arange(600), np.random.default_rng(2).integers(0, 3, 600)] = np.nan
    p = anomalies(flow, rows, held_out=usual, explain=False).p_values
    assert stats.kstest(p, "uniform").pvalue > 0.001


def test_a_small_table_is_scored_by_folds(table) -> None:
    """Each row by a density that did not learn it; a hundredth of 150 rows is one."""
    small = table[:150]
    found = anomalies(None, small, explain=False)
    assert found.order[0] == 17
    assert found.flags.sum() == 1
    assert found.p_values[17] == pytest.approx(1 / 150)
    np.testing.assert_allclose(np.sort(found.p_values), np.arange(1, 151) / 150, atol=1e-6)
    learned = learn_usual(small)
    assert sorted(i for _, fold in learned.crossed for i in fold) == list(range(150))
    other, fold = learned.crossed[2]
    expected = -other.log_prob(learned.events[fold]).detach().numpy()
    np.testing.assert_allclose(found.scores[fold], expected)


def test_few_held_out_rows_flag_nothing(flow) -> None:
    rows = usual_rows(20, 5)
    rows[0] = 50
    found = anomalies(flow, rows, held_out=usual_rows(20, 6), explain=False)
    assert np.isinf(found.threshold)
    assert not found.flags.any()
    assert found.order[0] == 0


def test_typicality_flags_what_is_too_probable(flow) -> None:
    rows = np.concatenate([usual_rows(200, 7), np.zeros((1, 3))])
    usual = usual_rows(1000, 8)
    by_likelihood = anomalies(flow, rows, held_out=usual, explain=False)
    by_typicality = anomalies(flow, rows, held_out=usual, score="typicality", explain=False)
    assert by_likelihood.p_values[-1] > 0.95  # the mode of the density
    assert by_typicality.p_values[-1] < by_likelihood.p_values[-1]
    centre = usual[::2]
    entropy = -flow.log_prob(centre).mean().item()
    expected = np.abs(-flow.log_prob(rows).detach().numpy() - entropy)
    np.testing.assert_allclose(by_typicality.scores, expected, atol=1e-9)


def test_a_batch_is_atypical_where_no_event_is(flow) -> None:
    usual = -flow.log_prob(usual_rows(1000, 9)).detach().numpy()
    same = -flow.log_prob(usual_rows(200, 10)).detach().numpy()
    tame = -flow.log_prob(0.7 * usual_rows(200, 11)).detach().numpy()
    assert batch_typicality(same, usual)[1] > 0.01
    distance, p = batch_typicality(tame, usual)
    assert p < 0.005
    assert distance == pytest.approx(abs(tame.mean() - usual.mean()))


def test_p_values_of_batches_are_uniform_enough() -> None:
    generator = np.random.default_rng(0)
    usual = generator.normal(size=2000)
    p = [batch_typicality(generator.normal(size=50), usual, draws=99)[1] for _ in range(100)]
    assert 0.3 < np.mean(p) < 0.7
    assert np.mean(np.array(p) <= 0.1) < 0.25


def test_either_is_the_larger_of_two_scores_in_units_of_their_spread() -> None:
    generator = np.random.default_rng(6)
    usual = generator.normal([1.0, -5.0], [1.0, 100.0], (400, 2))
    parts = np.array([[1.0, 995.0], [11.0, -5.0], [-9.0, -5.0], [1.0, -5.0], [1.0, -1005.0]])
    scores, calibration = against("either", parts, usual)
    far = 10 / 1.35  # quartile ranges; too few bits are unusual, too little complexity is not
    np.testing.assert_allclose(scores, [far, far, far, 0, 0], atol=1.2)
    assert len(calibration) == 200
    assert calibration.max() < 4


def test_codecs_know_simple_images_from_noise() -> None:
    generator = np.random.default_rng(1)
    flat = np.full((2, 1, 16, 16), 90, np.uint8)
    noise = generator.integers(0, 256, (2, 3, 16, 16), dtype=np.uint8)
    assert (codec_bits(flat) < 1).all()
    assert (codec_bits(noise) > 7).all()
    binary = generator.integers(0, 2, (1, 1, 32, 32), dtype=np.uint8)
    assert 0.9 < codec_bits(binary, levels=2)[0] < 2.5


def test_the_score_is_chosen_by_the_kind_of_data() -> None:
    assert score_name(pf.GMM((3,)), "auto") == "likelihood"
    assert score_name(pf.GMM((1, 4, 4)), "auto") == "either"
    assert score_name(pf.GMM((1, 4, 4), levels=None), "auto") == "typicality"
    with pytest.raises(pf.InputError, match="codecs"):
        score_name(pf.GMM((3,)), "complexity")
    with pytest.raises(pf.InputError, match="one of auto"):
        score_name(pf.GMM((3,)), "distance")


def test_images_get_heat_maps_and_a_picture(tmp_path) -> None:
    generator = np.random.default_rng(2)
    images = generator.integers(100, 130, (60, 1, 8, 8)).astype(np.uint8)
    flow = pf.GMM((1, 8, 8), components=1, covariance="diag")
    flow.initialise(images[:40])
    z = flow.encode(images[:40]).flatten(1).double()
    flow.base.set_moments(torch.ones(1), z.mean(0)[None], z.var(0)[None])
    images[50, 0, 5:7, 1:3] = 250
    found = anomalies(flow, images[40:], held_out=images[:40], score="likelihood")
    assert found.order[0] == 10
    assert found.attribution.shape[1:] == (8, 8)
    top = np.unravel_index(found.attribution[0].argmax(), (8, 8))
    assert 4 <= top[0] <= 7
    assert 0 <= top[1] <= 3
    found.save_picture(tmp_path / "top.png", 4)
    assert (tmp_path / "top.png").read_bytes()[:4] == b"\x89PNG"


# Without a model -------------------------------------------------------------------------------


def test_a_table_is_searched_by_itself(table) -> None:
    found = anomalies(None, table)
    assert found.order[0] == 17
    assert found.columns == ("height", "weight", "city")
    assert {why.column for why in found.why(17)} <= {"height", "weight"}
    assert all(why.value in ("150", "140") for why in found.why(17))
    assert "themselves" in found.calibrated_on


def test_a_learned_density_can_be_kept(table, tmp_path) -> None:
    learned = learn_usual(table)
    learned.flow.save(tmp_path / "usual")
    again = anomalies(tmp_path / "usual", table[["city", "weight", "height"]], explain=False)
    first = anomalies(learned.flow, table, explain=False)
    np.testing.assert_allclose(again.scores, first.scores)


def test_anomalies_among_the_rows_do_not_bend_the_density() -> None:
    generator = np.random.default_rng(3)
    usual = generator.normal(size=(900, 4)) @ np.diag([1.0, 1.0, 0.3, 0.3])
    odd = np.array([3.0, 0.0, 1.5, 0.0]) + 0.05 * generator.normal(size=(60, 4))
    rows, truth = np.concatenate([usual, odd]), np.repeat([0, 1], [900, 60])
    trimmed = -usual_flow(rows, trim=0.3).log_prob(rows).detach().numpy()
    closely = -usual_flow(rows, trim=0.0, noise=0.05).log_prob(rows).detach().numpy()
    assert roc_auc_score(truth, trimmed) > 0.9
    assert roc_auc_score(truth, closely) < roc_auc_score(truth, trimmed) - 0.2


def test_noise_is_exact_in_the_density() -> None:
    rows = np.random.default_rng(4).normal(size=(500, 2)) * [1.0, 100.0]
    flow = usual_flow(rows, trim=0.0, noise=2.0, components=1)
    z = (rows - rows.mean(0)) / rows.std(0)
    covariance = np.cov(z.T, bias=True) + (4.0 + 1e-2) * np.eye(2)
    expected = (
        torch.distributions.MultivariateNormal(
            torch.zeros(2).double(), torch.from_numpy(covariance)
        ).log_prob(torch.from_numpy(z))
        - np.log(rows.std(0)).sum()
    )
    np.testing.assert_allclose(flow.log_prob(rows).detach(), expected, atol=1e-4)


# What cannot be used ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"false_alarms": 0.0}, "share such as 0.01"),
        ({"score": "distance"}, "one of auto"),
        ({"data": np.full((5, 3), np.nan)}, "lacks a value"),
        ({"data": np.zeros((0, 3))}, "no events|empty|no rows"),
        ({"data": np.zeros((5, 4))}, "3"),
        ({"data": np.array([[1.0, np.inf, 2.0]])}, "infinite"),
        ({"held_out": np.full((5, 3), np.nan)}, "held-out"),
    ],
)
def test_bad_input_is_a_sentence(flow, change, says) -> None:
    arguments = {"data": usual_rows(10, 12), "held_out": usual_rows(10, 13), **change}
    with pytest.raises(pf.InputError, match=says):
        anomalies(flow, arguments.pop("data"), **arguments)


@pytest.mark.parametrize(
    ("rows", "says"),
    [(np.ones((5, 2)), "complete rows"), (np.arange(12.0).reshape(6, 2), "complete rows")],
)
def test_too_little_to_learn_from(rows, says) -> None:
    with pytest.raises(pf.InputError, match=says):
        anomalies(None, rows)


def test_constant_columns_and_one_row_do_not_matter() -> None:
    rows = np.column_stack([usual_rows(60, 14), np.ones(60)])
    found = anomalies(None, rows)
    assert np.isfinite(found.scores).all()
    one = anomalies(found.flow, found.events[:1], held_out=found.events[1:])
    assert one.order.tolist() == [0]


def test_a_thousand_columns() -> None:
    rows = np.random.default_rng(5).normal(size=(24, 1000))
    rows[3] *= 3
    assert anomalies(None, rows, explain=False).order[0] == 3
