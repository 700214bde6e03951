"""A flow among torch's distributions, measured by those that torch ships."""

import pytest
import torch
from torch.distributions import (
    AffineTransform,
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
    constraints,
)

import pushforward as pf
from pushforward.layers import LULinear, Standardize
from pushforward.models import GMM


@pytest.fixture(autouse=True)
def _validated(monkeypatch):
    """As torch begins: zuko, when some other test imports it, turns this off for all programs."""
    monkeypatch.setattr(Distribution, "_validate_args", True)


@pytest.fixture
def linear():
    """A linear flow in float64, and the normal distribution that it is."""
    torch.manual_seed(0)
    layers = [Standardize((3,)), LULinear(3, seed=1)]
    flow = pf.Flow((3,), layers).double()
    flow.initialise(torch.randn(500, 3).double() @ torch.randn(3, 3).double() + 2)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    origin = flow.decode(torch.zeros(1, 3))[0].detach()
    factor = (flow.decode(torch.eye(3)) - origin).mT.detach()
    return flow, MultivariateNormal(origin, factor @ factor.mT)


@pytest.fixture
def conditional():
    """A flow that is a normal about its context: x = c + exp(-1) e."""
    torch.manual_seed(0)
    flow = pf.RealNVP((2,), context=2, couplings=2, width=8, norm="none").double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return flow


def test_a_linear_flow_is_the_normal_that_it_is(linear):
    flow, truth = linear
    mine = flow.distribution()
    x = truth.sample((4, 5))
    assert mine.event_shape == truth.event_shape
    assert mine.batch_shape == truth.batch_shape
    assert torch.allclose(mine.log_prob(x), truth.log_prob(x), atol=1e-12)
    torch.manual_seed(3)
    draws = mine.sample((20_000,))
    assert torch.allclose(draws.mean(0), truth.mean, atol=0.05)
    assert torch.allclose(draws.T.cov(), truth.covariance_matrix, atol=0.1)
    assert not draws.requires_grad


@pytest.mark.parametrize("sample", [(), (3,), (2, 3)])
@pytest.mark.parametrize("batch", [(), (4,), (2, 1)])
def test_shapes_are_those_of_torch(conditional, batch, sample):
    loc = torch.randn(*batch, 2).double()
    mine, theirs = conditional.distribution(loc), MultivariateNormal(loc, torch.eye(2).double())
    assert mine.batch_shape == theirs.batch_shape
    for draw in ("sample", "rsample"):
        assert getattr(mine, draw)(sample).shape == getattr(theirs, draw)(sample).shape
    x = theirs.sample(sample)
    assert mine.log_prob(x).shape == theirs.log_prob(x).shape
    one = torch.zeros(2).double()
    assert mine.log_prob(one).shape == theirs.log_prob(one).shape
    larger = (5, *batch)
    assert mine.expand(larger).sample(sample).shape == theirs.expand(larger).sample(sample).shape
    assert mine.expand(larger).log_prob(one).shape == theirs.expand(larger).log_prob(one).shape


def test_batches_are_what_single_calls_are(conditional):
    context = torch.randn(4, 3, 2).double()
    x = torch.randn(5, 1, 3, 2).double()
    found = conditional.distribution(context).log_prob(x)
    assert found.shape == (5, 4, 3)
    for i, j, k in [(0, 0, 0), (4, 3, 2), (2, 1, 0)]:
        alone = conditional.log_prob(x[i, 0, k][None], context[j, k][None])
        assert torch.allclose(found[i, j, k], alone[0], atol=1e-12)


def test_draws_follow_their_own_context():
    # Far from each other, so that a context in the wrong place cannot hide.
    flow = pf.RealNVP((1,), context=1, couplings=1, norm="none", law="additive").double()
    with torch.no_grad():
        last = [p for name, p in flow.named_parameters() if name.endswith("bias")][-1]
        last.fill_(-3.0)
    c = torch.tensor([[0.0], [1.0]]).double()
    mine = flow.distribution(c)
    torch.manual_seed(0)
    first = mine.sample((2_000,)).mean(0)
    assert first.shape == (2, 1)
    assert torch.allclose(first, torch.tensor(3.0).double(), atol=0.1)


