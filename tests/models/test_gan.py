import math

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

import pushforward as pf
from pushforward.distances import sliced_wasserstein
from pushforward.errors import InputError
from pushforward.jobs import measure
from pushforward.models import GAN
from pushforward.nets.batch_norm import BatchNorm
from pushforward.training.contest import Contest
from pushforward.training.feed import Batch
from pushforward.training.learner import Learner
from pushforward.training.ranks import Ranks
from pushforward.training.settings import FitConfig


def small(**options):
    sizes = {"latent": 3, "generator": (16, 16), "discriminator": (16,)}
    return GAN((2,), **{**sizes, **options})


# The game --------------------------------------------------------------------------------------


def test_the_best_discriminator_is_p_over_p_plus_p_g_and_the_value_is_minus_log_4():
    """1-d: D is trained against a generator that stands still and has learned the data."""
    torch.manual_seed(0)
    gan = GAN((1,), latent=1, generator=(1,), discriminator=(32, 32), smoothing=0.0)
    gan.generator = torch.nn.Identity()  # the data are N(0, 1), and so is what it makes
    optimiser = torch.optim.Adam(gan.discriminator.parameters(), 1e-3)
    for _ in range(300):
        optimiser.zero_grad()
        gan.contest(torch.randn(512, 1))[0].mean().backward()
        optimiser.step()
    x = torch.randn(20_000, 1)
    d = torch.sigmoid(gan.discriminator(torch.linspace(-2, 2, 41)[:, None]))
    assert float((d.detach() - 0.5).abs().max()) < 0.05
    with torch.no_grad():
        assert float(-gan.contest(x)[0].mean()) == pytest.approx(-math.log(4), abs=0.01)


def test_the_best_discriminator_against_another_gaussian():
    """Made events are N(0, 1), real ones N(1, 1): then the logit of D is x - 1/2."""
    torch.manual_seed(0)
    gan = GAN((1,), latent=1, generator=(1,), discriminator=(32, 32), smoothing=0.0)
    gan.generator = torch.nn.Identity()
    optimiser = torch.optim.Adam(gan.discriminator.parameters(), 3e-3)
    for _ in range(400):
        optimiser.zero_grad()
        gan.contest(torch.randn(512, 1) + 1)[0].mean().backward()
        optimiser.step()
    x = torch.linspace(-1, 2, 31)[:, None]
    assert float((gan.discriminator(x) - (x[:, 0] - 0.5)).detach().abs().max()) < 0.3


def test_smoothing_is_of_real_events_alone():
    """Against the formula by torch's own cross-entropy, targets 0.9 and 0."""
    gan, x = small(), torch.randn(50, 2)
    gan.scale.initialise(x)
    torch.manual_seed(1)
    of_d, of_g = gan.contest(x)
    torch.manual_seed(1)
    made = gan.generator(gan.noise(50))
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits
    real, fake = gan.discriminator(gan.scale(x)[0]), gan.discriminator(made)
    expected = cross_entropy(real, torch.full((50,), 0.9)) + cross_entropy(fake, torch.zeros(50))
    torch.testing.assert_close(of_d.mean(), expected)
    torch.testing.assert_close(of_g.mean(), cross_entropy(fake, torch.ones(50)))


def test_each_network_follows_its_own_loss_alone():
    """The gradients of a step are those of each loss by itself, and nothing of the other's."""
    gan, x = small(), torch.randn(32, 2)
    gan.initialise(x)
    config = FitConfig(momentum=0.5, ema=0.9)
    contest = Contest(gan, config, Ranks())
    gan.train()
    _, norm = contest.gradient(Batch(x, None, None), 0)
    found = {name: p.grad.clone() for name, p in gan.named_parameters()}
    contest.gradient(Batch(x, None, None), 0)  # the same step again: nothing adds up
    assert all(torch.equal(p.grad, found[name]) for name, p in gan.named_parameters())
    from pushforward.training.learner import reseed

    for which, part in enumerate(("discriminator", "generator")):
        gan.zero_grad()
        reseed(gan, 0, 0, 0)
        gan.contest(x)[which].mean().backward()
        for name, p in gan.named_parameters():
            if name.startswith(part):
                torch.testing.assert_close(p.grad, found[name], msg=name)
            elif part == "discriminator":
                assert p.grad is None, name
    total = torch.stack([g.norm() for g in found.values()]).norm()
    torch.testing.assert_close(norm, total)


def test_it_learns_mean_and_spread():
    torch.manual_seed(0)
    x = torch.randn(4_000, 2) @ torch.tensor([[1.0, 0.8], [0.0, 0.6]]) * 3 + torch.tensor([5.0, -2])
    gan = GAN((2,), latent=4, generator=(32, 32), discriminator=(32, 32))
    before = gan.distance(x)
    pf.fit(gan, x, max_steps=400, lr=1e-3, ema=0.98, validate_every=100, progress=False)
    drawn = gan.sample(4_000, seed=0)
    assert gan.distance(x) < 0.25 < before
    assert bool(((drawn.mean(0) - x.mean(0)).abs() < 0.4 * x.std(0)).all())
    assert bool((drawn.std(0) / x.std(0) - 1).abs().max() < 0.3)


