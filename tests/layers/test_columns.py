"""Columns of tables: bounds that hold, values that come back, cells that are missing."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import scipy.stats
import sklearn.preprocessing
import torch

from pushforward import GMM, MAF, NSF, InputError, RealNVP, load, verify
from pushforward.layers import (
    Bounded,
    Cells,
    ColumnSpec,
    DequantizeColumns,
    OnColumns,
    Power,
    Standardize,
)
from registry import perturb

CODES = ColumnSpec("discrete", count=3)
GRID = ColumnSpec("discrete", step=0.01)
COLUMNS = (
    CODES,
    ColumnSpec(),
    ColumnSpec(step=0.01, transform="yeo-johnson"),
    ColumnSpec("discrete", step=1.0),
    ColumnSpec(transform="logit", low=0.0, high=1.0),
    ColumnSpec("discrete", count=2),
    ColumnSpec(step=1.0, transform="logit", low=1.0, high=8.0),
    ColumnSpec(step=1.0, transform="logit", low=0.0, high=10_000.0),
)


def table(n=400, seed=0):
    """Rows that fit COLUMNS."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, n, p=[0.7, 0.28, 0.02])
    number = rng.normal(size=n) + kind
    price = np.round(np.exp(rng.normal(size=n) + 3), 2)
    when = 1_000_000_000 + rng.integers(0, 1000, n)
    share = rng.beta(2, 5, n) * (rng.random(n) > 0.1)  # the bound itself is among them
    columns = [kind, number, price, when, share, number > 1]
    columns += [rng.integers(1, 9, n), rng.integers(0, 10_001, n)]
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float64))


def fitted(seed=3, **options):
    flow = RealNVP((len(COLUMNS),), columns=COLUMNS, width=8, couplings=2, **options)
    flow.initialise(table())
    flow.eval()
    for layer in flow.chain:
        if not isinstance(layer, (DequantizeColumns, OnColumns, Standardize)):
            perturb(layer, seed, 0.1)
    return flow


