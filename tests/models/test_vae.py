import hashlib
import math

import numpy as np
import pytest
import torch
from scipy import stats

import pushforward as pf
from pushforward import InputError
from pushforward.jobs.manifold import manifold, normal_grid, write_manifold
from pushforward.models.vae import VAE, VariationalAutoencoder
from registry import OTHERS, perturb

KINDS = [name for name in OTHERS if name.startswith("vae")]


def model(name):
    return perturb(OTHERS[name]().eval(), 0, 0.1)


def data(vae, n=6):
    generator = torch.Generator().manual_seed(0)
    if vae.levels is not None:
        x = torch.randint(vae.levels, (n, *vae.shape), generator=generator)
    else:
        x = torch.randn(n, *vae.shape, generator=generator)
    context = torch.randn(n, vae.context, generator=generator) if vae.context else None
    return x, context


@pytest.mark.parametrize("name", KINDS)
def test_it_is_a_flow_whose_density_is_a_bound(name, tmp_path):
    vae = model(name)
    x, c = data(vae)
    assert vae.density == "lower bound"
    assert vae.log_prob(x, c).shape == (6,)
    assert vae.sample(4, context=None if c is None else c[:4], seed=0).shape == (4, *vae.shape)
    vae.save(tmp_path)
    loaded = pf.load(tmp_path)
    assert isinstance(loaded, VariationalAutoencoder)
    assert torch.equal(loaded.log_prob(x, c), vae.log_prob(x, c))
    assert torch.equal(loaded.reconstruct(x, c), vae.reconstruct(x, c))
    assert "autoencoder" in (tmp_path / "README.md").read_text()
    assert "dequantis" not in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("name", KINDS)
def test_the_analytic_bound_has_the_mean_of_the_drawn_one(name):
    vae = model(name).double()
    x, c = data(vae)
    if "flow" in (vae.config.prior, vae.config.posterior):  # no closed form
        assert torch.equal(vae.elbo(x, c), vae.log_prob(x, c))
        return
    vae.train()
    with torch.no_grad():
        both = [(vae.elbo(x, c), vae.elbo(x, c, analytic=False)) for _ in range(400)]
    analytic, drawn = (torch.stack(part) for part in zip(*both, strict=True))
    error = (analytic - drawn).std(0) / math.sqrt(400)
    assert ((analytic - drawn).mean(0).abs() < 5 * error).all()


@torch.no_grad()
def test_the_analytic_bound_counts_the_layers_in_front():
    vae = VAE((2,), hidden=(4,)).double()
    x = 5 * torch.randn(200, 2, dtype=torch.float64) + 3
    vae.initialise(x)
    assert abs(float((vae.eval().elbo(x) - vae.log_prob(x)).mean())) < 1
    wide = VAE((2,), hidden=(4,)).double()
    wide.initialise(100 * x)
    change = (wide.eval().elbo(100 * x) - vae.elbo(x)).detach()
    # The very same latents but for the noise, hashed from other numbers.
    assert abs(float(change.mean()) + 2 * math.log(100)) < 0.5


def test_encode_has_no_noise_and_decode_is_repeatable():
    vae = model("vae-binary")
    x, _ = data(vae)
    z = vae.encode(x)
    assert z.shape == (6, 2)
    assert torch.equal(z, vae.chain[0].posterior_normal(x)[0])
    assert torch.equal(vae.decode(z), vae.decode(z))
    assert set(vae.decode(z).unique().tolist()) <= {0, 1}
    expected = vae.expected(z)
    assert ((expected > 0) & (expected < 1)).all()
    assert torch.equal(vae.reconstruct(x), expected)


def test_expected_undoes_the_standardisation():
    vae = VAE((2,), hidden=(4,)).double()
    x = torch.tensor([10.0, -300.0]) + torch.randn(500, 2, dtype=torch.float64)
    vae.initialise(x)
    back = vae.reconstruct(x)
    assert (back - torch.tensor([10.0, -300.0])).abs().max() < 5


def test_training_raises_the_bound_and_reconstructs():
    rng = np.random.default_rng(0)
    stripes = np.array([[1, 1, 0, 0] * 4, [0, 1, 1, 0] * 4, [0, 0, 1, 1] * 4], np.uint8)
    x = stripes[rng.integers(0, 3, 300)].reshape(-1, 1, 4, 4)
    vae = VAE((1, 4, 4), levels=2, latent=2, hidden=(32,))
    before = float(vae.eval().log_prob(x).mean().detach())
    data = pf.Dataset("stripes", "images", (1, 4, 4), 2, x, x[:90], x[:0])
    pf.fit(vae, data, max_steps=250, lr=1e-2, ema=0.0, batch_size=64, progress=False, threads=1)
    after = float(vae.log_prob(x, samples=50).mean().detach())
    assert before < -10
    # A third each costs log 3 nats; no model can do better for long.
    assert -3 < after < -1.0
    assert (vae.reconstruct(x[:50]).round() == torch.from_numpy(x[:50])).float().mean() > 0.98


