import math

import numpy as np
import pytest
import torch
from scipy import stats

from pushforward import InputError
from pushforward.observations import (
    Bernoulli,
    Categorical,
    DiscretisedLogistic,
    Normal,
    make_observation,
)

LAWS = {
    "bernoulli": Bernoulli(),
    "categorical": Categorical(5),
    "logistic": DiscretisedLogistic(5),
    "logistic-256": DiscretisedLogistic(256),
    "normal": Normal(),
}


def parameters(law, n, shape=(2,), scale=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = (n, law.count, *shape)
    return scale * torch.randn(size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", [name for name in LAWS if name != "normal"])
@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_probabilities_of_all_levels_sum_to_one(name, scale):
    law = LAWS[name]
    given = parameters(law, 1, (7,), scale).expand(law.levels, -1, -1)
    each = [
        law.log_prob(torch.arange(law.levels)[:, None], given[..., i : i + 1]) for i in range(7)
    ]
    total = torch.logsumexp(torch.stack(each, 1), 0)
    assert torch.isfinite(torch.stack(each)).all()
    assert torch.allclose(total, torch.zeros(7, dtype=torch.float64), atol=1e-9)


def test_oracles():
    h = parameters(Bernoulli(), 4)
    x = torch.tensor([[0, 1], [1, 1], [0, 0], [1, 0]])
    known = torch.distributions.Bernoulli(logits=h[:, 0]).log_prob(x.double()).sum(1)
    assert torch.allclose(Bernoulli().log_prob(x, h), known)
    h = parameters(Categorical(5), 4)
    known = torch.distributions.Categorical(logits=h.movedim(1, -1)).log_prob(x).sum(1)
    assert torch.allclose(Categorical(5).log_prob(x, h), known)
    h, real = parameters(Normal(), 4), torch.randn(4, 2, dtype=torch.float64)
    scale = torch.exp(7 * torch.tanh(h[:, 1] / 7))
    known = torch.distributions.Normal(h[:, 0], scale).log_prob(real).sum(1)
    assert torch.allclose(Normal().log_prob(real, h), known)


def test_the_discretised_logistic_is_a_difference_of_scipys_distribution():
    law, h = LAWS["logistic"], parameters(LAWS["logistic"], 5, (1,), 0.3)
    x = torch.arange(5)[:, None]
    place, scale = 0.5 + h[:, 0, 0], 0.1 * torch.exp(7 * torch.tanh(h[:, 1, 0] / 7))
    low = np.where(x[:, 0] == 0, -np.inf, x[:, 0] / 5)
    high = np.where(x[:, 0] == 4, np.inf, (x[:, 0] + 1) / 5)
    known = stats.logistic(place, scale)
    assert np.allclose(law.log_prob(x, h), np.log(known.cdf(high) - known.cdf(low)))


def test_it_stays_finite_where_the_difference_would_be_zero():
    law = DiscretisedLogistic(256)
    h = torch.tensor([[[-0.5], [-20.0]]]).expand(2, 2, 1).clone().requires_grad_()
    value = law.log_prob(torch.tensor([[200], [255]]), h)  # both far out in the tail
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(h.grad).all()
    assert (value < -100).all()


@pytest.mark.parametrize("name", LAWS)
def test_samples_follow_the_law(name):
    law, n = LAWS[name], 4000
    given = parameters(law, 1, (1,), 0.5).expand(n, -1, -1)
    u = ((torch.arange(n) + 0.5) / n).double()[:, None]  # every quantile once
    x = law.sample(given, u)
    assert (x[1:].double() >= x[:-1].double()).all(), "the quantile rises"
    if law.levels is None:
        assert abs(float(x.mean() - law.mean(given).mean())) < 1e-3
        return
    for v in range(min(law.levels, 10)):
        value = torch.full((1, 1), v)
        share = float((x == v).double().mean())
        assert abs(share - float(law.log_prob(value, given[:1]).exp())) < 1.5 / n
    if name != "logistic-256" and name != "logistic":  # whose "mean" is its median
        assert abs(float(x.double().mean() - law.mean(given).mean())) < 5 / n * law.levels


def test_the_median_of_a_logistic_is_within_the_levels():
    law = DiscretisedLogistic(256)
    h = torch.zeros(3, 2, 1)
    h[:, 0, 0] = torch.tensor([-3.0, 0.0, 3.0])
    assert law.mean(h).flatten().tolist() == [0.0, 127.5, 255.0]
    assert math.isclose(float(law.sample(h, torch.full((3, 1), 0.5))[1]), 128)


def test_the_law_follows_from_the_levels_and_others_are_refused():
    kinds = {
        None: Normal,
        2: Bernoulli,
        8: Categorical,
        17: DiscretisedLogistic,
        256: DiscretisedLogistic,
    }
    assert {levels: type(make_observation(None, levels)) for levels in kinds} == kinds
    for name, levels in (("normal", 256), ("bernoulli", 17), ("categorical", None)):
        with pytest.raises(InputError, match="choose"):
            make_observation(name, levels)