def holed(x, share=0.3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    holes = torch.rand(x.shape, generator=generator) < share
    return torch.where(holes, torch.nan, x), holes


# Values and noise ------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1.0, 0.01, 0.1, 0.25, 5.0, 1 / 3])
def test_values_of_a_grid_come_back_to_the_last_bit(step):
    per = round(1 / step)
    index = torch.arange(-500, 500, dtype=torch.float64)
    values = index / per if step < 1 else index * step
    layer = DequantizeColumns([ColumnSpec(step=step)]).eval()
    z, log_det = layer(values[:, None])
    assert bool((z[:, 0] > values).all())
    assert bool((z[:, 0] < values + step).all())
    assert torch.allclose(log_det.double(), torch.full((1000,), math.log(step)).double())
    back, log_det_back = layer.inverse(z)
    assert torch.equal(back[:, 0], values)
    assert torch.equal(log_det_back, -log_det)


def test_large_whole_numbers_keep_their_digits():
    layer = DequantizeColumns([ColumnSpec(step=1.0)]).eval()
    x = 1_000_000_000 + torch.arange(100)[:, None]
    for given in (x, x.double()):
        assert torch.equal(layer.inverse(layer(given)[0])[0], x.double())


def test_a_mixed_table_comes_back_through_a_flow():
    flow, x = fitted(), table()
    back = flow.decode(flow.encode(x))
    assert back.dtype == torch.float64
    discrete = [0, 2, 3, 5, 6, 7]
    assert torch.equal(back[:, discrete], x[:, discrete])
    assert torch.allclose(back, x, atol=1e-4)
    wide = copy.deepcopy(flow).double()
    back = wide.decode(wide.encode(x))
    assert torch.equal(back[:, discrete], x[:, discrete])
    assert torch.allclose(back, x, atol=1e-9)
    samples = flow.sample(500, seed=0)
    flow.log_prob(samples)  # none is impossible
    assert set(samples[:, 0].tolist()) <= {0.0, 1.0, 2.0}


@pytest.mark.parametrize("law", ["affine", "spline"])
def test_columns_of_ten_thousands_of_steps_come_back_in_float32(law):
    rng = np.random.default_rng(0)
    prices = np.round(np.exp(1.5 * rng.normal(size=(1000, 2)) + 4), 2)  # in cents
    counts = np.round(rng.normal(size=(1000, 2)) * [1e3, 2e4] + [0, 1e9])
    x = torch.from_numpy(np.concatenate([prices, counts, rng.integers(0, 2000, (1000, 1))], axis=1))
    whole = ColumnSpec(step=1.0)
    tailed = ColumnSpec(step=0.01, transform="yeo-johnson")
    columns = (tailed, ColumnSpec(step=0.01), whole, whole, ColumnSpec("discrete", count=2000))
    flow = RealNVP((5,), columns=columns, width=8, couplings=4, law=law)
    flow.initialise(x)
    perturb(torch.nn.ModuleList(list(flow.chain)[3:]), 3, 0.05)
    assert torch.equal(flow.eval().decode(flow.encode(x)), x)


def test_the_farther_out_a_cell_the_fewer_points_of_it_and_they_average_right():
    layer = DequantizeColumns([ColumnSpec(step=1.0)]).eval()
    x = (torch.randn(2000, 1, generator=torch.Generator().manual_seed(0)).double() * 1e4).round()
    layer.initialise(x)
    noise = layer(x)[0] - x
    assert noise[x.abs() < 9_000].unique().tolist() == [(k + 0.5) / 8 for k in range(8)]
    assert noise[(x.abs() - 24_000).abs() < 6_000].unique().tolist() == [0.125, 0.375, 0.625, 0.875]
    assert float(noise.mean()) == pytest.approx(0.5, abs=0.03)


def test_noise_is_of_the_row_alone_whatever_its_type_and_its_nan():
    layer, x = DequantizeColumns(COLUMNS).eval(), table(50)
    x[0, 0] = 0.0
    z, _ = layer(x)
    assert torch.equal(layer(x[[7]])[0], z[[7]]), "the same alone"
    negative = x[:1].clone()
    negative[0, 0] = -0.0
    assert torch.equal(layer(negative)[0], z[:1]), "0 and -0 are one value"
    rough = torch.stack([torch.full((8,), 0.1), torch.arange(8.0)], dim=1)
    plain = DequantizeColumns([ColumnSpec(step=0.1), ColumnSpec()]).eval()
    assert torch.allclose(plain(rough)[0], plain((rough.double() * 10).round() / 10)[0])
    # NaN of any payload is the same missing cell.
    holes = x.clone()
    holes[:, 3] = torch.nan
    other = holes.clone()
    other[:, 3] = torch.tensor(0x7FF8000000000123).view(torch.float64)
    one, two = layer(holes)[0], layer(other)[0]
    assert torch.equal(one.isnan(), holes.isnan())
    assert torch.equal(one.nan_to_num(), two.nan_to_num())


def test_the_noise_is_uniform_and_new_in_training():
    layer = DequantizeColumns([CODES, ColumnSpec()]).eval()
    x = torch.stack([torch.zeros(4000), torch.randn(4000)], dim=1).double()
    z = layer(x)[0][:, 0]
    assert scipy.stats.kstest(z.numpy(), "uniform").pvalue > 1e-3
    layer.train()
    assert not torch.equal(layer(x)[0], layer(x)[0])


# The bound -------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", ["affine", "spline"])
def test_probabilities_of_all_rows_of_codes_sum_to_one(law):
    columns = (CODES, ColumnSpec("discrete", count=2), ColumnSpec("discrete", count=4))
    flow = RealNVP((3,), columns=columns, width=8, couplings=2, law=law, seed=1).double()
    rng = np.random.default_rng(0)
    draws = np.stack([rng.choice(3, 300, p=[0.5, 0.4, 0.1]), rng.integers(0, 2, 300)], axis=1)
    flow.initialise(np.column_stack([draws, draws[:, 0] + draws[:, 1]]).astype(float))
    perturb(torch.nn.ModuleList(list(flow.chain)[3:]), 2, 0.1)
    flow.eval()
    rows = torch.tensor(list(itertools.product(range(3), range(2), range(4))), dtype=torch.float64)
    with torch.no_grad():
        total = float(flow.log_prob(rows, samples=200).exp().sum())
        once = float(torch.stack([flow.log_prob(rows)]).exp().sum())
    assert total == pytest.approx(1.0, abs=0.02)
    assert once != pytest.approx(total, abs=1e-6), "one draw is but one draw"


def test_a_flow_that_does_nothing_has_the_frequencies_as_probabilities():
    codes = torch.tensor([0.0] * 600 + [1.0] * 300 + [2.0] * 100, dtype=torch.float64)[:, None]
    flow = RealNVP((1,), columns=(CODES,), couplings=1, norm="none").double()
    flow.initialise(codes)
    found = flow.log_prob(torch.arange(3.0, dtype=torch.float64)[:, None], samples=100).exp()
    assert found.tolist() == pytest.approx([0.6, 0.3, 0.1], rel=0.05)


def test_a_continuous_and_a_discrete_column_integrate_to_one_together():
    columns = (ColumnSpec("discrete", count=2), ColumnSpec(transform="logit", low=-1, high=3))
    flow = RealNVP((2,), columns=columns, width=8, couplings=2, seed=1).double()
    rng = np.random.default_rng(0)
    flow.initialise(np.column_stack([rng.integers(0, 2, 300), rng.random(300) * 4 - 1]))
    x = torch.linspace(-1, 3, 1001, dtype=torch.float64)[:-1] + 0.002
    rows = torch.cat([torch.stack([torch.full_like(x, code), x], dim=1) for code in (0, 1)])
    with torch.no_grad():
        total = float(flow.log_prob(rows, samples=20).exp().sum())
    # What the normal has beyond the images of the bounds is lost.
    assert 0.99 < total * 0.004 <= 1.001


# The maps --------------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [0.0, 0.3, 1.0, 2.0])
def test_power_is_yeo_johnson_with_mirrored_exponents(power):
    layer = Power(1).double()
    layer.exponents.copy_(torch.tensor([[power], [2 - power]], dtype=torch.float64))
    x = torch.linspace(-50, 50, 401, dtype=torch.float64)
    z, log_det = layer(x[:, None])
    assert np.allclose(z[:, 0], scipy.stats.yeojohnson(x.numpy(), power), rtol=1e-12)
    slope = (power - 1) * np.sign(x.numpy()) * np.log1p(np.abs(x.numpy()))
    assert np.allclose(log_det, slope, atol=1e-12)
    assert torch.allclose(layer.inverse(z)[0][:, 0], x, rtol=1e-9, atol=1e-9)


def log_likelihood(z, log_slope):
    return float(-0.5 * len(z) * np.log(np.var(z)) + np.sum(log_slope))


@pytest.mark.parametrize("tails", ["lognorm", "gamma", "cauchy", "pareto", "norm"])
def test_power_is_at_least_as_likely_as_sklearns(tails):
    shape = {"lognorm": (1.0,), "gamma": (2.0,), "pareto": (1.5,)}.get(tails, ())
    x = getattr(scipy.stats, tails)(*shape).rvs(3000, random_state=np.random.default_rng(0))
    (power,) = sklearn.preprocessing.PowerTransformer(standardize=False).fit(x[:, None]).lambdas_
    theirs = scipy.stats.yeojohnson(x, power)
    reference = log_likelihood(theirs, (power - 1) * np.sign(x) * np.log1p(np.abs(x)))
    layer = Power(1).double()
    layer.initialise(torch.from_numpy(x)[:, None])
    z, log_det = layer(torch.from_numpy(x)[:, None])
    # Yeo and Johnson's exponent may leave [0, 2]; then some z have no x.
    slack = 3.0 if 0 <= power <= 2 else 0.1 * len(x)
    assert log_likelihood(z[:, 0].numpy(), log_det.numpy()) > reference - slack
    assert torch.allclose(layer.inverse(z)[0][:, 0], torch.from_numpy(x), rtol=1e-9)


@pytest.mark.parametrize("tails", ["cauchy", "pareto"])
def test_power_pulls_in_both_tails(tails):
    x = getattr(scipy.stats, tails)(*((1.0,) if tails == "pareto" else ()))
    x = torch.from_numpy(x.rvs(5000, random_state=np.random.default_rng(1)))[:, None]
    layer = Power(1)
    layer.initialise(x)
    z = layer(x)[0]
    assert float((z - z.mean()).abs().max() / z.std()) < 8


def test_power_of_awkward_columns():
    constant, zeros = torch.full((100,), 5.0), torch.zeros(100)
    zeros[::10] = torch.arange(10.0)
    unknown = torch.full((100,), torch.nan)
    x = torch.stack([constant, zeros, unknown], dim=1).double()
    layer = Power(3)
    layer.initialise(x)
    z, log_det = layer(x)
    assert torch.equal(z.isnan(), x.isnan())
    assert bool(torch.isfinite(log_det).all())
    assert torch.allclose(layer.inverse(z)[0].nan_to_num(), x.nan_to_num())
    assert bool(torch.isfinite(layer.inverse(torch.full((1, 3), 1e5).double())[0]).all())


def test_cells_make_each_column_standard_normal():
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.choice(4, (4000, 1), p=[0.05, 0.8, 0.1, 0.05]) + rng.random((4000, 1)))
    layer = Cells([4]).double()
    layer.initialise(x)
    z, log_det = layer(x)
    assert scipy.stats.kstest(z[:, 0].numpy(), "norm").pvalue > 1e-3
    assert torch.allclose(layer.inverse(z)[0], x, atol=1e-9)
    # log-det and the normal's density are the density of the frequencies
    weights = layer.weights[0][x[:, 0].long()]
    density = log_det + torch.from_numpy(scipy.stats.norm.logpdf(z[:, 0].numpy()))
    assert torch.allclose(density, weights.log(), atol=1e-9)


