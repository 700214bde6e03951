"""WebDataset shards: tar files whose members, grouped by name, are samples; read directly."""

from __future__ import annotations

import gzip
import json
import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ..errors import InputError
from .encoded import Item
from .found import SPLITS, Request, counted, group_parts, reading, size_of
from .image_stream import ImageStream

__all__ = ["TAR_ENDINGS", "expand_braces", "read_tars"]

TAR_ENDINGS = (".tar", ".tar.gz", ".tgz")

_IMAGES = ("png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff")
_LABELS = ("cls", "json")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_BLOCK = 512
_MOST = 1_000_000
_CUT = (tarfile.TarError, OSError, EOFError, zlib.error)


def expand_braces(text: str) -> list[str]:
    """Expand brace ranges: ``shard-{000..002}.tar`` -> three names, zeros kept.

    Raises:
        InputError: a range of millions of files.
    """
    match = _RANGE.search(text)
    if match is None:
        return [text]
    first, last = match[1], match[2]
    if int(last) - int(first) > _MOST:
        raise InputError(f"{text} stands for more than {_MOST:,} files; give the folder.")
    numbers = [str(n).zfill(len(first)) for n in range(int(first), int(last) + 1)]
    rest = expand_braces(text[match.end() :])
    return [text[: match.start()] + number + tail for number in numbers for tail in rest]


def read_tars(
    paths: list[Path], name: str, request: Request, notes: Sequence[str] = ()
) -> ImageStream:
    """Read shards as one source.

    The members of one sample have the same path up to the first dot of the file's name: an image
    (``.png``, ``.jpg``, ``.webp``, ...) and its label, ``.cls`` with an integer or ``.json`` with
    ``{"label": integer}``. The format needs no package of its own: members are listed by their
    offsets first and read where they lie. Files whose names begin with ``train``, ``val`` or
    ``test`` are these splits, as in Parquet.

    Raises:
        InputError: the only shard is broken, or there is no image in any.
    """
    return ImageStream(name, _Samples(group_parts(paths), notes), request)


@dataclass
class _Sample:
    name: str
    image: tuple[int, int] | None = None  # where it begins in the tar, and how long it is
    label: tuple[int, int] | None = None
    json: bool = False


@dataclass
class _Shard:
    path: Path
    samples: list[_Sample] = field(default_factory=list)
    several: int = 0
    fault: str | None = None

    def __len__(self) -> int:
        return len(self.samples) + (self.fault is not None)


class _Samples:
    """The samples of shards; where a shard was cut off, that is one item more."""

    def __init__(self, groups: dict[str, list[Path]], beside: Sequence[str]) -> None:
        self.groups, self._beside = groups, beside
        self.splits = tuple(split for split in SPLITS if split in groups)
        self._paths = [path for split in self.splits for path in groups[split]]
        self._known: dict[Path, _Shard] = {}

    def files(self) -> list[str]:
        return [str(path) for path in self._paths]

    def counts(self) -> dict[str, int]:
        return {
            split: sum(len(self._shard(p)) for p in self.groups[split]) for split in self.splits
        }

    @property
    def labelled(self) -> bool:
        for shard in map(self._shard, self._paths):
            for i, sample in enumerate(shard.samples):
                if sample.label:
                    return next(_items(shard, i)).label >= 0
        return False

    @property
    def notes(self) -> list[str]:
        several = sum(self._shard(path).several for path in self._paths)
        if not several:
            return list(self._beside)
        said = counted(several, "sample")
        return [*self._beside, f"Of {said} with several images only the first was read."]

    def estimate(self) -> int:
        """Judge by the first shard: to list the samples of many takes minutes."""
        first = self._paths[0]
        total = sum(map(size_of, self._paths))
        return round(len(self._shard(first)) * total / max(size_of(first), 1))

    def _shard(self, path: Path) -> _Shard:
        shard = self._known[path] if path in self._known else _index(path)
        if len(self._paths) == 1:
            if shard.fault:
                raise InputError(
                    f"cannot read {path} as tar: {shard.fault}. Check that it is whole."
                )
            if not shard.samples:
                raise InputError(
                    f"{path} holds no image ({', '.join(_IMAGES)}); unpack it and open the folder."
                )
        self._known[path] = shard
        return shard

    def read(self, split: str, start: int) -> Iterator[Item]:
        for shard in map(self._shard, self.groups[split]):
            if start < len(shard):
                yield from _items(shard, start)
            start = max(0, start - len(shard))


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        if file.read(2) == b"\x1f\x8b":  # gzip, whatever the ending says
            file.seek(0)
            with gzip.open(file) as unzipped:
                yield unzipped  # type: ignore[misc]
        else:
            file.seek(0)
            yield file


def _index(path: Path) -> _Shard:
    """List the samples of a shard: walk over the headers, jump over the contents."""
    shard, samples = _Shard(path), dict[str, _Sample]()
    try:
        with _opened(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            plain, end = not isinstance(file, gzip.GzipFile), 0
            size = path.stat().st_size
            for member in tar:
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep them all
                end = member.offset_data + -(-member.size // _BLOCK) * _BLOCK
                if plain and end > size:
                    raise EOFError("the file is cut off")
                if member.isfile():
                    _sort_in(samples, member, shard)
            # tarfile ends without a word where a header is cut off; a whole file ends in zeros.
            if plain and _content(file, (end, _BLOCK)).strip(b"\0"):
                raise tarfile.ReadError("damaged header")
    except _CUT as error:
        shard.fault = _why(error)
    shard.samples = [sample for sample in samples.values() if sample.image]
    return shard


def _sort_in(samples: dict[str, _Sample], member: tarfile.TarInfo, shard: _Shard) -> None:
    folder, slash, base = member.name.rpartition("/")
    stem, _, ending = base.partition(".")
    kind, place = ending.lower().rpartition(".")[2], (member.offset_data, member.size)
    if not stem or kind not in (*_IMAGES, *_LABELS):  # without a stem: hidden
        return
    key = folder + slash + stem
    sample = samples.setdefault(key, _Sample(key))
    if kind in _IMAGES:
        shard.several += sample.image is not None
        sample.image = sample.image or place
    elif kind == "cls" or sample.label is None:
        sample.label, sample.json = place, kind == "json"


def _items(shard: _Shard, start: int) -> Iterator[Item]:
    with reading(shard.path, "tar"), _opened(shard.path) as file:
        for sample in shard.samples[start:]:
            name = f"sample {sample.name} of {shard.path.name}"
            try:
                # In the order of the file: going back in gzip is to unzip it all again.
                places = sorted(place for place in (sample.image, sample.label) if place)
                contents = {place: _content(file, place) for place in places}
            except _CUT as error:
                yield Item(None, name, fault=_why(error))
                continue
            label = -1 if sample.label is None else _number(contents[sample.label], sample.json)
            yield Item(contents[sample.image or (0, 0)], name, label)
    if shard.fault:
        yield Item(None, shard.path.name, fault=shard.fault)


def _content(file: IO[bytes], place: tuple[int, int]) -> bytes:
    file.seek(place[0])
    content = file.read(place[1])
    if len(content) < place[1]:
        raise EOFError("the file is cut off")
    return content


def _number(text: bytes, in_json: bool) -> int:
    """Return the label that a member holds, or -1."""
    try:
        value = json.loads(text)
    except ValueError:
        return -1
    if in_json:
        value = value.get("label") if isinstance(value, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


def _why(error: BaseException) -> str:
    said = str(error).strip() or type(error).__name__
    return said.splitlines()[0][:80].rstrip(". ")
