"""Recalibration on one batch: a single pass that leads where many passes lead."""

from __future__ import annotations

import copy

import pytest
import torch

from pushforward.layers import FlowBatchNorm, recalibrate
from pushforward.moments import RunningMoments
from registry import CASES, build_flow, events, perturb

# The flow without its dequantisation, whose noise in training differs from that in evaluation.
PAPER = CASES["realnvp-paper"]


def paper():
    torch.manual_seed(0)
    return perturb(PAPER.make().double(), 5, 0.1).train()


def same(a, b, atol=1e-10):
    a, b = a.state_dict(), b.state_dict()
    return all(torch.allclose(a[key], b[key], rtol=0, atol=atol) for key in a)


class Loader:
    """Batches that can be walked through again and again; how many there are it does not say."""

    def __init__(self, *batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


@pytest.mark.parametrize("name", ["realnvp-image-norm-batch", "realnvp-rows-norm-batch"])
def test_one_batch_in_one_pass_gives_what_a_pass_for_each_norm_gives(name):
    flow = copy.deepcopy(build_flow(name)).train()
    slow, start = copy.deepcopy(flow), copy.deepcopy(flow)
    x = events(flow, 40)
    drift, expected = recalibrate(flow, [x]), recalibrate(slow, Loader(x))
    assert same(flow, slow)
    assert not same(flow, start, 1e-3)
    assert drift == pytest.approx(expected, rel=1e-10)
    assert max(drift.values()) > 1.01


def test_many_passes_repeated_arrive_where_the_single_pass_does():
    flow, x = paper(), events(PAPER, 40)
    slow = copy.deepcopy(flow)
    recalibrate(flow, [x])
    norms = sum(isinstance(module, FlowBatchNorm) for module in flow.modules())
    recalibrate(slow, Loader(x))
    assert not same(flow, slow), "the conditioners' norms went by the old ones of the flow"
    for _ in range(norms):  # each time at least one more norm is right, and all before it
        recalibrate(slow, Loader(x))
    assert same(flow, slow)


def test_after_a_single_pass_evaluation_does_to_the_batch_what_training_does():
    flow, x = paper(), events(PAPER, 40)
    recalibrate(flow, [x])
    trained = copy.deepcopy(flow).train()(x)
    evaluated = flow.eval()(x)
    assert torch.allclose(evaluated[0], trained[0], atol=1e-10)
    assert torch.allclose(evaluated[1], trained[1], atol=1e-10)


def test_one_batch_takes_one_pass_and_leaves_modes_as_they_were():
    flow = paper()
    flow[3].eval()
    modes = [module.training for module in flow.modules()]
    passes = []
    flow.register_forward_hook(lambda *_: passes.append(flow.training))
    recalibrate(flow, [events(PAPER, 10)])
    assert passes == [False]
    assert [module.training for module in flow.modules()] == modes


def test_an_error_in_the_only_batch_ends_the_calibration():
    flow = paper()
    with pytest.raises(RuntimeError):
        recalibrate(flow, [torch.zeros(4, 7, 7, 7, dtype=torch.float64)])
    assert flow.training
    assert not any(m.calibrating for m in flow.modules() if isinstance(m, RunningMoments))


def test_an_empty_batch_changes_nothing():
    flow = paper()
    before = copy.deepcopy(flow)
    drift = recalibrate(flow, [events(PAPER, 0)])
    assert same(flow, before, 0)
    assert set(drift.values()) == {1.0}


def test_drift_is_the_way_from_the_running_deviation_to_the_exact_one_up_or_down():
    x = torch.randn(100, 2, dtype=torch.float64) * torch.tensor([8.0, 0.25])
    norm = FlowBatchNorm((2,), eps=0.0).double()
    with torch.no_grad():
        norm.moments.update(torch.zeros(2), torch.tensor([4.0, 4.0]))  # a deviation of 2
    up, down = x.std(0, correction=0) / 2
    (drift,) = recalibrate(norm, [x]).values()
    assert drift == pytest.approx(max(float(up), 1 / float(down)))
