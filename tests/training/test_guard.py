"""When numbers go wrong: noticed, blamed, gone back from, and not for ever."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from trials import flow_for, options_for, rows, rows_dataset, same, small_run, weights

from pushforward import Dataset, InputError, NumericalError, RealNVP, fit
from pushforward.training import session, validation
from pushforward.training.guard import Guard


def poisoned(flow, bad, value=math.nan):
    """Let the training passes of ``flow`` whose numbers ``bad`` names give ``value``."""
    honest, passes = flow.log_prob, 0

    def log_prob(x, context=None, *, samples=1, check=True):
        nonlocal passes
        passes += flow.training
        result = honest(x, context, check=check)
        return result * value if flow.training and bad(passes) else result

    flow.log_prob = log_prob
    return flow


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_bad_step_sends_the_run_back_with_half_the_rate(value):
    flow = poisoned(flow_for("rows"), lambda n: n == 9, value)
    run = fit(flow, rows_dataset(), **options_for("rows", schedule="constant"))
    assert run.stopped == "all steps done"
    (said,) = run.events
    kind = "NaN" if math.isnan(value) else "infinite"
    assert said.startswith(f"step 9: the loss was {kind}; ")
    assert (
        "Back to the weights of step 0, with half the learning rate; it may do so 4 times more."
        in said
    )
    rates = {record["step"]: record["lr"] for record in run.records}
    assert rates[12] == pytest.approx(rates[6] / 2)
    assert all(math.isfinite(r["train"]) and math.isfinite(r["validation"]) for r in run.records)


def test_it_goes_back_to_the_weights_of_the_last_good_state():
    """At step 103 to step 100: what follows is a run of half the rate from there."""
    options = options_for("rows", max_steps=103, validate_every=200, schedule="constant", ema=0.0)
    flow = poisoned(flow_for("rows"), lambda n: n == 103)
    run = fit(flow, rows(120), **options)
    assert "step 103" in run.events[0]
    assert "Back to the weights of step 100" in run.events[0]
    reference, _ = small_run(max_steps=100, validate_every=200, schedule="constant", ema=0.0)
    assert same(weights(flow), weights(reference))


def test_going_back_has_an_end_that_leaves_the_best_weights():
    data, options = rows_dataset(), options_for("rows", schedule="constant")
    reference = flow_for("rows")
    fit(reference, data, **{**options, "max_steps": 6})
    flow = poisoned(flow_for("rows"), lambda n: n > 8)
    words = (
        r"step 12: the loss was NaN; .*After going back 3 times, the best weights so far are kept"
    )
    with pytest.raises(NumericalError, match=words):
        fit(flow, data, rewinds=3, **{**options, "max_steps": 500})
    assert not flow.training
    assert same(weights(flow), weights(reference)), "as they were when last validated, at step 6"


def test_what_was_given_up_goes_on_by_hand_from_its_last_good_state(tmp_path):
    """With a rate halved once more, and the retreats that it had taken counted."""
    data, options = rows_dataset(), options_for("rows", schedule="constant")
    flow = poisoned(flow_for("rows"), lambda n: n > 8)
    with pytest.raises(NumericalError) as told:
        fit(flow, data, rewinds=1, folder=tmp_path, **{**options, "max_steps": 30})
    assert told.value.__notes__ == ["Its checkpoint of step 10 can be resumed."]
    run = fit(
        flow_for("rows"),
        data,
        folder=tmp_path,
        resume=True,
        rewinds=3,
        **{**options, "max_steps": 30},
    )
    assert run.stopped == "all steps done"
    assert run.steps == 30
    assert run.records[-1]["lr"] == pytest.approx(run.records[0]["lr"] / 4)


def test_infinite_validation_is_told_once_and_training_goes_on():
    """One event that is out of reach says nothing of which weights are better."""
    data = rows_dataset()
    far = data.validation.copy()
    far[7] = 1e30
    flow = RealNVP((2,), width=8, couplings=3, seed=0)
    data = Dataset("rows", "rows", (2,), None, data.train, far, far[:0])
    run = fit(flow, data, **options_for("rows", patience=1))
    assert run.stopped == "all steps done"
    assert [r["validation"] for r in run.records] == [math.inf] * len(run.records)
    assert run.best["step"] == 24, "the latest weights"
    (said,) = run.events
    assert said.startswith("step 6: the validation loss was infinite for validation event 7;")


def test_a_validation_without_a_number_sends_the_run_back(monkeypatch):
    honest, calls = validation.score, 0

    def score(*given, **more):
        nonlocal calls
        calls += 1
        if calls == 2:
            raise NumericalError("the flow: log_prob is NaN for 3 of 40 events.")
        return honest(*given, **more)

    monkeypatch.setattr(validation, "score", score)
    _, run = small_run()
    assert [r["step"] for r in run.records] == [6, 18, 24]
    (said,) = run.events
    assert said.startswith("step 12: the validation loss was NaN; the flow: log_prob is NaN for 3")
    assert "Back to the weights of step 0" in said


def test_without_any_good_step_it_says_so():
    flow = poisoned(flow_for("rows"), lambda n: True)
    with pytest.raises(NumericalError, match=r"no step was of use.*lower lr"):
        fit(flow, rows(50), rewinds=0, **options_for("rows"))


def test_the_layer_and_the_event_are_named():
    """One event among 120 is so far out that its log-density overflows in float32."""
    flow = RealNVP((2,), width=8, couplings=3, norm="none")
    x = rows(120)
    x[57] = 3e25
    data = Dataset("rows", "rows", (2,), None, x, x[:40], x[:0])
    # Standardised by hand, so that the outlier stays one.
    flow.chain[0].fitted.fill_(True)
    with pytest.raises(NumericalError) as told:
        fit(flow, data, **options_for("rows", batch_size=120, rewinds=0))
    assert "for training event 57; " in str(told.value)


def test_a_layer_that_overflows_is_named():
    flow = flow_for("images")
    flow.initialise(torch.zeros(4, 1, 4, 4, dtype=torch.uint8))
    name = next(n for n, _ in flow.named_parameters() if n.endswith("log_scale"))
    weight = dict(flow.named_parameters())[name]
    with torch.no_grad():
        weight.fill_(1e30)
    where = flow.first_unsound_layer(torch.zeros(4, 1, 4, 4, dtype=torch.uint8))
    index = name.split(".")[2]
    assert where.startswith(f"layer {index}")
    assert flow_for("images").first_unsound_layer(torch.zeros(4, 1, 4, 4)) is None


def test_an_exploding_gradient_is_a_fault_once_the_usual_size_is_known():
    guard = Guard()
    assert guard.fault(1.0, 1e9) is None, "nothing is usual yet"
    for _ in range(60):
        assert guard.fault(1.0, 2.0) is None
    assert guard.fault(1.0, 900.0) is None
    assert "the gradient's norm was 1e+06" in guard.fault(1.0, 1e6)
    assert guard.fault(1.0, 2.0) is None, "a fault does not become usual"
    assert guard.fault(1.0, math.nan) == "the gradient was NaN"
    assert guard.fault(1.0, math.inf) == "the gradient was infinite"
    assert guard.fault(-math.inf, 1.0) == "the loss was infinite"


def test_an_exploding_gradient_sends_a_run_back():
    flow = poisoned(flow_for("rows"), lambda n: n == 80, 1e7)
    options = options_for("rows", max_steps=90, validate_every=30)
    run = fit(flow, rows(120), **options)
    assert "step 80: the gradient's norm was" in run.events[0]
    assert "the largest gradient was that of chain.layers" in run.events[0]


def test_a_fault_after_a_resume_goes_back_to_the_same_state(tmp_path, monkeypatch):
    """The state to go back to, of step 100, is older than the checkpoint, of step 103."""
    options = options_for("rows", max_steps=130, validate_every=10)
    flow = poisoned(flow_for("rows"), lambda n: n == 104)
    run = fit(flow, rows(120), **options)
    assert "Back to the weights of step 100" in run.events[0]

    honest = session.Session._one_step

    def until_103(self, batch):
        if self.step == 103:
            raise KeyError
        return honest(self, batch)

    with monkeypatch.context() as patch, pytest.raises(KeyError):
        patch.setattr(session.Session, "_one_step", until_103)
        fit(flow_for("rows"), rows(120), folder=tmp_path, checkpoint_every=0.0, **options)
    resumed = poisoned(flow_for("rows"), lambda n: n == 1)
    again = fit(resumed, rows(120), folder=tmp_path, resume=True, **options)
    assert again.events == run.events
    assert same(weights(resumed), weights(flow))


def test_drift_of_batch_norms_is_reported():
    _, run = small_run("batch norm")
    assert all(record["drift"] >= 1 for record in run.records)
    assert run.records[0]["drift"] > 1.0001, "running statistics lag"
    _, run = small_run("rows")
    assert all("drift" not in record for record in run.records)


def test_values_too_large_for_a_mean_are_refused():
    with pytest.raises(InputError, match="so large that their mean or spread is infinite"):
        fit(flow_for("rows"), np.full((60, 2), 1.7e308), **options_for("rows"))
