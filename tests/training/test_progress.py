"""What is printed while a flow trains, in a terminal and in a pipe."""

import io
import time

import pytest
from trials import same, small_run, weights

from pushforward.training.history import Run
from pushforward.training.progress import Progress, clock


def step(progress, number, seconds=None, **more):
    values = {"epoch": number / 10, "loss": 2.0, "lr": 4e-3, "rate": 1234.5} | more
    progress.update(step=number, seconds=number if seconds is None else seconds, **values)


def record(step, validation):
    return {"step": step, "seconds": 1.0, "train": 2.5, "validation": validation, "lr": 1e-3}


def test_nothing_is_printed_when_nothing_is_to_be_shown(capsys):
    with Progress(False, "nats", 10, None) as progress:
        step(progress, 1)
        progress.validated(record(1, 2.0), record(1, 2.0))
        progress.say("something happened")
    progress.close(Run("nats", [record(1, 2.0)], record(1, 2.0), "all steps done"))
    assert capsys.readouterr() == ("", "")


def test_plain_lines_at_validations_and_after_a_silence(capsys, monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with Progress(True, "bits/dim", 100, None) as progress:
        for number in range(1, 71):
            now += 1
            step(progress, number)
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[1] for line in lines] == ["30", "60"]
        assert lines[0].endswith("training   2.000 bits/dim  lr 4e-03  1,234/s  1:10 left")
        assert "epoch 3.0" in lines[0]
        progress.validated(record(70, 2.25), record(40, 2.125))
        now += 29
        step(progress, 71)
        progress.say("Went back.")
        validated, said = capsys.readouterr().out.splitlines()
    assert "validation   2.250 bits/dim, best 2.125" in validated
    assert said == "Went back."


def test_a_negative_density_is_explained_at_the_start_only(capsys):
    with Progress(True, "nats", 10, None):
        assert "densities may exceed 1" in capsys.readouterr().out
    with Progress(True, "bits/dim", 10, None):
        assert capsys.readouterr().out == ""


def terminal(monkeypatch, width):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    return screen


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_the_live_line_fits_the_terminal(width, monkeypatch):
    screen = terminal(monkeypatch, width)
    with Progress(True, "bits/dim", 2000, 3600.0) as progress:
        progress.validated(record(100, 2.25), record(100, 2.25))
        for number in (300, 500):
            progress.due = 0.0
            step(progress, number, number / 10, rate=12345.6)
        line = progress._line(500, 5.0, 50.0, 4e-3, 12345.6, 150.0)
        assert line.cell_len < width or width == 40
        assert " 25%" in line.plain
        assert "loss 2.000" in line.plain
        progress.say("Went back.")
    shown = screen.getvalue()
    assert "Went back." in shown
    if width == 200:
        for part in ("step 500", "epoch 50.0", "(validation 2.250)", "12,346/s", "2:30 left"):
            assert part in shown


def test_time_left_counts_from_where_this_process_began():
    progress = Progress(True, "nats", 1000, None)
    assert progress._left(900, 5000.0) is None or progress._left(900, 5000.0) >= 0
    progress.first = (900, 5000.0)
    assert progress._left(950, 5010.0) == pytest.approx(10.0)
    progress.max_time = 5012.0
    assert progress._left(950, 5010.0) == pytest.approx(2.0)
    assert Progress(True, "nats", None, None)._left(5, 1.0) is None


def test_a_step_costs_next_to_nothing():
    with Progress(True, "bits/dim", None, None) as progress:
        step(progress, 1)
        begin = time.perf_counter()
        for number in range(2000):
            step(progress, number)
        assert (time.perf_counter() - begin) / 2000 < 20e-6


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.6, "1:00"), (725, "12:05"), (11045, "3:04:05"), (183840, "2 d 3:04")],
)
def test_durations(seconds, text):
    assert clock(seconds) == text


def test_the_end_names_the_weights_that_are_kept(capsys):
    with Progress(True, "bits/dim", 10, None) as progress:
        pass
    run = Run("bits/dim", [record(9, 3.0)], record(5, 2.5), "time is up", steps=11)
    progress.close(run)
    said = capsys.readouterr().out
    assert said == (
        "Ended after 11 steps (time is up); kept the weights of step 5: validation 2.500 "
        "bits/dim.\n"
    )


class Left(io.StringIO):
    """A pipe whose reader takes a line and leaves, as ``head -1`` does."""

    def write(self, text):
        if self.tell():
            raise BrokenPipeError
        return super().write(text)

    def fileno(self):
        return -1


def test_a_reader_that_leaves_ends_the_run_with_a_checkpoint(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", Left())
        patch.setattr("os.dup2", lambda *given: None)  # rich would silence the real output
        _, run = small_run(folder=tmp_path, progress=True)
    assert run.stopped == "terminated"
    assert run.steps < 24
    resumed, _ = small_run(folder=tmp_path, resume=True)
    flow, _ = small_run()
    assert same(weights(resumed), weights(flow))
