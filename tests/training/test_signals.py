"""Ctrl-C and SIGTERM end a run between two steps, and it goes on from there."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from trials import flow_for, options_for, rows_dataset, same, small_run, weights

from pushforward import fit
from pushforward.scoring import score
from pushforward.training import session, validation
from pushforward.training.checkpoint import list_checkpoints
from pushforward.training.signals import StopRequests


def signalled(monkeypatch, number, at, where="_one_step", times=1):
    """Send this process a signal at the beginning of a step, or within a validation."""
    honest, sent = getattr(session.Session, where), 0

    def call(self, *args):
        nonlocal sent
        if self.step == at and sent < times:
            sent += 1
            os.kill(os.getpid(), number)
        return honest(self, *args)

    monkeypatch.setattr(session.Session, where, call)


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (signal.SIGINT, "interrupted"),
        (signal.SIGTERM, "terminated"),
        (signal.SIGHUP, "terminated"),
    ],
)
@pytest.mark.parametrize("at", [0, 9])
def test_a_signal_ends_a_run_that_can_go_on(monkeypatch, tmp_path, number, word, at):
    flow, _ = small_run()
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        signalled(patch, number, at)
        stopped, run = small_run(folder=tmp_path)
    assert run.stopped == word
    assert not stopped.training
    assert run.best, "there are best weights, from whenever it was"
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert list_checkpoints(tmp_path)[-1].stem == f"step-{at + 1:08}", "the step was finished"
    resumed, _ = small_run(folder=tmp_path, resume=True)
    assert same(weights(resumed), weights(flow))


def test_under_nohup_a_closed_terminal_is_nothing(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        signalled(monkeypatch, signal.SIGHUP, 9)
        _, run = small_run()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert run.stopped == "all steps done"


def test_a_signal_during_validation_is_heard_at_once(monkeypatch, tmp_path):
    flow, _ = small_run()
    with monkeypatch.context() as patch:
        calls = 0

        def interrupted(*args, **options):
            nonlocal calls
            calls += 1
            if calls == 2:
                os.kill(os.getpid(), signal.SIGINT)
            return score(*args, **options)

        patch.setattr(validation, "score", interrupted)
        _, run = small_run(folder=tmp_path)
    assert run.stopped == "interrupted"
    assert [r["step"] for r in run.records] == [6], "the validation of step 12 was left"
    resumed, _ = small_run(folder=tmp_path, resume=True)
    assert same(weights(resumed), weights(flow))


def test_the_flow_holds_the_best_weights_after_ctrl_c(monkeypatch):
    with monkeypatch.context() as patch:
        signalled(patch, signal.SIGINT, 10)
        data = rows_dataset()
        flow = flow_for("rows")
        run = fit(flow, data, **options_for("rows"))
    assert [r["step"] for r in run.records] == [6]
    assert -score(flow, data.validation).mean() == pytest.approx(run.best["validation"], abs=1e-5)


def test_the_second_ctrl_c_does_not_wait(monkeypatch, tmp_path):
    signalled(monkeypatch, signal.SIGINT, 8, times=1)
    honest = session.Guard.fault

    def torn(self, loss, norm):  # in the middle of the step
        if self.steps == 8:
            os.kill(os.getpid(), signal.SIGINT)
        return honest(self, loss, norm)

    monkeypatch.setattr(session.Guard, "fault", torn)
    _, run = small_run(folder=tmp_path)
    assert run.stopped == "interrupted"
    assert not list_checkpoints(tmp_path), "nothing is written of a step that was torn in two"


def test_elsewhere_than_in_the_main_thread_signals_are_left_alone():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work():
        with StopRequests():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
