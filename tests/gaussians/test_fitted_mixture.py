"""The mixture base: training begins at the best mixture, and never goes below it."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from sklearn.mixture import GaussianMixture as SklearnMixture

import pushforward as pf
from pushforward.gaussians.fitted import FittedMixture, best_mixture, one_normal
from pushforward.training.ranks import Ranks

SMALL = {
    "realnvp": (pf.RealNVP, {"couplings": 2, "width": 8}),
    "spline": (pf.RealNVP, {"couplings": 2, "width": 8, "law": "spline"}),
    "lu": (pf.RealNVP, {"couplings": 2, "width": 8, "mixing": "lu"}),
    "nsf": (pf.NSF, {"steps": 1, "width": 8, "blocks": 1}),
    "maf": (pf.MAF, {"layers": 2, "width": 8}),
    "maf-mog": (pf.MAF, {"layers": 1, "mog": 2, "width": 8}),
}


def blobs(n, seed=0, d=3):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(3, d)) * 4
    return (centres[rng.integers(0, 3, n)] + rng.normal(size=(n, d))) * [1.0, 10.0, 0.1][:d]


@pytest.mark.parametrize("name", [name for name in SMALL if name != "maf-mog"])
def test_before_the_first_step_it_is_scikit_learns_mixture(name):
    make, options = SMALL[name]
    x, held_out = blobs(400), blobs(200, seed=1)
    flow = make((3,), base="mixture", base_components=3, **options).double()
    flow.initialise(x)
    mean, std = x.mean(0), x.std(0)
    em = SklearnMixture(3, reg_covar=1e-6, random_state=0, n_init=3).fit((x - mean) / std)
    expected = em.score((held_out - mean) / std) - np.log(std).sum()
    assert flow.eval().log_prob(held_out).mean().item() == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("name", SMALL)
def test_after_training_it_is_no_worse_on_validation(name):
    make, options = SMALL[name]
    flow = make((3,), base="mixture", base_components=2, **options)
    run = pf.fit(
        flow, blobs(150), max_steps=20, validate_every=10, lr=0.3, clip=100, progress=False
    )
    assert run.records[0]["step"] == 0
    assert run.best["validation"] <= run.records[0]["validation"]


def test_the_number_of_components_is_found_and_kept(tmp_path):
    x = blobs(600)
    flow = pf.RealNVP((3,), base="mixture", couplings=2, width=8)
    flow.initialise(x)
    assert 3 <= flow.base.components <= 4
    assert flow.config.base_components == flow.base.components
    flow.save(tmp_path / "model")
    again = pf.load(tmp_path / "model")
    assert torch.equal(again.log_prob(x), flow.eval().log_prob(x))
    again.initialise(x[:50] + 100)  # what has been fitted stays
    assert torch.equal(again.base.mean, flow.base.mean)


def test_a_resumed_run_is_the_same(tmp_path):
    def run(folder, steps):
        flow = pf.RealNVP((3,), base="mixture", couplings=2, width=8)
        options = {"validate_every": 5, "progress": False, "folder": tmp_path / folder}
        pf.fit(flow, blobs(300), max_steps=steps, resume=True, schedule="constant", **options)
        return flow

    run("two", 10)
    whole, parts = run("one", 20), run("two", 20)
    assert parts.config.base_components == whole.config.base_components > 1
    for one, two in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(one, two)


def test_every_process_gets_the_base_of_the_first(monkeypatch):
    first = FittedMixture((3,))
    first.initialise(torch.from_numpy(blobs(300)).float())
    monkeypatch.setattr(
        Ranks, "share", lambda _, value: first.state_dict() if isinstance(value, dict) else value
    )
    flow = pf.RealNVP((3,), base="mixture", couplings=2, width=8)
    pf.fit(
        flow, np.random.default_rng(0).normal(size=(60, 3)), max_steps=1, lr=1e-9, progress=False
    )
    assert flow.config.base_components == first.components
    assert torch.allclose(flow.base.mean, first.mean)


@pytest.mark.parametrize(
    "x",
    [
        np.ones((1, 3)),
        np.ones((50, 3)),
        np.random.default_rng(0).normal(size=(4, 30)),
        np.random.default_rng(0).normal(size=(25, 40)),
        np.repeat(np.random.default_rng(0).normal(size=(3, 2)), 40, axis=0),
        np.c_[np.full(60, 7.0), np.random.default_rng(0).normal(size=(60, 2))],
        np.c_[np.arange(60.0), np.arange(60.0)],
        np.r_[np.random.default_rng(0).normal(size=(60, 2)), [[1e30, 0]]],
        np.arange(60.0)[:, None],
    ],
    ids=["row", "same", "few", "wide", "copies", "constant", "collinear", "outlier", "column"],
)
def test_poor_data_still_give_a_density(x):
    flow = pf.RealNVP((x.shape[1],), base="mixture", couplings=2, width=8)
    flow.initialise(x)
    assert torch.isfinite(flow.eval().log_prob(x)).all()
    assert torch.isfinite(flow.sample(20, seed=0)).all()
    assert flow.config.base_components == flow.base.components


def test_more_components_than_the_rows_bear_become_one():
    flow = pf.MAF((3,), base="mixture", base_components=20, layers=1, width=8)
    flow.initialise(blobs(50))
    assert flow.base.components == 1


def test_it_predicts_better_than_one_normal_where_there_are_groups():
    x = load_wine().data
    x = (x - x.mean(0)) / x.std(0)
    train, held_out = x[::2], x[1::2]
    weights, means, covariances = best_mixture(train, None, "full", 0)
    base = FittedMixture((13,), len(weights)).double()
    base.set_moments(*map(torch.from_numpy, (weights, means, covariances)))
    one = FittedMixture((13,), 1).double()
    one.set_moments(*map(torch.from_numpy, one_normal(train, "full")))
    held_out = torch.from_numpy(held_out)
    assert base.log_prob(held_out).mean() > one.log_prob(held_out).mean()


def test_the_same_data_give_the_same_mixture():
    one, two = (best_mixture(blobs(60), None, "full", 3) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
