"""The conditioner of Flow++, part by part against its formula and torch's own attention."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, elu

from pushforward import InputError
from pushforward.nets import GatedConvNet
from pushforward.nets.gated import ChannelNorm, GatedAttention, GatedConv, concat_elu
from registry import perturb

SHAPE, OUT = (3, 2, 5), (4, 2, 5)


def image(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("context", [0, 3])
def test_it_starts_at_zero_and_gives_the_shape_asked_for(context, attention):
    net = GatedConvNet(SHAPE, OUT, context, width=8, blocks=2, attention=attention)
    x, c = torch.randn(6, *SHAPE), torch.randn(6, context) if context else None
    assert torch.equal(net(x, c), torch.zeros(6, *OUT))
    assert perturb(net)(x, c).shape == (6, *OUT)
    assert net(x[:0], None if c is None else c[:0]).shape == (0, *OUT)


def test_a_gated_convolution_is_what_its_formula_says():
    step = perturb(GatedConv(3).double())
    h = image(2, 3, 4, 5)
    inner = conv2d(elu(torch.cat((h, -h), 1)), step.inner.weight, step.inner.bias, padding=1)
    both = conv2d(elu(torch.cat((inner, -inner), 1)), step.gate.weight, step.gate.bias)
    expected = h + both[:, :3] * torch.sigmoid(both[:, 3:])
    assert torch.allclose(step(h), expected)
    assert concat_elu(h).shape == (2, 6, 4, 5)


def test_attention_is_torch_s_multi_head_attention_behind_a_gate():
    layer = perturb(GatedAttention(8, 2, 0.0).double())
    peer = nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        peer.in_proj_weight.copy_(layer.mix.weight[..., 0, 0])
        peer.in_proj_bias.copy_(layer.mix.bias)
        peer.out_proj.weight.copy_(torch.eye(8))
        peer.out_proj.bias.zero_()
    h = image(3, 8, 2, 4)
    tokens = h.flatten(2).mT
    attended = peer(tokens, tokens, tokens, need_weights=False)[0].mT.reshape(h.shape)
    a, b = layer.gate(attended).chunk(2, 1)
    assert torch.allclose(layer(h), a * torch.sigmoid(b))


def test_the_norm_is_over_the_channels_of_each_pixel():
    h = 3 + 2 * image(2, 6, 3, 4)
    y = ChannelNorm(6).double()(h)
    assert y.shape == h.shape
    assert torch.allclose(y.mean(1), torch.zeros(2, 3, 4, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(y.var(1, correction=0), torch.ones(2, 3, 4).double(), atol=1e-4)


def test_attention_lets_every_pixel_see_every_other():
    x = image(1, 1, 9, 9).requires_grad_()
    for attention in (True, False):
        net = GatedConvNet((1, 9, 9), (1, 9, 9), width=4, blocks=1, attention=attention)
        net = perturb(net).double().eval()
        (gradient,) = torch.autograd.grad(net(x)[0, 0, 0, 0], x)
        assert bool(gradient[0, 0, 8, 8] != 0) == attention


def test_dropout_is_for_training_only():
    net = perturb(GatedConvNet(SHAPE, OUT, width=8, blocks=1, dropout=0.5))
    x = torch.randn(3, *SHAPE)
    assert not torch.equal(net.train()(x), net(x))
    assert torch.equal(net.eval()(x), net(x))


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(InputError, match="width 10 cannot have 4 heads"):
        GatedConvNet(SHAPE, OUT, width=10)
    GatedConvNet(SHAPE, OUT, width=10, attention=False)
