"""Streams in memory and in the cache: the same set, whatever happens on the way."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pushforward.data import build, delimited, describe, open_data, read_for
from pushforward.data.cache import cache_folder, cached, clear
from pushforward.data.mapped import read_events
from pushforward.data.store import release
from pushforward.errors import InputError

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(RNG.normal(size=(300, 3)), columns=["a", "b", "c"])


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(delimited, "_BLOCK", 700)  # some 25 pieces
    monkeypatch.setattr(build, "_EVERY", 0)
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # no test outlives the system


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "rows.csv"
    lines = FRAME.assign(label=np.arange(300) % 4).to_csv(index=False).splitlines()
    lines[40] = "1,2"
    lines[80] = ",2,3,1"
    lines[200] = "1,2"
    path.write_text("\n".join(lines))
    return path


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def entries(root):
    return [path.parent for path in root.glob("*/about.json")]


@pytest.fixture
def expected(csv, tmp_path, monkeypatch):
    """What an uninterrupted build leaves."""
    with monkeypatch.context() as patch:
        patch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "other"))
        open_data(csv, cache=True)
    (folder,) = entries(tmp_path / "other")
    return bytes_of(folder)


def check(csv, expected):
    """Open, and compare what lies in the cache and what comes out of it."""
    data, plain = open_data(csv, cache=True), open_data(csv, cache=False)
    (folder,) = entries(cache_folder())
    assert bytes_of(folder) == expected
    for split, values in data.splits().items():
        np.testing.assert_array_equal(values, plain.splits()[split])
        np.testing.assert_array_equal(data.labels[split], plain.labels[split])
    assert (data.notes, data.missing, data.columns) == (plain.notes, plain.missing, plain.columns)
    assert "2 unreadable rows skipped: line 41 of rows.csv" in data.notes[0]
    assert any("1 row with missing values was dropped" in note for note in data.notes)


def test_the_cache_gives_what_memory_gives(csv, expected):
    check(csv, expected)
    names = {"about.json", "meta.json"}
    for split in ("train", "validation", "test"):
        names |= {f"{split}.bin", f"{split}.labels"}
    assert set(expected) == names


def test_parts_are_maps_that_cannot_be_written(csv):
    data = open_data(csv, cache=True)
    assert isinstance(data.train, np.memmap)
    assert not data.train.flags.writeable
    before = data.train.copy()
    release(data.train)
    release(data.train[3:7])
    release(before)
    np.testing.assert_array_equal(data.train, before)
    assert open_data(data) is data
    assert open_data(data, columns=["a", "b", "c"]).train is data.train
    np.testing.assert_array_equal(open_data(data, columns=["c"]).train, data.train[:, 2:])
    plain = open_data(csv, cache=False)
    one, other = describe(data), describe(plain)
    for column, expected in zip(one.pop("columns"), other.pop("columns"), strict=True):
        assert column == pytest.approx(expected)
    assert one == other


def test_the_second_opening_reads_nothing(csv, monkeypatch):
    first = open_data(csv, cache=True)
    monkeypatch.setattr(delimited._Csv, "chunks", None)
    second = open_data(csv, cache=True)
    np.testing.assert_array_equal(first.train, second.train)
    # A model asks for its own shape and columns; they are there.
    test = read_for(csv, shape=(3,), columns=["a", "b", "c"], split="test", cache=True)
    np.testing.assert_array_equal(test, first.test)
    with pytest.raises(TypeError):
        read_for(csv, shape=(2,), columns=["a", "b"], split="test", cache=True)


def test_another_request_or_file_is_another_entry(csv):
    open_data(csv, cache=True)
    open_data(csv, cache=True, split_seed=1)
    open_data(csv, cache=True, columns=["a"])
    open_data(csv, cache=True, fractions=(0.2, 0.2))
    assert len(cached()) == 4
    os.utime(csv, (0, 0))
    open_data(csv, cache=True)
    assert len(cached()) == 5
    csv.write_text("a,b\n1,2\n3,4\n")
    assert open_data(csv, cache=True, fractions=(0, 0)).columns == ("a", "b")


@pytest.mark.parametrize("what", ["fsync", "replace", "write"])
def test_a_full_disk_at_any_moment_loses_nothing(csv, expected, monkeypatch, what):
    real = {"fsync": os.fsync, "replace": Path.replace, "write": build._Build._append}[what]
    place, name = {"fsync": (os, "fsync"), "replace": (Path, "replace")}.get(
        what, (build._Build, "_append")
    )
    failures = 0
    for fails_at in range(1, 400, 1 if what == "replace" else 7):
        calls = 0

        def failing(*arguments, fails_at=fails_at):
            nonlocal calls
            calls += 1
            if calls == fails_at:
                if what == "write":
                    real(*arguments)  # more than the journal knows of
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(place, name, failing)
            try:
                open_data(csv, cache=True)
                break
            except InputError as error:
                failures += 1
                assert "space" in str(error)
    assert failures > 3
    check(csv, expected)


@pytest.mark.parametrize("at", [1, 4, 11])
def test_a_killed_build_goes_on(csv, expected, at):
    code = f"""