def test_cells_that_were_never_seen_stay_possible():
    layer = Cells([3, 500], [0.0, -10.0], [1.0, 0.5])
    layer.initialise(torch.tensor([[0.5, -9.9], [0.2, torch.nan]]).double())
    assert torch.allclose(layer.weights.sum(1), torch.ones(2).double())
    assert bool((layer.weights[0, :3] > 1e-4).all())
    assert bool((layer.weights[0, 3:] == 0).all()), "and no others are"
    x = torch.stack([torch.arange(100) % 3 + 0.5, torch.arange(100) * 2.5 - 9.9], dim=1).double()
    assert torch.allclose(layer.inverse(layer(x)[0])[0], x, atol=1e-9)
    assert float(layer.inverse(torch.full((1, 2), 40.0).double())[0][0, 0]) < 3


def test_bounded_takes_its_bounds_and_gives_nothing_beyond_them():
    layer = Bounded([0.0, -5.0], [1.0, 1e6]).double()
    x = torch.tensor([[0.0, -5.0], [1.0, 1e6], [0.3, 17.0]], dtype=torch.float64)
    z, log_det = layer(x)
    assert bool(torch.isfinite(z).all() & torch.isfinite(log_det).all())
    assert torch.allclose(layer.inverse(z)[0], x, atol=1e-9)
    far = layer.inverse(torch.tensor([[-90.0, -90.0], [90.0, 90.0]]).double())[0]
    assert torch.equal(far, x[:2])


