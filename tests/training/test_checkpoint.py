"""A checkpoint is there whole or not at all, whatever the disk does."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from trials import same, small_run, weights

from failing import Failing
from pushforward import InputError
from pushforward.training.checkpoint import (
    Checkpoint,
    alone_in,
    list_checkpoints,
    newest_checkpoint,
    write_checkpoint,
)


def checkpoint(step):
    tensors = {"now.a": torch.full((30,), float(step)), "now.b": torch.tensor([], dtype=torch.int8)}
    tensors["best.scalar"] = torch.tensor(step)
    return Checkpoint(tensors, {"step": step, "records": [{"loss": 0.1 + 0.2, "step": step}]})


def steps(folder):
    return [int(path.stem.removeprefix("step-")) for path in list_checkpoints(folder)]


def test_it_comes_back_as_it_was(tmp_path):
    written = checkpoint(7)
    write_checkpoint(tmp_path, written)
    read, said = newest_checkpoint(tmp_path)
    assert same(read.tensors, written.tensors)
    assert read.facts["records"] == written.facts["records"], "floats to the last bit"
    assert read.part("now").keys() == {"a", "b"}
    assert said == []
    assert newest_checkpoint(tmp_path / "nothing") == (None, [])


def test_the_last_two_are_kept(tmp_path):
    for step in (1, 5, 30):
        write_checkpoint(tmp_path, checkpoint(step))
    assert steps(tmp_path) == [5, 30]
    write_checkpoint(tmp_path, checkpoint(30))
    assert steps(tmp_path) == [5, 30]
    write_checkpoint(tmp_path, checkpoint(7))
    assert steps(tmp_path) == [5, 7], "what a run that went back has not reached again"


@pytest.mark.parametrize("forever", [False, True])
def test_a_write_that_fails_anywhere_leaves_the_old_or_the_new(tmp_path, forever):
    outcomes = set()
    for n in range(1, 40):
        folder = tmp_path / str(n)
        write_checkpoint(folder, checkpoint(1))
        with pytest.MonkeyPatch.context() as patch:
            failing = Failing(patch, n, forever)
            try:
                write_checkpoint(folder, checkpoint(2))
                failed = False
            except InputError as error:
                assert "No space left on device. Free some space" in str(error)
                failed = True
        read, said = newest_checkpoint(folder)
        step = read.facts["step"]
        assert same(read.tensors, checkpoint(step).tensors), n
        assert said == [], "what is there is whole"
        outcomes.add((failed, step))
        if failing.calls < n:
            break
    else:
        pytest.fail("a write takes more calls than this test allows for")
    assert (True, 1) in outcomes
    assert (False, 2) in outcomes


@pytest.mark.parametrize("forever", [False, True])
def test_a_run_whose_disk_fails_anywhere_goes_on_later(tmp_path, forever):
    options = {"max_steps": 4, "validate_every": 2}
    flow, _ = small_run(**options)
    failures = 0
    for n in range(3, 90, 7 if not forever else 11):
        folder = tmp_path / str(n)
        with pytest.MonkeyPatch.context() as patch:
            Failing(patch, n, forever)
            try:
                small_run(folder=folder, checkpoint_every=0.0, **options)
            except InputError as error:
                failures += 1
                assert str(error).count(". ") <= 2, "a sentence or two"
                assert "No space left" in str(error)
        resumed, _ = small_run(folder=folder, resume=True, **options)
        assert same(weights(resumed), weights(flow)), n
    assert failures > 3


def test_every_cut_and_every_altered_byte_is_noticed(tmp_path):
    write_checkpoint(tmp_path, checkpoint(1))
    newest = write_checkpoint(tmp_path, checkpoint(2))
    content = newest.read_bytes()
    for place in [*range(0, len(content), 13), len(content) - 1]:
        for damaged in (content[:place], _flipped(content, place)):
            newest.write_bytes(damaged)
            read, said = newest_checkpoint(tmp_path)
            # A flipped bit may lie in what does not count, such as a space of the header.
            if read.facts["step"] == 2:
                assert same(read.tensors, checkpoint(2).tensors)
            else:
                assert same(read.tensors, checkpoint(1).tensors)
                assert "going on from the one before" in said[0]


def _flipped(content, place):
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


def test_files_of_others_are_left_alone(tmp_path):
    write_checkpoint(tmp_path, checkpoint(1))
    other = tmp_path / "checkpoints" / "notes.txt"
    other.write_text("mine")
    (tmp_path / "checkpoints" / "step-final.safetensors").write_text("mine too")
    write_checkpoint(tmp_path, checkpoint(2))
    write_checkpoint(tmp_path, checkpoint(3))
    assert newest_checkpoint(tmp_path)[0].facts["step"] == 3
    assert other.read_text() == "mine"
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names >= {"notes.txt", "step-final.safetensors"}
    assert len(list_checkpoints(tmp_path)) == 2


def test_two_runs_do_not_share_a_folder(tmp_path):
    with alone_in(tmp_path), pytest.raises(InputError, match="another process is training in"):
        small_run(folder=tmp_path)
    small_run(folder=tmp_path, max_steps=2)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot write to .*file"):
        small_run(folder=tmp_path / "file")


def test_a_newer_format_is_refused(tmp_path, monkeypatch):
    from pushforward.training import checkpoint as module

    monkeypatch.setattr(module, "_FORMAT", 99)
    write_checkpoint(tmp_path, checkpoint(1))
    monkeypatch.undo()
    with pytest.raises(InputError, match="newer pushforward"):
        newest_checkpoint(tmp_path)


def test_a_disk_that_is_really_full_is_one_sentence(tmp_path):
    """By the limit that the system sets on a file's size, which it reports as it does a full disk.

    In a process of its own, for the limit cannot be lifted again.
    """
    small_run(folder=tmp_path, max_steps=2)
    largest = max(path.stat().st_size for path in list_checkpoints(tmp_path))
    code = (
        "import resource, signal, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from trials import small_run\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({largest // 2}, {largest // 2}))\n"
        "try:\n"
        f"    small_run(folder={str(tmp_path)!r}, resume=True, max_steps=9)\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "cannot write" in told.stdout
    assert "File too large" in told.stdout
    assert told.stdout.count("\n") == 1
    assert steps(tmp_path) == [2], "the last good one is whole"
    assert newest_checkpoint(tmp_path)[0].facts["step"] == 2
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != largest // 2