import os, signal
from pushforward.data import build, delimited, open_data
build._EVERY, delimited._BLOCK = 0, 700
add, calls = build._Build._add, [0]
def killing(self, split, piece):
    add(self, split, piece)
    calls[0] += 1
    if calls[0] == {at}:
        for file in self.files.values():
            file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
build._Build._add = killing
open_data({str(csv)!r}, cache=True)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    (entry,) = cached()
    assert not entry.complete
    (cache_folder() / entry.name / ".journal.tmp-1.json").write_text("{")  # killed while writing
    check(csv, expected)


def test_two_processes_build_once(csv, expected, tmp_path):
    code = f"""
import os, pathlib, time
from pushforward.data import build, delimited, open_data, progress
build._EVERY, delimited._BLOCK = 0, 700
progress._PATIENCE = 1000  # a busy machine is no reason to speak of progress
here = pathlib.Path({str(tmp_path)!r})
(here / f"{{os.getpid()}}.here").touch()
run = build._Build.run
def slowly(self):
    with open({str(tmp_path / "log")!r}, "a") as log:
        log.write("built\\n")
    while len(list(here.glob("*.here"))) < 2:
        time.sleep(0.05)
    time.sleep(0.5)
    run(self)
build._Build.run = slowly
print(open_data({str(csv)!r}, cache=True).train.sum())
"""
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert said[0][0] == said[1][0]
    assert (tmp_path / "log").read_text() == "built\n"
    waits = "Another process is reading rows.csv into the cache; waiting for it.\n"
    assert sorted(error for _, error in said) == ["", waits]
    check(csv, expected)


def test_what_is_listed_can_be_cleared(csv, tmp_path):
    assert cached() == []
    before = time.time()
    data = open_data(csv, cache=True)
    other = open_data(csv, cache=True, columns=["a"])
    entry, _ = cached()
    assert (entry.source, entry.complete) == (str(csv), True)
    assert entry.events in (len(data), len(other))
    assert entry.bytes > data.train.nbytes / 3
    assert before - 1 <= entry.used <= time.time() + 1
    with pytest.raises(InputError, match="nothing in the cache is called 'rows'"):
        clear(["rows"])
    assert clear([entry.name]) == [entry]
    assert len(cached()) == 1
    assert len(clear()) == 1
    assert cached() == []
    assert data.train.sum() == open_data(csv, cache=False).train.sum()  # still readable
    assert (tmp_path / "rows.csv").exists()


def test_what_is_cleared_stays_readable_for_who_has_it_open(csv):
    data = open_data(csv, cache=True)
    index, expected = np.array([7, 8, 3]), np.array(data.train[[7, 8, 3]])
    assert len(clear()) == 1
    np.testing.assert_array_equal(read_events(data.train, index), expected)


