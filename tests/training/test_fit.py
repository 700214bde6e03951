"""fit: it learns, keeps the best weights, repeats itself, ends cleanly, leaves nothing behind."""

from __future__ import annotations

import copy
import json
import math
import random
import time

import numpy as np
import pytest
import scipy.stats
import torch

import pushforward as pf
from pushforward import Dataset, InputError, RealNVP, fit
from pushforward.layers import FlowBatchNorm
from pushforward.scoring import score
from pushforward.training.augment import augment
from pushforward.training.average import WeightAverage
from pushforward.training.settings import FitConfig, seconds
from registry import perturb


def mixture(n, seed):
    """Two Gaussians in the plane."""
    rng = np.random.default_rng(seed)
    centres = np.where(rng.random(n)[:, None] < 0.5, -2.0, 2.0)
    return (centres + 0.5 * rng.standard_normal((n, 2))).astype(np.float32)


def mixture_log_density(x):
    left = scipy.stats.norm(-2, 0.5).logpdf(x).sum(1)
    right = scipy.stats.norm(2, 0.5).logpdf(x).sum(1)
    return np.logaddexp(left, right) - math.log(2)


def small(size=2, seed=0, **options):
    return RealNVP((size,), **{"width": 8, "couplings": 2, "seed": seed, **options})


def quick(flow, data, **options):
    """A run of a few steps."""
    settings = {"max_steps": 12, "validate_every": 4, "batch_size": 32, "warmup": 2}
    return fit(flow, data, **{**settings, "progress": False, **options})


def rows_dataset(train, validation):
    empty = train[:0]
    return Dataset("rows", "rows", train.shape[1:], None, train, validation, empty)


