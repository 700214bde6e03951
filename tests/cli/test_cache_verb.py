"""The list of what is kept on the disk, and its removal."""

import re

import pytest
from commands import SMALL, fails, succeeds

from pushforward import load
from pushforward.cli.cached import size_text
from pushforward.data.cache import cache_folder, cached, locked


@pytest.fixture
def kept(here, photos, monkeypatch):
    """A cache of two sets: the photos in two sizes."""
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(here / "cache"))
    for size in (4, 6):
        succeeds("data", photos, "--size", size, "--cache", "always")
    return cached()


def test_entries_are_listed(kept, photos):
    lines = succeeds("cache").splitlines()
    assert lines[0].split() == ["name", "size", "events", "last", "used", "source"]
    names = [line.split()[0] for line in lines[1:] if re.match(r"photos\d*-[0-9a-f]+ ", line)]
    assert sorted(names) == sorted(entry.name for entry in kept)
    assert "  12  " in lines[1]
    assert lines[-1].endswith("/cache")


def test_what_is_named_is_removed(kept):
    first, second = kept
    assert succeeds("cache", "--clear", first.name).startswith("1 entry removed, ")
    assert [entry.name for entry in cached()] == [second.name]
    assert succeeds("cache", "--clear", second.name.rpartition("-")[0]).startswith("1 entry ")
    assert succeeds("cache").startswith("nothing is kept in ")


def test_all_is_removed_but_what_is_being_built(kept):
    first, _ = kept
    with locked(cache_folder() / first.name, "photos"):
        text = succeeds("cache", "--clear-all")
        assert text.splitlines()[1] == f"{first.name} stays: another process is building it now"
        assert [entry.name for entry in cached()] == [first.name]
    succeeds("cache", "--clear-all")
    assert cached() == []


def test_mistakes(kept):
    assert fails("cache", "--clear", "foto").startswith("the cache has no entry 'foto'; it has ph")
    assert "--clear takes names (photos" in fails("cache", "--clear")
    assert "pushforward cache --clear photos" in fails("cache", "photos")
    assert "give one" in fails("cache", "--clear", "--clear-all")
    assert cached() == kept


def test_a_model_learns_from_the_cache_what_it_learns_from_the_files(kept, photos, undrawn):
    arguments = ["train", photos, *SMALL, "--size", 6, "-q"]
    for name, when in (("kept", "always"), ("read", "never")):
        succeeds(*arguments, "--out", name, "--cache", when)
    one, two = (load(name).facts["data"] for name in ("kept", "read"))
    assert one == two
    assert len(cached()) == 2


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (2048, "2 KiB"), (5 * 2**30, "5 GiB"), (2**43, "8 TiB")],
)
def test_sizes(size, text):
    assert size_text(size) == text