# Its face --------------------------------------------------------------------------------------


def test_what_means_nothing_is_refused_in_a_sentence():
    gan, x = small(), torch.randn(3, 2)
    for name in ("log_prob", "bits_per_dim", "encode"):
        with pytest.raises(InputError, match=f"^GAN.*has no {name}: .*flow"):
            getattr(gan, name)(x)
    assert gan.density == "none"
    assert not gan.exact


def test_samples_are_integers_of_the_data_or_real_numbers_on_their_scale():
    gan = GAN((1, 4, 4), levels=17, latent=3, generator=(8, 8), discriminator=(8,))
    drawn = gan.sample(50, seed=0)
    assert drawn.dtype == torch.int64
    assert 0 <= int(drawn.min()) <= int(drawn.max()) <= 16
    assert torch.equal(drawn, gan.sample(50, seed=0))
    rows = small()
    rows.initialise(torch.randn(500, 2) * 100 + 1000)
    assert float((rows.sample(200, seed=0).mean(0) - 1000).abs().max()) < 200


def test_a_sample_depends_on_its_own_noise_alone():
    gan = small().double()
    for norm in gan.modules():
        if isinstance(norm, BatchNorm):
            norm.moments.update(torch.rand_like(norm.moments.mean), norm.moments.mean + 2)
    gan.train()
    z = torch.randn(7, 3, dtype=torch.float64)
    assert torch.allclose(gan.decode(z)[2:3], gan.decode(z[2:3]), atol=1e-12)
    assert gan.training


def test_the_shell_keeps_the_length_of_latents_and_the_line_is_straight():
    gan = small()
    gan.decode = lambda z: z  # look at the latents themselves
    a, b = torch.tensor([3.0, 0, 0]), torch.tensor([0.0, 3, 0])
    shell = gan.interpolate(a, b, 5)
    torch.testing.assert_close(shell.norm(dim=1), torch.full((5,), 3.0, dtype=torch.float64))
    torch.testing.assert_close(shell[2], torch.tensor([3.0, 3, 0]).double() / math.sqrt(2))
    line = gan.interpolate(a, b, 5, path="line")
    torch.testing.assert_close(line.diff(dim=0), line.diff(dim=0)[:1].expand(4, 3))
    for way in (shell, line):
        torch.testing.assert_close(way[[0, -1]], torch.stack((a, b)).double())
    torch.testing.assert_close(gan.interpolate(a, -a, 3)[1], torch.zeros(3).double())
    with pytest.raises(InputError, match="at least 2 steps"):
        gan.interpolate(a, b, 1)
    with pytest.raises(InputError, match="'shell' or 'line'"):
        gan.interpolate(a, b, 3, path="arc")


def test_the_distance_is_what_a_known_shift_is():
    """Moved by d in every number, a sample is d away; equal samples are 0 away."""
    x = torch.randn(500, 20, generator=torch.Generator().manual_seed(0))
    assert sliced_wasserstein(x, x) == 0
    assert sliced_wasserstein(x, x + 0.7, directions=2_000) == pytest.approx(0.7, rel=0.05)
    assert sliced_wasserstein(x, 2 * x) == pytest.approx(1.0, rel=0.1)  # W2 of N(0,1), N(0,4)
    assert sliced_wasserstein(x, x[torch.randperm(500)]) == pytest.approx(0)
    with pytest.raises(InputError, match="samples of one shape"):
        sliced_wasserstein(x, x[:3])


def test_the_distance_in_one_dimension_is_that_of_scipy():
    from scipy.stats import wasserstein_distance

    rng = np.random.default_rng(0)
    a, b = rng.normal(size=200), rng.exponential(size=200)
    squared = np.mean((np.sort(a) - np.sort(b)) ** 2) ** 0.5
    ours = sliced_wasserstein(torch.from_numpy(a)[:, None], torch.from_numpy(b)[:, None])
    assert ours == pytest.approx(squared, rel=1e-12)
    assert ours >= wasserstein_distance(a, b)  # W2 is at least W1


def test_integers_are_measured_in_shares_of_their_range():
    gan = GAN((1, 4, 4), levels=17, latent=3, generator=(8,), discriminator=(8,))
    a = torch.zeros(50, 1, 4, 4, dtype=torch.uint8)
    assert gan.distance_between(a, a + 16, directions=2_000) == pytest.approx(1, rel=0.05)


def test_measure_tells_the_distance_of_a_perfect_model():
    gan, x = small(), torch.randn(2_000, 2)
    gan.initialise(x)
    found = measure(gan, x)
    assert found.loss > 3 * found.floor
    assert found.unit == "sliced Wasserstein"
    assert "no likelihood" in str(found)