def test_rsample_carries_gradients_to_parameters_and_context(conditional):
    context = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    mine = conditional.distribution(context)
    x, log_prob = mine.rsample_and_log_prob((4,))
    assert torch.allclose(mine.log_prob(x), log_prob, atol=1e-10)
    x.square().sum().backward()
    assert float(context.grad.abs().sum()) > 0
    assert all(p.grad is not None for p in conditional.parameters())


def test_divergence_by_draws_is_the_closed_form_and_descends_to_nothing(linear):
    flow, start = linear
    target = MultivariateNormal(start.mean, torch.diag(torch.tensor([1.0, 2.0, 3.0]).double()))
    torch.manual_seed(0)
    mine = pf.FlowDistribution(flow)

    def divergence(n):
        x, log_q = mine.rsample_and_log_prob((n,))
        return (log_q - target.log_prob(x)).mean()

    exact = torch.distributions.kl_divergence(start, target)
    assert divergence(40_000).item() == pytest.approx(exact.item(), rel=0.05)
    optimiser = torch.optim.Adam(flow.parameters(), lr=0.05)
    for _ in range(120):
        optimiser.zero_grad()
        divergence(64).backward()
        optimiser.step()
    assert abs(divergence(1_000).item()) < 0.03 < exact.item() / 10


def _outcome(call, distribution):
    """The shape that a call gives, or that it is refused."""
    try:
        found = call(distribution)
    except (ValueError, RuntimeError, TypeError, NotImplementedError):
        return "refused"
    return tuple(found.shape) if isinstance(found, torch.Tensor) else found


@pytest.mark.parametrize("batch", [(), (4,)])
@pytest.mark.parametrize(
    "call",
    [
        lambda d: (d.batch_shape, d.event_shape, d.has_rsample, d.has_enumerate_support),
        lambda d: d.sample((0,)),
        lambda d: d.sample([2, 3]),
        lambda d: d.sample(3),
        lambda d: d.rsample((0,)),
        lambda d: d.log_prob(torch.zeros(3)),
        lambda d: d.log_prob(torch.zeros(7, 1, 3)),
        lambda d: d.log_prob(torch.zeros(5, 3)),
        lambda d: d.log_prob(torch.zeros(4, 1)),
        lambda d: d.log_prob(torch.tensor(1.0)),
        lambda d: d.log_prob([0.0, 0.0, 0.0]),
        lambda d: d.log_prob(torch.full((3,), float("nan"))),
        lambda d: d.expand((2, 4)).batch_shape,
        lambda d: d.expand((4,)).expand((3,)).batch_shape,
        lambda d: d.mean,
        lambda d: d.entropy(),
        lambda d: d.cdf(torch.zeros(3)),
        lambda d: d.enumerate_support(),
    ],
)
def test_shapes_and_refusals_are_those_of_a_transformed_distribution(linear, batch, call):
    flow, truth = linear
    shift = AffineTransform(torch.zeros(3).double(), 2.0, event_dim=1)
    theirs = TransformedDistribution(truth.expand(batch), [shift])
    assert _outcome(call, flow.distribution().expand(batch)) == _outcome(call, theirs)


def test_a_batch_of_none_is_a_batch(conditional):
    none = conditional.distribution(torch.zeros(0, 2))
    assert none.rsample((5,)).shape == (5, 0, 2)
    assert none.log_prob(torch.zeros(5, 1, 2)).shape == (5, 0)


def test_independent_transformed_and_expanded(linear):
    flow, truth = linear
    ours, theirs = flow.distribution().expand((4,)), truth.expand((4,))
    x = truth.sample((6, 4))
    assert torch.allclose(Independent(ours, 1).log_prob(x), Independent(theirs, 1).log_prob(x))
    assert Independent(ours, 1).rsample((2,)).shape == (2, 4, 3)
    by = [AffineTransform(1.0, torch.tensor([2.0, -1.0, 0.5]).double(), event_dim=1)]
    assert torch.allclose(
        TransformedDistribution(ours, by).log_prob(x),
        TransformedDistribution(theirs, by).log_prob(x),
    )
    assert ours.has_rsample
    assert TransformedDistribution(ours, by).has_rsample


