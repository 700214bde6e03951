"""Real NVP by name and by option, and the paper's architecture against a second implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch.nn.functional import conv2d, pixel_shuffle, pixel_unshuffle, softplus

import pushforward as pf
from pushforward import InputError, RealNVP, create, list_models
from pushforward.bases import Logistic
from pushforward.elementwise import Additive, LearnedTanh, Multiplicative
from pushforward.layers import (
    ActNorm,
    Chain,
    Coupling,
    Dequantize,
    FlowBatchNorm,
    Inverted,
    Logit,
    LULinear,
    Multiscale,
    OrderedSqueeze,
    Permutation,
    Rotation,
    Squeeze,
    Standardize,
)
from pushforward.models.realnvp_paper import RealNVPPaperConfig, realnvp_paper
from pushforward.models.recommend import recommend
from pushforward.models.registry import PRESETS
from pushforward.models.settings import checked
from pushforward.training import FitConfig
from registry import perturb
from test_nets import resnet_parameters

LN2 = math.log(2)


def of(flow, kind):
    return [module for module in flow.modules() if isinstance(module, kind)]


def count(flow):
    return sum(p.numel() for p in flow.parameters())


# By name ---------------------------------------------------------------------------------------


def test_models_are_listed_by_pattern():
    assert list_models() == sorted(PRESETS)
    assert list_models("realnvp-image*") == ["realnvp-imagenet32", "realnvp-imagenet64"]
    assert list_models("nothing*") == []


def test_an_unknown_name_is_answered_by_the_nearest_ones():
    with pytest.raises(
        InputError, match="no model named 'realnvp-cifar'; did you mean realnvp-cifar10"
    ):
        create("realnvp-cifar")
    with pytest.raises(
        InputError, match=r"no model named 'xyz'; list_models\(\), or .* has all names"
    ):
        create("xyz")
    with pytest.raises(InputError, match="'realnvp' needs a shape"):
        create("realnvp")


def test_create_takes_options_over_those_of_the_preset():
    flow = create("realnvp", shape=(3,), couplings=2)
    assert flow.config == RealNVP((3,), couplings=2).config
    flow = create("realnvp-cifar10", width=4, blocks=1, shape=(1, 4, 4))
    assert (flow.config.width, flow.config.scales, flow.config.average) == (4, 2, "running")
    with pytest.raises(
        InputError, match="realnvp-paper has no setting 'depth'; it has shape, levels"
    ):
        create("realnvp-cifar10", depth=3)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_say_what_they_are_and_train_as_fit_can(name):
    preset = PRESETS[name]
    assert preset.about
    checked(FitConfig, preset.training, "fit")
    if preset.config is RealNVPPaperConfig:
        # the authors clip nats per image at 100; fit's loss is in bits/dim
        dims = math.prod(preset.settings["shape"])
        assert preset.training["l2"] == 5e-5, "of nats, as in the authors' code"
        assert preset.training["clip"] == pytest.approx(100 / (dims * LN2))


def paper_parameters(channels, scales, width, blocks):
    """Counted from the description: reference.md, A3 and A5; one learned scale a coupling."""
    board = resnet_parameters(channels, 2 * channels, width, blocks, mask=True) + 1
    if scales == 1:
        return 4 * board
    halves = resnet_parameters(2 * channels, 4 * channels, 2 * width, blocks, mask=False) + 1
    rest = paper_parameters(2 * channels, scales - 1, 2 * width, blocks)
    return 3 * board + 3 * halves + rest


def test_the_presets_of_the_paper_have_their_numbers_of_parameters():
    assert count(create("realnvp-cifar10")) == paper_parameters(3, 2, 64, 8) == 19_591_049
    assert count(create("realnvp-imagenet32")) == paper_parameters(3, 4, 32, 4) == 46_192_999
    for name in ("realnvp-imagenet64", "realnvp-celeba", "realnvp-lsun"):
        options = {k: PRESETS[name].settings[k] for k in ("scales", "width", "blocks")}
        assert paper_parameters(3, **options) == 96_331_397
        assert PRESETS[name].settings["shape"] == (3, 64, 64)


@pytest.mark.slow
def test_the_large_presets_can_be_built_and_are_invertible():
    for name in ("realnvp-imagenet64", "realnvp-celeba", "realnvp-lsun"):
        flow = create(name).eval()
        v = torch.randint(256, (1, 3, 64, 64))
        assert torch.equal(flow.decode(flow.encode(v)).long(), v)


# Options of RealNVP ----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1,), (2,), (5,), (1, 4, 4), (2, 3, 3)])
@pytest.mark.parametrize("mixing", [None, "permutation", "rotation", "lu", "none"])
def test_a_fresh_flow_is_the_base_density(shape, mixing):
    # Couplings start as the identity, norms as the identity, mixing as a rotation.
    flow = RealNVP(shape, levels=None, width=4, mixing=mixing).double().eval()
    x = torch.randn(5, *shape, dtype=torch.float64)
    expected = scipy.stats.norm.logpdf(x.numpy()).reshape(5, -1).sum(1)
    assert np.allclose(flow.log_prob(x).detach(), expected, rtol=1e-5)


def test_defaults_follow_the_shape():
    assert RealNVP((3,)).levels is None
    assert RealNVP((1, 4, 4)).levels == 256
    assert RealNVP((1, 4, 4), levels=None).levels is None
    assert RealNVP(3).shape == RealNVP([3]).shape == RealNVP(np.array([3])).shape == (3,)
    assert len(of(RealNVP((3,)), Coupling)) == 8
    assert len(of(RealNVP((1,)), Coupling)) == 1
    assert len(of(RealNVP((1,), context=1), Coupling)) == 8
    assert type(RealNVP((3,)).chain[0]) is Standardize
    assert [type(la) for la in list(RealNVP((1, 4, 4)).chain)[:2]] == [Dequantize, Logit]


@pytest.mark.parametrize(
    ("shape", "scales"),
    [
        ((1, 7, 7), 0),
        ((3, 5, 4), 0),
        ((1, 1, 1), 0),
        ((1, 2, 2), 1),
        ((3, 4, 6), 1),
        ((1, 4, 4), 2),
        ((1, 8, 8), 2),
        ((1, 28, 28), 2),
        ((3, 32, 32), 3),
        ((3, 64, 64), 4),
    ],
)
def test_images_are_squeezed_as_often_as_their_sides_allow_down_to_4_pixels(shape, scales):
    flow = RealNVP(shape, width=2, couplings=1)
    assert len(of(flow, OrderedSqueeze)) == 2 * scales  # there and back
    assert len(of(flow, Multiscale)) == max(0, scales - 1)
    assert flow.latent_shape == shape


def test_impossible_scales_are_explained():
    words = r"cannot make 3 scales of 4x6 images: .* halved 1 times .*scales=1 or fewer, or pad"
    with pytest.raises(InputError, match=words):
        RealNVP((3, 4, 6), scales=3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"coupling": 3}, "RealNVP has no setting 'coupling'; it has shape, levels"),
        ({"law": "curly"}, "RealNVP: law = 'curly' will not do"),
        ({"couplings": 0}, "RealNVP: couplings = 0 will not do"),
        ({"dropout": 1.0}, "RealNVP: dropout = 1.0 will not do"),
        ({"clamp": -1}, "RealNVP: clamp = -1 will not do"),
        ({"levels": 1}, "RealNVP: levels = 1 will not do"),
        ({"width": "wide"}, "RealNVP: width = 'wide' will not do"),
        ({"activation": "swish"}, "no activation named 'swish'"),
    ],
)
def test_unfit_options_are_named(options, words):
    with pytest.raises(InputError, match=words):
        RealNVP((3,), **options)


@pytest.mark.parametrize(
    "shape", [(), (0,), (3, 4), (1, 2, 3, 4), (3, -1, 2), 0, None, 2.5, "ab", (2.0,)]
)
def test_unfit_shapes_are_refused(shape):
    with pytest.raises(InputError, match=r"RealNVP takes a shape \(D,\) for rows or \(C, H, W\)"):
        RealNVP(shape)


def test_each_option_does_what_it_says():
    assert all(isinstance(c.law, Additive) for c in of(RealNVP((3,), law="additive"), Coupling))
    multiplicative = of(RealNVP((3,), law="multiplicative"), Coupling)
    assert all(isinstance(c.law, Multiplicative) for c in multiplicative)
    assert len(of(RealNVP((3,), couplings=5), Coupling)) == 5
    assert len(of(RealNVP((1, 4, 4), couplings=5, width=2, scales=1), Coupling)) == 5
    assert len(of(RealNVP((3,)), ActNorm)) == 8
    assert len(of(RealNVP((3,), norm="batch"), FlowBatchNorm)) == 8
    assert not of(RealNVP((3,), norm="none"), (ActNorm, FlowBatchNorm))
    for mixing, kind in (("permutation", Permutation), ("rotation", Rotation), ("lu", LULinear)):
        assert of(RealNVP((2,), mixing=mixing), kind)
        assert of(RealNVP((1, 4, 4), width=2, mixing=mixing), kind)
    assert not of(RealNVP((5,), mixing="none"), (Permutation, Rotation, LULinear))
    assert isinstance(RealNVP((3,), base="logistic").base, Logistic)
    assert float(RealNVP((1, 2, 2), width=2, alpha=0.01).chain[1].alpha) == pytest.approx(0.01)
    assert {c.law.bound.limit for c in of(RealNVP((3,), clamp=1.5), Coupling)} == {1.5}
    assert {m.p for m in of(RealNVP((3,), dropout=0.2), torch.nn.Dropout)} == {0.2}
    assert of(RealNVP((3,), activation="elu"), torch.nn.ELU)
    hidden = of(RealNVP((4,), width=10, depth=3), Coupling)[0].conditioner.hidden
    assert [la.out_features for la in hidden] == [10, 10, 10]


def test_the_seed_decides_the_weights_and_no_global_state_does():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one = RealNVP((4,), width=8, seed=1).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    same, other = RealNVP((4,), width=8, seed=1), RealNVP((4,), width=8, seed=2)
    assert all(torch.equal(one[k], v) for k, v in same.state_dict().items())
    assert any(not torch.equal(one[k], v) for k, v in other.state_dict().items())
    orders = {tuple(p.order.tolist()) for p in of(RealNVP((9,), seed=1), Permutation)}
    assert len(orders) == 4, "each permutation is another one"


def test_what_is_recommended_can_be_built_and_trained():
    for source in ("digits", "two-moons", np.random.default_rng(0).normal(size=(60, 3))):
        dataset = pf.open_data(source)
        found = recommend(dataset)
        assert RealNVP(dataset.shape, **found.model).levels == dataset.levels
        checked(FitConfig, found.training, "fit")
        assert found.reason


# The paper's architecture ----------------------------------------------------------------------


def test_the_layers_of_a_scale_come_in_the_order_of_the_paper():
    chain = list(realnvp_paper(shape=(1, 4, 4), scales=2, width=2, blocks=1).chain)
    pair = [Coupling, FlowBatchNorm]
    expected = [Dequantize, Logit, *pair * 3, Squeeze, *pair * 3, Inverted, OrderedSqueeze]
    assert [type(la) for la in chain] == [*expected, Multiscale, Inverted]
    assert isinstance(chain[15].layer, Squeeze)
    assert isinstance(chain[18].layer, OrderedSqueeze)
    inner = chain[17].inner
    assert [type(la) for la in inner] == pair * 4
    assert [c.shape for c in of(chain[17], Coupling)] == [(2, 2, 2)] * 4


def changed(coupling):
    """Which elements a coupling changes, by trying."""
    layer = perturb(coupling.double().eval(), 1)
    x = torch.randn(1, *coupling.shape, dtype=torch.float64)
    return (layer(x)[0] != x)[0]


def test_masks_alternate_from_coupling_to_coupling():
    flow = realnvp_paper(shape=(2, 4, 4), scales=2, width=2, blocks=1)
    couplings = of(flow, Coupling)
    rows, columns = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
    odd = (rows + columns) % 2 == 1
    for index, coupling in enumerate(couplings[:3]):
        expected = odd if index % 2 == 0 else ~odd
        assert torch.equal(changed(coupling), expected.expand(2, 4, 4))
    for index, coupling in enumerate(couplings[3:6]):
        second = torch.arange(8) >= 4
        expected = second if index % 2 == 0 else ~second
        assert torch.equal(changed(coupling), expected[:, None, None].expand(8, 2, 2))
    for index, coupling in enumerate(couplings[6:]):
        expected = odd[:2, :2] if index % 2 == 0 else ~odd[:2, :2]
        assert torch.equal(changed(coupling), expected.expand(4, 2, 2))


def test_norms_work_on_what_the_coupling_before_them_changes():
    flow = realnvp_paper(shape=(2, 4, 4), scales=2, width=2, blocks=1)
    for coupling, norm in zip(of(flow, Coupling), of(flow, FlowBatchNorm), strict=True):
        assert torch.equal(~norm.kept, changed(coupling))


def test_the_pixels_of_odd_parity_are_factored_out():
    flow = perturb(realnvp_paper(shape=(1, 4, 4), scales=2, width=2, blocks=1).double().eval())
    v = torch.randint(256, (3, 1, 4, 4))
    z = flow.encode(v)
    of(flow, Multiscale)[0].inner = Chain([])
    without = flow.encode(v)
    rows, columns = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
    even = (rows + columns) % 2 == 0
    assert ((z != without).any(0)[0] == even).all()


def test_learned_scales_start_at_0_for_checkerboards_and_at_1_for_channels():
    flow = realnvp_paper(shape=(1, 4, 4), scales=2, width=2, blocks=1)
    scales = [float(m.scale.detach()) for m in of(flow, LearnedTanh)]
    assert scales == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0]


def test_widths_double_as_sides_halve():
    flow = realnvp_paper(shape=(1, 8, 8), scales=3, width=3, blocks=1)
    widths = [c.conditioner.first.direction.shape[0] for c in of(flow, Coupling)]
    assert widths == [3] * 3 + [6] * 3 + [6] * 3 + [12] * 3 + [12] * 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shape": (3,)}, r"for images \(C, H, W\); got \(3,\)"),
        ({"shape": (3, 6, 6), "scales": 3}, r"halved 2 times; got 6x6"),
        ({"shape": (3, 4, 4), "scales": 3}, "a single pixel"),
        ({"alpha": 0.5}, r"alpha = 0\.5 will not do"),
        ({"average": "lag"}, "average = 'lag' will not do"),
    ],
)
def test_unfit_options_of_the_paper_are_explained(options, words):
    with pytest.raises(InputError, match=words):
        realnvp_paper(**{"width": 2, "blocks": 1, **options})


# A second implementation, from the description alone; whole images times masks, no splits.


def weight_norm(x, conv):
    w = conv.direction / conv.direction.square().sum((1, 2, 3), keepdim=True).sqrt()
    if conv.magnitude is not None:
        w = w * conv.magnitude
    return conv2d(x, w, conv.bias, padding="same")


def batch_norm(x, norm):
    mean, variance = (m / norm.moments.weight for m in (norm.moments.mean, norm.moments.variance))
    y = (x - mean) / torch.sqrt(variance + 1e-4)
    return y if norm.shift is None else y + norm.shift


def network(x, net, board=None):
    h = batch_norm(x, net.norm_in)
    if board is None:
        h = torch.cat((h, -h), 1)
    else:
        h = torch.cat((2 * h, -2 * h, board.expand(len(x), 1, *board.shape)), 1)
    h = weight_norm(torch.relu(h), net.first)
    total = weight_norm(h, net.skip_first)
    for block, skip in zip(net.blocks, net.skips, strict=True):
        y = weight_norm(torch.relu(batch_norm(h, block.norm_1)), block.conv_1)
        h = h + weight_norm(torch.relu(batch_norm(y, block.norm_2)), block.conv_2)
        total = total + weight_norm(h, skip)
    return weight_norm(torch.relu(batch_norm(total, net.norm_out)), net.last)


class SecondImplementation:
    """Latents and log-det of a real image by the description in reference.md, A2 to A5."""

    def __init__(self, flow):
        self.steps = zip(of(flow, Coupling), of(flow, FlowBatchNorm), strict=True)

    def affine(self, x, mask, shift, raw, coupling, norm):
        s = coupling.law.bound.scale * torch.tanh(raw)
        y = x * torch.exp(s) + shift
        mean, variance = (
            m / norm.moments.weight for m in (norm.moments.mean, norm.moments.variance)
        )
        y = (y - mean) / torch.sqrt(variance + 1e-4)
        log_det = (1 - mask) * (s - 0.5 * torch.log(variance + 1e-4))
        return mask * x + (1 - mask) * y, log_det.sum((1, 2, 3))

    def checkerboard(self, x, index):
        coupling, norm = next(self.steps)
        _, c, h, w = x.shape
        i, j = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        board = ((i + j + 1 + index) % 2).double()  # first: 1 where i + j is even
        shift, raw = network(board * x, coupling.conditioner, board).split(c, dim=1)
        return self.affine(x, board, shift, raw, coupling, norm)

    def channels(self, x, index):
        coupling, norm = next(self.steps)
        half = x.shape[1] // 2
        first = (torch.arange(2 * half) < half).double()[:, None, None]
        mask = first if index % 2 == 0 else 1 - first
        seen = x[:, :half] if index % 2 == 0 else x[:, half:]
        shift, raw = network(seen, coupling.conditioner).split(half, dim=1)
        both = torch.cat((shift, shift), 1), torch.cat((raw, raw), 1)
        return self.affine(x, mask, *both, coupling, norm)

    def __call__(self, x, scales):
        total = 0
        for index in range(4 if scales == 1 else 3):
            x, log_det = self.checkerboard(x, index)
            total = total + log_det
        if scales == 1:
            return x, total
        x = pixel_unshuffle(x, 2)
        for index in range(3):
            x, log_det = self.channels(x, index)
            total = total + log_det
        x = pixel_shuffle(x, 2)
        kept = torch.cat((x[:, :, 0::2, 0::2], x[:, :, 1::2, 1::2]), 1)
        kept, log_det = self(kept, scales - 1)
        x = x.clone()
        x[:, :, 0::2, 0::2], x[:, :, 1::2, 1::2] = kept.chunk(2, 1)
        return x, total + log_det


def by_hand(flow, v, scales):
    """Log P's bound for integers: reference.md, A1; the noise is the flow's own."""
    x = flow.chain[0](v)[0]
    a = flow.chain[1].alpha
    p = a + (1 - 2 * a) * x
    y = torch.log(p) - torch.log(1 - p)
    z, log_det = SecondImplementation(flow)(y, scales)
    slopes = torch.log(1 - 2 * a) + softplus(y) + softplus(-y)
    normal = -0.5 * z.square() - 0.5 * math.log(2 * math.pi)
    return (normal + slopes).sum((1, 2, 3)) + log_det - flow.dims * math.log(256)


@pytest.mark.parametrize(
    ("shape", "scales"), [((1, 3, 4), 1), ((2, 4, 4), 2), ((3, 8, 4), 2), ((1, 8, 8), 3)]
)
@pytest.mark.parametrize("disturbed", [False, True])
def test_a_second_implementation_gives_the_same_log_prob(shape, scales, disturbed):
    flow = realnvp_paper(shape=shape, scales=scales, width=4, blocks=2, seed=3).double().eval()
    for name, module in flow.named_modules():
        if name.endswith("moments"):  # before the first batch: mean 0, variance 1
            module.variance.fill_(1)
            module.weight.fill_(1)
    if disturbed:
        perturb(flow, 2, 0.1)
    v = torch.randint(256, (3, *shape))
    assert torch.allclose(flow.log_prob(v), by_hand(flow, v, scales), rtol=1e-10, atol=1e-8)


def test_with_identity_couplings_the_loss_is_that_of_a_gaussian_over_logits():
    flow = realnvp_paper(shape=(3, 8, 8), scales=3, width=2, blocks=1).double().eval()
    with torch.no_grad():
        for coupling, norm in zip(of(flow, Coupling), of(flow, FlowBatchNorm), strict=True):
            coupling.conditioner.last.magnitude.zero_()
            norm.eps = 0.0
    v = torch.randint(256, (4, 3, 8, 8))
    x = flow.chain[0](v)[0].numpy()
    a = float(flow.chain[1].alpha)
    p = a + (1 - 2 * a) * x
    y = np.log(p / (1 - p))
    nats = scipy.stats.norm.logpdf(y) + np.log((1 - 2 * a) / (p * (1 - p)))
    expected = 8 - nats.sum((1, 2, 3)) / (192 * LN2)
    assert np.allclose(flow.bits_per_dim(v).detach(), expected, rtol=0, atol=1e-10)


def test_a_fresh_paper_model_shifts_by_checkerboards_and_scales_by_channels_alone():
    flow = realnvp_paper(shape=(1, 4, 4), scales=2, width=4, blocks=1).double().eval()
    couplings = of(flow, Coupling)
    for index, coupling in enumerate(couplings):
        x = torch.randn(3, *coupling.shape, dtype=torch.float64)
        _, log_det = coupling(x)
        assert (log_det == 0).all() == (index not in (3, 4, 5))
