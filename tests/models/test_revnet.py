import math

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

import pushforward as pf
from pushforward.errors import InputError
from pushforward.jobs import measure
from pushforward.layers import Chain
from pushforward.models import IRevNet, RevNet
from pushforward.models.irevnet import InvertibleClassifier
from pushforward.models.registry import PRESETS

SMALL = {"levels": 17, "units": (2, 2), "stem": 8, "channels": (8, 12), "labels": 5}
MODELS = {
    "revnet": lambda: RevNet((2, 8, 8), **SMALL),
    "bottleneck": lambda: RevNet((2, 8, 8), **{**SMALL, "channels": (8, 16)}, bottleneck=True),
    "resnet": lambda: RevNet((2, 8, 8), **SMALL, blocks="plain"),
    "bijective": lambda: IRevNet(
        (2, 8, 8), levels=17, labels=5, units=(2, 3), strides=(1, 2), squeezes=1, channels=8
    ),
    "injective": lambda: IRevNet(
        (2, 8, 8), levels=17, labels=5, units=(2, 3), strides=(1, 2), channels=8
    ),
}
every_model = pytest.mark.parametrize("name", MODELS)
reversible = pytest.mark.parametrize("name", ["revnet", "bijective", "injective"])


class WeightsOnMeta(TorchFunctionMode):
    """Convolutions and linear layers without memory: to count the weights of large models."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function is torch.empty:
            kwargs["device"] = "meta"
        return function(*args, **kwargs)


def images(n=6, seed=0, levels=17):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(levels, (n, 2, 8, 8), generator=generator)


def trained(name, dtype=torch.float64, steps=3):
    """A model after a few steps, its statistics settled, in evaluation mode."""
    model, x, y = MODELS[name]().to(dtype), images(20), torch.arange(20) % 5
    model.initialise(x)
    model.train()
    optimiser = torch.optim.SGD(model.parameters(), 0.05)
    for _ in range(steps):
        optimiser.zero_grad()
        (-model.objective(x, y).mean()).backward()
        optimiser.step()
    model.settle(x, y)
    return model.eval()


# Sizes of the papers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("resnet-32", 0.46),
        ("revnet-38", 0.46),
        ("resnet-110", 1.73),
        ("revnet-110", 1.73),
        ("resnet-164", 1.70),
        ("revnet-164", 1.75),
        ("irevnet-bijective", 29),
        ("irevnet-injective", 181),
    ],
)
def test_presets_have_the_papers_numbers_of_parameters(name, millions):
    with WeightsOnMeta():
        model = pf.create(name)
    count = sum(p.numel() for p in model.parameters()) / 1e6
    assert round(count, 2 if millions < 10 else 0) == millions or math.floor(count) == millions
    assert model.config.family == PRESETS[name].config.family


def test_features_of_the_papers_i_revnets_keep_every_number():
    with WeightsOnMeta():
        bijective, injective = pf.create("irevnet-bijective"), pf.create("irevnet-injective")
    assert bijective.feature_shape == (3072, 7, 7)
    assert math.prod(bijective.feature_shape) == 3 * 224 * 224
    assert math.prod(injective.feature_shape) == 3 * 3 * 224 * 224


# The inverse -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bijective", "injective"])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-9), (torch.float32, 0.05)])
def test_images_come_back_from_the_last_features(name, dtype, error):
    model, x = trained(name, dtype), images(5, seed=3)
    features = model.features(x)
    assert features.shape == (5, *model.feature_shape)
    assert float((model.invert(features, whole=False) - x).abs().max()) < error
    assert torch.equal(model.invert(features), x)


def test_the_inverse_is_y2_minus_g_and_then_y1_minus_f():
    """The formula written out; with F and G exchanged, as printed elsewhere, it fails."""
    chain = next(part for part in trained("revnet").body if isinstance(part, Chain))
    x = torch.randn(3, *chain[0].shape, dtype=torch.float64)
    f, g = chain[0].conditioner, chain[1].conditioner
    x_1, x_2 = x.chunk(2, dim=1)
    y_1 = x_1 + f(x_2)
    y_2 = x_2 + g(y_1)
    y = Chain([chain[0], chain[1]]).eval()(x)[0]
    torch.testing.assert_close(y, torch.cat((y_1, y_2), 1))
    back_2 = y_2 - g(y_1)
    torch.testing.assert_close(torch.cat((y_1 - f(back_2), back_2), 1), x)
    exchanged_2 = y_2 - f(y_1)
    assert not torch.allclose(y_1 - g(exchanged_2), x_1, atol=1e-3)


def test_features_of_another_shape_are_refused():
    model = trained("bijective")
    with pytest.raises(InputError, match=r"invert of IRevNet.*got shape \(2, 3, 4, 4\)"):
        model.invert(torch.zeros(2, 3, 4, 4))


# Backpropagation -------------------------------------------------------------------------------


def gradients(name, memory):
    model, x, y = MODELS[name]().double(), images(6), torch.arange(6) % 5
    model.initialise(x)
    model.train()
    model.memory = memory
    (-model.objective(x, y).mean()).backward()
    return {n: p.grad for n, p in model.named_parameters()}, dict(model.named_buffers())


@reversible
@pytest.mark.parametrize("memory", ["constant", "checkpoint"])
def test_gradients_are_those_of_stored_activations_and_statistics_are_updated_once(name, memory):
    expected, found = gradients(name, "store"), gradients(name, memory)
    for key, value in expected[0].items():
        torch.testing.assert_close(found[0][key], value, atol=1e-10, rtol=1e-10, msg=key)
    for key, value in expected[1].items():
        torch.testing.assert_close(found[1][key], value, atol=1e-12, rtol=1e-12, msg=key)


def test_float32_networks_lose_nothing_in_a_deep_chain():
    """With float32 in between, inputs are restored to 2e-3 here, which is refused."""
    x, y = torch.from_numpy(pf.open_data("digits").train[:16]), torch.arange(16) % 10
    found = []
    for memory in ("store", "constant"):
        model = IRevNet((1, 8, 8), levels=17, units=(18, 18), strides=(1, 2), channels=16)
        model.initialise(x)
        model.train()
        model.memory = memory
        (-model.objective(x, y).mean()).backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert float((found[1] - found[0]).norm() / found[0].norm()) < 1e-3
    model.settle(x, y)
    features = model.features(x)
    assert features.dtype == torch.float64
    assert float((model.invert(features, whole=False) - x).abs().max()) < 1e-6


def kept(units, memory, blocks="reversible"):
    """Bytes that autograd keeps for the way back."""
    options = {**SMALL, "units": (units, 1), "blocks": blocks}
    model, x, y = RevNet((2, 8, 8), **options), images(4), torch.arange(4)
    model.initialise(x)
    model.train()
    model.memory = memory
    known = {p.data_ptr() for p in model.parameters()} | {b.data_ptr() for b in model.buffers()}
    storages = {}

    def pack(tensor):
        if tensor.data_ptr() not in known:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = -model.objective(x, y).mean()
    assert loss.requires_grad
    return sum(storages.values())


def test_activations_do_not_grow_with_depth():
    constant = [kept(units, "constant") for units in (2, 8)]
    stored = [kept(units, "store") for units in (2, 8)]
    plain = [kept(units, "store", "plain") for units in (2, 8)]
    assert constant[1] <= constant[0] * 1.02
    assert stored[1] > 2 * stored[0]
    assert plain[1] > 2 * plain[0]
    assert constant[1] < stored[1] / 4


def test_a_plain_network_has_nothing_to_restore():
    with pytest.raises(InputError, match="no reversible blocks"):
        MODELS["resnet"]().memory = "constant"
    assert MODELS["resnet"]().memory == "store"
    model = MODELS["revnet"]()
    model.memory = "constant"
    assert model.memory == "constant"


# A classifier ----------------------------------------------------------------------------------


@every_model
def test_classify_gives_probabilities_that_do_not_depend_on_the_batch(name):
    model, x = trained(name), images(6, seed=1)
    log_p = model.classify(x)
    assert log_p.shape == (6, 5)
    torch.testing.assert_close(log_p.exp().sum(1), torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(model.classify(x[2:3]), log_p[2:3])
    assert torch.equal(model.predict(x), log_p.argmax(1))
    y = torch.tensor([0, 1, 2, 3, 4, 0])
    expected = -torch.nn.functional.cross_entropy(model(x), y, reduction="none")
    torch.testing.assert_close(model.objective(x, y), expected)


@every_model
def test_what_means_nothing_is_refused_in_a_sentence(name):
    model = MODELS[name]()
    for what, argument in (("log_prob", images()), ("bits_per_dim", images()), ("sample", 3)):
        with pytest.raises(InputError, match=rf"has no {what}: .*classif"):
            getattr(model, what)(argument)
    with pytest.raises(InputError, match="features" if "jective" in name else "classify"):
        model.encode(images())
    assert model.density == "none"


@every_model
def test_a_saved_model_classifies_the_same(name, tmp_path):
    model, x = trained(name, torch.float32), images(4, seed=2)
    model.save(tmp_path)
    loaded = pf.load(tmp_path)
    assert torch.equal(loaded.classify(x), model.classify(x))
    assert isinstance(loaded, InvertibleClassifier) == (name in ("bijective", "injective"))
    assert "no density of x" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"units": (1, 1, 1, 1, 1)}, "for each stage"),
        ({"units": (1,) * 5, "channels": (8,) * 5}, "halve the sides 4 times"),
        ({"channels": (8, 4), "units": (1, 1)}, "do not become fewer"),
        ({"channels": (8, 9), "units": (1, 1)}, "even"),
    ],
)
def test_sizes_that_cannot_be_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        RevNet((2, 8, 8), **{"stem": 8, **options})


def test_sizes_of_an_i_revnet_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="an even number of at least 2"):
        IRevNet((2, 8, 8), channels=3)
    with pytest.raises(InputError, match="strides are 1 or 2"):
        IRevNet((2, 8, 8), strides=(1, 3), units=(1, 1))
    with pytest.raises(InputError, match="halve the sides 2 times, which 6x6"):
        IRevNet((2, 6, 6), strides=(2, 2), units=(1, 1))
    for make in (IRevNet, RevNet):
        with pytest.raises(InputError, match="for images"):
            make((7,))


# Labels ----------------------------------------------------------------------------------------


def test_it_learns_digits_by_their_labels(tmp_path):
    digits = pf.open_data("digits")
    model = RevNet((1, 8, 8), levels=17, units=(1, 1), stem=16, channels=(16, 32))
    options = {"memory": "constant", "validate_every": 20, "progress": False, "threads": 1}
    faster = {"optimiser": "adam", "lr": 0.01, "schedule": "cosine"}
    run = pf.fit(model, digits, max_steps=40, folder=tmp_path, **options, **faster)
    found = measure(model, digits.test, digits.labels["test"])
    assert found.error < 0.4
    assert found.loss == pytest.approx(
        -model.classify(digits.test)
        .detach()
        .gather(1, labels(digits, "test")[:, None])
        .mean()
        .item(),
        rel=1e-5,
    )
    assert run.unit == "nats/label"
    assert run.records[-1]["validation"] < run.records[0]["validation"]
    wrong = model.predict(digits.validation) != labels(digits, "validation")
    assert run.best["error"] == pytest.approx(float(wrong.double().mean()))


def labels(dataset, split):
    return torch.from_numpy(dataset.labels[split].astype(np.int64))


def test_labels_beside_an_array_travel_in_the_place_of_a_context():
    x, y = images(40), torch.arange(40) % 5
    options = {"max_steps": 2, "batch_size": 10, "progress": False, "threads": 1}
    run = pf.fit(MODELS["revnet"](), x, context=y, **options)
    assert run.steps == 2
    with pytest.raises(InputError, match=r"one label per event, \(40,\)"):
        pf.fit(MODELS["revnet"](), x, context=y[:3], **options)
    with pytest.raises(InputError, match="5 classes apart, but the labels go up to 6"):
        pf.fit(MODELS["revnet"](), x, context=y + 2, **options)
    with pytest.raises(InputError, match="below 0"):
        pf.fit(MODELS["revnet"](), x, context=y - 1, **options)
    with pytest.raises(InputError, match="are integers"):
        pf.fit(MODELS["revnet"](), x, context=y / 2, **options)


def test_data_without_labels_are_refused_in_a_sentence():
    model = MODELS["revnet"]()
    with pytest.raises(InputError, match=r"learns labels, but .* has none"):
        pf.fit(model, images(20), max_steps=1, progress=False)
    with pytest.raises(InputError, match="not from a stream"):
        pf.fit(model, iter([images(20)]), max_steps=1, progress=False)


def test_labels_stay_with_their_images_on_disk(tmp_path):
    """Every image says its label; a set on disk is read in blocks and mixed."""
    from pushforward.training.events import Events
    from pushforward.training.feed import Feed
    from pushforward.training.settings import FitConfig

    x = (np.arange(200) % 5).astype(np.uint8).reshape(-1, 1, 1, 1).repeat(128, 1)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    feed = Feed(
        Events(mapped, torch.arange(200) % 5), FitConfig(batch_size=30), torch.device("cpu")
    )
    try:
        for step in range(2 * feed.per_epoch):
            batch = feed.batch(step)
            assert torch.equal(batch.x[:, 0, 0, 0].long(), batch.context)
            assert torch.equal(batch.index % 5, batch.context)
    finally:
        feed.close()
