"""Autoregressive layers and their masked network: who depends on whom, and the two ways."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from pushforward import InputError
from pushforward.elementwise import Affine, LogisticMixture, RationalQuadratic, SoftClamp
from pushforward.layers import Autoregressive, Flip, Inverted
from pushforward.nets import MADE
from registry import jacobian, perturb

D = 5
ORDERS = {
    "natural": "natural",
    "reversed": "reversed",
    "arbitrary": [3, 0, 4, 1, 2],
    "random": torch.randperm(D, generator=torch.Generator().manual_seed(2)),
}
every_order = pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
either_form = pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])


def made(**options):
    # smooth, so that no dependence is switched off by chance
    return partial(MADE, hidden=(16, 16), activation="silu", **options)


def layer(law=None, *, context=0, **options):
    return perturb(Autoregressive((D,), law, made(**options), context=context).double().eval())


@every_order
@either_form
@pytest.mark.parametrize("context", [0, 2])
def test_each_number_depends_on_all_earlier_ones_and_on_no_later_one(order, residual, context):
    it = layer(order=order, residual=residual, context=context)
    x = torch.randn(2, D, dtype=torch.float64)
    c = torch.randn(2, context, dtype=torch.float64) if context else None
    order = torch.argsort(it.made.position)
    triangle = jacobian(it, x, c)[:, order][:, :, order]
    assert torch.equal(triangle.triu(1), torch.zeros_like(triangle)), "to the last bit"
    lower = torch.ones(D, D, dtype=torch.bool).tril()
    assert (triangle[:, lower] != 0).all()


@either_form
def test_the_context_reaches_every_parameter(residual):
    net = perturb(MADE(3, 2, 4, hidden=(6, 6), activation="silu", residual=residual).double())
    x, c = torch.randn(1, 3).double(), torch.randn(1, 4).double()
    given = torch.autograd.functional.jacobian(lambda c: net(x, c)[0], c)[:, 0]
    assert (given != 0).all(), "the first number's too, which sees nothing else"


@pytest.mark.parametrize(("size", "width"), [(1, 3), (2, 1), (7, 3), (3, 50), (30, 8)])
@pytest.mark.parametrize("context", [0, 1])
def test_a_network_of_any_size_is_autoregressive(size, width, context):
    net = MADE(size, 2, context, hidden=(width, width), activation="silu").double()
    perturb(net)
    x, c = torch.randn(size).double(), torch.randn(1, context).double() if context else None
    seen = torch.autograd.functional.jacobian(lambda v: net(v[None], c).reshape(2, size), x)
    assert torch.equal(seen.triu(), torch.zeros_like(seen))
    if size > 1:
        assert (seen[:, -1, -2] != 0).all(), "the last number sees the one before"


@every_order
@either_form
def test_numbers_in_turn_get_the_parameters_of_one_pass(order, residual):
    net = perturb(made(order=order, residual=residual)(D, 3, 2).double())
    x, c = torch.randn(4, D).double(), torch.randn(4, 2).double()
    whole = net(x, c).reshape(4, 3, D)
    turn, columns = net.in_turn(4, c), torch.argsort(net.position)
    for step, number in enumerate(columns):
        known = x[:, columns[step - 1], None] if step else None
        assert torch.allclose(turn.next(known), whole[:, :, number], rtol=0, atol=1e-12)


@pytest.mark.parametrize("law", [None, RationalQuadratic(4), LogisticMixture(3)])
def test_gradients_through_the_inverse_are_those_of_finite_differences(law):
    it = layer(law, context=2)
    z = torch.randn(2, D, dtype=torch.float64, requires_grad=True)
    c = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(it.inverse, (z, c), atol=1e-6)
    it.inverse(z, c)[0].square().sum().backward()
    parameter, bump = it.made.layers[1].weight, 1e-6
    place = tuple((it.made.layers[1].mask > 0).nonzero()[0])
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter[place] += sign * bump
            ends.append(it.inverse(z, c)[0].square().sum())
            parameter[place] -= sign * bump
    slope = (ends[0] - ends[1]) / (2 * bump)
    assert torch.allclose(parameter.grad[place], slope, rtol=1e-5, atol=1e-8)


def test_the_layer_of_iaf_is_that_of_maf_turned_round():
    maf = layer()
    iaf = Inverted(maf)
    z = torch.randn(3, D, dtype=torch.float64)
    x, log_det = maf.inverse(z)
    assert torch.equal(iaf(z)[0], x)
    assert torch.equal(iaf(z)[1], log_det)
    again, log_det = iaf.inverse(x)
    assert torch.allclose(again, z, atol=1e-12)
    assert torch.equal(log_det, maf(x)[1])


def test_a_reversed_order_is_a_natural_one_between_two_flips():
    natural, backward = layer(order="natural"), layer(order="reversed")
    backward.made.layers.load_state_dict(natural.made.layers.state_dict())
    backward.made.last.load_state_dict(natural.made.last.state_dict())
    # The same weights in another order of columns and rows.
    with torch.no_grad():
        first, last = backward.made.layers[0], backward.made.last
        first.weight.copy_(first.weight.flip(1))
        for part in (last.weight, last.bias):
            part.copy_(part.unflatten(0, (2, D)).flip(1).flatten(0, 1))
    x, flip = torch.randn(3, D, dtype=torch.float64), Flip()
    assert torch.allclose(backward(x)[0], flip(natural(flip(x)[0])[0])[0], atol=1e-12)


def test_the_order_is_part_of_the_weights():
    one, other = layer(order=[3, 0, 4, 1, 2]), layer(order="natural")
    other.load_state_dict(one.state_dict())
    x = torch.randn(3, D, dtype=torch.float64)
    assert torch.equal(other(x)[0], one(x)[0])
    assert torch.equal(other.inverse(x)[0], one.inverse(x)[0])


def test_a_context_that_is_missing_is_missed():
    it, x = layer(context=2), torch.zeros(1, D, dtype=torch.float64)
    for apply in (it, it.inverse):
        with pytest.raises(InputError, match="takes a context, one row per event, and got none"):
            apply(x)


def test_it_begins_as_the_identity():
    x = torch.randn(3, D)
    z, log_det = Autoregressive((D,), Affine(SoftClamp()))(x)
    assert torch.equal(z, x)
    assert torch.equal(log_det, torch.zeros(3))


def test_autocast_leaves_it_alone():
    it, x = layer().float(), torch.randn(4, D)
    expected = it(x)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(it(x)[0], expected)


def test_bad_input_is_refused_in_a_sentence():
    with pytest.raises(InputError, match=r"takes rows \(D,\); got events of shape \(1, 2, 2\)"):
        Autoregressive((1, 2, 2))
    with pytest.raises(InputError, match="each of 0 to 2 once; got"):
        MADE(3, order=[0, 0, 1])
    with pytest.raises(InputError, match="got 'sideways'"):
        MADE(3, order="sideways")
    with pytest.raises(ValueError, match="all of one width"):
        MADE(3, hidden=(4, 5), residual=True)