def weights(flow):
    return {key: value.clone() for key, value in flow.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


# Learning --------------------------------------------------------------------------------------


def test_fit_learns_a_mixture():
    x, test = mixture(3000, 0), mixture(4000, 1)
    flow = RealNVP((2,), couplings=6, width=32)
    run = fit(flow, x, max_steps=450, batch_size=256, lr=5e-3, progress=False)
    truth = -mixture_log_density(test).mean()
    found = -score(flow, test).mean()
    assert truth - 0.02 < found < truth + 0.12
    # a single Gaussian, which is where training starts, is far off
    gaussian = scipy.stats.multivariate_normal(x.mean(0), np.cov(x.T))
    assert found < -gaussian.logpdf(test).mean() - 0.8
    assert run.unit == "nats"
    assert run.stopped == "all steps done"
    assert not flow.training
    assert all(p.grad is None for p in flow.parameters())


def test_fit_learns_a_conditional_density():
    rng = np.random.default_rng(0)
    c = rng.uniform(-1, 1, (1500, 1))
    x = 2 * c + 0.3 * rng.standard_normal((1500, 1))
    flow = RealNVP((1,), context=1, couplings=2, width=16)
    fit(flow, x, context=c, max_steps=300, batch_size=256, lr=5e-3, progress=False)
    c = rng.uniform(-1, 1, (1000, 1))
    x = 2 * c + 0.3 * rng.standard_normal((1000, 1))
    truth = -scipy.stats.norm.logpdf(x, 2 * c, 0.3).mean()
    assert -score(flow, x, c).mean() < truth + 0.1
    assert float(flow.sample(500, seed=0, context=[0.8]).mean()) == pytest.approx(1.6, abs=0.1)


def test_fit_lowers_the_bits_of_images():
    rng = np.random.default_rng(0)
    dark = rng.integers(0, 40, (200, 1, 4, 4)).astype(np.uint8)
    flow = RealNVP((1, 4, 4), width=4, couplings=2, dropout=0.1)
    run = fit(
        flow, dark, max_steps=60, validate_every=20, lr=1e-2, shift=0.5, flip=True, progress=False
    )
    assert run.unit == "bits/dim"
    assert math.log2(40) - 0.05 < run.best["validation"] < 8  # the entropy of the data; no model
    bits = flow.bits_per_dim(dark).mean().item()
    assert bits == pytest.approx(run.best["validation"], abs=0.3)
    # Scores are those of the model that is saved: no trace of training's noise.
    twin = RealNVP((1, 4, 4), width=4, couplings=2, dropout=0.1).eval()
    twin.load_state_dict(flow.state_dict())
    assert torch.equal(twin.log_prob(dark), flow.log_prob(dark))


def test_fit_takes_sources_by_name():
    run = quick(small(), "two-moons", max_steps=1, validate_on=100)
    assert run.records[-1]["step"] == 1


@pytest.mark.parametrize("n", [1, 2, 11])
@pytest.mark.parametrize("norm", ["actnorm", "batch", "none"])
def test_few_rows_are_enough_to_begin(n, norm):
    flow = small(norm=norm)
    x = mixture(n, 0)
    if n == 1 and norm == "batch":
        with pytest.raises(InputError, match="batch of one row"):
            quick(flow, x)
        return
    run = quick(flow, x)
    assert math.isfinite(run.best["validation"])


def test_a_flow_in_float64_stays_in_float64():
    flow = small().double()
    quick(flow, mixture(100, 0).astype(np.float64))
    assert {p.dtype for p in flow.parameters()} == {torch.float64}


def test_frozen_weights_stay():
    flow = small(norm="none")
    perturb(flow)
    frozen = flow.chain[1].conditioner.hidden[0].weight.requires_grad_(False)
    before, others = frozen.clone(), weights(flow)
    quick(flow, mixture(100, 0))
    assert torch.equal(frozen, before)
    assert not same(others, weights(flow))


# The best weights ------------------------------------------------------------------------------


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_the_flow_holds_the_weights_that_validated_best(ema):
    train, validation = mixture(60, 0), mixture(300, 1)
    flow = RealNVP((2,), couplings=4, width=32)
    run = fit(
        flow,
        rows_dataset(train, validation),
        max_steps=120,
        validate_every=10,
        lr=2e-2,
        schedule="constant",
        warmup=0,
        ema=ema,
        progress=False,
    )
    losses = [record["validation"] for record in run.records]
    assert run.best == run.records[int(np.argmin(losses))]
    assert run.best["step"] < run.records[-1]["step"], "few rows overfit, so the last is not best"
    assert -score(flow, validation).mean() == pytest.approx(run.best["validation"], abs=1e-5)


def test_validation_happens_when_it_should_and_at_the_end():
    run = quick(small(), mixture(100, 0), max_steps=10, validate_every=4)
    assert [r["step"] for r in run.records] == [4, 8, 10]
    assert [r["epoch"] for r in run.records] == pytest.approx([4 / 3, 8 / 3, 10 / 3], abs=1e-3)
    known = {"step", "epoch", "seconds", "train", "validation", "lr", "items_per_second"}
    assert all(set(r) == known for r in run.records)
    assert run.records[-1]["lr"] == pytest.approx(0, abs=1e-9), "cosine: the rate falls to 0"
    seconds_ = [r["seconds"] for r in run.records]
    assert seconds_ == sorted(seconds_)


def test_batch_norms_end_with_the_exact_moments_of_the_training_data():
    x = mixture(200, 0)
    flow = small(norm="batch", couplings=3)
    quick(flow, rows_dataset(x, x[:50]))
    z = torch.as_tensor(x)
    checked = 0
    for layer in flow.chain:
        if isinstance(layer, FlowBatchNorm):
            mean, variance = layer.moments.estimate()
            assert torch.allclose(mean, z.mean(0), atol=1e-5)
            assert torch.allclose(variance, z.var(0, correction=0), rtol=1e-4)
            checked += 1
        z = layer(z)[0].detach()
    assert checked == 3


# Repeatability and manners ---------------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights_to_the_last_bit():
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(random.randrange(1000))  # the surroundings do not matter
        flow = small(3, dropout=0.2)
        quick(flow, np.random.default_rng(0).normal(size=(100, 3)), seed=seed)
        results.append(weights(flow))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


def test_images_repeat_too_with_noise_and_augmentation():
    x = np.random.default_rng(0).integers(0, 256, (60, 1, 4, 4)).astype(np.uint8)
    results = []
    for seed in (1, 1, 2):
        flow = RealNVP((1, 4, 4), width=4, couplings=2)
        quick(flow, x, seed=seed, shift=0.5, flip=True)
        results.append(weights(flow))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


def global_numpy():
    """The state of the generator that scripts in the old style share."""
    return np.random.get_state()[1]  # noqa: NPY002


def test_nothing_global_is_touched():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.manual_seed(1)
        state = torch.get_rng_state(), global_numpy().copy(), random.getstate()
        x = mixture(100, 0)
        given = x.copy()
        quick(small(dropout=0.3), x, threads=1)
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), state[0])
        assert np.array_equal(global_numpy(), state[1])
        assert random.getstate() == state[2]
        assert np.array_equal(x, given)
        assert torch.is_grad_enabled()
        with pytest.raises(InputError):
            quick(small(), np.zeros((10, 5)))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


