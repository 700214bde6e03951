"""evaluate: the sums of a handful of events, done again by hand."""

import json
import math

import numpy as np
import pytest
import torch

from pushforward import RealNVP
from pushforward.bases import Uniform
from pushforward.errors import InputError
from pushforward.flow import Flow
from pushforward.jobs import evaluate
from pushforward.layers import ActNorm


def test_rows_by_hand():
    flow = RealNVP((3,), width=8)
    x = torch.randn(101, 3)
    x[17] *= 20
    found = evaluate(flow, x, batch_size=10)
    values = (-0.5 * x.double().square() - 0.5 * math.log(2 * math.pi)).sum(1).numpy()
    assert found.events == 101
    assert found.log_prob == pytest.approx(values.mean(), abs=1e-4)
    assert found.log_prob_error == pytest.approx(values.std(ddof=1) / math.sqrt(101), abs=1e-4)
    assert found.median == pytest.approx(np.median(values), abs=1e-5)
    assert (found.worst_index, found.worst) == (17, pytest.approx(values.min(), rel=1e-6))
    assert found.bits_per_dim is None
    assert (found.unit, found.loss, found.exact) == ("nats", -found.log_prob, True)


def test_integers_by_hand():
    flow = RealNVP((1, 3, 4), levels=16, width=4).eval()
    v = torch.randint(16, (30, 1, 3, 4))
    found = evaluate(flow, v)
    bits = flow.bits_per_dim(v).detach().double()
    assert found.bits_per_dim == pytest.approx(float(bits.mean()), rel=1e-5)
    assert found.bits_per_dim_error == pytest.approx(float(bits.std()) / math.sqrt(30), rel=1e-4)
    assert found.log_prob == pytest.approx(-float(bits.mean()) * 12 * math.log(2), rel=1e-5)
    assert (found.unit, found.loss, found.exact) == ("bits/dim", found.bits_per_dim, False)
    tighter = evaluate(flow, v, samples=16)
    assert tighter.loss < found.loss
    assert tighter.samples == 16
    assert (tighter.single, tighter.single_error) == (found.loss, found.bits_per_dim_error)
    assert f"bits/dim, 16 draws {tighter.loss:.4f} ±" in str(tighter)
    assert f"bits/dim, 1 draw   {found.loss:.4f} ±" in str(tighter)
    assert found.single is None


def test_a_uniform_flow_needs_exactly_the_bits_of_the_levels():
    flow = RealNVP((1, 2, 2), levels=8, width=4)
    flow = Flow((1, 2, 2), [flow.chain[0]], Uniform((1, 2, 2)))
    assert evaluate(flow, torch.randint(8, (5, 1, 2, 2))).bits_per_dim == pytest.approx(3)


def test_sentences_say_the_unit_and_explain_a_negative_loss():
    narrow = Flow((2,), [ActNorm((2,))])
    with torch.no_grad():
        narrow.chain[0].log_scale += 5
    found = evaluate(narrow, torch.zeros(4, 2))
    assert found.loss < 0
    assert "below 0" in str(found)
    assert "may exceed 1" in str(found)
    assert "below 0" not in str(evaluate(narrow, torch.ones(4, 2)))
    image = evaluate(RealNVP((1, 2, 2), width=4), torch.zeros(3, 1, 2, 2), samples=3)
    assert "upper bound" in str(image)
    assert "3 draws" in str(image)
    assert "bits/dim" in str(image)


def test_contexts_one_for_all_or_one_for_each():
    flow = RealNVP((2,), context=3, width=8)
    x, context = torch.randn(25, 2), torch.randn(25, 3)
    evaluate(flow, x, context, batch_size=4)
    one = evaluate(flow, x, context[0], batch_size=4)
    same = evaluate(flow, x, context[:1].expand(25, 3))
    assert one.log_prob == pytest.approx(same.log_prob)
    with pytest.raises(InputError, match="conditional"):
        evaluate(flow, x)


def test_json_also_of_infinite_scores_and_of_one_event():
    flow = Flow((2,), [], Uniform((2,)))
    found = evaluate(flow, torch.tensor([[0.5, 0.5], [2.0, 0.5]]))
    record = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert record["worst"] == "-inf"
    assert record["worst_index"] == 1
    assert record["log_prob_error"] is None
    assert "Event 1 (the first is 0) is so far" in str(found)
    single = evaluate(flow, np.array([[0.5, 0.5]]))
    assert single.log_prob == 0
    assert single.log_prob_error is None
    assert "±" not in str(single)


def test_impossible_input():
    flow = RealNVP((2,), width=8)
    with pytest.raises(InputError, match="no events"):
        evaluate(flow, torch.zeros(0, 2))
    with pytest.raises(InputError, match="Add a batch dimension"):
        evaluate(flow, torch.zeros(2))
    with pytest.raises(InputError, match="missing values"):
        evaluate(flow, [[0.0, math.nan]])
    for option in ({"samples": 0}, {"batch_size": 0}):
        with pytest.raises(InputError, match="at least 1"):
            evaluate(flow, torch.zeros(3, 2), **option)
