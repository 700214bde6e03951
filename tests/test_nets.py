"""Conditioners: how they start, what shapes and sizes they have, what they may see."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from pushforward import InputError
from pushforward.layers.masks import checkerboard_mask
from pushforward.nets import ACTIVATIONS, MLP, Constant, ConvNet, ResNet, products
from pushforward.nets.activations import activation
from pushforward.nets.by_hand import MLPByHand
from pushforward.nets.resnet import WeightNormConv
from registry import perturb

ROWS, IMAGE = (3,), (2, 4, 5)
NETS = {
    "mlp": (partial(MLP, ROWS, (4,), hidden=(8, 8)), ROWS, (4,)),
    "mlp-residual": (partial(MLP, ROWS, (4,), hidden=(8, 8), residual=True), ROWS, (4,)),
    "mlp-image": (partial(MLP, IMAGE, (4, 4, 5), hidden=(8,)), IMAGE, (4, 4, 5)),
    "convnet": (partial(ConvNet, IMAGE, (4, 4, 5), width=8, blocks=2), IMAGE, (4, 4, 5)),
    "resnet": (partial(ResNet, IMAGE, (4, 4, 5), width=8, blocks=2), IMAGE, (4, 4, 5)),
    "resnet-mask": (
        partial(ResNet, IMAGE, (4, 4, 5), width=8, blocks=2, mask=checkerboard_mask(IMAGE)),
        IMAGE,
        (4, 4, 5),
    ),
    "constant": (partial(Constant, ROWS, (4,)), ROWS, (4,)),
}
every_net = pytest.mark.parametrize("name", NETS)


def batch(shape, n=6):
    return torch.randn(n, *shape)


@every_net
@pytest.mark.parametrize("context", [0, 3])
def test_parameters_come_out_in_the_shape_asked_for(name, context):
    make, shape, out = NETS[name]
    net = perturb(make(context=context)).eval()
    c = torch.randn(6, context) if context else None
    assert net(batch(shape), c).shape == (6, *out)
    assert net(batch(shape, 0), None if c is None else c[:0]).shape == (0, *out)


@pytest.mark.parametrize("name", ["mlp", "mlp-residual", "mlp-image", "convnet", "constant"])
@pytest.mark.parametrize("context", [0, 3])
def test_conditioners_start_at_zero(name, context):
    make, shape, _ = NETS[name]
    net = make(context=context)
    result = net(100 * batch(shape), torch.randn(6, context) if context else None)
    assert torch.equal(result, torch.zeros_like(result))


def test_only_the_last_layer_starts_at_zero():
    # Were a layer before it zero too, no gradient would ever pass.
    for make, shape, _ in (NETS["mlp"], NETS["mlp-residual"], NETS["convnet"]):
        net = make()
        net(batch(shape)).sum().backward()
        assert net.last.weight.grad.abs().max() > 0


def test_a_residual_mlp_is_what_its_formula_says():
    net = perturb(MLP((3,), (2,), hidden=(5, 5, 5), residual=True, activation="tanh")).double()
    x = torch.randn(4, 3, dtype=torch.float64)
    w = [(la.weight, la.bias) for la in net.hidden]
    h = x @ w[0][0].T + w[0][1]
    for weight, bias in w[1:]:
        h = h + torch.tanh(h) @ weight.T + bias
    expected = torch.tanh(h) @ net.last.weight.T + net.last.bias
    assert torch.allclose(net(x), expected, atol=1e-12)
    with pytest.raises(ValueError, match=r"one width; got \(4, 5\)"):
        MLP((3,), (2,), hidden=(4, 5), residual=True)


def test_a_plain_mlp_is_the_sequence_of_its_layers():
    net = perturb(MLP((3,), (2,), 2, hidden=(5, 4), activation="gelu")).double()
    x, c = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
    gelu = torch.nn.functional.gelu
    h = gelu(net.hidden[1](gelu(net.hidden[0](torch.cat((x, c), 1)))))
    assert torch.allclose(net(x, c), net.last(h), atol=1e-12)


def test_the_convnet_knows_positions_and_a_map_of_its_own_for_them():
    net = perturb(ConvNet((1, 9, 9), (1, 9, 9), width=4)).double()
    x = torch.ones(1, 1, 9, 9, dtype=torch.float64)
    result = net(x)[0, 0]
    assert len(result.flatten().unique()) > 60, "a constant image gives a map, not a constant"
    with torch.no_grad():
        net.position.zero_()
    centre = net(x)[0, 0, 4:6, 4:6]
    assert torch.allclose(centre, centre[0, 0]), "without the map, far from the edges, a constant"


@pytest.mark.parametrize("name", ["mlp", "mlp-residual", "convnet"])
def test_dropout_is_for_training_only(name):
    make, shape, _ = NETS[name]
    net, x = perturb(make(dropout=0.5)), batch(shape)
    net.train()
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))
    without = make(dropout=0.0)
    without.load_state_dict(net.state_dict())
    assert torch.equal(net(x), without(x)), "and it adds no weights"


def test_activations_go_by_name():
    for name, kind in ACTIVATIONS.items():
        assert type(activation(name)) is kind
    with pytest.raises(InputError, match="no activation named 'swish'; choose from relu"):
        activation("swish")


# The paper's network ---------------------------------------------------------------------------


@pytest.mark.parametrize(("kernel", "magnitude"), [(1, 0.408), (3, 1.225)])
@pytest.mark.parametrize("channels", [3, 64])
def test_weight_norm_starts_at_the_magnitudes_of_the_authors(kernel, magnitude, channels):
    conv = WeightNormConv(channels, 16, kernel, gain=True, bias=True)
    assert torch.allclose(conv.magnitude, torch.tensor(magnitude), atol=5e-4)
    limit = math.sqrt(2 / channels)
    assert conv.direction.abs().max() <= limit
    deviation = float(conv.direction.detach().std(correction=0))
    assert deviation == pytest.approx(limit / math.sqrt(3), rel=0.2)
    assert torch.equal(conv.bias, torch.zeros(16))


def kernel_of(conv, channels, size):
    """The kernel that a convolution applies, read off its answers to single bright pixels."""
    points = torch.eye(channels * size * size).reshape(-1, channels, size, size).double()
    answers = conv(points)[:, :, size // 2, size // 2]  # (points, out)
    return answers - conv(torch.zeros(1, channels, size, size).double())[:, :, 0, 0]


@pytest.mark.parametrize("gain", [False, True])
@pytest.mark.parametrize("size", [1, 3])
def test_kernels_have_unit_norm_times_the_gain(gain, size):
    conv = perturb(WeightNormConv(4, 5, size, gain=gain, bias=True).double())
    norms = kernel_of(conv, 4, size).norm(dim=0)
    expected = conv.magnitude.abs().flatten() if gain else torch.ones(5, dtype=torch.float64)
    assert torch.allclose(norms, expected, atol=1e-12)


def resnet_parameters(channels, out, width, blocks, *, mask):
    """Counted from the description: reference.md, A3."""
    inputs = 2 * channels + mask
    start = channels + (9 * inputs * width + width)  # shift of the first norm; 3x3 with bias
    skip = width * width + 2 * width  # 1x1 with gain and bias
    block = 9 * width**2 + (9 * width**2 + 2 * width)  # plain 3x3; 3x3 with gain and bias
    last = width * out + 2 * out
    return start + skip + blocks * (block + skip) + last


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize(("width", "blocks"), [(4, 0), (8, 2), (5, 3)])
def test_resnet_has_the_parameters_that_its_description_has(mask, width, blocks):
    board = checkerboard_mask(IMAGE) if mask else None
    net = ResNet(IMAGE, (6, 4, 5), width=width, blocks=blocks, mask=board)
    count = sum(p.numel() for p in net.parameters())
    assert count == resnet_parameters(2, 6, width, blocks, mask=mask)


def test_resnet_normalises_by_the_batch_in_training_and_by_averages_in_evaluation():
    net = perturb(ResNet(IMAGE, (2, 4, 5), width=4, blocks=1)).double()
    x = torch.randn(5, *IMAGE, dtype=torch.float64)
    net.train()
    assert torch.allclose(net(x), net(3 * x), atol=1e-3), "the first norm undoes a scale"
    assert not torch.allclose(net(x)[:2], net(x[:2]), atol=1e-3)
    net.eval()
    assert not torch.allclose(net(x), net(3 * x), atol=1e-3)
    assert torch.allclose(net(x)[:2], net(x[:2]), atol=1e-12)


def test_resnet_sees_the_mask_and_the_doubled_input():
    mask = checkerboard_mask((1, 4, 4))
    net = perturb(ResNet((1, 4, 4), (1, 4, 4), width=4, blocks=1, mask=mask)).double().eval()
    other = ResNet((1, 4, 4), (1, 4, 4), width=4, blocks=1, mask=~mask).double().eval()
    other.load_state_dict(net.state_dict())
    blank = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    assert not torch.allclose(net(blank), other(blank)), "the mask is one more channel"
    assert "mask" not in net.state_dict()


# Products and gradients by hand ----------------------------------------------------------------


@pytest.fixture(params=["torch", "oneDNN"])
def library(request, monkeypatch):
    """Each library in turn, whatever the processor; oneDNN where this torch has it."""
    if request.param == "oneDNN" and products._onednn() is None:
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(products, "onednn_is_faster", lambda: request.param == "oneDNN")


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("rows", "ins", "outs"), [(0, 3, 4), (1, 3, 4), (600, 60, 31), (600, 9, 80)]
)
def test_products_are_what_their_formulas_say(rows, ins, outs, dtype):
    wide = torch.randn(rows, 2 * ins + 1, dtype=torch.float64)
    weight, bias = torch.randn(outs, ins, dtype=torch.float64), torch.randn(outs).double()
    gradient = torch.randn(rows, outs, dtype=torch.float64)
    for x in (wide[:, :ins], wide[:, 1 : 2 * ins : 2], wide[:, :ins].t().contiguous().t()):
        given = [t.to(dtype) for t in (x, weight, bias, gradient)]
        if x.stride() == wide[:, :ins].stride():
            given[0] = wide.to(dtype)[:, :ins]  # a slice of a wider batch in its own type
        sliced, w, b, g = given
        y = x @ weight.T + bias
        tolerance = {
            "rtol": 0,
            "atol": 1e-12 if dtype == torch.float64 else 1e-3,
            "check_dtype": False,
        }
        close = partial(torch.testing.assert_close, **tolerance)
        close(products.linear(sliced, w, b), y)
        close(products.linear(sliced, w, b, relu=True), y.relu())
        close(products.input_gradient(g, w), gradient @ weight)
        close(products.weight_gradient(g, sliced), gradient.T @ x)


@pytest.mark.filterwarnings("ignore:TF32")
def test_onednn_is_for_large_float32_batches_and_can_be_switched_off(monkeypatch):
    monkeypatch.setattr(products, "onednn_is_faster", lambda: True)
    large, small = torch.ones(1000, 50), torch.ones(10, 50)
    assert products._by_onednn(large, 50 * 50)
    assert not products._by_onednn(small, 50 * 50)
    assert not products._by_onednn(large.double(), 50 * 50)
    assert not products._by_onednn(large.to("meta"), 50 * 50)
    with torch.backends.mkldnn.flags(enabled=False):
        assert not products._by_onednn(large, 50 * 50)


def test_processors_without_the_slow_path_keep_to_torch(monkeypatch):
    decide = products.onednn_is_faster.__wrapped__
    monkeypatch.setattr(products, "_processor", lambda: "vendor_id: GenuineIntel")
    assert not decide()
    monkeypatch.setattr(products, "_processor", lambda: "vendor_id: AuthenticAMD")
    monkeypatch.setattr(products, "_onednn", lambda: None)
    assert not decide()


@pytest.mark.parametrize("name", ["relu", "tanh", "silu"])
def test_gradients_by_hand_are_those_of_autograd(name):
    net = perturb(MLP((3,), (4,), hidden=(6, 5), activation=name).double())
    assert MLPByHand.possible(net)
    by_hand, weights = MLPByHand(net), list(net.parameters())
    x = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    gradient = torch.randn(7, 4, dtype=torch.float64)
    expected = torch.autograd.grad(net(x), [x, *weights], gradient)
    with torch.no_grad():
        tape: list[torch.Tensor] = []
        assert torch.allclose(by_hand.forward(x, weights, tape), net(x), atol=1e-14)
        of_x, found = by_hand.backward(gradient.clone(), weights, tape, wanted=True)
    assert not tape
    for a, b in zip((of_x, *found), expected, strict=True):
        assert torch.allclose(a, b, atol=1e-13)


@pytest.mark.parametrize("options", [{"residual": True}, {"activation": "gelu"}])
def test_what_has_no_gradients_by_hand_says_so(options):
    assert not MLPByHand.possible(MLP((3,), (4,), hidden=(6, 6), **options))
    assert not MLPByHand.possible(Constant((3,), (4,)))
