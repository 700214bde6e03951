"""The fast path for rows does what the layers do, and leaves everything unusual to them."""

from __future__ import annotations

import contextlib
import copy
import gc
import weakref
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils.prune import l1_unstructured
from torch.utils.flop_counter import FlopCounterMode

import pushforward.layers.fusion
from pushforward import NumericalError, RealNVP
from pushforward.elementwise import Affine, SoftClamp
from pushforward.layers import (
    ActNorm,
    Chain,
    Coupling,
    Flip,
    LULinear,
    Permutation,
    Rotation,
    Standardize,
    conditioners_in,
)
from pushforward.layers.fusion import enabled, fused
from pushforward.layers.row_stack import RowStack
from pushforward.nets import MLP
from registry import CASES, MODELS, build, context_for, events, perturb

F32, F64 = torch.float32, torch.float64
net = partial(MLP, hidden=(6, 6))


def coupling(**options):
    return Coupling((5,), "half", net, **options)


def a_chain(dtype=F64):
    """Everything that has a step, in one chain."""
    layers = [
        Standardize((5,)),
        ActNorm((5,)),
        Permutation.random(5, 1),
        coupling(context=2),
        Flip(),
        Coupling((5,), "alternating", partial(net, activation="silu"), flip=True),
        ActNorm((5,)),
        Coupling((5,), "half", partial(net, activation="tanh", hidden=(7,)), flip=True),
    ]
    return perturb(Chain(layers).to(dtype).eval(), 3)


def stacks(chain):
    return [item for item in fused(chain.layers) if isinstance(item, RowStack)]


def as_chain(layer):
    return layer if isinstance(layer, Chain) else Chain([layer]).eval()


def qualifying():
    """The chains of the registry in which something acts as one; models with ReLU too."""
    chains = {name: as_chain(build(name)) for name in CASES if name not in MODELS}
    for name, make in MODELS.items():
        chains[name] = as_chain(build(name))
        if name.startswith("realnvp-rows") and "logistic" not in name:
            chains[f"{name}-with-relu"] = perturb(
                make(activation="relu").double().eval(), 5, 0.1
            ).chain
    return {name: chain for name, chain in chains.items() if stacks(chain)}


CHAINS = qualifying()


def everything(chain, x, context, *, inverse):
    """Values, log-dets and the gradients by x, context and all weights; and those without graph."""
    leaves = [t.clone().requires_grad_() for t in (x, context) if t is not None]
    apply = chain.inverse if inverse else chain
    z, log_det = apply(*leaves)
    weight = torch.linspace(-1, 1, z.numel(), dtype=z.dtype).reshape(z.shape)
    loss = (z * weight).sum() + (log_det * weight[:, 0]).sum()
    inputs = [*leaves, *chain.parameters()]
    gradients = torch.autograd.grad(loss, inputs, allow_unused=True)
    with torch.no_grad():
        return z, log_det, *apply(x, context), *gradients