def test_the_source_of_an_entry_is_told_in_full(csv, monkeypatch):
    monkeypatch.chdir(csv.parent)
    open_data("rows.csv", cache=True)
    (entry,) = cached()
    assert entry.source == str(csv)


def test_what_is_being_built_is_not_cleared(csv):
    from pushforward.data.cache import locked

    open_data(csv, cache=True)
    (folder,) = entries(cache_folder())
    with locked(folder, "rows.csv"):
        # filelock is reentrant per object only: a second handle is refused like another process
        assert clear() == []
    assert len(clear()) == 1


def test_a_damaged_entry_is_built_again(csv, expected):
    open_data(csv, cache=True)
    (folder,) = entries(cache_folder())
    for name in ("train.bin", "meta.json"):
        (folder / name).write_bytes((folder / name).read_bytes()[:-5])
        check(csv, expected)


def test_a_file_that_changes_meanwhile_is_noticed(csv, monkeypatch):
    finish = build._Build._finish

    def touching(self):
        finish(self)
        os.utime(csv, (0, 0))

    monkeypatch.setattr(build._Build, "_finish", touching)
    with pytest.raises(InputError, match=r"rows\.csv changed while it was read; open it again"):
        open_data(csv, cache=True)
    assert not any(entry.complete for entry in cached())


def test_few_events_leave_no_split_empty(tmp_path):
    for seed in range(6):
        frame = FRAME[:12]
        frame.to_csv(tmp_path / "a.csv", index=False)
        fractions = (0.05, 0.05) if seed < 4 else (0.45, 0.54)
        one = open_data(tmp_path / "a.csv", split_seed=seed, cache=True, fractions=fractions)
        two = open_data(tmp_path / "a.csv", split_seed=seed, cache=False, fractions=fractions)
        for split, values in one.splits().items():
            assert len(values) >= 1
            np.testing.assert_array_equal(values, two.splits()[split])


def test_folders_of_images_go_the_same_way(tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(15):
            pixels = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{i}.png")
    (tmp_path / "photos" / "cat" / "7.png").write_bytes(b"oops")
    one = open_data(tmp_path / "photos", cache=True)
    two = open_data(tmp_path / "photos", cache=False)
    assert isinstance(one.train, np.memmap)
    for split, values in one.splits().items():
        np.testing.assert_array_equal(values, two.splits()[split])
        np.testing.assert_array_equal(one.labels[split], two.labels[split])
    assert (one.notes, one.label_names, one.levels) == (two.notes, ("cat", "dog"), 256)
    sized = open_data(tmp_path / "photos", size=4)
    for split, values in one.splits().items():  # neither does the size move an image
        assert len(values) == len(sized.splits()[split])


def test_room_is_looked_at_before(csv, monkeypatch):
    usage = type("usage", (), {"free": 10})
    monkeypatch.setattr(build.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(InputError, match=r"takes about 0\.0 MB, but .* has 0\.0 MB free\. Free"):
        open_data(csv, cache=True)


def test_long_builds_say_so(csv, monkeypatch, capsys):
    class Timer(threading.Timer):
        start = threading.Timer.run  # at once

    monkeypatch.setattr("pushforward.data.progress._PATIENCE", 0)
    monkeypatch.setattr("pushforward.data.progress.threading.Timer", Timer)
    open_data(csv, cache=True)
    start, end = capsys.readouterr().err.splitlines()
    assert start.startswith("Reading rows.csv into the cache, once: about ")
    assert end == "Read 297 events into the cache."
    open_data(csv, cache=True)
    assert capsys.readouterr().err == ""


def test_nothing_is_said_of_what_is_not_ours(tmp_path):
    cache_folder().mkdir()
    (cache_folder() / "mine").mkdir()
    (cache_folder() / "mine" / "about.json").write_text(json.dumps({"name": 3}))
    assert cached() == []
    assert clear() == []


def test_a_cache_that_cannot_be_written_says_the_way_out(csv, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"cannot write to the cache .* Set PUSHFORWARD_CACHE"):
        open_data(csv, cache=True)
