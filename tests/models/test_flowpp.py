"""Flow++: its layout, what a coupling computes, what its options switch off."""

from __future__ import annotations

import pytest
import torch

from pushforward import FlowPP, InputError, create
from pushforward.elementwise import Affine
from pushforward.layers import Coupling, Dequantize, VariationalDequantize
from pushforward.nets.gated import GatedAttention
from registry import perturb

SMALL = {"width": 4, "blocks": 1, "heads": 2, "components": 3, "noise_width": 4}


def couplings(flow):
    return [layer for layer in flow.chain if isinstance(layer, Coupling)]


def test_the_layout_is_that_of_the_authors():
    flow = FlowPP((3, 8, 8), couplings=(4, 2, 3), **SMALL)
    shapes = [layer.shape for layer in couplings(flow)]
    columns, channels, small_columns = (6, 8, 4), (12, 4, 4), (24, 4, 2)
    assert shapes == [columns] * 4 + [channels] * 2 + [small_columns] * 3
    assert flow.latent_shape == (3, 8, 8)


def test_the_first_coupling_keeps_the_even_columns_and_sees_nothing_else():
    flow = perturb(FlowPP((2, 4, 6), law="affine", couplings=(2, 1, 1), **SMALL).double().eval())
    columns, layer = flow.chain[2], couplings(flow)[0]
    x = torch.randn(2, 2, 4, 6, dtype=torch.float64)
    z = columns.inverse(layer(columns(x)[0])[0])[0]
    assert torch.equal(z[..., 0::2], x[..., 0::2])
    t, h = layer.conditioner(x[..., 0::2]).chunk(2, 1)
    assert torch.allclose(z[..., 1::2], x[..., 1::2] * torch.exp(layer.law.bound(h)) + t)


def test_options_switch_off_what_the_paper_adds():
    plain = {"law": "affine", "attention": False, "dequantization": "uniform"}
    whole = FlowPP((1, 4, 4), **SMALL, attention=True)
    flow = FlowPP((1, 4, 4), **SMALL, **plain)
    assert isinstance(whole.chain[0], VariationalDequantize)
    assert isinstance(flow.chain[0], Dequantize)
    assert all(isinstance(layer.law, Affine) for layer in couplings(flow))
    assert not any(isinstance(layer.law, Affine) for layer in couplings(whole))
    attentions = [sum(isinstance(m, GatedAttention) for m in f.modules()) for f in (whole, flow)]
    assert attentions[0] > 0
    assert attentions[1] == 0


@pytest.mark.slow
def test_the_cifar10_preset_has_the_size_of_the_authors_model():
    flow = create("flowpp-cifar10")
    count = sum(p.numel() for p in flow.parameters())
    # The figure that their code states. Ours squeezes what the noise flow sees, which has twice as
    # many channels on half of the positions: a million weights more in its last convolutions.
    assert count == pytest.approx(31_443_440, rel=0.03)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((6,), {}, r"FlowPP is for images \(C, H, W\); got \(6,\)"),
        ((1, 7, 8), {}, "must be even; got 7x8. Pad or resize them to 8x8"),
        ((1, 8, 8), {"heads": 5, "attention": True}, "cannot have 5 heads"),
        ((1, 8, 8), {"law": "spline"}, "law = 'spline' will not do"),
    ],
)
def test_what_cannot_be_built_is_refused(shape, options, message):
    with pytest.raises(InputError, match=message):
        FlowPP(shape, **options)
