"""torch.compile takes every model whole: log_prob, inverse and the training step."""

from __future__ import annotations

import copy

import pytest
import torch

from registry import MODELS, build_flow, context_for, events


def models():
    return sorted(MODELS)


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.parametrize("name", models())
def test_the_inverse_is_one_graph(name):
    flow = copy.deepcopy(build_flow(name))
    z = flow.base.sample(5, 1.0, torch.Generator().manual_seed(0)).detach()
    context = context_for(flow, 5)
    compiled = torch.compile(flow.chain.inverse, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        expected, log_det = flow.chain.inverse(z, context)
        x, compiled_log_det = compiled(z, context)
    assert torch.allclose(x.double(), expected.double(), rtol=1e-9, atol=1e-9)
    assert torch.allclose(compiled_log_det, log_det, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", models())
def test_the_training_step_is_one_graph(name):
    flow = copy.deepcopy(build_flow(name))
    x, context = events(flow, 6), context_for(flow, 6)
    flow.initialise(x, *([] if context is None else [context]))
    for module in flow.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    gradients, buffers = [], []
    for way in ("eager", "compiled"):
        twin = copy.deepcopy(flow).train()
        with torch.no_grad():
            copy.deepcopy(flow).train().log_prob(x, context)  # what is lazy is settled by a look
        twin.log_prob(x, context, check=False)
        log_prob = twin.log_prob
        if way == "compiled":
            log_prob = torch.compile(twin.log_prob, fullgraph=True, backend="aot_eager")
        loss = -log_prob(x, context, check=False).mean()
        loss.backward()
        gradients.append({n: p.grad for n, p in twin.named_parameters() if p.grad is not None})
        buffers.append(dict(twin.named_buffers()))
    assert gradients[0].keys() == gradients[1].keys()
    for key, value in gradients[0].items():
        scale = max(1.0, float(value.abs().max()))
        assert torch.allclose(gradients[1][key], value, rtol=1e-6, atol=1e-8 * scale), key
    for key, value in buffers[0].items():  # running statistics have moved, and equally
        assert torch.allclose(buffers[1][key].double(), value.double(), rtol=1e-9), key


@pytest.mark.slow
@pytest.mark.parametrize("name", ["realnvp-rows-7", "realnvp-image-3-4-6", "realnvp-paper-running"])
def test_the_training_step_runs_as_machine_code(name):
    flow = copy.deepcopy(build_flow(name)).train()
    x, context = events(flow, 6), context_for(flow, 6)
    flow.log_prob(x, context, check=False)
    twin = copy.deepcopy(flow)
    compiled = torch.compile(twin.log_prob, fullgraph=True)
    for each, log_prob in ((flow, flow.log_prob), (twin, compiled)):
        each.zero_grad()
        log_prob(x, context, check=False).mean().backward()
    for (key, one), other in zip(flow.named_parameters(), twin.parameters(), strict=True):
        if one.grad is not None:
            assert torch.allclose(other.grad, one.grad, rtol=1e-5, atol=1e-7), key
