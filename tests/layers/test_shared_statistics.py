"""Batch norms of several processes: together they do what one process with the whole batch does."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
import torch
import torch.distributed as dist

from pushforward import InputError
from pushforward.elementwise import Affine, LearnedTanh
from pushforward.layers import (
    Chain,
    Coupling,
    FlowBatchNorm,
    Squeeze,
    has_batch_norms,
    recalibrate,
    sharing_statistics,
)
from pushforward.layers.masks import as_mask
from pushforward.moments import RunningMoments
from pushforward.nets import MLP, ResNet
from registry import perturb

SHAPE = (2, 4, 4)
PARTS = {"uneven": [5, 3], "one event": [7, 1], "empty": [8, 0]}


def random(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def image_flow():
    """Batch norms of both averages between couplings whose conditioners have some of their own."""
    torch.manual_seed(0)
    board = as_mask("checkerboard", SHAPE)
    net = partial(ResNet, width=3, blocks=1)
    layers = [
        FlowBatchNorm(SHAPE),
        Coupling(SHAPE, board, partial(net, mask=board), Affine(LearnedTanh(0.5))),
        FlowBatchNorm(SHAPE, board),
        Coupling(SHAPE, "channels", net, Affine(LearnedTanh(0.5))),
        FlowBatchNorm(SHAPE, "channels", average="running"),
        Squeeze(),
    ]
    return perturb(Chain(layers).double(), 3).train()


def two_steps(flow, batches):
    """Outputs and gradients of this process's parts of two batches, and the averages after."""
    result = []
    for x in batches:
        x = x.clone().requires_grad_()
        flow.zero_grad()
        z, log_det = flow(x)
        # Not symmetric in the events: what others contribute must come back with its own weight.
        loss = (z.square() + z.pow(3) / 9).sum() - (
            log_det * (1 + x[:, 0].flatten(1).mean(1))
        ).sum()
        loss.backward()
        gradients = [p.grad.clone() for p in flow.parameters()]
        result.append([z.detach(), log_det.detach(), x.grad, gradients])
    return {"steps": result, "state": flow.state_dict()}


def process(rank, folder):
    """What each of the two processes does; its results go to a file."""
    torch.set_num_threads(1)
    patience = timedelta(seconds=60)
    dist.init_process_group("gloo", f"file://{folder}/meet", patience, rank=rank, world_size=2)
    results = {}
    whole = [random(8, *SHAPE, seed=s) * (s + 1) for s in (0, 1)]
    for name, sizes in PARTS.items():
        parts = [x.split(sizes)[rank] for x in whole]
        flow = image_flow()
        with sharing_statistics(flow):
            results[name] = two_steps(flow, parts)
        assert all(m.group is None for m in flow.modules() if isinstance(m, RunningMoments))
        for _, _, _, gradients in results[name]["steps"]:
            for gradient in gradients:
                dist.all_reduce(gradient)
    parts = [x.split([5, 3])[rank] for x in whole]
    results["not shared"] = two_steps(image_flow(), parts)
    for name, batches in {"one batch": parts[:1], "two batches": parts}.items():
        flow = image_flow()
        with sharing_statistics(flow):
            results[name] = {"drift": recalibrate(flow, batches), "state": flow.state_dict()}
    rows = random(2, 3)
    norm = FlowBatchNorm((3,)).double().train()
    with sharing_statistics(norm):
        results["two rows"] = norm(rows[rank : rank + 1])[0]
        for name, count in {"one row": 1, "no row": 0}.items():
            before = norm.moments.weight.clone()
            try:
                norm(rows[:count] if rank == 0 else rows[:0])
                results[name] = "taken"
            except InputError as error:
                results[name] = str(error)
            assert torch.equal(norm.moments.weight, before), "nothing was taken into the averages"
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def equal(found, expected):
    if isinstance(expected, torch.Tensor):
        return torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(equal(found[k], expected[k]) for k in found)
    if isinstance(expected, list):
        return all(equal(f, e) for f, e in zip(found, expected, strict=True))
    return found == pytest.approx(expected, rel=1e-12)


def test_two_processes_with_parts_of_a_batch_do_what_one_with_the_whole_does(tmp_path):
    torch.multiprocessing.spawn(process, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    whole = [random(8, *SHAPE, seed=s) * (s + 1) for s in (0, 1)]
    one = two_steps(image_flow(), whole)
    for name in PARTS:
        assert equal(first[name]["state"], one["state"]), name
        assert equal(second[name]["state"], one["state"]), name
        for a, b, expected in zip(
            first[name]["steps"], second[name]["steps"], one["steps"], strict=True
        ):
            together = [torch.cat(pair) for pair in zip(a[:3], b[:3], strict=True)]
            assert equal(together, expected[:3]), name
            assert equal(a[3], expected[3]), name
    assert not equal(first["not shared"]["state"], one["state"]), "and it has to be asked for"

    for name, batches in {"one batch": whole[:1], "two batches": whole}.items():
        flow = image_flow()
        expected = {"drift": recalibrate(flow, batches), "state": flow.state_dict()}
        assert equal(first[name], expected), name
        assert equal(second[name], expected), name

    rows = random(2, 3)
    together = torch.cat((first["two rows"], second["two rows"]))
    assert equal(together, FlowBatchNorm((3,)).double().train()(rows)[0])
    for found in (first, second):
        assert "one row" in found["one row"]
        assert found["no row"] == "taken"


def test_alone_nothing_is_shared():
    flow = image_flow()
    with sharing_statistics(flow):
        assert all(m.group is None for m in flow.modules() if isinstance(m, RunningMoments))


def test_sharing_ends_with_an_error_too():
    flow = image_flow()
    moments = flow[0].moments
    moments.group = before = object()
    with pytest.raises(KeyError), sharing_statistics(flow):
        assert moments.group is None
        raise KeyError
    assert moments.group is before
    moments.group = None


def test_a_flow_knows_whether_it_has_batch_norms():
    assert has_batch_norms(image_flow())
    assert has_batch_norms(Chain([Coupling(SHAPE, "channels", partial(ResNet, width=2, blocks=0))]))
    assert not has_batch_norms(Chain([Coupling((3,), "half", partial(MLP, hidden=(4,)))]))
