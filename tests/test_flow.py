"""Flow: densities that integrate to one, samples that follow them, bits, latents, errors."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import scipy.stats
import torch

from pushforward import Flow, InputError, NumericalError, RealNVP
from pushforward.bases import DiagonalNormal, Logistic, StandardNormal, Uniform
from pushforward.layers import (
    Chain,
    Coupling,
    Dequantize,
    Logit,
    LULinear,
    Permutation,
    Squeeze,
    Standardize,
)
from pushforward.nets import MLP
from pushforward.scoring import in_unit, score
from registry import perturb

LN2 = math.log(2)


def rows(size=2, seed=0, scale=0.3, **options):
    """A disturbed Real NVP over rows, in float64 and evaluation mode."""
    flow = RealNVP((size,), **{"width": 8, "couplings": 4, **options}).double().eval()
    return perturb(flow, seed, scale)


def pixels(shape=(1, 1, 2), levels=4, seed=0, scale=0.3, **options):
    flow = RealNVP(shape, levels=levels, **{"width": 4, "couplings": 4, **options})
    return perturb(flow.double().eval(), seed, scale)


def grid(low, high, count, dims):
    """Midpoints of a regular grid and the volume of a cell."""
    step = (high - low) / count
    axis = low + step * (torch.arange(count, dtype=torch.float64) + 0.5)
    points = torch.cartesian_prod(*[axis] * dims).reshape(-1, dims)
    return points, step**dims


# Density ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["normal", "logistic"])
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_densities_in_the_plane_integrate_to_one(base, seed):
    flow = rows(base=base, scale=0.0 if seed is None else 0.15, seed=seed or 0)
    reach = 12 if base == "normal" else 40
    points, cell = grid(-reach, reach, 400, 2)
    with torch.no_grad():
        mass = float(flow.log_prob(points).exp().sum() * cell)
    assert mass == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("context", [0, 2])
def test_densities_on_the_line_integrate_to_one(context):
    flow = rows(1, context=context, couplings=3)
    points, cell = grid(-30, 30, 6000, 1)
    for c in [[0.0, 0.0], [1.0, -2.0]] if context else [None]:
        given = None if c is None else torch.tensor(c)
        with torch.no_grad():
            mass = float(flow.log_prob(points, given).exp().sum() * cell)
        assert mass == pytest.approx(1, abs=1e-6)


def test_a_linear_flow_is_the_normal_distribution_that_scipy_knows():
    flow = Flow((4,), [LULinear(4), Standardize((4,))]).double()
    perturb(flow)
    matrix = flow.chain(torch.eye(4, dtype=torch.float64))[0] - flow.chain(torch.zeros(1, 4))[0]
    a = matrix.T.detach().numpy()  # z = A x + b
    b = flow.chain(torch.zeros(1, 4, dtype=torch.float64))[0][0].detach().numpy()
    mean, covariance = -np.linalg.solve(a, b), np.linalg.inv(a.T @ a)
    x = np.random.default_rng(0).normal(size=(20, 4))
    expected = scipy.stats.multivariate_normal(mean, covariance).logpdf(x)
    assert np.allclose(flow.log_prob(x).detach(), expected, rtol=0, atol=1e-10)


def test_samples_and_density_have_the_same_moments():
    flow = rows(seed=3)
    points, cell = grid(-12, 12, 500, 2)
    with torch.no_grad():
        weights = flow.log_prob(points).exp() * cell
    draws = flow.sample(20_000, seed=1)
    functions = {
        "x": lambda x: x[:, 0],
        "y": lambda x: x[:, 1],
        "xx": lambda x: x[:, 0] ** 2,
        "xy": lambda x: x[:, 0] * x[:, 1],
        "yy": lambda x: x[:, 1] ** 2,
        "cos": lambda x: torch.cos(x[:, 0] + 2 * x[:, 1]),
    }
    for name, f in functions.items():
        expected = float((weights * f(points)).sum())
        values = f(draws)
        error = float(values.std()) / math.sqrt(len(draws))
        assert float(values.mean()) == pytest.approx(expected, abs=4.5 * error), name


def test_latents_of_samples_follow_the_base():
    flow = rows(3, seed=4, base="logistic")
    z = flow.encode(flow.sample(3000, seed=0)).detach().numpy()
    for i in range(3):
        assert scipy.stats.kstest(z[:, i], "logistic").pvalue > 1e-3


def test_the_entropy_by_samples_is_that_by_quadrature():
    flow = rows(seed=5)
    points, cell = grid(-12, 12, 500, 2)
    with torch.no_grad():
        log_prob = flow.log_prob(points)
        expected = -float((log_prob.exp() * log_prob).sum() * cell)
        values = -flow.log_prob(flow.sample(20_000, seed=2))
    error = float(values.std()) / math.sqrt(20_000)
    assert float(values.mean()) == pytest.approx(expected, abs=4.5 * error)


def test_log_prob_is_differentiable_in_data_context_and_weights():
    flow = rows(3, context=2)
    x = torch.randn(2, 3, dtype=torch.float64).requires_grad_()
    c = torch.randn(2, 2, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(flow.log_prob, (x, c))
    flow.log_prob(x, c).sum().backward()
    assert all(p.grad.abs().max() > 0 for p in flow.parameters())


def test_layers_that_do_not_fit_are_named():
    mlp = partial(MLP, hidden=(4,))
    with pytest.raises(InputError, match=r"layer 1 \(Coupling\).*\(3,\); got \(2,\)"):
        Flow((2,), [Permutation([1, 0]), Coupling((3,), "half", mlp)])
    with pytest.raises(InputError, match=r"latents of shape \(4, 1, 1\), but the base"):
        Flow((1, 2, 2), [Squeeze()], StandardNormal((1, 2, 2)))
    assert Flow((1, 2, 2), [Squeeze()]).latent_shape == (4, 1, 1)


def test_what_a_flow_says_about_itself():
    flow = RealNVP((1, 4, 4), width=4, couplings=2, context=2)
    assert (flow.dims, flow.levels, flow.exact, flow.unit) == (16, 256, False, "bits/dim")
    assert (flow.dtype, flow.device) == (torch.float32, torch.device("cpu"))
    assert flow.double().dtype == torch.float64
    assert "levels=256" in repr(flow)
    assert "context=2" in repr(flow)
    flow = RealNVP((3,))
    assert (flow.dims, flow.levels, flow.exact, flow.unit) == (3, None, True, "nats")


# Bits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("levels", "bits"), [(256, 8), (32, 5), (2, 1), (17, math.log2(17))])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_uniform_density_needs_log2_of_the_levels(levels, bits, dtype):
    flow = Flow((1, 3, 5), [Dequantize(levels)], Uniform((1, 3, 5))).to(dtype)
    v = torch.randint(levels, (10, 1, 3, 5))
    tolerance = 1e-6 if dtype == torch.float32 else 1e-14
    for samples in (1, 3):
        found = flow.bits_per_dim(v, samples=samples).double()
        assert torch.allclose(found, torch.tensor(bits, dtype=torch.float64), rtol=tolerance)
    assert np.allclose(in_unit(flow, flow.log_prob(v).double()), bits, rtol=tolerance)


def test_a_base_that_is_the_image_of_the_uniform_needs_8_bits_too():
    # With alpha near 0 the logit takes uniform noise to the logistic distribution.
    flow = Flow((500,), [Dequantize(256), Logit(1e-9)], Logistic((500,))).double()
    v = torch.randint(256, (20, 500))
    assert float(flow.bits_per_dim(v).mean()) == pytest.approx(8, abs=1e-6)


def cell_probabilities(flow, levels, count=60):
    """log P(v) of all events of two pixels, by quadrature over their cells."""
    points, volume = grid(0, 1, levels * count, 2)
    x = points.reshape(-1, 1, 1, 2)
    with torch.no_grad():
        z, log_det = Chain(list(flow.chain)[1:])(x)
        mass = (flow.base.log_prob(z) + log_det).exp() * volume
    cells = mass.reshape(levels, count, levels, count).sum((1, 3))
    return cells.log().flatten()  # over v = (0, 0), (0, 1), ...


@pytest.mark.parametrize("seed", [0, 1])
def test_probabilities_of_integers_sum_to_at_most_one_and_are_bounded_from_below(seed):
    levels = 4
    flow = pixels(levels=levels, seed=seed)
    v = torch.cartesian_prod(torch.arange(levels), torch.arange(levels)).reshape(-1, 1, 1, 2)
    exact = cell_probabilities(flow, levels)
    assert float(exact.exp().sum()) <= 1 + 1e-6

    draws = []
    with torch.no_grad():
        for noise in range(400):
            flow.chain[0].seed.fill_(noise)
            draws.append(flow.log_prob(v))
        flow.chain[0].seed.fill_(0)
        draws = torch.stack(draws)
        mean = draws.exp().mean(0)
        error = draws.exp().std(0) / math.sqrt(len(draws))
        assert ((mean - exact.exp()).abs() <= 5 * error + 1e-5).all(), "an unbiased estimate of P"
        slack = 3 * draws.std(0) / math.sqrt(len(draws))
        assert (draws.mean(0) <= exact + slack).all(), "one draw bounds log P from below on average"
        assert float(mean.sum()) <= 1 + 5 * float(error.square().sum().sqrt())

        bits = flow.bits_per_dim(v, samples=400)
        assert torch.allclose(bits, -mean.log() / (2 * LN2), atol=1e-10)
        assert (bits < -draws.mean(0) / (2 * LN2)).all()


def test_bits_per_dim_is_the_log_of_the_mean_over_noise():
    flow = pixels((1, 4, 4), levels=256)
    v = torch.randint(256, (5, 1, 4, 4))
    one = flow.bits_per_dim(v)
    assert torch.allclose(one, -flow.log_prob(v) / (16 * LN2), atol=1e-12)
    nats = []
    for noise in range(7):
        flow.chain[0].seed.fill_(noise)
        nats.append(flow.log_prob(v))
    flow.chain[0].seed.fill_(0)
    total = np.logaddexp.reduce(torch.stack(nats).detach().numpy())
    expected = -(total - math.log(7)) / (16 * LN2)
    assert np.allclose(flow.bits_per_dim(v, samples=7).detach(), expected, rtol=0, atol=1e-12)
    assert torch.equal(flow.bits_per_dim(v), one), "the noise of K = 1 is what it was"
    assert torch.equal(flow.bits_per_dim(v, samples=7), flow.bits_per_dim(v, samples=7))


def test_more_noise_gives_a_tighter_bound():
    flow = pixels((1, 4, 4), levels=8, scale=0.5)
    v = torch.randint(8, (200, 1, 4, 4))
    with torch.no_grad():
        bits = [float(flow.bits_per_dim(v, samples=k).mean()) for k in (1, 5, 25)]
    assert bits[0] > bits[1] > bits[2]


def test_bits_of_real_numbers_are_refused():
    with pytest.raises(InputError, match=r"bits/dim mean nothing: use log_prob \(nats\)"):
        rows().bits_per_dim(torch.zeros(1, 2))
    with pytest.raises(InputError, match="at least one sample; got 0"):
        pixels().bits_per_dim(torch.zeros(1, 1, 1, 2), samples=0)


def test_scores_in_batches_are_the_scores():
    flow = pixels((1, 2, 2), levels=16, context=1)
    v, c = np.random.default_rng(0).integers(0, 16, (23, 1, 2, 2)), np.linspace(-1, 1, 23)[:, None]
    flow.train()
    found = score(flow, v, c, batch_size=5)
    assert flow.training
    flow.eval()
    assert found.dtype == np.float64
    assert np.allclose(found, flow.log_prob(v, c).detach(), rtol=0, atol=1e-10)
    tighter = score(flow, v, c, batch_size=5, samples=3)
    assert np.allclose(tighter, -4 * LN2 * flow.bits_per_dim(v, c, samples=3).detach(), atol=1e-10)
    assert score(flow, v[:0], c[:0]).shape == (0,)
    assert np.allclose(score(flow, v, [0.5], batch_size=5), score(flow, v, [[0.5]] * 23))


# Sampling --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 5, 12, 13])
def test_samples_come_in_chunks_of_any_size(n):
    flow = rows(3)
    for chunk in (None, 1, 5, 6, 100):
        draws = flow.sample(n, seed=3, chunk=chunk)
        assert draws.shape == (n, 3)
        if n and chunk not in (None, 100):
            first = flow.sample(min(n, chunk), seed=3)
            assert torch.allclose(draws[: len(first)], first)
        assert len(draws.unique(dim=0)) == n, "no chunk repeats another"


def test_seeds_and_generators_repeat_a_draw():
    flow = rows()
    one = flow.sample(6, seed=1)
    assert torch.equal(flow.sample(6, seed=1), one)
    assert not torch.equal(flow.sample(6, seed=2), one)
    assert torch.equal(flow.sample(6, generator=torch.Generator().manual_seed(1)), one)
    torch.manual_seed(8)
    global_draw = flow.sample(6)
    torch.manual_seed(8)
    assert torch.equal(flow.sample(6), global_draw)
    state = torch.get_rng_state()
    flow.sample(6, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(InputError, match="a seed or a generator, not both"):
        flow.sample(6, seed=1, generator=torch.Generator())


def test_temperature_zero_gives_the_image_of_the_centre():
    flow = rows(3)
    cold = flow.sample(4, temperature=0.0)
    expected = flow.decode(torch.zeros(1, 3)).expand(4, 3)
    assert torch.allclose(cold, expected)
    plain = Flow((3,), [Permutation([2, 1, 0])]).double()
    assert torch.allclose(plain.sample(5, temperature=0.3, seed=0), 0.3 * plain.sample(5, seed=0))
    for wrong in (-0.1, math.nan, math.inf):
        with pytest.raises(InputError, match="temperature must be a number of at least 0"):
            flow.sample(1, temperature=wrong)
    with pytest.raises(InputError, match="cannot draw -1 samples"):
        flow.sample(-1)


def test_sampling_runs_in_evaluation_mode_and_restores_each_mode():
    flow = rows(3, dropout=0.5)
    once = flow.sample(5, seed=0)
    flow.train()
    flow.chain[1].eval()
    modes = [m.training for m in flow.modules()]
    assert torch.equal(flow.sample(5, seed=0), once)
    flow.encode(once)
    flow.decode(once)
    with pytest.raises(InputError):
        flow.encode(torch.zeros(2, 7))
    assert [m.training for m in flow.modules()] == modes
    assert not once.requires_grad


def test_a_context_is_one_vector_for_all_or_one_row_for_each():
    flow = rows(3, context=2)
    vector = [0.5, -1.0]
    single = flow.sample(4, seed=0, context=vector)
    assert torch.equal(flow.sample(4, seed=0, context=torch.tensor([vector] * 4)), single)
    given = torch.tensor([[0.5, -1.0], [3.0, 3.0], [0.5, -1.0], [0.5, -1.0]])
    mixed = flow.sample(4, seed=0, context=given)
    assert torch.allclose(mixed[[0, 2, 3]], single[[0, 2, 3]])
    assert not torch.allclose(mixed[1], single[1])
    given = torch.randn(7, 2)
    chunked = flow.sample(7, seed=0, context=given, chunk=3)
    generator = torch.Generator().manual_seed(0)
    z = torch.cat([flow.base.sample(n, generator=generator) for n in (3, 3, 1)])
    assert torch.allclose(flow.encode(chunked, given), z), "each chunk has its own rows"
    assert torch.allclose(flow.log_prob(single, vector), flow.log_prob(single, [vector] * 4))
    z = flow.encode(single, vector)
    assert torch.allclose(flow.decode(z, np.array(vector)), single)


def test_rsample_gives_draws_with_their_density_and_gradients():
    flow = rows(3, context=1, norm="none")
    x, log_prob = flow.rsample(50, seed=2, context=[0.3])
    assert torch.allclose(flow.log_prob(x, [0.3]), log_prob, atol=1e-10)
    assert torch.allclose(flow.sample(50, seed=2, context=[0.3]), x)
    (x.sum() + log_prob.sum()).backward()
    for key, parameter in flow.named_parameters():
        assert parameter.grad.abs().max() > 0, key
    cold, log_prob = flow.rsample(20, temperature=0.5, seed=2, context=[0.3])
    assert torch.allclose(flow.log_prob(cold, [0.3]), log_prob, atol=1e-10)
    with pytest.raises(InputError, match=r"no gradient passes: use sample\(\)"):
        pixels().rsample(2)


def test_the_gradient_of_rsample_is_that_of_the_reparameterised_expectation():
    base = DiagonalNormal((1,)).double()
    flow = Flow((1,), [Standardize((1,))], base)
    x, log_prob = flow.rsample(20_000, seed=0)
    (x.square().mean()).backward()  # E x^2 = m^2 + s^2, whose derivatives are 2 m and 2 s^2
    assert float(base.mean.grad) == pytest.approx(0, abs=0.05)
    assert float(base.log_scale.grad) == pytest.approx(2, abs=0.1)
    assert float(log_prob.detach().mean()) == pytest.approx(
        -0.5 * math.log(2 * math.pi * math.e), abs=0.03
    )


# Input that is taken ---------------------------------------------------------------------------


def test_arrays_lists_integers_and_other_precisions_are_taken():
    flow = RealNVP((3,), width=4, couplings=2)
    x = np.random.default_rng(0).normal(size=(5, 3)).round()
    expected = flow.log_prob(torch.tensor(x, dtype=torch.float32))
    given = [x, x.tolist(), x.astype(np.float32), x.astype(np.int64), x.astype(np.int8)]
    given += [torch.tensor(x), torch.tensor(x).half(), x.astype(">f4"), x[::-1][::-1]]
    given += [np.asfortranarray(x), np.broadcast_to(x, x.shape)]  # the last is read-only
    for one in given:
        found = flow.log_prob(one)
        assert found.dtype == torch.float32
        assert torch.allclose(found, expected)
    assert flow.log_prob(x[:, ::-1]).shape == (5,), "negative strides"


@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "uint16", "int32", "int64", "float32", "float64", ">i4"]
)
def test_integers_of_any_type_are_levels(dtype):
    flow = pixels((1, 2, 2), levels=100)
    v = np.random.default_rng(0).integers(0, 100, (5, 1, 2, 2))
    assert torch.equal(flow.log_prob(v.astype(dtype)), flow.log_prob(v))
    native = torch.as_tensor(v.astype(dtype.lstrip(">")))
    assert torch.equal(flow.log_prob(native), flow.log_prob(v))
    deep = pixels((1, 2, 2), levels=65536)
    top = np.full((1, 1, 2, 2), 65535)
    if np.dtype(dtype).itemsize > 2 or dtype == "uint16":
        assert torch.equal(deep.log_prob(top.astype(dtype)), deep.log_prob(top))
        assert torch.equal(deep.decode(deep.encode(top.astype(dtype))).long(), torch.tensor(top))
    assert torch.equal(
        pixels(levels=2).log_prob(np.ones((1, 1, 1, 2), bool)),
        pixels(levels=2).log_prob(np.ones((1, 1, 1, 2), int)),
    )


# Input that is refused -------------------------------------------------------------------------

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (
            torch.zeros(10, 4),
            r"RealNVP\(\(3,\)\) scores rows of 3 numbers, \(N, 3\); got shape "
            r"\(10, 4\)\. Drop a column, or build the model for rows of 4",
        ),
        (torch.zeros(10, 2), r"got shape \(10, 2\)\. Build the model for rows of 2"),
        (torch.zeros(3), r"takes a batch \(N, 3\); got one event of shape \(3,\).*x\[None\]"),
        (torch.zeros(2, 3, 3), r"got shape \(2, 3, 3\)\. Pass a table"),
        (torch.tensor(1.0), r"got shape \(\)"),
        (
            [[1.0, 2.0, 3.0], [1.0, NAN, 3.0], [NAN, 2.0, NAN]],
            r"missing values \(NaN\): 2 of 3 rows, the first at row 1, position 1",
        ),
        ([[1.0, 2.0, INF]], r"infinite values: 1 of 1 rows, the first at row 0, position 2"),
        ([[1.0, 2.0, -INF]], "infinite values"),
        (torch.zeros(2, 3, dtype=torch.complex64), "real numbers; got dtype torch.complex64"),
        ([["a", "b", "c"]], "a tensor or an array of numbers; got list"),
        (np.array([["a", "b", "c"]]), "a tensor or an array of numbers; got ndarray"),
        (None, "a tensor or an array of numbers; got NoneType"),
        ([[1.0, 2.0, 3.0], [1.0]], "a tensor or an array of numbers; got list"),
    ],
)
def test_unfit_rows_are_refused_in_one_sentence(x, words):
    flow = RealNVP((3,), width=4)
    for method in (flow.log_prob, flow.encode, flow.initialise):
        with pytest.raises(InputError, match=words):
            method(x)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (
            torch.rand(2, 1, 2, 2),
            r"integers 0 to 255; got fractions.*scaled to \[0, 1\]: pass the "
            r"integers \(x \* 255\)",
        ),
        (torch.full((2, 1, 2, 2), 7.5), r"got fractions, the first 7\.5\. Round them"),
        (torch.full((2, 1, 2, 2), 256), r"got values from 256 to 256\. Build it with levels=257"),
        (torch.full((2, 1, 2, 2), -1), r"got values from -1 to -1\. Shift or rescale"),
        (torch.full((2, 1, 2, 2), NAN), r"missing values \(NaN\): 2 of 2 rows.*position 0, 0, 0"),
        (
            torch.zeros(2, 2, 2, 1),
            r"images \(N, 1, 2, 2\); got shape \(2, 2, 2, 1\).*\(N, C, H, W\)",
        ),
        (torch.zeros(1, 2, 2), r"one event of shape \(1, 2, 2\)"),
        (torch.zeros(2, 4), r"got shape \(2, 4\)"),
    ],
)
def test_unfit_images_are_refused_in_one_sentence(x, words):
    flow = RealNVP((1, 2, 2), width=4, couplings=2)
    for method in (flow.log_prob, flow.bits_per_dim, flow.encode):
        with pytest.raises(InputError, match=words):
            method(x)


@pytest.mark.parametrize(
    ("context", "words"),
    [
        (None, r"is conditional: pass context= of shape \(N, 2\)"),
        (torch.zeros(4, 3), r"wants a context of shape \(4, 2\); got \(4, 3\)"),
        (torch.zeros(3, 2), r"wants a context of shape \(4, 2\); got \(3, 2\)"),
        (torch.zeros(3), r"got \(3,\). Give one row of 2 numbers per event"),
        (torch.zeros(4, 2, 1), r"got \(4, 2, 1\)"),
        (torch.tensor([[0.0, NAN]] * 4), r"context of RealNVP\(\(3,\)\) got missing values"),
        ("red", "the context of .* takes a tensor or an array of numbers; got str"),
    ],
)
def test_unfit_contexts_are_refused(context, words):
    flow = rows(3, context=2)
    x = torch.zeros(4, 3)
    calls = [
        lambda: flow.log_prob(x, context),
        lambda: flow.encode(x, context),
        lambda: flow.decode(x, context),
        lambda: flow.sample(4, context=context),
        lambda: flow.rsample(4, context=context),
        lambda: flow.initialise(x, context),
    ]
    for call in calls:
        with pytest.raises(InputError, match=words):
            call()


def test_an_unwanted_context_is_refused():
    for call in (
        lambda c: rows(3).log_prob(torch.zeros(4, 3), c),
        lambda c: rows(3).sample(4, context=c),
    ):
        with pytest.raises(InputError, match="was built without context, but got one"):
            call(torch.zeros(4, 2))


def test_unfit_latents_are_refused():
    with pytest.raises(InputError, match=r"decode of RealNVP\(\(3,\)\).*got shape \(2, 4\)"):
        rows(3).decode(torch.zeros(2, 4))
    with pytest.raises(InputError, match="missing values"):
        pixels().decode(torch.full((1, 1, 1, 2), NAN))


def test_a_nan_that_the_weights_make_is_an_error_that_names_the_layer():
    flow = rows(3)
    with torch.no_grad():
        flow.chain[1].log_scale[0] = NAN
    with pytest.raises(NumericalError, match=r"NaN for 4 of 4 events; layer 1 \(ActNorm\)"):
        flow.log_prob(torch.zeros(4, 3))
    assert torch.isnan(flow.log_prob(torch.zeros(4, 3, dtype=torch.float64), check=False)).all()


def test_a_nan_of_the_base_is_an_error_too():
    base = DiagonalNormal((2,))
    with torch.no_grad():
        base.mean.fill_(NAN)
    flow = Flow((2,), [Permutation([1, 0])], base)
    with pytest.raises(NumericalError, match="3 of 3 events in the base density"):
        flow.log_prob(torch.zeros(3, 2))


# Initialise ------------------------------------------------------------------------------------


def test_initialise_reads_off_data_what_each_layer_needs_in_turn():
    flow = RealNVP((3,), width=4, couplings=4).double()
    x = torch.randn(400, 3, dtype=torch.float64) * torch.tensor([1.0, 10, 0.1]) + 50
    flow.initialise(x)
    z = x
    for layer in flow.chain:
        z, _ = layer.eval()(z)
        if type(layer).__name__ in ("ActNorm", "Standardize"):
            assert z.mean(0).abs().max() < 1e-9
            assert (z.std(0, correction=0) - 1).abs().max() < 1e-9
    before = {k: v.clone() for k, v in flow.state_dict().items()}
    flow.initialise(x * 5 - 3)
    assert all(torch.equal(before[k], v) for k, v in flow.state_dict().items()), "once"
    # Gaussian data: with couplings that start as the identity this is the right density already.
    expected = scipy.stats.norm(50, [1, 10, 0.1]).logpdf(x.numpy()).sum(1).mean()
    assert score(flow, x).mean() == pytest.approx(expected, abs=0.05)


def test_initialise_reaches_the_scales_within():
    flow = RealNVP((1, 8, 8), width=4, couplings=2)
    flow.initialise(torch.randint(256, (50, 1, 8, 8)))
    flags = [v for k, v in flow.state_dict().items() if k.endswith("initialised")]
    assert len(flags) == 4
    assert all(flags)
