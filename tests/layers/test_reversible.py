"""Steps that remember less: values, gradients and statistics are as when all is stored."""

from __future__ import annotations

import contextlib
import copy
import pickle
import subprocess
import sys
from datetime import timedelta
from functools import partial

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pushforward import InputError, NumericalError, RealNVP, load
from pushforward.elementwise import Affine, SoftClamp
from pushforward.layers import (
    ActNorm,
    Chain,
    Coupling,
    Flip,
    FlowBatchNorm,
    Inverted,
    Layer,
    LULinear,
    Multiscale,
    OrderedSqueeze,
    Permutation,
    conditioners_in,
    fusion,
    sharing_statistics,
)
from pushforward.layers.layer import constant_log_det
from pushforward.nets import MLP, ResNet
from registry import CASES, bijections, build, context_for, events, perturb

WAYS = ("checkpoint", "constant")
every_way = pytest.mark.parametrize("memory", WAYS)


def step(layer, x, context=None, memory="store", *, back=False, between=None):
    """One pass there (or ``back``) and its gradients, on a copy: values, gradients, state."""
    chain = copy.deepcopy(layer if isinstance(layer, Chain) else Chain([layer]))
    chain.memory = memory
    x = x.clone().requires_grad_()
    context = None if context is None else context.clone().requires_grad_()
    torch.manual_seed(5)
    z, log_det = (chain.inverse if back else chain)(x, context)
    if between is not None:
        between(chain)
    weight = torch.randn(z.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    # Not symmetric in events or elements, so that nothing cancels.
    loss = (weight.to(z) * z + z.square() / 3).sum()
    loss = loss + (log_det * torch.linspace(1, 2, len(z)).to(z)).sum()
    loss.backward()
    gradients = {name: p.grad for name, p in chain.named_parameters()} | {"x": x.grad}
    if context is not None:
        gradients["context"] = context.grad
    return {"z": z.detach(), "log_det": log_det.detach()}, gradients, chain.state_dict()


def distance(found, expected):
    """The largest difference of two dictionaries of tensors, relative to the largest number."""
    assert found.keys() == expected.keys()
    assert all((found[key] is None) == (value is None) for key, value in expected.items())
    pairs = [
        (found[key].double(), value.double())
        for key, value in expected.items()
        if value is not None and value.numel()
    ]
    size = max(value.abs().max() for _, value in pairs)
    return float(max((a - b).abs().max() for a, b in pairs) / size.clamp(min=1))


def same(found, expected, tolerance):
    return all(distance(a, b) <= tolerance for a, b in zip(found, expected, strict=True) if b)


# Equality --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", bijections())
def test_a_training_step_is_the_same(name):
    case, layer = CASES[name], copy.deepcopy(build(name)).train()
    x, context = events(case, 6), context_for(case, 6)
    expected = step(layer, x, context)
    for memory in WAYS:
        assert same(step(layer, x, context, memory), expected, 1e-10), memory


@pytest.mark.parametrize(
    "name", ["realnvp-rows-7", "realnvp-rows-3-context", "coupling-mlp-context", "actnorm-rows"]
)
def test_rows_without_the_fast_path(name):
    case, layer = CASES[name], copy.deepcopy(build(name)).train()
    x, context = events(case, 6), context_for(case, 6)
    fast = step(layer, x, context, "constant")
    with fusion.enabled(False):
        expected = step(layer, x, context)
        assert same(step(layer, x, context, "constant"), expected, 1e-10)
    assert same(fast, expected, 1e-10)


def test_rows_go_back_in_chunks():
    flow = RealNVP((5,), couplings=3, width=2**10, depth=1, context=2).double().train()
    perturb(flow.chain, scale=0.05)
    for settled in (False, True):
        assert flow.chain[1]._settled == settled
        x, context = torch.randn(300, 5).double(), torch.randn(300, 2).double()  # chunks of 256
        expected = step(flow.chain, x, context)
        assert same(step(flow.chain, x, context, "constant"), expected, 1e-10)
        flow.chain(x, context)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "name",
    ["realnvp-rows-3-context", "realnvp-image-1-8-8", "realnvp-paper", "realnvp-rows-norm-batch"],
)
def test_a_step_through_the_inverse_is_the_same(name, training):
    case, layer = CASES[name], copy.deepcopy(build(name)).train(training)
    z, context = events(case, 3), context_for(case, 3)
    expected = step(layer, z, context, back=True)
    for memory in WAYS:
        assert same(step(layer, z, context, memory, back=True), expected, 1e-9), memory


