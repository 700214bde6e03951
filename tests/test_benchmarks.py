"""The machinery of the benchmark of speed: turns, clocks, slopes, tables; not the speeds."""

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    # The processes of the lanes take over this path; they find this file by its folder.
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def busy(seconds=0.0, asleep=0.0, log=None, name=""):
    """A lane that computes, sleeps, and writes down that it had its turn."""
    from racing.rounds import Task

    def run():
        if log is not None:
            with Path(log).open("a") as file:
                file.write(name)
        time.sleep(asleep)
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    return Task(run, parameters=7)


def broken():
    raise ValueError("this library is not for you")


def held(megabytes):
    """A lane that touches so much memory and gives it back."""
    from racing.rounds import Task

    return Task(lambda: np.ones(megabytes * 2**17).sum())


def test_lanes_take_turns_in_processes_of_their_own(tmp_path):
    from racing.rounds import Lane, race, ratio, started

    log = str(tmp_path / "turns")
    lanes = [
        Lane("quick", busy, {"seconds": 0.01, "log": log, "name": "q"}),
        Lane("slow", busy, {"seconds": 0.03, "log": log, "name": "s"}),
        Lane("lazy", busy, {"asleep": 0.02, "log": log, "name": "l"}),
        Lane("broken", broken),
    ]
    with started(lanes, 1) as workers:
        quick, slow, lazy, failed = race(workers, lanes, {}, rounds=3, least=1e-9)
    assert Path(log).read_text()[-9:] == "qslslqlqs"  # each round begins with another one
    assert len(quick.cpu) == len(quick.wall) == 3
    assert quick.parameters == 7
    assert 2 < ratio(slow.cpu, quick.cpu) < 4
    assert max(lazy.cpu) < 0.01  # sleeping costs wall time only
    assert min(lazy.wall) >= 0.02
    assert failed.error == "ValueError: this library is not for you"
    assert not failed.cpu


def test_a_round_lasts_as_long_as_it_should_and_tasks_may_share_a_process():
    from racing.rounds import Lane, Worker

    worker = Worker(1)
    try:
        short = worker.prepare(Lane("short", busy), {"seconds": 0.001}, least=0.05)
        long = worker.prepare(Lane("long", busy), {"seconds": 0.02}, least=0.0, beside=True)
        start = time.perf_counter()
        worker.round(short)
        assert time.perf_counter() - start >= 0.04
        worker.round(long)
        assert 0.001 <= short.cpu[0] < 0.01 < 0.02 <= long.cpu[0]
    finally:
        worker.close()
    worker.round(long)
    assert "process has ended" in long.error


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's /proc")
def test_the_peak_is_what_a_task_takes_and_gives_back():
    from racing.peaks import peaks
    from racing.rounds import Lane

    found = peaks(Lane("held", held), [{"megabytes": 64}, {"megabytes": 16}])
    assert [round(one["megabytes"] / 16) for one in found] == [4, 1]


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5])
def test_slope_of_a_known_power(power):
    from racing.growth import slope

    sizes = [10, 20, 40, 160]
    assert slope(sizes, [3 * n**power for n in sizes]) == pytest.approx(power)
    assert slope(sizes[:3], [5, 7, 7]) == pytest.approx(
        np.polyfit(np.log(sizes[:3]), np.log([5, 7, 7]), 1)[0]
    )
    assert math.isnan(slope([10], [1.0]))


def test_spread_and_ratio_of_known_rounds():
    from racing.rounds import ratio, spread

    assert spread([2.0, 2.0, 2.0]) == 0
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 3)
    # A busy minute doubles a round of both: their ratio does not move.
    assert ratio([2.0, 4.0, 2.0], [1.0, 2.0, 1.0]) == 2