# Ends ------------------------------------------------------------------------------------------


def test_patience_ends_a_run_that_no_longer_improves():
    run = quick(small(), mixture(100, 0), lr=1e-30, ema=0.0, max_steps=1000, patience=2)
    assert [r["step"] for r in run.records] == [4, 8, 12]
    assert run.best["step"] == 4
    assert run.stopped == "no better validation in 2"
    run = quick(small(), mixture(100, 0), lr=1e-30, ema=0.0, max_steps=40, patience=None)
    assert len(run.records) == 10


def test_max_time_ends_a_run():
    start = time.monotonic()
    run = quick(small(), mixture(100, 0), max_steps=None, max_time="0.3s")
    assert run.stopped == "time is up"
    assert 0.3 <= time.monotonic() - start < 10
    assert run.settings["max_time"] == 0.3
    assert run.settings["max_steps"] is None


def test_epochs_are_passes_over_the_training_data():
    run = quick(small(), rows_dataset(mixture(96, 0), mixture(10, 1)), max_steps=None, epochs=2)
    assert run.records[-1]["step"] == 6
    assert run.records[-1]["epoch"] == 2
    run = quick(small(), rows_dataset(mixture(96, 0), mixture(10, 1)), max_steps=5, epochs=2)
    assert run.records[-1]["step"] == 5, "the limit that comes first"


# What cannot be done ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epoch": 3}, "fit has no setting 'epoch'; it has epochs, max_steps, max_time"),
        ({"lr": 0}, "fit: lr = 0 will not do"),
        ({"ema": 1.0}, r"fit: ema = 1\.0 will not do"),
        ({"schedule": "step"}, "fit: schedule = 'step' will not do"),
        ({"batch_size": 0}, "fit: batch_size = 0 will not do"),
        ({"max_time": "soon"}, "fit: max_time = 'soon' will not do.*90s, 15m"),
        ({"max_time": 0}, "fit: max_time = 0 will not do"),
        ({"device": "toaster"}, "no usable device 'toaster' here; use cpu"),
    ],
)
def test_unfit_options_are_named(options, words):
    with pytest.raises(InputError, match=words):
        fit(small(), mixture(20, 0), progress=False, **options)


def test_unfit_data_are_refused():
    with pytest.raises(InputError, match=r"RealNVP\(\(2,\)\) cannot learn .* shape \(3,\)"):
        fit(small(), np.zeros((20, 3)), progress=False)
    with pytest.raises(InputError, match="missing value"):
        fit(small(), np.full((20, 2), np.nan), progress=False)
    with pytest.raises(InputError, match="is conditional: pass"):
        fit(small(context=1), mixture(20, 0), progress=False)
    with pytest.raises(InputError, match="is conditional: pass fit"):
        fit(small(context=1), rows_dataset(mixture(20, 0), mixture(5, 0)), progress=False)
    with pytest.raises(InputError, match="built without context"):
        fit(small(), mixture(20, 0), context=np.zeros((20, 1)), progress=False)
    with pytest.raises(InputError, match=r"context of shape \(20, 1\); got \(19, 1\)"):
        fit(small(context=1), mixture(20, 0), context=np.zeros((19, 1)), progress=False)
    with pytest.raises(InputError, match="at least 2 events"):
        fit(small(context=1), mixture(1, 0), context=np.zeros((1, 1)), progress=False)
    with pytest.raises(InputError, match="no training events"):
        fit(small(), rows_dataset(mixture(0, 0), mixture(5, 0)), progress=False)


# The record ------------------------------------------------------------------------------------


