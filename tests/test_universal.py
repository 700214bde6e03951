"""What holds for every layer and every model: one set of tests over one registry."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import pickle
import typing

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

import pushforward.elementwise
import pushforward.layers
import pushforward.nets
from pushforward import InputError, RealNVP
from pushforward.elementwise import Affine
from pushforward.layers import (
    Autoregressive,
    Coupling,
    Dequantize,
    Inverted,
    Layer,
    Noisy,
    OrderedSqueeze,
    Planar,
    Radial,
    Squeeze,
    Sylvester,
    VariationalDequantize,
)
from pushforward.layers import masks as layer_masks
from pushforward.models import registry as model_registry
from pushforward.nets import ACTIVATIONS, MLP
from registry import (
    CASES,
    LAWS,
    LAYERS,
    MASKS,
    MODELS,
    NETS,
    OTHERS,
    bijections,
    build,
    build_flow,
    context_for,
    events,
    jacobian,
    perturb,
)

every_case = pytest.mark.parametrize("name", CASES)
every_bijection = pytest.mark.parametrize("name", bijections())
every_model = pytest.mark.parametrize("name", MODELS)


def close(actual, expected, tolerance):
    """Equal up to ``tolerance``, relative to the expected number where that exceeds 1."""
    bound = tolerance * expected.abs().clamp(min=1)
    return bool(((actual - expected).abs() <= bound).all())


# The mathematics -------------------------------------------------------------------------------


@every_bijection
def test_log_det_is_that_of_the_jacobian(name):
    case, layer = CASES[name], build(name)
    x, context = events(case, 2), context_for(case, 2)
    z, log_det = layer(x, context)
    assert z.shape == (2, *layer.output_shape(case.shape))
    assert log_det.shape == (2,)
    expected = torch.linalg.slogdet(jacobian(layer, x, context)).logabsdet
    assert close(log_det, expected, 1e-9)


@every_bijection
def test_forward_and_inverse_undo_each_other(name):
    case, layer = CASES[name], build(name)
    x, context = events(case, 4), context_for(case, 4)
    z, log_det = layer(x, context)
    back, log_det_back = layer.inverse(z, context)
    assert back.shape == x.shape
    assert close(back, x, 1e-10)
    assert close(log_det_back, -log_det, 1e-10)

    # Latents that no event made, yet not so far out that a sigmoid on the way has no digits left.
    latents = z + 0.1 * torch.rand_like(z) * (0.5 - z).sign()
    x, log_det = layer.inverse(latents, context)
    again, log_det_again = layer(x, context)
    assert close(again, latents, 1e-10)
    assert close(log_det_again, -log_det, 1e-10)


@every_bijection
def test_gradients_reach_every_parameter(name):
    case, layer = CASES[name], build(name)
    parameters = dict(layer.named_parameters())
    if not parameters:
        pytest.skip("has no parameters")
    z, log_det = layer(events(case, 8), context_for(case, 8))
    loss = (torch.randn_like(z) * z).sum() + log_det.sum()
    gradients = torch.autograd.grad(loss, list(parameters.values()))
    for key, gradient in zip(parameters, gradients, strict=True):
        assert torch.isfinite(gradient).all(), key
        assert gradient.abs().max() > 0, key


@every_case
def test_context_matters_where_it_is_taken_and_is_ignored_elsewhere(name):
    case, layer = CASES[name], build(name)
    x = events(case, 4)
    if case.context == 0:
        plain, given_one = layer(x), layer(x, torch.randn(4, 3, dtype=torch.float64))
        assert torch.equal(plain[0], given_one[0])
        assert torch.equal(plain[1], given_one[1])
        return
    first, second = context_for(case, 4, seed=1), context_for(case, 4, seed=2)
    assert not torch.allclose(layer(x, first)[0], layer(x, second)[0])
    context = first.clone().requires_grad_()
    z, _ = layer(x, context)
    (gradient,) = torch.autograd.grad((z * torch.randn_like(z)).sum(), context)
    assert (gradient.abs().amax(0) > 0).all(), "each number of the context has a say"


# The contract ----------------------------------------------------------------------------------


@every_case
def test_an_event_alone_has_the_value_that_it_has_in_a_batch(name):
    case, layer = CASES[name], build(name)
    x, context = events(case, 5), context_for(case, 5)
    z, log_det = layer(x, context)
    for row in (slice(0, 1), slice(4, 5)):
        z_alone, log_det_alone = layer(x[row], None if context is None else context[row])
        assert close(z_alone, z[row], 1e-12)
        assert close(log_det_alone, log_det[row], 1e-12)


@every_case
def test_an_empty_batch_is_a_batch(name):
    case, layer = CASES[name], copy.deepcopy(build(name))
    before = copy.deepcopy(layer.state_dict())
    context = context_for(case, 0)
    for training in (False, True):
        layer.train(training)
        z, log_det = layer(events(case, 0), context)
        assert z.shape == (0, *layer.output_shape(case.shape))
        assert log_det.shape == (0,)
        x, log_det = layer.inverse(z, context)
        assert x.shape == (0, *case.shape)
        assert log_det.shape == (0,)
    assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())


@every_case
def test_float32_stays_float32_and_agrees_with_float64(name):
    case, exact = CASES[name], build(name)
    rounded = copy.deepcopy(exact).float()
    context, context32 = context_for(case, 4), context_for(case, 4, dtype=torch.float32)
    z, log_det = exact(events(case, 4), context)
    z32, log_det32 = rounded(events(case, 4, dtype=torch.float32), context32)
    assert z.dtype == log_det.dtype == torch.float64
    assert z32.dtype == log_det32.dtype == torch.float32
    if case.data != "levels":  # its noise has another resolution in float64
        assert close(z32.double(), z, 1e-4)
        assert close(log_det32.double(), log_det, 1e-4)
    for layer, latents, kind in ((exact, z, torch.float64), (rounded, z32, torch.float32)):
        x, log_det = layer.inverse(latents, context if latents is z else context32)
        assert x.dtype == (torch.uint8 if case.data == "levels" else kind)
        assert log_det.dtype == kind


@every_case
def test_evaluation_is_deterministic_and_leaves_no_trace(name):
    case, layer = CASES[name], build(name)
    x, context = events(case, 4), context_for(case, 4)
    before = copy.deepcopy(layer.state_dict())
    random_state, given_x = torch.get_rng_state(), x.clone()
    first = layer(x, context)
    assert torch.equal(torch.get_rng_state(), random_state)
    torch.manual_seed(99)
    second = layer(x, context)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert torch.equal(x, given_x), "the input is not written to"
    assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())


@every_bijection
def test_training_gives_finite_numbers_and_gradients(name):
    case, layer = CASES[name], copy.deepcopy(build(name)).train()
    z, log_det = layer(events(case, 8), context_for(case, 8))
    assert torch.isfinite(z).all()
    assert torch.isfinite(log_det).all()
    if list(layer.parameters()):
        (z.square().sum() - log_det.sum()).backward()
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters())


@every_case
def test_state_dict_copy_and_pickle_hold_all_there_is_to_know(name):
    case, layer = CASES[name], build(name)
    torch.manual_seed(1234)  # other starting weights
    loaded = (case.other or case.make)().double().eval()
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    loaded.load_state_dict(torch.load(buffer, weights_only=True))
    x, context = events(case, 3), context_for(case, 3)
    z, log_det = layer(x, context)
    for other in (loaded, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        z_other, log_det_other = other(x, context)
        assert torch.equal(z, z_other)
        assert torch.equal(log_det, log_det_other)


@every_case
def test_the_repr_names_the_layer_and_its_parts(name):
    text = repr(build(name))
    assert all(type(module).__name__ in text for module in build(name).modules())


@every_case
def test_perturbing_reaches_every_parameter_and_statistic(name):
    # The tests above prove something only because of this.
    before = build(name, disturbed=False).state_dict()
    for key, value in build(name).state_dict().items():
        if value.is_floating_point():
            assert (value != before[key]).all(), key


SHAPELESS = {"flip", "logit", "rescale", "inverted-logit", "chain-empty", "dequantize"}


@pytest.mark.parametrize(
    "name",
    [
        n
        for n in CASES
        if n.removesuffix("-ink").rsplit("-", 1)[0] not in SHAPELESS and n not in SHAPELESS
    ],
)
def test_a_wrong_shape_is_refused_before_any_data_is_seen(name):
    shape = CASES[name].shape
    wrong = (shape[0] + 1, *shape[1:])
    if name.endswith("squeeze") and not name.startswith("inverted"):
        wrong = (*shape[:2], shape[2] + 1)
    elif name.startswith("multiscale"):  # more than it keeps is what it takes
        wrong = (1, *shape[1:])
    with pytest.raises(InputError, match=r"shape|even|channels|features"):
        build(name).output_shape(wrong)


# Models as flows -------------------------------------------------------------------------------


@every_model
def test_log_prob_is_the_base_density_and_all_log_dets(name):
    flow = build_flow(name)
    x, context = events(flow, 4), context_for(flow, 4)
    z, total = x, torch.zeros(4, dtype=torch.float64)
    for layer in flow.chain:
        z, log_det = layer(z, context)
        total = total + log_det
    assert torch.allclose(flow.log_prob(x, context), flow.base.log_prob(z) + total, atol=1e-10)
    assert torch.equal(flow.encode(x, context), z)


@every_model
def test_decode_undoes_encode(name):
    flow = build_flow(name)
    x, context = events(flow, 6), context_for(flow, 6)
    z = flow.encode(x, context)
    assert z.shape == (6, *flow.shape), "z has as many numbers as x, in the same shape"
    back = flow.decode(z, context)
    if flow.levels is None:
        assert close(back, x, 1e-10)
    else:
        assert torch.equal(back.long(), x)


@every_model
def test_a_flow_is_exact_unless_it_is_over_integers(name):
    flow = build_flow(name)
    assert flow.exact == (flow.levels is None)
    assert flow.unit == ("nats" if flow.levels is None else "bits/dim")


@every_model
def test_flows_keep_their_dtype_also_on_empty_batches(name):
    for flow in (build_flow(name), copy.deepcopy(build_flow(name)).float()):
        for n in (0, 1):
            context = context_for(flow, n, dtype=flow.dtype)
            value = flow.log_prob(events(flow, n, dtype=flow.dtype), context)
            assert value.shape == (n,)
            assert value.dtype == flow.dtype
            sample = flow.sample(n, context=context)
            assert sample.shape == (n, *flow.shape)
            assert sample.dtype == (flow.dtype if flow.levels is None else torch.uint8)


@every_model
def test_conditioners_may_run_in_bfloat16_but_the_data_path_does_not(name):
    case, layer = CASES[name], copy.deepcopy(build(name)).float()
    x, context = events(case, 3, dtype=torch.float32), context_for(case, 3, dtype=torch.float32)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        z, log_det = layer(x, context)
        back, log_det_back = layer.inverse(z, context)
    assert z.dtype == log_det.dtype == back.dtype == torch.float32
    # Both directions have the same blunt parameters, and lose no digits beyond that.
    assert close(back, x, 2e-5)
    assert close(log_det_back, -log_det, 2e-5)


@every_model
def test_a_score_depends_on_the_event_alone(name):
    flow = build_flow(name)
    x, context = events(flow, 6), context_for(flow, 6)
    together = flow.log_prob(x, context)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    shuffled = flow.log_prob(x[order], None if context is None else context[order])
    assert close(shuffled, together[order], 1e-12)
    alone = [
        flow.log_prob(x[i : i + 1], None if context is None else context[i : i + 1])
        for i in range(6)
    ]
    assert close(torch.cat(alone), together, 1e-12)


@every_model
def test_a_flow_is_rebuilt_from_its_configuration_and_weights(name):
    flow = build_flow(name)
    family = flow.config.family
    values = json.loads(json.dumps(dataclasses.asdict(flow.config)))  # as a file would keep it
    rebuilt = model_registry.rebuild(family, values).double().eval()
    rebuilt.load_state_dict(flow.state_dict())
    x, context = events(flow, 3), context_for(flow, 3)
    assert torch.equal(rebuilt.log_prob(x, context), flow.log_prob(x, context))
    assert rebuilt.config == flow.config


@every_model
def test_flows_survive_copying_and_pickling(name):
    flow = build_flow(name)
    x, context = events(flow, 3), context_for(flow, 3)
    for other in (copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):
        assert torch.equal(other.log_prob(x, context), flow.log_prob(x, context))
        assert other.config == flow.config
    assert repr(flow).startswith("Flow(")
    assert f"shape={flow.shape}" in repr(flow)


@every_model
def test_every_number_has_a_say_and_some_coupling_changes_it(name):
    case, plain = CASES[name], build(name, disturbed=False)
    coupled = copy.deepcopy(plain)
    for module in coupled.modules():
        if isinstance(module, (Autoregressive, Coupling, Planar, Radial, Sylvester)):
            perturb(module, 1)
    x, context = events(case, 1), context_for(case, 1)
    before, after = jacobian(plain, x, context)[0], jacobian(coupled, x, context)[0]
    assert (after.abs().amax(0) > 0).all()
    change = (after - before).abs().amax(1)
    if "additive" in name:  # a shift shows in the value, and only off the diagonal of the slope
        change += (coupled(x, context)[0] - plain(x, context)[0]).abs().flatten()
    assert (change > 1e-6).all()


# Compilation -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "training"),
    [
        ("realnvp-rows-3-context", True),
        ("realnvp-image-1-8-8", False),
        ("realnvp-rows-norm-batch", True),
    ],
)
def test_log_prob_is_one_graph(name, training):
    compiled_equals_eager(copy.deepcopy(build_flow(name)).train(training), backend="eager")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["realnvp-rows-7", "realnvp-image-3-4-6", "realnvp-paper-one-scale"]
)
def test_compiled_log_prob_equals_eager(name):
    compiled_equals_eager(build_flow(name), backend="inductor")


def compiled_equals_eager(flow, backend):
    torch._dynamo.reset()
    x, context = events(flow, 4), context_for(flow, 4)
    twin = copy.deepcopy(flow)
    compiled = torch.compile(twin.log_prob, fullgraph=True, backend=backend)
    assert torch.allclose(compiled(x, context), flow.log_prob(x, context), rtol=1e-12, atol=1e-9)


# The registry is complete ----------------------------------------------------------------------


def public(module, kind):
    members = (getattr(module, name) for name in module.__all__)
    return {m for m in members if isinstance(m, type) and issubclass(m, kind) and m is not kind}


def parts_of(names):
    return {type(module) for name in names for module in build(name).modules()}


def test_every_public_layer_is_in_the_registry():
    kinds = public(pushforward.layers, Layer) - {pushforward.layers.Noisy}  # no layer by itself
    kinds -= {pushforward.layers.DequantizeColumns}  # float64 always: layers/test_columns.py
    kinds -= {pushforward.layers.FillMissing}  # of complete rows the identity: test_missing.py
    missing = kinds - {type(build(name)) for name in LAYERS}
    assert not missing, f"add to tests/registry/: {missing}"


def test_every_law_and_conditioner_is_in_the_registry():
    parts = parts_of(LAYERS)
    law_parts = public(pushforward.elementwise, torch.nn.Module) - {pushforward.elementwise.Law}
    assert law_parts <= parts
    assert public(pushforward.nets, torch.nn.Module) == set(NETS)
    assert set(NETS) <= parts
    assert {type(law()) for law in LAWS.values()} == public(
        pushforward.elementwise, pushforward.elementwise.Law
    )


def test_every_mask_and_activation_is_in_the_registry():
    assert set(layer_masks.MASKS) <= set(MASKS["image"])
    assert set(ACTIVATIONS.values()) <= parts_of(LAYERS)


def test_every_family_is_in_the_registry():
    families = {make().config.family for make in [*MODELS.values(), *OTHERS.values()]}
    assert families == set(model_registry.FAMILIES)


@pytest.mark.parametrize("config", [f.config for f in model_registry.FAMILIES.values()])
def test_every_choice_that_a_model_offers_is_in_the_registry(config):
    configs = [make().config for make in [*MODELS.values(), *OTHERS.values()]]
    used = [c for c in configs if type(c) is config]
    for field, hint in typing.get_type_hints(config).items():
        members = typing.get_args(hint)
        choices = {
            value
            for m in (hint, *members)
            if typing.get_origin(m) is typing.Literal
            for value in typing.get_args(m)
        }
        assert choices <= {getattr(c, field) for c in used}, field


# Any shape, any mask ---------------------------------------------------------------------------

row_shapes = st.tuples(st.integers(1, 6))
image_shapes = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
batches = st.sampled_from([0, 1, 2, 7])
dtypes = st.sampled_from([torch.float32, torch.float64])


@st.composite
def masks(draw):
    """A Boolean mask of any shape that changes at least one element."""
    shape = draw(st.one_of(row_shapes, image_shapes))
    count = torch.Size(shape).numel()
    flags = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    flags[draw(st.integers(0, count - 1))] = False
    return torch.tensor(flags).reshape(shape)


@settings(max_examples=60)
@given(
    mask=masks(),
    n=batches,
    dtype=dtypes,
    law=st.sampled_from(sorted(LAWS)),
    context=st.sampled_from([0, 2]),
)
def test_coupling_with_any_mask(mask, n, dtype, law, context):
    net = lambda i, o, c: MLP(i, o, c, hidden=(4,))  # noqa: E731
    layer = Coupling(mask.shape, mask, net, LAWS[law](), context=context).to(dtype)
    perturb(layer)
    x = torch.randn(n, *mask.shape, dtype=dtype)
    c = torch.randn(n, context, dtype=dtype) if context else None
    z, log_det = layer(x, c)
    back, log_det_back = layer.inverse(z, c)
    assert z.shape == x.shape
    assert z.dtype == log_det.dtype == dtype
    assert log_det.shape == (n,)
    tolerance = 1e-10 if dtype == torch.float64 else 1e-4
    assert close(back, x, tolerance)
    assert close(log_det_back, -log_det, tolerance)
    assert torch.equal(z[:, mask], x[:, mask]), "what is kept is kept to the last bit"
    if n:
        assert (z[:, ~mask] != x[:, ~mask]).all(), "what is changed is changed"
        expected = torch.linalg.slogdet(jacobian(layer, x[:1], None if c is None else c[:1]))
        assert close(log_det[:1], expected.logabsdet, tolerance)


@settings(max_examples=30)
@given(
    n=batches,
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    kind=st.sampled_from([Squeeze, OrderedSqueeze]),
    dtype=dtypes,
)
def test_squeezes_rearrange_without_loss(n, shape, kind, dtype):
    channels, h, w = shape
    x = torch.arange(n * channels * 4 * h * w, dtype=dtype).reshape(n, channels, 2 * h, 2 * w)
    layer = kind()
    z, log_det = layer(x)
    assert z.shape == (n, *layer.output_shape(x.shape[1:])) == (n, 4 * channels, h, w)
    assert torch.equal(z.flatten(1).sort().values, x.flatten(1)), "each number is there once"
    assert torch.equal(layer.inverse(z)[0], x)
    assert torch.equal(log_det, torch.zeros(n, dtype=dtype))
    assert torch.equal(Inverted(layer, x.shape[1:])(z)[0], x)


@settings(max_examples=40)
@given(
    shape=st.one_of(row_shapes, st.tuples(*[st.integers(1, 3), *[st.integers(1, 6)] * 2])),
    levels=st.integers(2, 300),
    couplings=st.integers(1, 4),
    n=batches,
    context=st.sampled_from([0, 2]),
    seed=st.integers(0, 3),
)
def test_realnvp_of_any_shape(shape, levels, couplings, n, context, seed):
    flow = RealNVP(
        shape, levels=levels, couplings=couplings, width=3, depth=1, context=context, seed=seed
    )
    perturb(flow.double().eval(), seed)
    x, c = events(flow, n), context_for(flow, n)
    value = flow.log_prob(x, c)
    assert value.shape == (n,)
    assert torch.isfinite(value).all()
    assert torch.equal(flow.decode(flow.encode(x, c), c).long(), x)
    sample = flow.sample(n, context=c, seed=seed)
    assert sample.shape == (n, *shape)
    assert ((sample >= 0) & (sample < levels)).all()
    assert torch.equal(sample, flow.sample(n, context=c, seed=seed))


def test_the_universal_tests_would_notice_a_wrong_log_det():
    class Wrong(Affine):
        def forward(self, x, parameters):
            z, log_slope = super().forward(x, parameters)
            return z, log_slope * 1.000001

    layer = Coupling((4,), "half", lambda i, o, c: MLP(i, o, c, hidden=(4,)), Wrong()).double()
    perturb(layer)
    x = torch.randn(2, 4, dtype=torch.float64)
    expected = torch.linalg.slogdet(jacobian(layer, x)).logabsdet
    assert not close(layer(x)[1], expected, 1e-9)


def test_dequantisation_alone_is_not_exact():
    inexact = {type(m) for n in CASES for m in build(n).modules() if not getattr(m, "exact", True)}
    assert inexact >= {Dequantize, VariationalDequantize}
    assert all(issubclass(kind, Noisy) for kind in inexact)
