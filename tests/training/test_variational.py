"""A flow that learns from an energy: what it finds, what it says, and what it refuses."""

import copy
import dataclasses
import math
import os
import signal

import numpy as np
import pytest
import torch

import pushforward as pf
from pushforward import InputError, NumericalError, PlanarFlow, fit_density
from pushforward.bases import DiagonalNormal
from pushforward.energies import ENERGIES, divergence, log_z
from pushforward.training.importance import importance
from pushforward.training.variational_run import weighted_draws

MEAN, STD = torch.tensor([1.0, -0.5]), torch.tensor([0.5, 2.0])
LOG_Z = float(STD.log().sum()) + math.log(2 * math.pi)


def gaussian(x):
    return 0.5 * ((x - MEAN.to(x)) / STD.to(x)).square().sum(1)


def normal_flow():
    return pf.Flow((2,), [], DiagonalNormal((2,)))


def exact_flow():
    flow = normal_flow()
    with torch.no_grad():
        flow.base.mean.copy_(MEAN)
        flow.base.log_scale.copy_(STD.log())
    return flow


def quick(energy, flow, **options):
    settings = {"steps": 20, "samples": 200, "validate_on": 64, "batch_size": 32}
    return fit_density(energy, flow, **{"progress": False, **settings, **options})


# What it finds ---------------------------------------------------------------------------------


def test_a_normal_is_found_and_its_constant():
    flow = normal_flow()
    run = quick(gaussian, flow, steps=250, lr=0.1, batch_size=64, samples=2_000)
    assert run.log_z == pytest.approx(LOG_Z, abs=5 * run.log_z_error + 1e-3)
    assert run.ess > 0.99
    assert torch.allclose(flow.base.mean, MEAN, atol=0.1)
    assert torch.allclose(flow.base.log_scale, STD.log(), atol=0.1)
    mean, std = run.moments()
    assert torch.allclose(mean, MEAN.double(), atol=0.15)
    assert torch.allclose(std, STD.double(), atol=0.15)


def test_the_free_energy_is_the_divergence_above_minus_log_z():
    flow, energy = PlanarFlow((2,), layers=3, direction="sampling"), ENERGIES["U1"]
    begin = divergence(flow, energy, size=200)
    run = quick(energy, flow, steps=150, lr=0.01, samples=4_000, batch_size=128)
    after = divergence(flow, energy, size=200)
    assert after < begin / 2
    assert run.free_energy >= -log_z(energy) - 3 * run.estimate.free_energy_error
    gap = run.free_energy + log_z(energy)
    assert gap == pytest.approx(after, abs=5 * run.estimate.free_energy_error)


@pytest.mark.parametrize(
    "flow",
    [
        pf.RealNVP((2,), couplings=2, width=8, depth=1),
        PlanarFlow((2,), "radial", layers=2, direction="sampling"),
        PlanarFlow((2,), "sylvester", layers=1),  # the dear direction works as well
    ],
    ids=lambda flow: flow.name,
)
def test_any_flow_over_real_numbers_learns(flow):
    run = quick(ENERGIES["U2"], flow, steps=40, lr=0.01)
    assert run.best["validation"] < run.records[0]["validation"]
    assert not flow.training


def test_what_it_learned_is_not_overwritten_by_a_first_batch():
    flow = pf.RealNVP((2,), couplings=2, width=8, depth=1)
    quick(gaussian, flow, steps=5)
    before = copy.deepcopy(flow.state_dict())
    flow.train().log_prob(torch.randn(50, 2))
    assert all(torch.equal(before[key], value) for key, value in flow.state_dict().items())


def test_without_annealing_and_with_the_papers():
    betas = [r["beta"] for r in quick(gaussian, normal_flow(), validate_every=5, anneal=0).records]
    assert betas == [1.0] * 5
    run = quick(gaussian, normal_flow(), validate_every=5, anneal=10_000)
    assert [r["beta"] for r in run.records] == [min(1, 0.01 + t / 10_000) for t in range(0, 21, 5)]
    assert quick(gaussian, normal_flow(), steps=30).settings["anneal"] == 15


def test_the_path_gradient_vanishes_where_flow_and_density_agree():
    density = exact_flow().double()
    energy = lambda x: -density.log_prob(x)  # noqa: E731
    for path, still in ((True, True), (False, False)):
        run = quick(
            energy, exact_flow().double(), path_gradient=path, anneal=0, lr=1e-3, validate_every=5
        )
        values = [record["validation"] for record in run.records]
        assert (max(values) - min(values) < 1e-12) == still