def test_the_run_is_written_as_json_lines_and_drawn(tmp_path):
    run = quick(small(), mixture(100, 0))
    run.save(tmp_path / "history.jsonl")
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == run.records
    assert run.settings["batch_size"] == 32
    assert run.settings["lr"] == FitConfig().lr

    axes = run.plot(tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
    assert "nats" in axes.get_ylabel()
    drawn = {line.get_label().split(",")[0]: line for line in axes.get_lines()}
    assert list(drawn["validation"].get_ydata()) == [r["validation"] for r in run.records]
    assert list(drawn["best"].get_xdata()) == [run.best["step"]]


def test_progress_without_a_terminal_is_plain_lines_with_units(capsys):
    run = quick(small(), mixture(100, 0), progress=True)
    out = capsys.readouterr().out
    lines, text = out.splitlines(), " ".join(out.split())
    assert "densities may exceed 1" in text
    shown = [line for line in lines if line.startswith("step")]
    assert len(shown) == len(run.records)
    for line, record in zip(shown, run.records, strict=True):
        assert f"validation {record['validation']:.3f} nats" in " ".join(line.split())
    assert f"kept the weights of step {run.best['step']}" in text
    quick(small(), mixture(100, 0))
    assert capsys.readouterr().out == ""


# Parts -----------------------------------------------------------------------------------------


def test_shifts_move_a_share_of_the_images_by_at_most_one_pixel():
    images = torch.randint(256, (600, 2, 5, 4), dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    moved = augment(images, 0.5, False, generator)
    assert moved.dtype == images.dtype
    assert moved.shape == images.shape
    padded = torch.nn.functional.pad(images.double(), (1, 1, 1, 1), mode="replicate").to(
        torch.uint8
    )
    ways = {
        (dy, dx): (moved == padded[:, :, 1 + dy : 6 + dy, 1 + dx : 5 + dx]).flatten(1).all(1)
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    }
    assert torch.stack(list(ways.values())).any(0).all(), "each is one of the nine"
    still = int(ways[0, 0].sum())
    assert scipy.stats.binomtest(still, 600, 0.5 + 0.5 / 9).pvalue > 1e-3
    others = [int(hits.sum()) for way, hits in ways.items() if way != (0, 0)]
    assert scipy.stats.chisquare(others).pvalue > 1e-3
    assert torch.equal(augment(images, 0.0, False, generator), images)


def test_flips_mirror_half_of_the_images():
    images = torch.randint(256, (600, 1, 3, 4), dtype=torch.uint8)
    flipped = augment(images, 0.0, True, torch.Generator().manual_seed(0))
    mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    assert (mirrored | (flipped == images).flatten(1).all(1)).all()
    assert scipy.stats.binomtest(int(mirrored.sum()), 600, 0.5).pvalue > 1e-3


def test_the_weight_average_follows_its_formula():
    module = torch.nn.Linear(2, 1, bias=False).double()
    module.register_parameter("fixed", torch.nn.Parameter(torch.ones(1), requires_grad=False))
    average = WeightAverage(module, decay=0.3)
    expected = module.weight.detach().numpy().copy()
    for step in range(6):
        with torch.no_grad():
            module.weight += step + 1
        average.update()
        decay = min(0.3, (1 + step) / (10 + step))
        expected += (1 - decay) * (module.weight.detach().numpy() - expected)
    own = module.weight.detach().clone()
    with average.applied():
        assert np.allclose(module.weight.detach(), expected, rtol=0, atol=1e-12)
        assert float(module.fixed) == 1
    assert torch.equal(module.weight, own)
    with pytest.raises(KeyError), average.applied():
        raise KeyError
    assert torch.equal(module.weight, own), "after an error too"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("90", 90),
        ("90s", 90),
        ("15m", 900),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("7d", 604800),
        ("1.5H", 5400),
        (" 2 m ", 120),
        (90, 90),
        (0.5, 0.5),
        (None, None),
    ],
)
def test_times_are_read(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "soon", "-5", "5x", "m5", "1.2.3", "1h30", ".", "1e3", "5 5"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match="such as 90s, 15m, 1h30m or 7d"):
        seconds(text)


def test_a_model_trained_for_a_moment_scores_better_than_it_did(tmp_path):
    # The whole way of a reader of the README, at its smallest.
    flow = pf.RealNVP((2,), width=8, couplings=2)
    before = -score(copy.deepcopy(flow).eval(), mixture(200, 1)).mean()
    quick(flow, mixture(300, 0), max_steps=60)
    assert -score(flow, mixture(200, 1)).mean() < before
    assert flow.sample(3, seed=0).shape == (3, 2)


def test_batch_norms_are_settled_in_the_flows_own_type():
    """Data are float32, the flow float64: its batch norms must not see the data as they came."""
    x = torch.randn(200, 3)
    flow = pf.RealNVP((3,), width=8, couplings=2, norm="batch").double()
    run = pf.fit(flow, x, max_steps=6, validate_every=3, progress=False, threads=1)
    assert run.records[-1]["drift"] >= 1.0
    assert flow.log_prob(x).dtype == torch.float64
