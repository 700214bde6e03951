"""WebDataset shards."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from taking import RNG, encode, take

from pushforward.data import tars
from pushforward.data.found import Request
from pushforward.data.tars import expand_braces, read_tars
from pushforward.errors import InputError

PIXELS = RNG.integers(0, 256, (20, 5, 6, 3), dtype=np.uint8)


def shard(path, span, *, label="cls", before=False, folder="", extra=()):
    """Write images of ``span`` with a label each, as the webdataset package does."""
    mode = "w:gz" if path.name.endswith("gz") else "w"
    with tarfile.open(path, mode) as tar:
        for i in span:
            text = str(i) if label == "cls" else json.dumps({"label": i, "text": "x"})
            members = [(f"{i:06}.png", encode(PIXELS[i])), (f"{i:06}.{label}", text.encode())]
            for name, content in [*(members[::-1] if before else members), *extra]:
                info = tarfile.TarInfo(folder + name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def stream_of(*paths, **request):
    return read_tars(list(paths), "shards", Request(**request))


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
@pytest.mark.parametrize("label", ["cls", "json"])
@pytest.mark.parametrize("before", [False, True])
def test_samples_come_back_with_their_labels(tmp_path, ending, label, before):
    a = shard(tmp_path / f"s-0.{ending}", range(10), label=label, before=before)
    b = shard(tmp_path / f"s-1.{ending}", range(10, 20), label=label, before=before, folder="./x/")
    stream = stream_of(b, a)
    values, labels, keys, read = take(stream)
    np.testing.assert_array_equal(values, PIXELS.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(labels, range(20))
    assert (len(set(keys)), read, stream.items) == (20, 20, {"train": 20})
    for start in (3, 10, 14, 20):
        rest, _, _, read = take(stream_of(a, b), start=start)
        np.testing.assert_array_equal(rest, values[start:])
        assert read == 20 - start


def test_names_tell_the_splits(tmp_path):
    paths = [
        shard(tmp_path / "train-0.tar", range(10)),
        shard(tmp_path / "val-0.tar", range(10, 13)),
        shard(tmp_path / "test-0.tar", range(13, 20)),
    ]
    stream = stream_of(*paths)
    assert stream.items == {"train": 10, "validation": 3, "test": 7}
    np.testing.assert_array_equal(take(stream, "validation")[1], [10, 11, 12])
    assert stream_of(paths[2]).splits == ("train",)


def test_a_cut_shard_among_several_is_read_as_far_as_it_goes(tmp_path):
    a, b = shard(tmp_path / "s-0.tar", range(10)), shard(tmp_path / "s-1.tar", range(10, 20))
    whole = a.read_bytes()
    for cut in range(300, len(whole) - 10240, 700):
        a.write_bytes(whole[:cut])
        stream = stream_of(a, b)
        values, labels, _, read = take(stream)
        assert list(labels[-10:]) == list(range(10, 20))
        np.testing.assert_array_equal(values[-10:], PIXELS[10:].transpose(0, 3, 1, 2))
        assert 1 <= stream.unreadable.count <= 2
        assert "s-0.tar (" in stream.unreadable.first[-1]
        assert read == sum(stream.items.values())
    with pytest.raises(InputError, match=r"unreadable"):
        take(stream_of(a, b, whole=True))


def test_a_cut_gzip_is_told(tmp_path):
    a, b = shard(tmp_path / "s-0.tar.gz", range(10)), shard(tmp_path / "s-1.tar", range(10, 20))
    a.write_bytes(a.read_bytes()[:700])
    stream = stream_of(a, b)
    assert len(take(stream)[0]) >= 10
    assert "s-0.tar.gz" in stream.unreadable.first[0]


def test_nothing_but_a_broken_shard_is_an_error(tmp_path):
    path = tmp_path / "a.tar"
    for content in (b"", b"junk" * 1000):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.tar"):
            take(stream_of(path))
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo("readme.txt"))
    with pytest.raises(InputError, match=r"a\.tar holds no image .*unpack it"):
        take(stream_of(path))
    with pytest.raises(InputError, match="no image of shards"):
        take(stream_of(path, Path(shutil.copy(path, tmp_path / "b.tar"))))


def test_size_is_judged_by_the_first_shard(tmp_path, monkeypatch):
    paths = [shard(tmp_path / f"s-{n}.tar", range(5 * n, 5 * n + 5)) for n in range(4)]
    listed, index = [], tars._index
    monkeypatch.setattr(tars, "_index", lambda path: listed.append(path) or index(path))
    assert stream_of(*paths).size == pytest.approx(PIXELS.nbytes, rel=0.1)
    assert listed == paths[:1]


def test_second_images_of_a_sample_are_told(tmp_path):
    extra = [("000000.depth.png", encode(PIXELS[1])), (".hidden.png", b"junk")]
    stream = stream_of(shard(tmp_path / "a.tar", range(1), extra=extra))
    np.testing.assert_array_equal(take(stream)[0], PIXELS[:1].transpose(0, 3, 1, 2))
    assert "1 sample with several images" in stream.notes[0]


def test_brace_ranges():
    assert expand_braces("a-{008..010}.tar") == ["a-008.tar", "a-009.tar", "a-010.tar"]
    assert expand_braces("{0..1}/{1..2}") == ["0/1", "0/2", "1/1", "1/2"]
    assert expand_braces("plain.tar") == ["plain.tar"]
    with pytest.raises(InputError, match="folder"):
        expand_braces("{0..99999999999}")