# The estimates ---------------------------------------------------------------------------------


def test_the_exact_flow_has_equal_weights():
    _, log_w = weighted_draws(exact_flow().double(), gaussian, 1_000, 0)
    estimate = importance(log_w)
    assert estimate.ess == pytest.approx(1, abs=1e-12)
    assert estimate.log_z == pytest.approx(LOG_Z, abs=1e-6)  # MEAN and STD are float32
    assert estimate.log_z_error < 1e-6
    assert estimate.free_energy == pytest.approx(-LOG_Z, abs=1e-6)
    assert estimate.pareto_k == -math.inf


def test_log_z_has_the_error_that_it_states():
    flow = normal_flow().double()
    with torch.no_grad():
        flow.base.log_scale.copy_(torch.tensor([0.3, 1.0]))
        flow.base.mean.copy_(MEAN)
    found = [importance(weighted_draws(flow, gaussian, 2_000, seed)[1]) for seed in range(60)]
    spread = np.std([e.log_z for e in found])
    assert spread == pytest.approx(np.mean([e.log_z_error for e in found]), rel=0.35)
    assert np.mean([e.log_z for e in found]) == pytest.approx(LOG_Z, abs=4 * spread / math.sqrt(60))


# The run ---------------------------------------------------------------------------------------


def test_a_seed_repeats_a_run():
    runs = [
        quick(gaussian, PlanarFlow((2,), layers=2, direction="sampling"), seed=seed)
        for seed in (3, 3, 4)
    ]
    assert runs[0].free_energy == runs[1].free_energy
    assert torch.equal(runs[0].draws, runs[1].draws)
    assert runs[0].free_energy != runs[2].free_energy


def test_torchs_own_generator_is_left_alone():
    before = torch.get_rng_state()
    quick(gaussian, normal_flow())
    assert torch.equal(torch.get_rng_state(), before)


def test_the_best_weights_stay():
    flow = normal_flow()
    run = quick(gaussian, flow, steps=60, lr=0.5, schedule="constant", validate_every=5)
    _, log_w = weighted_draws(flow, gaussian, 64, 1)
    best = min(r["validation"] for r in run.records)
    assert run.best["validation"] == best
    assert float(-log_w.mean()) == pytest.approx(best, abs=1e-6)


def test_ctrl_c_keeps_the_best_so_far():
    calls = []

    def energy(x):
        calls.append(len(x))
        if len(calls) == 60:
            os.kill(os.getpid(), signal.SIGINT)
        return gaussian(x)

    run = quick(energy, normal_flow(), steps=10_000, lr=0.05, validate_every=10, anneal=0)
    assert run.stopped == "interrupted"
    assert run.steps < 100
    assert run.best["validation"] < run.records[0]["validation"]
    assert math.isfinite(run.log_z)


def test_time_is_a_limit():
    run = quick(gaussian, normal_flow(), steps=10**6, max_time=0.3)
    assert run.stopped == "time"
    assert 0 < run.steps < 10**6


def test_a_nan_on_the_way_sends_it_back():
    calls = []

    def energy(x):
        calls.append(len(x))
        return gaussian(x) * (math.nan if len(calls) == 12 else 1.0)

    run = quick(energy, normal_flow(), steps=50, lr=0.05, validate_every=5)
    assert len(run.events) == 1
    assert "the energy was NaN" in run.events[0]
    assert run.stopped == "steps"
    assert math.isfinite(run.free_energy)


def test_nan_for_ever_is_an_error_and_the_best_weights_are_restored():
    calls = []

    def energy(x):
        calls.append(len(x))
        return gaussian(x) * (math.nan if len(calls) > 30 else 1.0)

    flow = normal_flow()
    with pytest.raises(NumericalError, match="3 returns to good weights"):
        quick(energy, flow, steps=100, lr=0.05, validate_every=5)
    assert all(torch.isfinite(p).all() for p in flow.parameters())
    assert (flow.base.mean != 0).all(), "and it had learned something"


def test_samples_come_with_weights():
    run = quick(gaussian, normal_flow(), steps=200, lr=0.05)
    x, weights = run.sample(5_000, seed=1)
    assert x.shape == (5_000, 2)
    assert float(weights.sum()) == pytest.approx(1)
    assert torch.allclose(weights @ x.double(), MEAN.double(), atol=0.15)
    none = run.sample(0)
    assert none[0].shape == (0, 2)
    assert none[1].shape == (0,)
    again = run.sample(5_000, seed=1)
    assert torch.equal(again[0], x)
    assert torch.equal(again[1], weights)