def agree(fast, reference, tolerance):
    for a, b in zip(fast, reference, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype == b.dtype
            assert a.shape == b.shape
            size = b.detach().abs().max().clamp(min=1)
            assert float((a - b).detach().abs().max() / size) <= tolerance


@contextlib.contextmanager
def left_to_the_layers(monkeypatch):
    """Whatever is done within it must not use the handwritten steps."""

    def refuse(*_):
        raise AssertionError("the fast path was used")

    with monkeypatch.context() as patch:
        patch.setattr(RowStack, "apply", refuse)
        yield


# The same as the layers ------------------------------------------------------------------------


def test_the_registry_has_enough_that_qualifies():
    assert len(CHAINS) > 25
    assert {"realnvp-rows-3-context-with-relu", "realnvp-rows-7", "chain-context"} <= CHAINS.keys()
    everything_there = a_chain()
    assert [type(item) for item in fused(everything_there.layers)] == [RowStack]


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("name", CHAINS)
def test_values_log_dets_and_gradients_are_those_of_the_layers(name, inverse):
    chain, case = CHAINS[name], CASES[name.removesuffix("-with-relu")]
    x, context = events(case, 9), context_for(case, 9)
    fast = everything(chain, x, context, inverse=inverse)
    with enabled(False):
        reference = everything(chain, x, context, inverse=inverse)
    agree(fast, reference, 1e-12)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("n", [40, 700])
def test_float32_is_as_exact_as_the_layers_are(n, inverse):
    """With 700 rows and these widths products go through oneDNN, where that is the faster one."""
    flow = RealNVP((9,), couplings=4, width=64, context=2)
    chain = perturb(flow, 1, 0.05).eval().chain
    x, context = torch.randn(n, 9), torch.randn(n, 2)
    fast = everything(chain, x, context, inverse=inverse)
    with enabled(False):
        plain = everything(chain, x, context, inverse=inverse)
        wide = copy.deepcopy(chain).double()
        exact = everything(wide, x.double(), context.double(), inverse=inverse)
    assert worst_error(fast, exact) <= 2 * worst_error(plain, exact) + 1e-6


def worst_error(values, exact):
    sizes = [truth.detach().abs().max().clamp(min=1) for truth in exact]
    pairs = zip(values, exact, sizes, strict=True)
    return max(float((a.detach() - b.detach()).abs().max() / size) for a, b, size in pairs)


@pytest.mark.parametrize("inverse", [False, True])
def test_every_kind_of_step_in_one_chain(inverse):
    chain, x, context = a_chain(), torch.randn(8, 5, dtype=F64), torch.randn(8, 2, dtype=F64)
    fast = everything(chain, x, context, inverse=inverse)
    with enabled(False):
        agree(fast, everything(chain, x, context, inverse=inverse), 1e-12)


def test_gradients_are_those_of_finite_differences():
    chain, context = a_chain(), torch.randn(3, 2, dtype=F64, requires_grad=True)
    x = torch.randn(3, 5, dtype=F64, requires_grad=True)
    torch.autograd.gradcheck(chain, (x, context))
    torch.autograd.gradcheck(chain.inverse, (x, context))


@pytest.mark.parametrize("inverse", [False, True])
def test_rows_in_chunks_are_the_rows_at_once(inverse, monkeypatch):
    chain, x, context = a_chain(), torch.randn(40, 5, dtype=F64), torch.randn(40, 2, dtype=F64)
    apply = chain.inverse if inverse else chain
    with torch.no_grad():
        whole = apply(x, context)
        monkeypatch.setattr(stacks(chain)[0], "chunk", 7)
        given = x.clone()
        agree(apply(given, context), whole, 1e-14)
        agree(apply(x.t().contiguous().t(), context), whole, 1e-14)  # not contiguous
    assert torch.equal(given, x), "the input is not written to"


def test_the_first_batch_of_actnorm_is_not_divided(monkeypatch):
    chain = Chain([ActNorm((5,)), coupling()]).train()
    monkeypatch.setattr(stacks(chain)[0], "chunk", 7)
    with torch.no_grad():
        z, _ = chain(torch.randn(40, 5) * 3 + 1)
    assert torch.allclose(z.mean(0), torch.zeros(5), atol=1e-5)


def test_a_flow_uses_it_and_keeps_its_errors(monkeypatch):
    flow = perturb(RealNVP((5,), width=8).eval(), 1, 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(RowStack, "apply", lambda *_: pytest.fail("used"))
        with pytest.raises(pytest.fail.Exception):
            flow.log_prob(torch.randn(4, 5))
    with torch.no_grad():
        flow.chain[3].conditioner.last.bias.fill_(torch.nan)
    with pytest.raises(NumericalError, match=r"layer 3 \(Coupling\)"):
        flow.log_prob(torch.randn(4, 5))


# Gradients as torch knows them -----------------------------------------------------------------


def test_second_derivatives_are_those_of_the_layers():
    chain, context = a_chain(), torch.randn(4, 2, dtype=F64)
    x = torch.randn(4, 5, dtype=F64, requires_grad=True)

    def second():
        z, log_det = chain(x, context)
        (first,) = torch.autograd.grad(z.pow(2).sum() + log_det.sum(), x, create_graph=True)
        return torch.autograd.grad(first.pow(2).sum(), [x, *chain.parameters()], allow_unused=True)

    fast = second()
    with enabled(False):
        agree(fast, second(), 1e-12)


def test_batched_gradients_are_those_of_the_layers():
    chain, context = a_chain(), torch.randn(1, 2, dtype=F64)
    x = torch.randn(1, 5, dtype=F64)

    def matrix(vectorize):
        return torch.autograd.functional.jacobian(
            lambda x: chain(x, context)[0], x, vectorize=vectorize
        )

    assert torch.allclose(matrix(True), matrix(False), atol=1e-13)


def test_a_graph_can_be_gone_through_twice_if_it_is_retained():
    chain, x, context = a_chain(), torch.randn(4, 5, dtype=F64), torch.randn(4, 2, dtype=F64)
    parameters = list(chain.parameters())
    loss = chain(x, context)[0].pow(2).sum()
    first = torch.autograd.grad(loss, parameters, retain_graph=True)
    agree(torch.autograd.grad(loss, parameters), first, 0)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, parameters)


def test_hooks_of_weights_and_frozen_weights_are_respected():
    chain, x, context = a_chain(), torch.randn(4, 5, dtype=F64), torch.randn(4, 2, dtype=F64)
    weights = list(chain.parameters())
    frozen, watched = weights[3], weights[-1]
    frozen.requires_grad_(False)
    seen = []
    watched.register_hook(lambda g: seen.append(g.clone()) or 2 * g)
    chain(x, context)[0].sum().backward()
    assert frozen.grad is None
    assert torch.equal(watched.grad, 2 * seen[0])


def test_a_weight_changed_before_the_way_back_is_noticed():
    chain, x, context = a_chain(), torch.randn(4, 5, dtype=F64), torch.randn(4, 2, dtype=F64)
    loss = chain(x, context)[0].pow(2).sum()
    with torch.no_grad():
        next(iter(chain.parameters())).mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("inverse", [False, True])
def test_results_may_be_written_to_before_the_way_back(inverse):
    chain, x, context = a_chain(), torch.randn(4, 5, dtype=F64), torch.randn(4, 2, dtype=F64)
    apply = chain.inverse if inverse else chain

    def gradients(write):
        z, log_det = apply(x, context)
        loss = z.sum() + log_det.sum()
        if write:
            with torch.no_grad():
                z.zero_()
        return torch.autograd.grad(loss, list(chain.parameters()), allow_unused=True)

    agree(gradients(write=True), gradients(write=False), 0)


def test_a_graph_that_nobody_holds_is_gone_at_once():
    chain, context = a_chain(), torch.randn(4, 2, dtype=F64)
    gc.disable()
    try:
        for apply in (chain, chain.inverse):
            x = torch.randn(4, 5, dtype=F64)
            gone = weakref.ref(x)
            result = apply(x, context)
            del x, result
            assert gone() is None
    finally:
        gc.enable()


# What is left to the layers --------------------------------------------------------------------


class MyAffine(Affine):
    """A user's law."""


class MyCoupling(Coupling):
    """A user's coupling."""


@pytest.mark.parametrize(
    "layer",
    [
        coupling(law=MyAffine()),
        coupling(law=Affine(nn.Tanh())),
        MyCoupling((5,), "half", net),
        Coupling((5,), torch.tensor([True, False, False, True, False]), net),
        Coupling((5,), "half", partial(net, residual=True)),
        Coupling((5,), "half", partial(net, activation="elu")),
        Coupling((1,), "half", net),
        ActNorm((5,)),
        LULinear(5),
        Rotation(5),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_without_a_step_stay_as_they_are(layer):
    assert list(fused(nn.ModuleList([layer]))) == [layer]


def test_a_layer_without_a_step_divides_a_chain():
    chain = Chain([Standardize((5,)), coupling(), LULinear(5), ActNorm((5,)), coupling()])
    assert [type(item) for item in fused(chain.layers)] == [RowStack, LULinear, RowStack]


def _add_hook(chain):
    chain[3].conditioner.register_forward_hook(lambda *_: None)


def _override(chain):
    chain[5].forward = chain[5].forward


def _parametrise(chain):
    nn.utils.parametrizations.weight_norm(chain[3].conditioner.last)


def _replace(chain):
    chain[7].conditioner.hidden[0] = nn.Sequential(chain[7].conditioner.hidden[0])


def _prune(chain):
    with torch.no_grad():
        l1_unstructured(chain[3].conditioner.last, "weight", 0.5)


@pytest.mark.parametrize("change", [_add_hook, _override, _parametrise, _replace, _prune])
def test_a_change_of_the_modules_is_noticed(change):
    chain, x, context = a_chain(), torch.randn(4, 5, dtype=F64), torch.randn(4, 2, dtype=F64)
    chain(x, context)
    before = len(list(stacks(chain)[0].layers))
    change(chain)
    assert all(len(list(stack.layers)) < before for stack in stacks(chain))
    with torch.no_grad():
        fast = chain(x, context)
        with enabled(False):
            agree(fast, chain(x, context), 1e-14)


def test_a_hook_on_all_modules_sees_all_of_them():
    chain, x = Chain([coupling(), Flip(), coupling()]), torch.randn(4, 5)
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda m, *_: seen.append(type(m)))
    try:
        chain(x)
    finally:
        handle.remove()
    assert seen.count(Coupling) == 2


def _autocast(chain, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        chain(x)


def _lower_precision(chain, x):
    with conditioners_in(chain, torch.bfloat16):
        chain(x)


def _dropout(chain, x):
    chain[2].conditioner.dropout = nn.Dropout(0.5)
    chain.train()(x)


def _first_batch(chain, x):
    chain[1].initialised.fill_(False)
    chain[1]._settled = False
    chain.train()(x)
    assert bool(chain[1].initialised)


def _vmap(chain, x):
    torch.func.vmap(lambda row: chain(row[None])[0])(x)


def _jacrev(chain, x):
    torch.func.jacrev(lambda x: chain(x)[0])(x)


def _forward_mode(chain, x):
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        z, _ = chain(dual)
        assert torch.autograd.forward_ad.unpack_dual(z).tangent is not None


def _other_weights(chain, x):
    weights = {name: p.detach() + 1 for name, p in chain.named_parameters()}
    z, _ = torch.func.functional_call(chain, weights, (x,))
    with enabled(False):
        assert not torch.allclose(z, chain(x)[0])


def _counted(chain, x):
    with FlopCounterMode(display=False) as counter:
        chain(x)
    assert counter.get_total_flops() > 0


def _traced(chain, x):
    torch.jit.trace(chain, x, check_trace=False)


def _bfloat16(chain, x):
    chain.to(torch.bfloat16)(x.bfloat16())


def _nothing(chain, x):
    chain(x[:0])


def _switched_off(chain, x):
    with enabled(False):
        chain(x)


def _compiled(chain, x):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pushforward.layers.fusion.torch.compiler, "is_compiling", lambda: True)
        assert fused(chain.layers) is chain.layers
        chain(x)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "unusual",
    [
        _autocast,
        _lower_precision,
        _dropout,
        _first_batch,
        _vmap,
        _jacrev,
        _forward_mode,
        _other_weights,
        _counted,
        _traced,
        _bfloat16,
        _nothing,
        _switched_off,
        _compiled,
    ],
)
def test_the_unusual_is_left_to_the_layers(unusual, monkeypatch):
    chain = perturb(Chain([coupling(), ActNorm((5,)), coupling(flip=True)]), 1).eval()
    assert stacks(chain)
    with left_to_the_layers(monkeypatch):
        unusual(chain, torch.randn(6, 5))


# Housekeeping ----------------------------------------------------------------------------------


def test_the_switch_is_put_back_after_an_error():
    chain = a_chain()
    with pytest.raises(ValueError, match="out"), enabled(False):
        assert not stacks(chain)
        raise ValueError("out")
    assert stacks(chain)


def test_what_is_known_of_a_chain_goes_with_it():
    chain = a_chain()
    assert stacks(chain)
    gone = weakref.ref(chain[3])
    del chain
    gc.collect()
    assert gone() is None


def test_copies_have_their_own():
    chain, x, context = a_chain(), torch.randn(4, 5, dtype=F64), torch.randn(4, 2, dtype=F64)
    before = chain(x, context)
    other = copy.deepcopy(chain)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    agree(chain(x, context), before, 0)
    assert not torch.allclose(other(x, context)[0], before[0])
    assert stacks(other)[0] is not stacks(chain)[0]


def test_limits_and_types_may_change_between_two_calls():
    chain, x, context = a_chain(), torch.randn(4, 5, dtype=F64), torch.randn(4, 2, dtype=F64)
    chain(x, context)
    bound = chain[3].law.bound
    assert isinstance(bound, SoftClamp)
    bound.limit = 0.1
    chain.float()
    with torch.no_grad():
        fast = chain(x.float(), context.float())
        with enabled(False):
            agree(fast, chain(x.float(), context.float()), 1e-6)