# Missing cells ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: DequantizeColumns([ColumnSpec(step=0.5)] * 3),
        lambda: Bounded([0.0] * 3, [3.0] * 3),
        lambda: Cells([3, 3, 3]),
        lambda: Power(3),
        lambda: OnColumns((3,), [([2], Cells([3])), ([0], Power(1))]),
        lambda: Standardize((3,), missing=True),
    ],
)
def test_a_missing_cell_stays_missing_and_adds_nothing(make):
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(3, (200, 3), generator=generator).double() + 0.5
    gaps, holes = holed(x)
    layer = make().double().eval()
    layer.initialise(gaps)
    z, log_det = layer(gaps)
    assert torch.equal(z.isnan(), holes)
    assert bool(torch.isfinite(log_det).all())
    back, log_det_back = layer.inverse(z)
    assert torch.allclose(back, gaps, atol=1e-9, equal_nan=True)
    assert torch.allclose(log_det_back, -log_det)
    assert bool(holes.all(1).any())
    assert bool((log_det[holes.all(1)] == 0).all())
    # The cells that are there: as in the row that lacks nothing, the noise of the row aside.
    if not isinstance(layer, DequantizeColumns):
        assert torch.equal(z[~holes], layer(x)[0][~holes])


def test_standardize_reads_what_is_known():
    x = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)).double() * 3 + 7
    gaps, _ = holed(x)
    gaps[:, 2], gaps[:, 3] = torch.nan, torch.nan
    gaps[5, 3] = 4.0
    layer = Standardize((4,), missing=True)
    layer.initialise(gaps)
    known = [gaps[~gaps[:, j].isnan(), j].numpy() for j in (0, 1)]
    assert layer.mean.tolist() == pytest.approx([known[0].mean(), known[1].mean(), 0.0, 4.0])
    expected = [known[0].std(), known[1].std(), 1.0, 1.0]
    assert layer.log_std.exp().tolist() == pytest.approx(expected)


