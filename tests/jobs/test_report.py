"""The page of a run: whole, safe, and silent about who made it."""

import html
import json
import math
import re
from pathlib import Path

import pytest

import pushforward as pf
from pushforward.jobs.curve import curve_svg
from pushforward.jobs.report import write_report
from pushforward.jobs.run_folder import remove_run, resume_command

EVIL = "<script>alert('x')</script> & \"more\""


def a_run(folder, name="moons", losses=(3.0, 2.0, 2.5), **facts):
    flow = pf.RealNVP((2,), couplings=2, width=4)
    metrics = {"unit": "nats", "validation": -1.25, "best_step": 20, "stopped": "time is up"}
    flow.facts = {"model": "realnvp", "data": {"name": name}, "metrics": metrics} | facts
    flow.save(folder / "best")
    lines = [
        {"step": 10 * (i + 1), "epoch": i / 3, "seconds": 3700.0, "train": v, "validation": v}
        for i, v in enumerate(losses)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "config.yaml").write_text("# Written by pushforward\nsource: two-moons\n")
    return folder


def test_it_tells_what_the_model_knows(tmp_path):
    text = write_report(a_run(tmp_path, events=["Went back to step 5."])).read_text()
    for part in ("realnvp on moons", "-1.250", "nats", "time is up", "Went back to step 5."):
        assert part in text
    for part in ("may exceed 1", "1 h 1 min", "source: two-moons", "<svg"):
        assert part in text


def test_names_and_settings_are_only_text(tmp_path):
    folder = a_run(tmp_path, name=EVIL, events=[EVIL])
    (folder / "config.yaml").write_text(f"# Written by pushforward\nsource: {EVIL}\n")
    text = write_report(folder).read_text()
    assert "<script" not in text
    assert html.escape(EVIL) in text


def test_neither_home_nor_machine_is_named(tmp_path, monkeypatch):
    import getpass
    import platform

    monkeypatch.setenv("HOME", str(tmp_path / "someone"))
    folder = tmp_path / "someone" / "my runs" / "a"
    folder.mkdir(parents=True)
    a_run(folder, data={"name": "x", "notes": [f"Read {folder}/x.csv."]})
    (folder / "config.yaml").write_text(f"# Written by pushforward\nsource: {folder}/x.csv\n")
    text = write_report(folder).read_text()
    assert "someone" not in text
    assert "~/&#x27;my runs/a&#x27; --resume" in text
    environment = " ".join(pf_environment().values())
    assert platform.node() not in environment or platform.node() in platform.platform()
    assert getpass.getuser() not in environment.split()


def pf_environment():
    from pushforward.jobs.environment import environment

    found = environment("cpu")
    assert {"pushforward", "python", "torch", "system", "processor", "device"} <= set(found)
    return found


def test_an_empty_folder_has_a_page(tmp_path):
    text = write_report(tmp_path).read_text()
    assert "Nothing has been measured yet." in text
    with pytest.raises(pf.InputError, match="there is no run at"):
        write_report(tmp_path / "none")


# The curve -------------------------------------------------------------------------------------


def history(losses):
    return [{"step": i + 1, "train": v, "validation": v} for i, v in enumerate(losses)]


def points(svg, name):
    (text,) = re.findall(rf'<polyline class="{name}" points="([^"]*)"', svg)
    return [tuple(map(float, pair.split(","))) for pair in text.split()]


def test_the_curve_falls_where_the_loss_falls():
    svg = curve_svg(history([3.0, 2.5, 2.25, 2.0]), "nats")
    x, y = zip(*points(svg, "validation"), strict=True)
    assert list(x) == sorted(x)
    assert list(y) == sorted(y)  # downwards, which in SVG is a larger y
    assert (y[1] - y[0]) / (y[2] - y[1]) == pytest.approx(2.0, abs=0.02)
    assert 'aria-label="Training and validation loss over 4 steps; the best' in svg


@pytest.mark.parametrize(
    "losses", [[1.0], [1.0, math.nan, 0.5], [0.0] * 3, [1e30, 1.0], [-1e-9, 1e-9], [2.0] * 5000]
)
def test_any_curve_is_drawn_within_its_frame(losses):
    svg = curve_svg(history(losses), "nats")
    assert "nan" not in svg
    assert len(points(svg, "train")) <= 502
    assert len(svg) < 60_000
    assert points(svg, "train")[-1][0] <= 560


def test_no_curve_without_numbers():
    assert curve_svg([], "nats") == curve_svg(history([math.nan]), "nats") == ""


# The folder ------------------------------------------------------------------------------------


def test_only_what_a_run_wrote_is_removed(tmp_path):
    a_run(tmp_path)
    for name in ("notes.txt", "checkpoints/mine.bin", "checkpoints/step-00000010.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    remove_run(tmp_path)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"notes.txt", "checkpoints/mine.bin"}
    assert not (tmp_path / "best").exists()


def test_the_command_is_ready_for_a_shell(monkeypatch):
    assert resume_command(Path("a b")) == "pushforward train --out 'a b' --resume"
    assert resume_command(Path("~/a b")) == "pushforward train --out ~/'a b' --resume"
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert resume_command(Path("a")).startswith("torchrun --nproc-per-node 4 -m pushforward train")
