"""The same images from every kind of source: the same events, splits and labels."""

import io
import os
import tarfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from taking import RNG, encode
from torch.utils.data import Dataset, IterableDataset

from pushforward.data import build, image_stream, open_data, read_for, tars
from pushforward.data.image_stream import ImageStream
from pushforward.errors import InputError

PIXELS = RNG.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
EVENTS = PIXELS.transpose(0, 3, 1, 2)
FILES = [encode(x) for x in PIXELS]
LABELS = np.arange(60) % 2


def folder(tmp_path):
    for i, content in enumerate(FILES):
        path = tmp_path / "set" / "ab"[LABELS[i]] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "set"


def parquet(tmp_path):
    table = pa.table({"image": FILES, "label": LABELS})
    pq.write_table(table, tmp_path / "set.parquet", row_group_size=7)
    return tmp_path / "set.parquet"


def shards(tmp_path):
    for n in range(3):
        with tarfile.open(tmp_path / f"s-{n:02}.tar", "w") as tar:
            for i in range(20 * n, 20 * n + 20):
                for name, content in (("png", FILES[i]), ("cls", str(LABELS[i]).encode())):
                    info = tarfile.TarInfo(f"{i:03}.{name}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    return tmp_path / "s-{00..02}.tar"


def cifar(tmp_path):
    flat = np.concatenate([LABELS[:, None].astype(np.uint8), EVENTS.reshape(60, -1)], 1)
    for n in range(2):
        (tmp_path / f"data_batch_{n + 1}.bin").write_bytes(flat[30 * n : 30 * n + 30].tobytes())
    return tmp_path


class Items(Dataset):
    def __init__(self, tmp_path):
        pass

    def __len__(self):
        return 60

    def __getitem__(self, i):
        return torch.from_numpy(EVENTS[i].copy()), LABELS[i]


SOURCES = [folder, parquet, shards, cifar, Items]


@pytest.mark.parametrize("source", SOURCES)
def test_all_events_come_back(tmp_path, source):
    made = source(tmp_path)
    data = open_data(made, fractions=(0, 0))
    order = np.argsort(LABELS, kind="stable") if source is folder else np.arange(60)
    np.testing.assert_array_equal(data.train, EVENTS[order])
    np.testing.assert_array_equal(data.labels["train"], LABELS[order])
    assert (data.levels, data.notes) == (256, ())
    np.testing.assert_array_equal(read_for(made, shape=(3, 32, 32), levels=256), EVENTS[order])


def test_encoded_images_are_split_alike_wherever_they_lie(tmp_path):
    splits = []
    for source in (folder, parquet, shards):
        path = source(tmp_path)
        for size in (None, 8):  # the size does not move an image to another split
            data = open_data(path, size=size, split_seed=3, fractions=(0.3, 0.3))
            small = open_data(path, size=size, fractions=(0, 0)).train
            order = {image.tobytes(): i for i, image in enumerate(small)}
            where = [{order[x.tobytes()] for x in part} for part in data.splits().values()]
            if source is folder:
                back = np.argsort(LABELS, kind="stable")
                where = [{int(back[i]) for i in part} for part in where]
            splits.append(where)
    assert all(split == splits[0] for split in splits)
    assert all(len(part) > 5 for part in splits[0])


@pytest.mark.parametrize("source", [folder, parquet, shards])
def test_the_cache_holds_what_memory_would(tmp_path, monkeypatch, source):
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "cache"))
    path = source(tmp_path)
    plain, cached = open_data(path, cache=False), open_data(path, cache=True)
    assert isinstance(cached.train, np.memmap)
    for split in plain.splits():
        np.testing.assert_array_equal(cached.splits()[split], plain.splits()[split])
        np.testing.assert_array_equal(cached.labels[split], plain.labels[split])
    assert (cached.notes, cached.levels, cached.label_names) == (
        plain.notes,
        plain.levels,
        plain.label_names,
    )


@pytest.mark.parametrize("source", [folder, parquet, shards])
def test_what_is_cached_is_not_looked_through_again(tmp_path, monkeypatch, source):
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "cache"))
    path = source(tmp_path)
    first = open_data(path, cache=True)

    def refuse(*arguments, **options):
        raise AssertionError("looked through again")

    monkeypatch.setattr(image_stream, "header", refuse)
    monkeypatch.setattr(tars, "_index", refuse)
    np.testing.assert_array_equal(open_data(path, cache=True).everything, first.everything)


@pytest.mark.parametrize("stop", [1, 2])
def test_an_interrupted_build_goes_on_with_its_counts(tmp_path, monkeypatch, stop):
    pixels = RNG.integers(0, 256, (600, 1, 2), dtype=np.uint8)
    contents = [b"junk" if i % 100 == 7 else encode(x) for i, x in enumerate(pixels)]
    contents[300] = encode(np.zeros((1, 2, 3), np.uint8))
    path = tmp_path / "set.parquet"
    pq.write_table(pa.table({"image": contents}), path)
    whole = open_data(path, cache=False)
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "_EVERY", 0)
    done, starts = ImageStream._piece, []

    def counting(stream, batch, decoded):
        starts.append(batch[0].name)
        if len(starts) == stop + 1:
            raise KeyboardInterrupt
        return done(stream, batch, decoded)

    monkeypatch.setattr(ImageStream, "_piece", counting)
    with pytest.raises(KeyboardInterrupt):
        open_data(path, cache=True)
    data = open_data(path, cache=True)
    assert starts[-1] == "row 512 of set.parquet"
    assert starts.count("row 0 of set.parquet") == 1  # what was read was not read again
    for split in whole.splits():
        np.testing.assert_array_equal(data.splits()[split], whole.splits()[split])
    assert data.notes == whole.notes
    assert "6 unreadable images skipped" in data.notes[0]
    assert data.notes[1] == "593 grey images converted to RGB."


def test_iterable_sets_are_not_for_opening():
    class Endless(IterableDataset):
        def __iter__(self):
            yield 1

    with pytest.raises(InputError, match="Endless"):
        open_data(Endless())


def test_gaps_in_a_range_are_told(tmp_path):
    shards(tmp_path)
    with pytest.raises(InputError, match=r"s-03\.tar"):
        open_data(tmp_path / "s-{00..03}.tar")


@pytest.mark.slow
def test_all_of_cifar10_is_read_and_cached(tmp_path, monkeypatch):
    path = Path(os.environ.get("PUSHFORWARD_DATA") or "nowhere") / "cifar10"
    if not path.exists():
        pytest.skip("no cifar10 in PUSHFORWARD_DATA")
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path))
    start = time.perf_counter()
    cached = open_data(path)
    assert time.perf_counter() - start < 60
    assert len(cached) == 60000
    start = time.perf_counter()
    again = open_data(path)
    assert time.perf_counter() - start < 1
    plain = open_data(path, cache=False)
    for split, values in plain.splits().items():
        np.testing.assert_array_equal(again.splits()[split], values)
        np.testing.assert_array_equal(again.labels[split], plain.labels[split])