def test_a_later_step_of_training_is_seen(linear):
    flow, _ = linear
    mine, x = flow.distribution(), torch.zeros(1, 3).double()
    before = mine.log_prob(x)
    with torch.no_grad():
        next(iter(flow.parameters())).add_(0.5)
    assert not torch.equal(mine.log_prob(x), before)


def test_integers_have_samples_but_no_gradients():
    flow = pf.RealNVP((1, 4, 4), levels=4, couplings=2, width=4)
    mine = flow.distribution()
    x = mine.sample((3,))
    assert mine.support.check(x).all()
    assert mine.log_prob(x).shape == (3,)
    assert not mine.has_rsample
    with pytest.raises(NotImplementedError, match="use sample"):
        mine.rsample()
    with pytest.raises(ValueError, match="support"):
        mine.log_prob(x + 0.5)


def test_what_fills_in_missing_values_leaves_draws_their_gradients():
    mine = pf.RealNVP((3,), missing=True, couplings=2, width=4, norm="none").distribution()
    assert mine.has_rsample
    assert mine.rsample((2,)).requires_grad


def test_a_mixture_draws_its_component_so_it_has_no_rsample():
    assert not GMM((2,), components=3).distribution().has_rsample
    assert GMM((2,), components=3).distribution().sample((5,)).shape == (5, 2)


def test_the_support_is_real():
    assert pf.RealNVP((2,)).distribution().support.check(torch.zeros(3, 2)).shape == (3,)
    assert isinstance(pf.RealNVP((2,)).distribution().support, constraints.independent)
    with pytest.raises(ValueError, match="support"):
        pf.RealNVP((2,)).distribution().log_prob(torch.tensor([0.0, float("nan")]))


@pytest.mark.parametrize(
    ("context", "said"),
    [
        (None, "is conditional"),
        (torch.zeros(3), r"wants a context of shape \(\*batch, 2\); got \(3,\)"),
        (torch.tensor([0.0, float("inf")]), "NaN or infinite"),
        ("red", "got str"),
        ([[1.0, 2.0], [3.0]], "an array of numbers; got list"),
    ],
)
def test_wrong_contexts_are_one_sentence(conditional, context, said):
    with pytest.raises(pf.InputError, match=said):
        conditional.distribution(context)


def test_wrong_values_are_one_sentence(conditional):
    with pytest.raises(pf.InputError, match="built without context"):
        pf.RealNVP((2,)).distribution(torch.zeros(2))
    unchecked = conditional.distribution(torch.zeros(2), validate_args=False)
    with pytest.raises(pf.InputError, match=r"event shape \(2,\) are wanted; got \(4, 3\)"):
        unchecked.log_prob(torch.zeros(4, 3))
    with pytest.raises(ValueError):
        conditional.distribution(torch.zeros(4, 2)).log_prob(torch.zeros(3, 2))


def test_unchecked_values_pass_as_in_torch(conditional):
    unchecked = conditional.distribution(torch.zeros(2), validate_args=False)
    assert torch.isnan(unchecked.log_prob(torch.full((2,), float("nan")))).all()
    assert Normal(0.0, 1.0, validate_args=False).log_prob(torch.tensor(float("nan"))).isnan()


def test_what_torch_does_by_default_is_done(conditional, monkeypatch):
    monkeypatch.setattr(Distribution, "_validate_args", False)
    x = torch.full((2,), float("nan"))
    assert torch.isnan(conditional.distribution(torch.zeros(2)).log_prob(x)).all()
    with pytest.raises(ValueError, match="support"):
        conditional.distribution(torch.zeros(2), validate_args=True).log_prob(x)