def test_samples_with_weights_that_are_not_numbers_are_refused():
    run = quick(gaussian, normal_flow())
    run.energy = lambda x: gaussian(x) * math.nan
    with pytest.raises(NumericalError, match="20 of 20 samples"):
        run.sample(20)


def test_the_summary_says_what_was_found_and_whether_to_trust_it():
    run = quick(gaussian, normal_flow(), steps=100, lr=0.05)
    text = str(run)
    for part in ("free energy", "log Z", "effective samples", "Pareto k", "nats", "100 steps"):
        assert part in text
    assert run.elbo == -run.free_energy
    far = quick(lambda x: gaussian(x * 40 - 60), normal_flow(), steps=1, samples=2_000)
    assert far.pareto_k > 0.7
    assert "cannot be trusted" in str(far)


@pytest.mark.parametrize(
    ("k", "said"),
    [
        (math.nan, "not enough samples"),
        (-math.inf, "below 0.5: the weights can be trusted"),
        (0.6, "above 0.5: the weights can be trusted, the error of log Z cannot"),
        (math.inf, "above 0.7: log Z and weighted means cannot be trusted"),
    ],
)
def test_how_far_weights_are_trusted_depends_on_their_tail(k, said):
    run = quick(gaussian, normal_flow())
    run.estimate = dataclasses.replace(run.estimate, pareto_k=k)
    assert said in str(run)


def test_progress_is_shown_and_the_curve_is_drawn(tmp_path, capsys):
    run = quick(gaussian, normal_flow(), progress=True, validate_every=10)
    assert "nats of free energy" in capsys.readouterr().out
    run.plot(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 5_000
    run.save(tmp_path / "records.jsonl")
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 3


def test_a_fitted_flow_is_saved_like_any_other(tmp_path):
    flow = PlanarFlow((2,), layers=2, direction="sampling")
    quick(gaussian, flow)
    flow.save(tmp_path / "model")
    x = torch.randn(5, 2)
    assert torch.equal(pf.load(tmp_path / "model").log_prob(x), flow.log_prob(x))


# What it refuses -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("energy", "said"),
    [
        ("x**2", "is a function"),
        (lambda x: x.square(), r"\(64, 2\)"),
        (lambda x: x.square().sum(1, keepdim=True), r"shape \(64, 1\)"),
        (lambda x: x.square().sum(), r"shape \(\)"),
        (lambda x: 3.0, "float"),
        (lambda x: torch.log(x).sum(1), "value of the energy is NaN"),
        (lambda x: x.square().sum(1) / (x[:, 0] > 0), "infinite for"),
        (lambda x: gaussian(x.detach()), "cut off"),
        (lambda x: torch.from_numpy(np.square(x.numpy()).sum(1)), "NumPy"),
        (lambda x: torch.zeros(len(x)), "cut off"),
        (lambda x: torch.zeros(len(x), requires_grad=True) * 1, "do not depend"),
        (lambda x: (x[:, 0] - x[:, 0]).sqrt() + x[:, 1], "gradient of the energy is"),
    ],
)
def test_an_energy_that_will_not_do_is_refused_in_a_sentence(energy, said):
    with pytest.raises(InputError, match=said):
        quick(energy, normal_flow())


@pytest.mark.parametrize(
    ("flow", "said"),
    [
        (torch.nn.Linear(2, 2), "fits a Flow; got Linear"),
        (pf.RealNVP((1, 4, 4), couplings=1, width=4), "over integers"),
        (PlanarFlow((2,), context=3), "takes a context"),
        (pf.Flow((2,), []), "no weights"),
        (normal_flow().half(), r"in float16: call its float\(\) first"),
    ],
)
def test_a_flow_that_will_not_do_is_refused_in_a_sentence(flow, said):
    with pytest.raises(InputError, match=said):
        quick(gaussian, flow)


def test_an_error_of_the_energy_itself_says_what_it_was_given():
    with pytest.raises(RuntimeError) as caught:
        quick(lambda x: x @ torch.ones(3), normal_flow())
    assert caught.value.__notes__ == ["The energy was given 64 events (N, 2) of float32."]


def test_the_weights_of_an_energy_are_left_alone():
    net = torch.nn.Linear(2, 1)
    quick(lambda x: gaussian(x) + net(x)[:, 0].square(), normal_flow())
    assert all(p.grad is None for p in net.parameters())


def test_an_unknown_option_is_named():
    with pytest.raises(InputError, match="no setting 'epochs'"):
        quick(gaussian, normal_flow(), epochs=3)
