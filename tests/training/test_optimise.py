"""Optimisers, learning rates, penalties, precision: each by its definition."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from trials import data_for, flow_for, options_for, pictures, rows, same, small_run, weights

import pushforward as pf
from pushforward import RealNVP, fit
from pushforward.layers import Coupling
from pushforward.models.realnvp_paper import paper_decayed
from pushforward.training.feed import Batch
from pushforward.training.learner import Learner
from pushforward.training.optimise import (
    Rate,
    make_optimiser,
    optimiser_state,
    restore_optimiser,
)
from pushforward.training.ranks import Ranks
from pushforward.training.settings import FitConfig


def test_the_rate_rises_falls_and_halves():
    rate = Rate(FitConfig(lr=1.0, warmup=9, schedule="cosine"))
    assert [rate(step, 0.0) for step in (0, 4, 9, 50)] == pytest.approx([0.1, 0.5, 1, 1])
    assert rate(50, 0.5) == pytest.approx(0.5)
    assert rate(50, 1.0) == pytest.approx(0)
    rate.halve()
    assert rate(50, 0.5) == pytest.approx(0.25)
    assert Rate(FitConfig(lr=2.0, warmup=0, schedule="linear"))(0, 0.25) == pytest.approx(1.5)
    assert Rate(FitConfig(lr=2.0, warmup=0, schedule="constant"))(0, 0.9) == 2.0


def test_on_a_plateau_the_rate_halves_after_five_validations():
    rate = Rate(FitConfig(lr=1.0, warmup=0, schedule="plateau"))
    factors = []
    for is_best in [True] + 12 * [False] + [True] + 4 * [False]:
        rate.validated(is_best)
        factors.append(rate(100, 0.7))
    assert factors == 5 * [1.0] + 5 * [0.5] + 8 * [0.25]
    steady = Rate(FitConfig(lr=1.0, warmup=0, schedule="constant"))
    for _ in range(20):
        steady.validated(False)
    assert steady(0, 0.0) == 1.0


@pytest.mark.parametrize("name", ["adam", "adamw", "adamax"])
def test_each_optimiser_is_torchs_own_and_decays_matrices_only(name):
    module = torch.nn.Linear(3, 2)
    module.frozen = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    optimiser = make_optimiser(module, FitConfig(optimiser=name, weight_decay=0.1, lr=0.01))
    assert type(optimiser).__name__.lower() == name
    decays = {
        id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]
    }
    assert decays == {id(module.weight): 0.1, id(module.bias): 0.0}
    state_before = {k: v.clone() for k, v in module.state_dict().items()}
    other = torch.nn.Linear(3, 2)
    other.load_state_dict({k: v for k, v in state_before.items() if k != "frozen"})
    twin = make_optimiser(other, FitConfig(optimiser=name, weight_decay=0.1, lr=0.01))
    x = torch.randn(5, 3)
    for each, its in ((module, optimiser), (other, twin)):
        each(x).square().sum().backward()
        its.step()
    saved = {k: v.clone() for k, v in optimiser_state(optimiser).items()}
    assert len(saved) == 6
    fresh = make_optimiser(other, FitConfig(optimiser=name, weight_decay=0.1, lr=0.01))
    restore_optimiser(fresh, saved)
    for each, its in ((module, optimiser), (other, fresh)):
        each.zero_grad()
        each(x).square().sum().backward()
        its.step()
    assert torch.equal(module.weight, other.weight)
    assert torch.equal(module.bias, other.bias)


@pytest.mark.parametrize("kind", ["rows", "images"])
def test_a_batch_in_parts_gives_the_same_step(kind):
    results = []
    for parts in (1, 3):
        flow = flow_for(kind)
        for module in flow.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        flow.double()
        options = options_for(kind, accumulate=parts, max_steps=3, batch_size=17)
        if kind == "images":  # noise belongs to the pass, so that parts draw other noise
            options["accumulate"] = 1
        fit(flow, data_for(kind), **options)
        results.append(weights(flow))
    for key, value in results[0].items():
        assert torch.allclose(value.double(), results[1][key].double(), rtol=0, atol=1e-10), key


def test_the_papers_penalty_pulls_magnitudes_alone():
    def trained(**options):
        flow = pf.create("realnvp-cifar10", shape=(1, 4, 4), width=4, blocks=1)
        fit(
            flow, pictures(40), max_steps=6, validate_every=6, batch_size=20, lr=1e-3,
            warmup=0, schedule="constant", ema=0.0, threads=1, progress=False, **options,
        )  # fmt: skip
        return flow

    plain, pulled = trained(), trained(l2=1e4)
    magnitudes = [n for n, _ in plain.named_parameters() if n.endswith("magnitude")]
    assert len(magnitudes) > 20
    one, other = weights(plain), weights(pulled)
    shrunk = [float(other[n].sum() - one[n].sum()) < 0 for n in magnitudes]
    assert all(shrunk), "the penalty's gradient outweighs all others"
    start = pf.create("realnvp-cifar10", shape=(1, 4, 4), width=4, blocks=1)
    name = magnitudes[0]
    moved = weights(start)[name] - other[name]
    assert float(moved.mean()) == pytest.approx(6e-3, rel=0.2), "Adam's steps of lr, all downwards"


def test_the_penalty_is_counted_in_the_unit_of_the_loss():
    """With plain gradient steps one can see its size: 2 l2 w / (D ln 2) for bits/dim."""
    flow = pf.create("realnvp-cifar10", shape=(1, 4, 4), width=4, blocks=1)
    flow.initialise(pictures(40))
    flow.train()
    gradients = []
    for l2 in (0.0, 0.5):
        twin = copy.deepcopy(flow)  # a pass moves the running averages
        learner = Learner(twin, FitConfig(l2=l2), Ranks())
        learner.gradient(Batch(torch.from_numpy(pictures(20)), None, None), 0)
        gradients.append([w.grad.clone() for w in paper_decayed(twin)])
    for plain, pulled, weight in zip(*gradients, paper_decayed(flow), strict=True):
        added = pulled - plain
        assert torch.allclose(added, weight / (16 * math.log(2)), rtol=1e-3, atol=1e-5)


def test_bf16_is_for_conditioners_while_training_only():
    plain, run = small_run("rows")
    coarse, coarse_run = small_run("rows", precision="bf16")
    assert not same(weights(plain), weights(coarse))
    assert coarse_run.best["validation"] == pytest.approx(run.best["validation"], abs=0.05)
    assert all(m.precision is None for m in coarse.modules() if isinstance(m, Coupling))
    assert {p.dtype for p in coarse.parameters()} == {torch.float32}


def test_deterministic_mode_is_lifted_afterwards():
    assert not torch.are_deterministic_algorithms_enabled()
    first, _ = small_run("images", deterministic=True, threads=None)
    second, _ = small_run("images", deterministic=True, threads=None)
    assert same(weights(first), weights(second))
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.slow
def test_a_compiled_step_is_the_same_step():
    plain, _ = small_run("images", max_steps=6)
    compiled, run = small_run("images", max_steps=6, compile=True)
    assert run.stopped == "all steps done"
    for key, value in weights(plain).items():
        assert torch.allclose(value.double(), weights(compiled)[key].double(), atol=1e-3), key


def test_crops_move_images_by_up_to_their_edge():
    from pushforward.training.augment import augment

    x = torch.arange(600 * 49).reshape(600, 1, 7, 7)
    moved = augment(x, 0.0, False, torch.Generator().manual_seed(0), crop=2)
    centre = moved[:, 0, 3, 3] - x[:, 0, 3, 3]
    offsets = {int(d) for d in centre}
    assert offsets == {7 * dy + dx for dy in range(-2, 3) for dx in range(-2, 3)}
    counts = np.unique(centre.numpy(), return_counts=True)[1]
    assert ((counts - 24) ** 2 / 24).sum() < 55, "chi square, 24 degrees of freedom: p = .0003"


def test_validation_is_not_augmented():
    flow = RealNVP((1, 4, 4), width=4, couplings=2)
    data = pf.Dataset("p", "images", (1, 4, 4), 256, pictures(60), pictures(20, 1), pictures(0))
    run = fit(flow, data, **options_for("images", ema=0.0))
    bits = flow.bits_per_dim(pictures(20, 1)).mean().item()
    assert bits == pytest.approx(run.best["validation"], abs=1e-5)


def test_rows_are_not_cropped():
    with pytest.raises(pf.InputError, match="shift, crop and flip are for images"):
        fit(flow_for("rows"), rows(50), crop=1, progress=False)


@pytest.mark.parametrize("memory", ["checkpoint", "constant"])
@pytest.mark.parametrize("kind", ["rows", "batch norm", "images"])
def test_memory_modes_take_the_same_steps(kind, memory):
    """Dropout, noise and batch norms included; and the flow is as it was afterwards."""
    results = []
    for way in ("store", memory):
        # Rounding of float32 is all the gradient that a bias before a batch norm has, and Adam
        # would follow it.
        flow = flow_for(kind).double()
        run = fit(flow, data_for(kind), **options_for(kind, max_steps=6, memory=way))
        assert flow.memory == "store"
        results.append((run.best["validation"], weights(flow)))
    (loss, one), (other_loss, other) = results
    assert other_loss == pytest.approx(loss, abs=1e-9)
    for key, value in one.items():
        assert torch.allclose(value.double(), other[key].double(), rtol=0, atol=1e-8), key


def test_memory_and_compile_are_not_both_to_be_had():
    with pytest.raises(pf.InputError, match="give one of the two"):
        fit(flow_for("rows"), rows(50), memory="constant", compile=True, progress=False)
