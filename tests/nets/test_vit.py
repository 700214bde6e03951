"""The vision transformer as a conditioner, against torch's own encoder layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pushforward import InputError
from pushforward.nets import ViT
from registry import perturb

SHAPE, OUT = (3, 2, 5), (4, 2, 5)


@pytest.mark.parametrize("context", [0, 3])
def test_it_starts_at_zero_and_gives_the_shape_asked_for(context):
    net = ViT(SHAPE, OUT, context, width=8, heads=2)
    x, c = torch.randn(6, *SHAPE), torch.randn(6, context) if context else None
    assert torch.equal(net(x, c), torch.zeros(6, *OUT))
    assert perturb(net)(x, c).shape == (6, *OUT)
    assert net(x[:0], None if c is None else c[:0]).shape == (0, *OUT)


def test_a_block_is_torch_s_pre_norm_encoder_layer():
    net = perturb(ViT(SHAPE, OUT, width=8, heads=2, blocks=2)).double().eval()
    x = torch.randn(4, *SHAPE, dtype=torch.float64)
    tokens = x.flatten(2).mT @ net.first.weight.T + net.first.bias + net.position
    for block in net.blocks:
        peer = nn.TransformerEncoderLayer(
            8,
            2,
            32,
            dropout=0.0,
            activation=nn.GELU(approximate="tanh"),
            batch_first=True,
            norm_first=True,
            dtype=torch.float64,
        )
        pairs = {
            peer.self_attn.in_proj_weight: block.mix.weight,
            peer.self_attn.in_proj_bias: block.mix.bias,
            peer.self_attn.out_proj.weight: block.merge.weight,
            peer.self_attn.out_proj.bias: block.merge.bias,
            peer.linear1.weight: block.up.weight,
            peer.linear1.bias: block.up.bias,
            peer.linear2.weight: block.down.weight,
            peer.linear2.bias: block.down.bias,
            peer.norm1.weight: block.norm_1.weight,
            peer.norm1.bias: block.norm_1.bias,
            peer.norm2.weight: block.norm_2.weight,
            peer.norm2.bias: block.norm_2.bias,
        }
        with torch.no_grad():
            for theirs, ours in pairs.items():
                theirs.copy_(ours)
        tokens = peer(tokens)
    expected = net.last(net.norm(tokens)).mT.reshape(4, *OUT)
    assert torch.allclose(net(x), expected, atol=1e-12)


def test_but_for_positions_it_treats_all_tokens_alike():
    net = perturb(ViT(SHAPE, OUT, width=8, heads=2)).double().eval()
    x, order = torch.randn(2, *SHAPE, dtype=torch.float64), torch.randperm(10)

    def moved(y):
        return y.flatten(2)[..., order].reshape(y.shape)

    assert not torch.allclose(net(moved(x)), moved(net(x)))
    with torch.no_grad():
        net.position.zero_()
    assert torch.allclose(net(moved(x)), moved(net(x)))


def test_sizes_are_those_of_the_formula():
    width, blocks = 64, 3
    net = ViT((24, 4, 4), (48, 4, 4), width=width, blocks=blocks)
    within = 12 * width**2 + 13 * width
    ends = 24 * width + width + 16 * width + 2 * width + 48 * (width + 1)
    assert sum(p.numel() for p in net.parameters()) == blocks * within + ends
    for matrix in net.blocks[0].mix.weight.chunk(3):  # each started as a square matrix
        assert matrix.abs().max() <= (6 / (2 * width)) ** 0.5
        assert matrix.abs().max() > 0.95 * (6 / (2 * width)) ** 0.5


def test_dropout_is_for_training_only():
    net, x = perturb(ViT(SHAPE, OUT, width=8, heads=2, dropout=0.5)), torch.randn(3, *SHAPE)
    assert not torch.equal(net.train()(x), net(x))
    assert torch.equal(net.eval()(x), net(x))


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(InputError, match="width 10 cannot have 3 heads"):
        ViT(SHAPE, OUT, width=10, heads=3)