def test_free_nats_fade_to_the_bound():
    vae, x = VAE((2,), latent=3, free_nats=0.7).double(), torch.randn(40, 2).double()
    layer = vae.chain[-1]

    def at(passes):
        layer.passes.fill_((5 << 32) + passes)
        vae.train()
        found = vae.objective(x)
        layer.passes.fill_((5 << 32) + passes)
        return found, vae.elbo(x)

    mean, log_scale = layer.posterior_normal(vae.chain[0](x)[0])
    normal = torch.distributions.Normal
    divergence = torch.distributions.kl_divergence(normal(mean, log_scale.exp()), normal(0.0, 1.0))
    for passes, free in ((499, 0.35), (999, 0.0), (5000, 0.0)):  # forward counts its own pass
        found, bound = at(passes)
        paid = (free - divergence).clamp(min=0).sum(1)
        assert torch.allclose(found, bound - paid, atol=1e-6)
        assert bool((paid > 0).any()) == (free > 0)


@pytest.mark.parametrize("options", [{"prior": "flow"}, {"posterior": "flow"}, {"latent": 1}])
def test_without_free_nats_training_raises_the_very_bound(options):
    vae = perturb(VAE((2,), free_nats=0.0, **options).double(), 0, 0.1).eval()
    x = torch.randn(20, 2).double()
    assert torch.allclose(vae.objective(x), vae.elbo(x), atol=1e-9)


def test_two_moons_do_not_collapse_to_a_line():
    """A latent for each of two columns, unlike the wide line that an ELBO alone stays with."""
    data = pf.open_data("two-moons")
    vae = VAE((2,), hidden=(64, 64))
    options = {"max_steps": 150, "batch_size": 256, "ema": 0.0, "lr": 5e-3, "threads": 1}
    pf.fit(vae, data, progress=False, schedule="constant", validate_on=200, **options)
    x = torch.as_tensor(data.test[:500])
    mean, log_scale = vae.chain[-1].posterior_normal(vae.chain[0](x)[0])
    assert (mean.std(0) > 0.7).all()
    assert (log_scale.mean(0) < -0.7).all()


def test_validation_never_steps_the_optimiser():
    """The course's code trained on its validation images."""
    x, held_out = (np.random.default_rng(s).integers(0, 2, (64, 4), np.uint8) for s in (0, 1))
    digests = []
    for every in (2, 5):
        vae = VAE((4,), levels=2, hidden=(8,), latent=2)
        dataset = pf.Dataset("bits", "rows", (4,), 2, x, held_out, held_out[:0])
        options = {"max_steps": 10, "batch_size": 16, "ema": 0.0, "patience": None, "threads": 1}
        run = pf.fit(vae, dataset, validate_every=every, progress=False, warmup=0, **options)
        # The state at the last step, whichever was best.
        digests.append((run.records[-1]["train"], run.records[-1]["validation"]))
    assert digests[0][1] == digests[1][1]
    vae.train()
    digest = _digest(vae)
    pf.evaluate(vae, held_out, samples=3)
    vae.reconstruct(held_out)
    assert _digest(vae) == digest
    assert vae.training


def _digest(module):
    parts = (v.numpy().tobytes() for v in module.state_dict().values())
    return hashlib.sha256(b"".join(parts)).hexdigest()


def test_the_grid_is_made_of_normal_quantiles():
    grid = normal_grid(20)
    assert grid.shape == (400, 2)
    line = stats.norm.ppf(np.linspace(0.01, 0.99, 20))
    assert np.allclose(grid[:20, 0], line, atol=1e-6)
    assert np.allclose(grid[::20, 1], line[::-1], atol=1e-6)


def test_a_manifold_is_drawn_of_two_latents_only(tmp_path):
    from PIL import Image

    vae = VAE((1, 4, 6), levels=2, latent=2, hidden=(4,))
    assert manifold(vae, 3).shape == (9, 1, 4, 6)
    write_manifold(vae, tmp_path / "plane.png", 5)
    with Image.open(tmp_path / "plane.png") as picture:
        assert picture.size == (30, 20)
    with pytest.raises(InputError, match="latent=2"):
        manifold(VAE((1, 4, 4), levels=2, latent=3, hidden=(4,)))
    with pytest.raises(InputError, match="rows"):
        write_manifold(VAE((4,), latent=2, hidden=(4,)), tmp_path / "no.png")


@pytest.mark.parametrize("name", KINDS)
def test_verify_passes_and_says_what_does_not_apply(name):
    vae = model(name)
    x, c = data(vae, 16)
    found = pf.verify(vae, x, c)
    assert found.ok, str(found)
    assert sum("drawn" in note for note in found.notes) == 1


def test_evaluate_speaks_of_a_bound_and_of_no_dequantisation():
    for name in ("vae-rows", "vae-binary"):
        vae = model(name)
        x, _ = data(vae)
        said = pf.evaluate(vae, x, samples=5).sentences
        assert "5 draws of noise" in said
        assert "dequantisation" not in said


def test_options_are_checked():
    with pytest.raises(InputError, match="observation"):
        VAE((4,), observation="bernoulli")
    with pytest.raises(InputError, match="no setting 'depth'"):
        VAE((4,), depth=3)
    with pytest.raises(InputError, match="latent"):
        VAE((4,), latent=0)


def test_presets():
    assert {"vae", "vae-mnist", "vae-mnist-2d"} <= set(pf.list_models("vae*"))
    vae = pf.create("vae-mnist")
    count = sum(p.numel() for p in vae.parameters())
    # 784-500-40, 20-500-784
    assert count == 785 * 500 + 501 * 40 + 21 * 500 + 501 * 784
    assert pf.create("vae-mnist-2d").latent_shape == (2,)