@pytest.mark.parametrize("name", ["realnvp-rows-7", "realnvp-image-context", "realnvp-paper"])
def test_a_step_in_evaluation_mode_is_the_same(name):
    case, layer = CASES[name], build(name)
    x, context = events(case, 3), context_for(case, 3)
    for memory in WAYS:
        assert same(step(layer, x, context, memory), step(layer, x, context), 1e-10), memory


@pytest.mark.parametrize("average", ["batch", "running"])
def test_batch_norms_have_their_gradient_and_are_updated_once(average):
    shape = (2, 4, 4)
    net = partial(ResNet, width=3, blocks=1)
    layers = [
        FlowBatchNorm(shape, average=average),
        Coupling(shape, "channels", net),
        FlowBatchNorm(shape, "channels", average=average),
        OrderedSqueeze(),
        Multiscale(Chain([FlowBatchNorm((4, 2, 2), average=average), LULinear(4)]), 4),
        Coupling((8, 2, 2), "half", net, flip=True),
    ]
    chain = perturb(Chain(layers).double().train(), 3)
    x = torch.randn(5, *shape, dtype=torch.float64)
    expected = step(chain, x)
    assert distance(expected[2], chain.state_dict()) > 1e-3, "the step did update"
    for memory in WAYS:
        assert same(step(chain, x, None, memory), expected, 1e-10)


@pytest.mark.parametrize("norm", ["actnorm", "batch"])
def test_64_couplings_in_float32(norm):
    flow = RealNVP((6,), couplings=64, width=32, mixing="lu", norm=norm).train()
    perturb(flow.chain, scale=0.03)
    x = torch.randn(256, 6)
    expected, found = (step(flow.chain, x, None, memory) for memory in ("store", "constant"))
    assert same(found, expected, 1e-4)


def test_what_starts_at_the_first_batch_starts_once():
    chain = Chain([ActNorm((4,)), Coupling((4,), "half", partial(MLP, hidden=(5,))), ActNorm((4,))])
    x = 3 + torch.randn(9, 4, dtype=torch.float64)
    expected = step(chain.double(), x)
    assert same(step(chain, x, None, "constant"), expected, 1e-10)


# What may differ between the passes ------------------------------------------------------------


@every_way
def test_dropout_is_repeated_and_the_random_numbers_go_on_as_they_would(memory):
    net = partial(MLP, hidden=(8,), dropout=0.5)
    chain = Chain([Coupling((4,), "half", net, flip=f) for f in (False, True, False)]).double()
    perturb(chain).train()
    x = torch.randn(7, 4, dtype=torch.float64)
    states = []
    drawn = lambda chain: states.append(torch.get_rng_state()) or torch.rand(3)  # noqa: E731
    expected = step(chain, x, between=drawn)
    after = torch.get_rng_state()
    assert same(step(chain, x, None, memory, between=drawn), expected, 1e-10)
    assert torch.equal(torch.get_rng_state(), after)
    assert torch.equal(*states)


def test_the_way_back_goes_by_the_mode_of_the_way_there():
    layer = copy.deepcopy(build("realnvp-paper")).train()
    x = events(CASES["realnvp-paper"], 4)
    expected = step(layer, x)
    found = step(layer, x, None, "constant", between=lambda chain: chain.eval())
    assert same(found[:2], expected[:2], 1e-10)


@every_way
def test_the_way_back_goes_by_the_precision_of_the_way_there(memory):
    layer = copy.deepcopy(build("realnvp-rows-7")).float()
    x = events(CASES["realnvp-rows-7"], 64, dtype=torch.float32)
    plain = step(layer, x)

    def run(way):
        chain = copy.deepcopy(layer)
        chain.memory = way
        with conditioners_in(chain, torch.bfloat16):
            z, log_det = chain(x)
        (z.square().sum() - log_det.sum()).backward()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            around, _ = chain(x)
        around.square().sum().backward()
        return {"z": z.detach(), "around": around.detach()}, {
            n: p.grad for n, p in chain.named_parameters()
        }

    expected, found = run("store"), run(memory)
    assert distance({"z": expected[0]["z"]}, {"z": plain[0]["z"]}) > 1e-4, "it was bfloat16"
    # Restored to seven digits, a number may round to another bfloat16.
    assert same(found, expected, 2e-2 if memory == "constant" else 1e-6)