# Training --------------------------------------------------------------------------------------


def test_a_resumed_run_ends_at_the_same_weights(tmp_path):
    x = torch.randn(300, 2)
    options = {"batch_size": 50, "validate_every": 5, "progress": False, "threads": 1}
    once, twice = small(), small()
    pf.fit(once, x, max_steps=20, folder=tmp_path / "once", **options)
    pf.fit(twice, x, max_steps=10, folder=tmp_path / "twice", **options)
    twice = small()
    run = pf.fit(twice, x, max_steps=20, folder=tmp_path / "twice", resume=True, **options)
    for key, value in once.state_dict().items():
        assert torch.equal(value, twice.state_dict()[key]), key
    assert run.unit == "sliced Wasserstein"
    assert {"discriminator", "validation"} <= set(run.records[-1])
    assert "train" not in run.records[-1]  # of another unit than the validation's
    loaded = pf.load(tmp_path / "twice" / "best")
    assert torch.equal(loaded.sample(9, seed=1), twice.sample(9, seed=1))
    assert "has no density" in (tmp_path / "twice" / "best" / "README.md").read_text()


def test_the_average_is_of_the_generator():
    gan = small()
    contest = Contest(gan, FitConfig(ema=0.9), Ranks())
    assert len(contest.average.weights) == len(list(gan.generator.parameters()))
    with contest.average.applied():
        pass


def test_parts_of_a_batch_add_up():
    gan, x = small(generator=(8,)), torch.randn(40, 2)  # one hidden layer: no batch norm
    gan.initialise(x)
    gradients, noise = [], torch.randn(40, 3)
    for accumulate in (1, 4):
        drawn = iter(noise.split(40 // accumulate))
        gan.noise = lambda n, drawn=drawn: next(drawn)
        contest = Contest(gan, FitConfig(accumulate=accumulate), Ranks())
        contest.gradient(Batch(x, None, None), 3)
        gradients.append(torch.cat([p.grad.flatten() for p in gan.parameters()]))
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)


def test_several_processes_and_compiling_are_refused():
    with pytest.raises(InputError, match="in one process only"):
        Contest(small(), FitConfig(), Ranks(0, 2, 0))
    with pytest.raises(InputError, match="without compile=True"):
        pf.fit(small(), torch.randn(50, 2), compile=True, max_steps=1, progress=False)
    with pytest.raises(InputError, match="networks of couplings"):
        pf.fit(small(), torch.randn(50, 2), precision="bf16", max_steps=1, progress=False)
    with pytest.raises(InputError, match="no reversible layers"):
        pf.fit(small(), torch.randn(50, 2), memory="constant", max_steps=1, progress=False)


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"batch_size": 8, "accumulate": 5}])
def test_one_event_alone_is_refused_where_there_are_batch_norms(options):
    with pytest.raises(InputError, match="make one event alone a constant"):
        pf.fit(small(), torch.randn(50, 2), max_steps=1, progress=False, **options)


def test_a_density_learns_by_its_objective_still():
    flow = pf.RealNVP((2,), width=8, couplings=2)
    assert flow.learner == "objective"
    assert Learner.loss_name == "train"


def test_objective_tells_what_the_discriminator_makes_of_events():
    gan, x = small(), torch.randn(5, 2)
    logits = gan.discriminator(gan.scale(x)[0])
    torch.testing.assert_close(gan.objective(x), -softplus(-logits))


@pytest.mark.parametrize("rank", [1, 3])
def test_batch_norm_is_torchs_in_both_modes(rank):
    """Values, gradients and (but for the bias of torch's variance) statistics."""
    torch.manual_seed(0)
    shape = (16, 3) if rank == 1 else (16, 3, 4, 5)
    ours = BatchNorm(3, rank=rank).double()
    theirs = (torch.nn.BatchNorm1d(3) if rank == 1 else torch.nn.BatchNorm2d(3)).double()
    with torch.no_grad():
        for mine, other in ((ours.gain, theirs.weight), (ours.shift, theirs.bias)):
            mine.copy_(torch.randn(3))
            other.copy_(mine)
    results = []
    for norm in (ours, theirs):
        x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        x.requires_grad_()
        y = norm.train()(x)
        (y**3).sum().backward()
        results.append((y, x.grad, *(p.grad for p in norm.parameters())))
    for mine, other in zip(*results, strict=True):
        torch.testing.assert_close(mine, other)
    mean, variance = ours.moments.estimate()
    axes = (0, *range(2, x.ndim))
    torch.testing.assert_close(mean.flatten(), x.detach().mean(axes))
    torch.testing.assert_close(variance.flatten(), x.detach().var(axes, correction=0))
    expected = torch.nn.functional.batch_norm(
        x, mean.flatten(), variance.flatten(), ours.gain, ours.shift, eps=1e-5
    )
    torch.testing.assert_close(ours.eval()(x), expected)