def test_without_missing_cells_standardize_is_the_same_either_way():
    x = torch.randn(100, 3) * 2 + 5
    plain, other = Standardize((3,)), Standardize((3,), missing=True)
    for layer in (plain, other):
        layer.initialise(x)
    assert torch.allclose(plain(x)[0], other(x)[0], atol=1e-6)
    assert torch.allclose(plain(x)[1], other(x)[1], atol=1e-5)


# In models -------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [RealNVP, NSF, MAF, GMM])
def test_models_with_columns_are_saved_and_loaded(make, tmp_path):
    small = {} if make is GMM else {"width": 8}
    flow = make((len(COLUMNS),), columns=COLUMNS, **small)
    flow.initialise(table())
    flow.eval().save(tmp_path / "model")
    other = load(tmp_path / "model")
    assert other.config == flow.config
    assert torch.equal(other.log_prob(table()), flow.log_prob(table()))
    assert flow.density == "lower bound"
    assert flow.unit == "nats"


def test_rows_of_plain_numbers_are_as_before():
    flow, same = RealNVP((3,), seed=1), RealNVP((3,), columns=(ColumnSpec(),) * 3, seed=1)
    x = torch.randn(50, 3)
    for one in (flow, same):
        one.initialise(x)
    assert flow.exact
    assert same.exact
    assert torch.equal(flow.log_prob(x), same.log_prob(x))


def test_a_score_depends_on_the_row_alone_and_stays_what_it_is():
    flow, x = fitted(), table(20)
    together = flow.log_prob(x)
    assert together.dtype == torch.float32
    assert torch.equal(flow.log_prob(x), together)
    order = torch.randperm(20)
    assert torch.allclose(flow.log_prob(x[order]), together[order], atol=1e-4)
    assert torch.allclose(flow.log_prob(x[[3]]), together[[3]], atol=1e-4)


def test_float64_and_whole_numbers_reach_the_front_as_they_are():
    flow = RealNVP((1,), columns=(ColumnSpec(step=1.0),))
    x = 2_000_000_001 + torch.arange(40)[:, None]
    flow.initialise(x)
    assert torch.equal(flow.decode(flow.encode(x)), x.double())
    assert torch.equal(flow.decode(flow.encode(x.double())), x.double())


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (0, 3.0, "column 0 .* codes, whole numbers 0 to 2; got 3 in row 1"),
        (0, 0.5, "whole numbers 0 to 2; got 0.5"),
        (2, 1.005, r"column 2 .* multiples of 0\.01; got 1\.005"),
        (4, 1.2, r"column 4 .* between 0 and 1; got 1\.2 in row 1"),
        (6, 9.0, "multiples of 1 from 1 to 8; got 9"),
    ],
)
def test_values_that_a_column_cannot_hold_are_refused(place, value, words):
    flow, x = fitted(), table(3)
    x[1, place] = value
    with pytest.raises(InputError, match=words):
        flow.log_prob(x)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"columns": (CODES,)}, "rows of 2 numbers, but columns= tells of 1"),
        ({"columns": (CODES, CODES), "levels": 4}, "without levels="),
        ({"columns": ({"count": 3}, CODES)}, "a count belongs to kind='discrete'"),
        ({"columns": ({"transform": "logit"}, CODES)}, "needs low < high"),
        ({"columns": ({"colour": "red"}, CODES)}, "colour"),
        ({"columns": ({"step": -1}, CODES)}, "step"),
    ],
)
def test_impossible_columns_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        RealNVP((2,), **options)


def test_missing_values_are_not_for_images_and_not_for_em():
    with pytest.raises(InputError, match="rows of a table"):
        RealNVP((1, 4, 4), levels=None, missing=True)
    with pytest.raises(InputError, match="complete rows"):
        GMM((2,), missing=True)


def test_sampling_with_gradients_is_refused_for_discrete_columns():
    with pytest.raises(InputError, match="no gradient passes"):
        fitted().rsample(3)


def test_verify_finds_nothing_wrong_with_a_table_of_all_kinds():
    assert verify(fitted(), table()).ok


def test_log_prob_with_columns_is_one_graph():
    torch._dynamo.reset()
    flow, x = fitted(), table(8)
    compiled = torch.compile(copy.deepcopy(flow).log_prob, fullgraph=True, backend="eager")
    assert torch.allclose(compiled(x), flow.log_prob(x), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("function", ["log_prob", "decode"])
def test_a_flow_with_columns_is_exported(function, tmp_path):
    assert fitted().double().export(tmp_path / "flow.pt2", function=function) < 1e-9
