"""verify: right flows pass, wrong ones fail, and the layer at fault is named."""

import io
import json
import math

import numpy as np
import pytest
import torch
from rich.console import Console

from pushforward import RealNVP
from pushforward.bases import DiagonalNormal, Logistic, StandardNormal, Uniform
from pushforward.errors import InputError
from pushforward.flow import Flow
from pushforward.jobs import verify
from pushforward.layers import ActNorm, Chain, Coupling, Layer, Logit, Multiscale
from pushforward.layers.layer import constant_log_det
from pushforward.nets import MLP

# Right flows -----------------------------------------------------------------------------------


def disturbed(flow, scale=0.02):
    """Move every parameter: zero-initialised conditioners would prove nothing."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=generator)
    return flow


RIGHT = {
    "row of 1": lambda: RealNVP((1,)),
    "row of 1 on a context": lambda: RealNVP((1,), context=2, width=16),
    "rows of 2": lambda: RealNVP((2,), width=32),
    "rows of 7": lambda: RealNVP((7,), width=32),
    "rows on a context": lambda: RealNVP((3,), context=2, width=16),
    "rows of levels": lambda: RealNVP((2,), levels=5, width=16),
    "rows of 65": lambda: RealNVP((65,), width=16, mixing="lu"),
    "odd image": lambda: RealNVP((1, 5, 7), width=6, couplings=4),
    "wide image": lambda: RealNVP((3, 4, 6), width=6, couplings=4),
    "image of 320": lambda: RealNVP((5, 8, 8), width=6, couplings=3),
    "real image": lambda: RealNVP((1, 4, 4), levels=None, width=6, couplings=4),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_flow_passes(name):
    flow = disturbed(RIGHT[name]())
    context = torch.tensor([0.3, -0.2]) if flow.context else None
    found = verify(flow, context=context, events=16)
    # Far from the data float32 may leave a flow; all else must be right.
    assert [c for c in found.checks if c.verdict != "pass" and "far" not in c.name] == []
    assert found.ok
    assert found.events == 16
    assert len(found.layers) >= len(flow.chain)
    assert all(layer.log_det_error is not None for layer in found.layers)


@pytest.mark.parametrize("base", [StandardNormal, Logistic, DiagonalNormal, Uniform])
def test_every_base_passes(base):
    found = verify(disturbed(Flow((2,), [ActNorm((2,))], base((2,)))))
    assert found.ok, str(found)
    assert found["integral"].value < 1e-2


def test_whole_jacobian_and_integral_are_computed_where_they_can_be():
    small, large = verify(RealNVP((2,), width=8)), verify(RealNVP((65,), width=8), events=4)
    assert {"log_det, whole", "integral", "base"} <= {check.name for check in small.checks}
    assert "log_det, whole" not in {check.name for check in large.checks}
    with pytest.raises(KeyError, match="log_det, layers"):
        large["log_det, whole"]


def test_structures_are_recognised():
    flow = disturbed(RealNVP((5, 8, 8), width=4, couplings=2, scales=1))
    found = verify(flow, events=4)
    how = {layer.name.split()[-1]: layer.log_det_how for layer in found.layers}
    assert how == {
        "Dequantize": "cells",
        "Logit": "elementwise",
        "OrderedSqueeze": "permutation",
        "ActNorm": "elementwise",
        "LULinear": "mixing",
        "Coupling": "coupling",
        "Inverted(OrderedSqueeze)": "permutation",
    }


def test_one_event_is_enough():
    for flow in (RealNVP((3,), width=8), RealNVP((1, 3, 2), width=4)):
        found = verify(disturbed(flow), flow.sample(1, seed=0))
        assert found.ok, str(found)
        assert found.events == 1


def test_a_flow_without_layers():
    assert verify(Flow((2,), [])).ok


def test_double_flows_and_training_mode():
    flow = disturbed(RealNVP((4,), width=8, norm="batch", dropout=0.5)).double().train()
    found = verify(flow)
    assert found.ok, str(found)
    assert found.dtype == "float64"
    assert flow.training


# Wrong flows -----------------------------------------------------------------------------------


class Scale(Layer):
    """z = factor x, right in all respects; the wrong layers below change one of them."""

    factor = 1.5

    def forward(self, x, context=None):
        return x * self.factor, self.log_det(x)

    def inverse(self, z, context=None):
        return z / self.factor, -self.log_det(z)

    def log_det(self, x):
        return constant_log_det(x.double(), math.log(self.factor) * x[0].numel()).to(x.dtype)


class WrongLogDet(Scale):
    def log_det(self, x):
        return super().log_det(x) + 1e-3


class WrongSlope(Scale):
    """The log_det is that of the first element, and forgets the others."""

    def forward(self, x, context=None):
        first = x.flatten(1)[:, 0]
        return x + 0.3 * torch.tanh(x), torch.log1p(0.3 * (1 - torch.tanh(first).square()))

    def inverse(self, z, context=None):
        x = z.clone()
        for _ in range(50):
            x = z - 0.3 * torch.tanh(x)
        return x, -self.forward(x)[1]


class WrongInverse(Scale):
    def inverse(self, z, context=None):
        return z / self.factor + 0.05 * torch.sin(z), -self.log_det(z)


class WrongInverseLogDet(Scale):
    def inverse(self, z, context=None):
        return z / self.factor, self.log_det(z)


class BatchMean(Scale):
    def forward(self, x, context=None):
        return super().forward(x - 0.1 * x.mean(0, keepdim=True))


class BatchMeanInverse(Scale):
    def inverse(self, z, context=None):
        return super().inverse(z - 0.1 * z.mean(0, keepdim=True))


class Float32Turn(Layer):
    """A rotation kept in float32: orthogonal, hence inverted, to seven digits only."""

    def __init__(self, size):
        super().__init__()
        matrix = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64))[0]
        self.matrix = matrix.float()

    def forward(self, x, context=None):
        return x @ self.matrix.to(x.dtype).T, constant_log_det(x, 0.0)

    def inverse(self, z, context=None):
        return z @ self.matrix.to(z.dtype), constant_log_det(z, 0.0)


class Float32Answer(Scale):
    def log_det(self, x):
        return super().log_det(x).float()


class Exploding(Scale):
    factor = 1e8


class NotFinite(Scale):
    def forward(self, x, context=None):
        z, log_det = super().forward(x)
        return torch.where(x > 0, z, torch.nan), log_det


class NoInverse(Scale):
    def inverse(self, z, context=None):
        raise NotImplementedError


class NoDerivative(Scale):
    def forward(self, x, context=None):
        return super().forward(x.detach())


class Heavy(StandardNormal):
    """A base whose integral is e^0.05."""

    def log_prob(self, z):
        return super().log_prob(z) + 0.05


def rows(wrong, size=3):
    """Two couplings with a layer between that is to be named "layer 1"."""
    couplings = [
        Coupling((size,), "half", lambda *a: MLP(*a, hidden=(8,)), flip=flip) for flip in (0, 1)
    ]
    return disturbed(Flow((size,), [couplings[0], wrong, couplings[1]]), 0.2)


def images(wrong, shape=(2, 6, 6)):
    """The layer between two others, inside of a factor-out: "layer 1.1"."""
    part = (1, *shape[1:])
    inner = Chain([ActNorm(part), wrong])
    return disturbed(Flow(shape, [Logit(), Multiscale(inner, 1), ActNorm(shape)]))


WRONG = {
    WrongLogDet: {"log_det, whole", "log_det, layers"},
    WrongSlope: {"log_det, whole", "log_det, layers"},
    WrongInverse: {"x > z > x, float32", "x > z > x, float64", "z > x > z, float64"},
    WrongInverseLogDet: {"log_det, cancels"},
    BatchMean: {"log_prob, alone"},
    BatchMeanInverse: {"decode, alone"},
    Float32Answer: {"float64 kept"},
    Exploding: {"growth, layer", "growth, whole"},
    NotFinite: {"finite log_prob"},
}


def failed(found):
    return {check.name for check in found.checks if check.verdict == "fail"}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_layer_of_rows_is_caught_and_named(wrong):
    found = verify(rows(wrong()))
    assert not found.ok
    assert failed(found) >= WRONG[wrong]
    for name in WRONG[wrong]:
        assert found[name].layer == f"layer 1 {wrong.__name__}", str(found)


@pytest.mark.parametrize("wrong", [wrong for wrong in WRONG if wrong is not NotFinite])
def test_a_wrong_layer_of_images_is_caught_and_named(wrong):
    flow = images(wrong())
    found = verify(flow, torch.rand(4, *flow.shape))
    expected = WRONG[wrong] - {"log_det, whole", "x > z > x, float32", "growth, whole"}
    assert failed(found) >= expected, str(found)
    for name in expected:
        named = "layer 1 Multiscale" if wrong is BatchMeanInverse else f"layer 1.1 {wrong.__name__}"
        assert found[name].layer == named, str(found)


def test_a_constant_in_float32_is_found_out():
    found = verify(rows(Float32Turn(3)))
    assert found["x > z > x, float32"].verdict == "pass"
    check = found["x > z > x, float64"]
    assert check.verdict == "fail"
    assert check.layer == "layer 1 Float32Turn"
    assert "float32" in check.meaning


@pytest.mark.parametrize("shape", [(1,), (2,), (5,), (1, 8, 9)])
def test_a_base_that_does_not_integrate_to_one(shape):
    found = verify(Flow(shape, [ActNorm(shape)], Heavy(shape)), events=8)
    assert found["base"].value == pytest.approx(0.05, abs=1e-4)
    assert found["base"].verdict == "fail"
    if math.prod(shape) <= 2:
        assert found["integral"].value == pytest.approx(math.expm1(0.05), abs=1e-4)
        assert found["integral"].verdict == "fail"


def test_a_base_with_edges_or_dependence_is_passed_over():
    class Tied(StandardNormal):
        def log_prob(self, z):
            return super().log_prob(z) - (z[:, 0] * z[:, 1]).square()

    for base in (Uniform((3,)), Tied((3,))):
        found = verify(Flow((3,), [], base))
        assert "base" not in {check.name for check in found.checks}
        assert any("base" in note for note in found.notes)


class Blend(Layer):
    """A dense matrix over all elements: none of the structures that are looked for."""

    def __init__(self, size, off=0.0):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        matrix = torch.eye(size) + 0.2 / size**0.5 * torch.randn(size, size, generator=generator)
        self.register_buffer("matrix", matrix)
        self.log_det = float(torch.linalg.slogdet(matrix.double())[1]) + off

    def forward(self, x, context=None):
        z = (x.flatten(1) @ self.matrix.T).reshape(x.shape)
        return z, constant_log_det(x, self.log_det)

    def inverse(self, z, context=None):
        x = torch.linalg.solve(self.matrix, z.flatten(1).T).T.reshape(z.shape)
        return x, constant_log_det(x, -self.log_det)


def test_layers_without_structure():
    exact = verify(Flow((1, 8, 9), [Blend(72, 1e-3)]), events=4)
    assert exact.layers[0].log_det_how == "dense"
    assert exact["log_det, layers"].layer == "layer 0 Blend"
    for off, verdict in ((0.0, "pass"), (60.0, "fail")):
        found = verify(Flow((1, 33, 32), [Blend(33 * 32, off)]), events=2)
        assert found.layers[0].log_det_how == "estimate"
        assert 0 < found.layers[0].log_det_noise < 10
        assert found["log_det, estimated"].verdict == verdict


class Wrapped(Layer):
    def __init__(self, inner, off=0.0):
        super().__init__()
        self.inner, self.off = inner, off

    def forward(self, x, context=None):
        z, log_det = self.inner(x, context)
        return z, log_det + self.off

    def inverse(self, z, context=None):
        x, log_det = self.inner.inverse(z, context)
        return x, log_det - self.off


def test_wrappers_are_entered_only_if_they_add_nothing():
    inside = Chain([Scale(), WrongLogDet()])
    assert verify(rows(Wrapped(inside)))["log_det, whole"].layer == "layer 1.1 WrongLogDet"
    honest = Chain([Scale(), Scale()])
    found = verify(rows(Wrapped(honest, 0.5)))
    assert found["log_det, layers"].layer == "layer 1 Wrapped"
    assert found["log_det, layers"].value == pytest.approx(0.5)


def test_a_list_that_loses_a_log_det_is_noticed():
    class Forgetful(Chain):
        def forward(self, x, context=None):
            z, log_det = super().forward(x, context)
            return z, log_det / 2

    found = verify(rows(Forgetful([Scale(), Scale()])))
    assert found["log_det, layers"].layer == "layer 1 Forgetful"


def test_what_cannot_be_looked_at_is_said():
    flow = rows(NoInverse())
    x = torch.randn(20, 3)
    found = verify(flow, x)
    assert found.ok, str(found)
    assert any("no inverse" in note for note in found.notes)
    with pytest.raises(InputError, match="give verify the events"):
        verify(flow)
    found = verify(rows(NoDerivative()), x)
    assert any("layer 1 NoDerivative" in note for note in found.notes)


# Promises of verify itself ----------------------------------------------------------------------


@pytest.mark.parametrize("flow", [RealNVP((4,), width=8), RealNVP((1, 4, 4), width=4)])
def test_the_flow_stays_as_it_was(flow):
    disturbed(flow).train()
    flow.chain[2].eval()
    flow.sample(2, seed=0)
    next(flow.parameters()).grad = torch.ones_like(next(flow.parameters()))
    before = {name: value.clone() for name, value in flow.named_buffers()}
    before |= {name: value.clone() for name, value in flow.named_parameters()}
    modes = [module.training for module in flow.modules()]
    state = torch.get_rng_state()
    verify(flow, events=4)
    assert torch.equal(torch.get_rng_state(), state)
    after = dict(flow.named_buffers()) | dict(flow.named_parameters())
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(value.requires_grad for value in flow.parameters())
    assert [value.grad is not None for value in flow.parameters()].count(True) == 1
    assert modes == [module.training for module in flow.modules()]


def test_it_is_repeatable_and_works_under_no_grad_and_inference():
    flow, x = disturbed(RealNVP((3,), width=8)), torch.randn(50, 3)
    one, two = verify(flow, x).to_dict(), verify(flow, x).to_dict()
    with torch.inference_mode():
        three = verify(flow, x + 0).to_dict()
    assert {**one, "seconds": 0} == {**two, "seconds": 0} == {**three, "seconds": 0}


def test_data_are_taken_as_they_come(tmp_path):
    flow = RealNVP((3,), width=8, couplings=2)
    x = np.random.default_rng(0).normal(size=(1000, 3))
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for given in (x, mapped, torch.tensor(x), x.tolist()):
        found = verify(flow, given, events=10)
        assert (found.events, found.source) == (10, "of 1,000 given")
    conditional = RealNVP((3,), width=8, couplings=2, context=1)
    assert verify(conditional, x, np.ones((1000, 1))).ok
    assert verify(conditional, x, [0.5]).ok
    assert verify(conditional, context=torch.randn(7, 1)).ok


def test_impossible_input():
    flow, image = RealNVP((3,), width=8), RealNVP((1, 4, 4), width=4)
    for x, text in (
        (torch.zeros(3), "Add a batch dimension"),
        (torch.zeros(5, 4), r"shape \(5, 4\)"),
        (torch.zeros(0, 3), "no events"),
        (torch.full((2, 3), torch.nan), "missing values"),
        ("rows.csv", "a tensor or an array"),
    ):
        with pytest.raises(InputError, match=text):
            verify(flow, x)
    with pytest.raises(InputError, match="integers 0 to 255"):
        verify(image, torch.rand(2, 1, 4, 4))
    with pytest.raises(InputError, match="without context"):
        verify(flow, context=torch.zeros(1))
    with pytest.raises(InputError, match="conditional"):
        verify(RealNVP((3,), context=2, width=8))
    with pytest.raises(InputError, match="events must be at least 1"):
        verify(flow, events=0)
    with pytest.raises(InputError, match="takes a Flow"):
        verify(flow.chain)


# The record -------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [Scale, NotFinite, Exploding, NoInverse])
def test_the_record_is_json_without_nan(wrong):
    found = verify(rows(wrong()), torch.randn(9, 3))
    text = json.dumps(found.to_dict(), allow_nan=False)
    again = json.loads(text)
    assert again["ok"] == found.ok
    assert len(again["checks"]) == len(found.checks)
    assert again["layers"][1]["name"] == f"layer 1 {wrong.__name__}"
    assert set(again["checks"][0]) >= {"name", "value", "tolerance", "verdict", "meaning"}


@pytest.mark.parametrize("width", [80, 140])
def test_the_table_fits(width):
    image = RealNVP((1, 4, 4), width=4, couplings=2)
    for flow in (RealNVP((2,), width=8, couplings=2), image, rows(WrongInverse())):
        found = verify(flow, events=8)
        out = io.StringIO()
        found.print_to(Console(file=out, width=width), all_layers=True)
        text = out.getvalue()
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text
        for check in found.checks:
            row = next(line for line in text.splitlines() if check.name in line)
            assert row.startswith(check.verdict)
        for layer in found.layers:  # long names may be broken between place and class
            assert all(part in text for part in layer.name.removeprefix("layer ").split())


def test_plain_text_names_what_failed():
    text = str(verify(rows(WrongInverse())))
    assert text.splitlines()[0].endswith("checks failed") or "with a warning" in text
    assert "most in layer 1 WrongInverse" in text
    assert "\x1b" not in text
    assert "all" in str(verify(Flow((2,), [ActNorm((2,))]))).splitlines()[0]