@every_way
def test_gradients_add_up_over_passes_in_any_order(memory):
    layer = copy.deepcopy(build("realnvp-image-norm-batch")).train()
    parts = events(CASES["realnvp-image-norm-batch"], 8).split(4)

    def run(way):
        chain = copy.deepcopy(layer)
        chain.memory = way
        losses = [sum(v.square().sum() for v in chain(part)) for part in parts]
        losses[1].backward(retain_graph=True)
        losses[1].backward()
        losses[0].backward()
        return {n: p.grad for n, p in chain.named_parameters()}, chain.state_dict()

    assert same(run(memory), run("store"), 1e-10)


def test_only_the_gradients_that_are_wanted():
    chain = Chain([Coupling((4,), "half", partial(MLP, hidden=(5,)), flip=f) for f in (0, 1, 0)])
    perturb(chain.double())
    chain[1].requires_grad_(False)
    x = torch.randn(6, 4, dtype=torch.float64)
    results = []
    for memory in ("store", "constant"):
        chain.memory = memory
        z, log_det = chain(x)  # x wants none
        wanted = list(chain[2].parameters())
        results.append(torch.autograd.grad((z.square().sum() + log_det.sum()), wanted))
        chain[0].zero_grad()
        sum(v.square().sum() for v in chain(x)).backward()
        assert all(p.grad is None for p in chain[1].parameters())
        results[-1] += tuple(p.grad.clone() for p in chain[0].parameters())
        chain[0].requires_grad_(False)
        chain[2].requires_grad_(False)
        assert not chain(x)[0].requires_grad
        chain[0].requires_grad_(True)
        chain[2].requires_grad_(True)
    for expected, found in zip(*results, strict=True):
        assert torch.allclose(found, expected, rtol=1e-11, atol=1e-12)


class ReversibleBlock(Layer):
    """A block of Gomez et al. 2017, written as a user would: no more than the two directions."""

    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.3), nn.Tanh(), nn.Linear(8, 3))
        self.g = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, x, context=None):
        a, b = x.chunk(2, dim=1)
        a = a + self.f(b)
        return torch.cat((a, b + self.g(a)), dim=1), constant_log_det(x, 0.0)

    def inverse(self, z, context=None):
        a, b = z.chunk(2, dim=1)
        b = b - self.g(a)
        return torch.cat((a - self.f(b), b), dim=1), constant_log_det(z, 0.0)


@every_way
def test_a_layer_of_ones_own_with_dropout_and_batch_norm(memory):
    chain = Chain([ReversibleBlock() for _ in range(4)]).double().train()
    x = torch.randn(9, 6, dtype=torch.float64)
    assert same(step(chain, x, None, memory), step(chain, x), 1e-10)


# What it costs ---------------------------------------------------------------------------------


def saved_bytes(memory, couplings):
    flow = RealNVP((8,), couplings=couplings, width=32).train()
    flow.memory = memory
    flow.initialise(torch.randn(64, 8))
    own = {p.untyped_storage().data_ptr() for p in flow.parameters()}
    kept = {}

    def pack(tensor):
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    x = torch.randn(512, 8)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = flow.log_prob(x).sum()
    loss.backward()
    return sum(kept.values())


def test_what_is_kept_does_not_grow_with_depth():
    few, many = saved_bytes("constant", 10), saved_bytes("constant", 40)
    assert many <= few <= 5 * 512 * 8 * 4, "some latents, whatever the depth"
    assert saved_bytes("store", 40) > 100 * many
    assert saved_bytes("checkpoint", 40) < 1 / 4 * saved_bytes("store", 40)


