"""The evidence lower bound against closed forms and against quadrature."""

import copy
import math
from functools import partial

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from pushforward import Flow, InputError
from pushforward.elementwise import Affine
from pushforward.layers import Coupling
from pushforward.layers.latent_variable import LatentVariable
from pushforward.nets import MLP
from pushforward.observations import make_observation
from registry import perturb

NET = partial(MLP, hidden=(8,), activation="tanh")


def flow(latent=2, levels=None, posterior=0, prior=0, context=0, shape=(3,), seed=0):
    """A flow with a latent whose networks are anything but zero, in float64."""

    def couplings(n, context):
        return [
            Coupling((latent,), "half", NET, Affine(), flip=i % 2 == 1, context=context)
            for i in range(n)
        ]

    layer = LatentVariable(
        shape,
        latent,
        NET,
        NET,
        make_observation(None, levels),
        couplings(posterior, 4),
        features=4 if posterior else 0,
        context=context,
    )
    made = Flow(shape, [layer, *couplings(prior, context)], context=context)
    perturb(made.double().eval(), seed, 0.12)
    with torch.no_grad():  # a posterior near the prior: no importance weight is far from the rest
        layer.encoder.last.weight.mul_(0.2)
    return made


def data(made, n=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    if made.levels is not None:
        return torch.randint(made.levels, (n, *made.shape), generator=generator)
    return torch.randn(n, *made.shape, generator=generator, dtype=torch.float64)


KINDS = {
    "rows": {},
    "rows-flow-posterior": {"posterior": 2},
    "rows-flow-prior": {"prior": 2},
    "binary": {"levels": 2},
    "levels-5-both-flows": {"levels": 5, "posterior": 2, "prior": 2},
    "levels-256-image": {"levels": 256, "shape": (1, 2, 2)},
}


def exact(made, x):
    """log p(x) by quadrature over a latent of two numbers."""
    side = torch.linspace(-9, 9, 241, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    layer, *prior = made.chain
    u, log_det = grid, torch.zeros(len(grid), dtype=torch.float64)
    for part in prior:
        u, extra = part(u)
        log_det = log_det + extra
    log_prior = made.base.log_prob(u) + log_det
    parameters = layer.decoder(grid, None)
    step = 2 * math.log(float(side[1] - side[0]))
    rows = [layer.observation.log_prob(one.expand(len(grid), *one.shape), parameters) for one in x]
    return torch.stack([torch.logsumexp(row + log_prior, 0) + step for row in rows])


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_elbo_is_below_the_importance_bound_is_below_log_p(kind):
    made = flow(**KINDS[kind])
    x, n = data(made, 3), 400
    truth = exact(made, x)
    draws = torch.stack([draw(made, x, seed) for seed in range(n)])
    elbo, error = draws.mean(0), draws.std(0) / math.sqrt(n)
    groups = torch.logsumexp(draws.reshape(-1, 10, 3), 1) - math.log(10)
    bound, bound_error = groups.mean(0), groups.std(0) / math.sqrt(len(groups))
    assert (elbo - 4 * error < truth).all()
    assert (elbo < bound).all()
    assert (bound - 4 * bound_error < truth).all()
    # The weights themselves are unbiased: the mean of exp is p(x).
    ratio = (draws - truth).exp()
    assert ((ratio.mean(0) - 1).abs() < 4.5 * ratio.std(0) / math.sqrt(n)).all()
    few = torch.logsumexp(draws[:7], 0) - math.log(7)
    assert torch.allclose(made.log_prob(x, samples=7), few, atol=1e-9)


def draw(made, x, seed):
    made.chain[0].seed.fill_(seed)
    try:
        return made.log_prob(x)
    finally:
        made.chain[0].seed.zero_()


def test_the_divergence_is_that_of_torch_distributions():
    made = flow()
    x = data(made)
    layer = made.chain[0]
    mean, log_scale = layer.posterior_normal(x)
    q = Independent(Normal(mean, log_scale.exp()), 1)
    p = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)
    found = layer.draw(x)
    assert torch.allclose(found.divergence.sum(1), kl_divergence(q, p), atol=1e-12)
    assert torch.allclose(found.log_posterior, q.log_prob(found.z), atol=1e-10)
    wrong = 0.5 * (log_scale.exp() + mean.square() - log_scale - 1).sum(1)  # of seed 001
    assert not torch.allclose(found.divergence.sum(1), wrong, atol=1e-3)


def test_the_mean_of_its_draws_is_the_closed_form():
    made = flow()
    x = data(made, 1)
    layer = made.chain[0].train()  # in training mode every pass has its own noise
    with torch.no_grad():
        terms = torch.cat(
            [found.log_posterior - made.base.log_prob(found.z) for found in draws(layer, x)]
        )
        expected = float(layer.draw(x).divergence.sum())
    assert abs(float(terms.mean()) - expected) < 5 * float(terms.std()) / math.sqrt(len(terms))


def draws(layer, x, n=1_000):
    for _ in range(n):
        yield layer.draw(x)


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_is_a_function_of_the_event_alone(kind):
    made = flow(**KINDS[kind])
    x = data(made, 6)
    whole = made.log_prob(x)
    assert torch.equal(whole, made.log_prob(x))
    alone = torch.cat([made.log_prob(one[None]) for one in x])
    assert torch.allclose(alone, whole, atol=1e-12)
    assert not torch.equal(whole, draw(made, x, 1))
    z = torch.randn(4, 2, dtype=torch.float64)
    assert torch.equal(made.decode(z), made.decode(z))


@pytest.mark.parametrize("kind", KINDS)
def test_the_log_dets_of_both_ways_agree_at_the_same_x_and_z(kind):
    layer = flow(**KINDS[kind]).chain[0]
    z = torch.randn(5, 2, dtype=torch.float64)
    x, log_det = layer.inverse(z)
    parameters = layer.decoder(z, None)
    mean, log_scale, features = layer._encoded(x, None)
    start = layer.posterior.inverse(z, features)[0] if len(layer.posterior) else z
    jacobian = -layer.posterior(start, features)[1] if len(layer.posterior) else 0.0
    q = Normal(mean, log_scale.exp()).log_prob(start).sum(1) + jacobian
    assert torch.allclose(log_det, q - layer.observation.log_prob(x, parameters), atol=1e-10)


@torch.no_grad()
def test_draws_of_x_follow_the_decoder():
    made = flow(levels=5, shape=(1,))
    x = made.sample(20_000, seed=0)
    share = torch.bincount(x.flatten().long(), minlength=5) / 20_000
    truth = exact(made, torch.arange(5)[:, None]).exp()
    assert abs(float(truth.sum()) - 1) < 1e-6
    assert ((share - truth).abs() < 5 * (truth * (1 - truth) / 20_000).sqrt() + 1e-9).all()


@torch.no_grad()
def test_latents_that_lie_close_are_drawn_with_noise_of_their_own():
    """Cut to integers like the data, most latents would share a few draws of noise."""
    layer = flow(levels=5, shape=(1, 4, 4)).chain[0]
    z = 0.3 * torch.randn(50, 2, dtype=torch.float64)
    flat = layer.decoder(z, None).zero_()  # the noise alone decides
    layer.decoder.forward = lambda z, context: flat
    assert len(layer.inverse(z)[0].flatten(1).unique(dim=0)) == 50


def test_gradients_reach_encoder_decoder_and_posterior():
    made = flow(posterior=2, prior=2, context=3).train()
    x, c = data(made), torch.randn(5, 3, dtype=torch.float64)
    made.log_prob(x, c).sum().backward()
    silent = [n for n, p in made.named_parameters() if p.grad is None or not p.grad.any()]
    # What the last posterior coupling does not look at has no say.
    assert not silent


def test_copies_share_nothing():
    made = flow()
    x, twin = data(made), copy.deepcopy(made)
    assert torch.equal(twin.log_prob(x), made.log_prob(x))


def test_shapes_are_checked():
    layer = flow().chain[0]
    assert layer.output_shape((3,)) == (2,)
    with pytest.raises(InputError, match=r"\(4,\)"):
        layer.output_shape((4,))
    with pytest.raises(InputError, match="at least one number"):
        LatentVariable((3,), 0, NET, NET, make_observation(None, None))
