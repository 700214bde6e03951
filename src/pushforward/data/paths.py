"""Paths: which reader a file, a folder or a glob is for."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..errors import InputError
from .arrays import read_npy, read_npz
from .cifar import is_cifar, read_cifar
from .delimited import read_csv
from .folders import IMAGE_ENDINGS, files_in, list_images, read_images
from .found import Found, Request, counted, listed, natural, stem
from .idx import idx_files, is_idx, read_idx_file, read_idx_folder
from .stream import Stream
from .tars import TAR_ENDINGS, expand_braces, read_tars
from .toy import TOYS

__all__ = ["BUILT_IN", "from_path", "image_files"]

BUILT_IN = ("digits", *TOYS)
"""The names of the data sets that need no file."""

_Kind = Literal["parquet", "tar", "images", "csv"]

_ENDINGS: dict[_Kind, tuple[str, ...]] = {
    "parquet": (".parquet", ".pq"),
    "tar": TAR_ENDINGS,
    "images": IMAGE_ENDINGS,
    "csv": (".csv", ".tsv", ".csv.gz", ".tsv.gz"),
}
"""Formats that several files together may have; in a folder the first of them is meant."""

_SINGLE = {"numpy": (".npy", ".npz")}
_SAID: dict[_Kind, str] = {
    "parquet": "Parquet files",
    "tar": "tar files",
    "images": "images",
    "csv": "CSV files",
}

_READS = (
    "CSV, TSV, Parquet, npy, npz, idx (MNIST), CIFAR's bin, tar (webdataset), and png, jpg, bmp, "
    "gif, tif or webp images"
)


def from_path(text: str, request: Request) -> Found | Stream:
    """Read a file, a folder or a glob.

    Raises:
        InputError: nothing is there, or nothing that can be read.
    """
    if not text.strip():
        raise InputError(
            f"the source is an empty string; give a path or one of {listed(BUILT_IN)}."
        )
    try:
        path = Path(text).expanduser()
        there, folder = path.exists(), path.is_dir()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a null byte, no such user
        raise InputError(f"{text[:60]!r} cannot be the path of a file or folder.") from error
    if not there:
        return _from_glob(text, path, request)
    if folder:
        return _from_folder(path, request)
    if not path.is_file():
        raise InputError(f"{text} is neither a file nor a folder; save what it gives in a file.")
    found = _from_file(path, request)
    if isinstance(found, Found):
        found.title = stem(path)
    return found


def image_files(source: str) -> list[str] | None:
    """Return the images of a folder, relative to it, in the order of ``read_for``.

    None for every other source: a built-in name, a file, a folder of other files.
    """
    folder = Path(source).expanduser()
    if source.lower().replace("_", "-") in BUILT_IN or not folder.is_dir():
        return None
    files = files_in(folder)
    if idx_files(files) or is_cifar(files) or _of_one_kind(files)[0] != "images":
        return None
    return [path.relative_to(folder).as_posix() for path in list_images(folder)]


def _of_one_kind(files: Sequence[Path]) -> tuple[_Kind | None, list[Path]]:
    """Return the first kind that occurs among files, and the files of it."""
    for kind, endings in _ENDINGS.items():
        if chosen := [path for path in files if _ends(path, endings)]:
            return kind, chosen
    return None, []


def _read(
    kind: _Kind,
    files: list[Path],
    name: str,
    root: Path,
    request: Request,
    notes: Sequence[str] = (),
) -> Found | Stream:
    if kind == "parquet":
        from .parquet import read_parquet

        return read_parquet(files, name, request, notes)
    if kind == "tar":
        return read_tars(files, name, request, notes)
    if kind == "images":
        return read_images(root, files, request, name, notes)
    return read_csv(files, name, request, notes)


def _beside(kind: _Kind, files: Sequence[Path]) -> list[str]:
    """Note the data of other kinds in a folder, which are not read."""
    others = {other: ends for other, ends in _ENDINGS.items() if other != kind} | _SINGLE
    left = [path.name for path in files if any(_ends(path, ends) for ends in others.values())]
    return [f"Beside the {_SAID[kind]}, these were not read: {listed(left, 5)}."] if left else []


def _from_glob(text: str, path: Path, request: Request) -> Found | Stream:
    files = _matches(path)
    kind, chosen = _of_one_kind(files)
    if kind is not None and len(chosen) == len(files):
        root = Path(os.path.commonpath([file.parent for file in files]))
        name = root.name if kind == "images" else path.parent.name
        return _read(kind, files, name or kind, root, request)
    if files:
        raise InputError(
            f"{text} matches {listed(files, 3)}; a glob is for files of one kind: Parquet, CSV, "
            "tar or images."
        )
    if "://" in text:
        raise InputError(f"{text} is an address; download it first and give the file.")
    near = difflib.get_close_matches(path.name.lower(), _neighbours(path), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise InputError(
        f"no such file or folder: {text}.{hint} Built-in names are {listed(BUILT_IN)}."
    )


def _matches(path: Path) -> list[Path]:
    """Return the files that a glob or a brace range (``shard-{000..009}.tar``) stands for."""
    found = []
    for text in expand_braces(str(path)):
        parts = Path(text).parts
        wild = [i for i, part in enumerate(parts) if set("*?[") & set(part)]
        if wild:
            root, pattern = Path(*parts[: wild[0]]), str(Path(*parts[wild[0] :]))
            # a link to nothing is left to its reader to name
            found += [f for f in root.glob(pattern) if f.is_file() or not f.exists()]
        elif text != str(path):  # named by a range: a gap in it should not pass unnoticed
            if not Path(text).is_file():
                raise InputError(f"no such file: {text}, which {path.name} names.")
            found.append(Path(text))
    return sorted(found, key=natural)


def _neighbours(path: Path) -> list[str]:
    try:
        beside = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        beside = []
    return [*BUILT_IN, *beside]


def _ends(path: Path, endings: Sequence[str]) -> bool:
    return path.name.lower().endswith(tuple(endings))


def _from_file(path: Path, request: Request) -> Found | Stream:
    kind, _ = _of_one_kind([path])
    if kind is not None:
        return _read(kind, [path], path.name, path.parent, request)
    if _ends(path, [".npy"]):
        return read_npy(path)
    if _ends(path, [".npz"]):
        return read_npz(path)
    if is_idx(path):
        return read_idx_file(path)
    if is_cifar([path]):
        return read_cifar([path], path.name)
    raise InputError(f"{path} has no format that is known by its name: {_READS}.")


def _from_folder(folder: Path, request: Request) -> Found | Stream:
    name = folder.resolve().name or "folder"
    files = files_in(folder)
    if idx := idx_files(files):
        return read_idx_folder(idx, name)
    if is_cifar(files):
        return read_cifar(files, name)
    kind, chosen = _of_one_kind(files)
    if kind is not None:
        return _read(kind, chosen, name, folder, request, _beside(kind, files))
    single = [path for path in files if _ends(path, _SINGLE["numpy"])]
    if single:
        raise InputError(f"{folder} is a folder; open a file in it, such as {single[0]}.")
    inside = f"holds {counted(len(files), 'file')}, but" if files else "is empty, with"
    raise InputError(f"{folder} {inside} no image, Parquet, CSV, tar, CIFAR or idx file.")