@pytest.mark.parametrize("back", [False, True])
def test_each_conditioner_is_evaluated_once_more_and_not_twice(back):
    flow = RealNVP((1, 4, 4), levels=None, couplings=2)
    calls = []
    for module in flow.modules():
        if isinstance(module, Coupling):
            module.conditioner.register_forward_hook(lambda *args: calls.append(args[0]))
    flow.memory = "constant"
    x = torch.randn(3, 1, 4, 4)
    sum(v.sum() for v in (flow.chain.inverse if back else flow.chain)(x)).backward()
    assert len(calls) == 2 * len(set(calls)) > 4


SCRIPT = """
import sys, torch
from pathlib import Path
import pushforward as pf
torch.set_num_threads(1)
flow = pf.RealNVP((63,), couplings=int(sys.argv[2])).train()
flow.memory = sys.argv[1]
def step(n):
    flow.zero_grad()
    flow.log_prob(torch.randn(n, 63), check=False).mean().backward()
def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024
step(16)
Path("/proc/self/clear_refs").write_text("5")
held = status("VmRSS")
step(4096)
print(status("VmHWM") - held)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_memory_of_a_process_is_flat_and_a_tenth_at_40_couplings():
    def peak(memory, couplings):
        settings = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
        command = [sys.executable, "-c", SCRIPT, memory, str(couplings)]
        return float(subprocess.run(command, env=settings, capture_output=True, check=True).stdout)

    stored, few, many, most = (
        peak(*of) for of in (("store", 40), ("constant", 10), ("constant", 40), ("constant", 160))
    )
    assert stored > 10 * many
    assert most < 1.3 * few


# What is said ----------------------------------------------------------------------------------


def crushing(scale):
    """A coupling that shrinks the second half so far that float32 cannot bring it back."""
    layer = Coupling((4,), "half", partial(MLP, hidden=(4,)), Affine(SoftClamp(100)))
    with torch.no_grad():
        layer.conditioner.last.bias.copy_(torch.tensor([1.0, 1.0, scale, scale]))
    return layer


@pytest.mark.parametrize("row", [slice(None), slice(777, 778)], ids=["every event", "one event"])
def test_the_layer_that_cannot_be_undone_is_named(row):
    benign = partial(Coupling, (4,), "half", partial(MLP, hidden=(4,)))
    middle = crushing(-14.0 if row == slice(None) else 0.0)
    if row != slice(None):  # shrinks by what it sees: nothing at 0, all at 50
        with torch.no_grad():
            middle.conditioner.hidden[0].weight.fill_(1)
            middle.conditioner.hidden[0].bias.fill_(-60)
            middle.conditioner.last.weight[2:].fill_(-0.1)
    chain = Chain([benign(), Chain([Permutation([3, 2, 1, 0]), middle, benign(flip=True)])])
    chain.memory = "constant"
    x = torch.randn(5000, 4)
    x[row, 2:] = 50.0 if row != slice(None) else x[row, 2:]
    z, log_det = chain(x)
    with pytest.raises(NumericalError, match=r"layer 1\.\d \(\w+\).* Use memory='checkpoint'") as e:
        (z.sum() + log_det.sum()).backward()
    if row == slice(None):
        assert "layer 1.1 (Coupling)" in str(e.value)
    chain.memory = "checkpoint"  # a way out that the message offers
    z, log_det = chain(x)
    (z.sum() + log_det.sum()).backward()


def test_numbers_that_were_not_finite_are_nobodys_fault():
    chain = Chain([Coupling((4,), "half", partial(MLP, hidden=(4,)), flip=f) for f in (0, 1)])
    chain.memory = "constant"
    x = torch.randn(5, 4)
    x[2, 1] = torch.inf
    for fast in (False, True):
        with fusion.enabled(fast):
            z, _ = chain(x)
        z.sum().backward()


@pytest.mark.parametrize("fast", [False, True])
def test_weights_must_not_change_before_the_way_back(fast):
    chain = Chain([Coupling((4,), "half", partial(MLP, hidden=(4,))), Flip()])
    chain.memory = "constant"
    with fusion.enabled(fast):
        z, _ = chain(torch.randn(5, 4))
    with torch.no_grad():
        chain[0].conditioner.last.bias += 1
    with pytest.raises(InputError, match=r"layer 0 \(Coupling\).* have changed .* call backward b"):
        z.sum().backward()


def test_there_is_no_second_derivative():
    chain = Chain([Coupling((4,), "half", partial(MLP, hidden=(4,)))])
    chain.memory = "constant"
    x = torch.randn(5, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(chain(x)[0].square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@every_way
def test_compiled_code_leaves_it_alone_or_says_so(memory):
    chain = Chain([Coupling((4,), "half", partial(MLP, hidden=(4,)))])
    chain.memory = memory
    x = torch.randn(5, 4)
    torch._dynamo.reset()
    with pytest.raises(Exception, match="cannot be compiled"):
        torch.compile(chain, backend="eager", fullgraph=True)(x)
    torch._dynamo.reset()
    with torch.no_grad():
        assert torch.equal(torch.compile(chain, backend="eager", fullgraph=True)(x)[0], chain(x)[0])


# The setting -----------------------------------------------------------------------------------


def test_it_is_a_setting_of_the_whole_flow_that_copies_but_is_not_saved(tmp_path):
    flow = RealNVP((1, 4, 4), couplings=1)
    assert flow.memory == "store"
    flow.memory = "constant"
    assert {m.memory for m in flow.modules() if isinstance(m, Chain)} == {"constant"}
    assert copy.deepcopy(flow).memory == pickle.loads(pickle.dumps(flow)).memory == "constant"
    flow.save(tmp_path)
    assert load(tmp_path).memory == "store"
    with pytest.raises(InputError, match="memory is one of store, checkpoint, constant; got 'low'"):
        flow.memory = "low"
    assert flow.memory == "constant"


def test_layers_inside_out():
    chain = Chain([Inverted(Coupling((4,), "half", partial(MLP, hidden=(4,)))), LULinear(4)])
    perturb(chain.double())
    chain = Chain([chain, Inverted(chain)])  # weights that occur twice
    x = torch.randn(5, 4, dtype=torch.float64)
    for memory in WAYS:
        assert same(step(chain, x, None, memory), step(chain, x), 1e-9)


# Several processes -----------------------------------------------------------------------------


@contextlib.contextmanager
def processes(folder, rank, size):
    patience = timedelta(seconds=60)
    dist.init_process_group("gloo", f"file://{folder}/meet", patience, rank=rank, world_size=size)
    try:
        yield
    finally:
        dist.destroy_process_group()


def steps_under_ddp(rank=0, size=1):
    """The same step with each way to remember, in one of some processes."""
    shape = (2, 4, 4)
    torch.manual_seed(0)
    chain = Chain(
        [
            FlowBatchNorm(shape),
            Coupling(shape, "channels", partial(ResNet, width=3, blocks=1)),
            FlowBatchNorm(shape, "channels", average="running"),
        ]
    )
    chain = perturb(chain.double(), 3).train()
    x = torch.randn(8, *shape, dtype=torch.float64)[rank::size]
    results = {}
    for memory in ("store", *WAYS):
        twin = copy.deepcopy(chain)
        twin.memory = memory
        wrapped = DistributedDataParallel(twin)
        with sharing_statistics(twin):
            z, log_det = wrapped(x)
        # On the way back the moments are shared again, though no longer within the context.
        (z.pow(3).sum() - (log_det * (1 + rank)).sum()).backward()
        gradients = {n: p.grad for n, p in twin.named_parameters()}
        results[memory] = {"z": z.detach()}, gradients, twin.state_dict()
    return results


def test_ddp_sees_every_gradient(tmp_path):
    with processes(tmp_path, 0, 1):
        results = steps_under_ddp()
    for memory in WAYS:
        assert same(results[memory], results["store"], 1e-10), memory


def process(rank, folder):
    torch.set_num_threads(1)
    with processes(folder, rank, 2):
        torch.save(steps_under_ddp(rank, 2), f"{folder}/{rank}.pt")


@pytest.mark.slow
def test_processes_that_share_statistics_under_ddp(tmp_path):
    torch.multiprocessing.spawn(process, (str(tmp_path),), nprocs=2)
    for rank in range(2):
        results = torch.load(tmp_path / f"{rank}.pt")
        for memory in WAYS:
            assert same(results[memory], results["store"], 1e-10), memory