def test_the_page_tells_medians_ratios_and_failures(tmp_path):
    from racing import charts, page
    from racing.rounds import Timed

    lanes = [
        Timed("pushforward", 1234, cpu=[0.010, 0.011, 0.010], wall=[0.02, 0.02, 0.02]),
        Timed("other", 1234, cpu=[0.020, 0.022, 0.020], wall=[0.06, 0.06, 0.06]),
        Timed("absent", error="ImportError: no"),
    ]
    case = {"case": {"job": "train", "rows": 1024}, "threads": 1}
    cases = [{**case, "lanes": [lane.plain() for lane in lanes]}]
    body = page.race_body(cases)
    assert "| other | 1,234 | 20.0 | 20.0 | 5 % | 60.0 | 2.00 | 3.00 |" in body
    assert "absent failed: ImportError: no" in body

    report = page.write_report(tmp_path, "rows-train", body, {"cases": cases}, [1, 2], "0.1")
    charts.bars(tmp_path / "speed-rows-train.png", report.title, cases)
    saved = json.loads((tmp_path / "speed-rows-train.json").read_text())
    assert saved["figures"]["cases"][0]["lanes"][1]["cpu"] == [0.020, 0.022, 0.020]
    assert saved["environment"]["threads"] == "1 and 2"
    page.write_page(tmp_path, tmp_path / "RESULTS.md")
    text = (tmp_path / "RESULTS.md").read_text()
    assert body in text
    assert "![Rows: one training step](results/speed-rows-train.png)" in text
    assert "## Memory" not in text  # not measured yet


def test_memory_and_growth_print_their_slopes(tmp_path):
    from racing import charts, page

    def case(depth):
        lanes = [("pushforward, store", 4.0 * depth), ("pushforward, constant", 8.0)]
        told = [{"name": name, "megabytes": size, "error": ""} for name, size in lanes]
        told.append({"name": "absent", "megabytes": None, "error": "no"})
        return {"case": {"couplings": depth, "rows": 8192, "dims": 63}, "lanes": told}

    body = page.memory_body([case(10), case(40)])
    assert "| pushforward, store | 40 | 160 | 20.0 | 1.00 |" in body
    assert "| pushforward, constant | 8 | 8 | 1.0 | 0.00 |" in body
    assert "| absent | failed | failed | - | - |" in body

    axis = {"name": "pixels", "about": "four images", "sizes": [256, 1024, 4096]}
    axis |= {"seconds": [0.1, 0.4, 1.6], "megabytes": [2.0, 2.0, 8.0]}
    assert "| pixels | 256 to 4,096 | 1.00 | 1.00 | 0.50 | 1.00 |" in page.growth_body([axis])
    charts.lines(tmp_path / "lines.png", "growth", {"pixels": (axis["sizes"], axis["seconds"])})
    assert (tmp_path / "lines.png").stat().st_size > 1000


def test_the_command_line_refuses_what_it_does_not_know(capsys):
    import speed

    assert speed.arguments(["memory", "--peers", "none"]).peers == []
    for wrong in (["speed"], ["--threads", "0", "--peers", "none"]):
        with pytest.raises(SystemExit):
            speed.arguments(wrong)
    assert "no workload speed; there are rows-train" in capsys.readouterr().err


@pytest.mark.parametrize("job", ["train", "log_prob", "sample"])
def test_our_own_lanes_and_floors_do_their_jobs(job):
    from racing import floor, images, rows

    bare = rows.task("pushforward", job, dims=6, rows=16, couplings=2)
    assert bare.parameters == 2 * (4 * 128 + 129 * 128 + 129 * 6)
    bare.run()
    for route in floor.routes():
        products = floor.rows(route, job, dims=6, rows=16, couplings=2)
        assert products.parameters == bare.parameters - 2 * (128 + 128 + 6)  # no biases
        products.run()
    small = {"model": "small", "job": job, "batch": 2, "side": 4, "couplings": 1, "width": 4}
    images.ours(**small).run()
    recorded = floor.convolutions(images.ours, **small)
    recorded.run()
    assert int(recorded.note.split()[0]) > 0
