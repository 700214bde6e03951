"""Paths: which reader a file, a folder or a glob is for."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError
from .arrays import read_npy, read_npz
from .delimited import read_csv
from .folders import IMAGE_ENDINGS, files_in, list_images, read_images
from .found import Found, Request, counted, listed, natural, stem
from .idx import idx_files, is_idx, read_idx_file, read_idx_folder
from .toy import TOYS

__all__ = ["BUILT_IN", "from_path", "image_files"]

BUILT_IN = ("digits", *TOYS)
"""The names of the data sets that need no file."""

_CSV = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_PARQUET = (".parquet", ".pq")
_READS = "CSV, TSV, Parquet, npy, npz, idx (MNIST), and png, jpg, bmp, gif, tif or webp images"


def from_path(text: str, request: Request) -> Found:
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
    found = _from_file(path, request)
    found.title = stem(path)
    return found


def image_files(source: str) -> list[str] | None:
    """Return the images of a folder, relative to it, in the order of ``read_for``.

    None for every other source: a built-in name, a file, a folder of Parquet or idx files.
    """
    folder = Path(source).expanduser()
    if source.lower().replace("_", "-") in BUILT_IN or not folder.is_dir():
        return None
    files = files_in(folder)
    if idx_files(files) or any(_ends(path, _PARQUET) for path in files):
        return None
    return [path.relative_to(folder).as_posix() for path in list_images(folder)]


def _from_glob(text: str, path: Path, request: Request) -> Found:
    files = _matches(path)
    if files and all(_ends(file, _PARQUET) for file in files):
        from .parquet import read_parquet

        return read_parquet(files, path.parent.name or "parquet", request)
    if files and all(_ends(file, IMAGE_ENDINGS) for file in files):
        root = Path(os.path.commonpath([file.parent for file in files]))
        return read_images(root, files, request, root.name or "images")
    if files:
        raise InputError(f"{text} matches {listed(files, 3)}; a glob is for Parquet or images.")
    if "://" in text:
        raise InputError(f"{text} is an address; download it first and give the file.")
    near = difflib.get_close_matches(path.name.lower(), _neighbours(path), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise InputError(
        f"no such file or folder: {text}.{hint} Built-in names are {listed(BUILT_IN)}."
    )


def _matches(path: Path) -> list[Path]:
    wild = [i for i, part in enumerate(path.parts) if set("*?[") & set(part)]
    if not wild:
        return []
    root, pattern = Path(*path.parts[: wild[0]]), str(Path(*path.parts[wild[0] :]))
    return sorted((file for file in root.glob(pattern) if file.is_file()), key=natural)


def _neighbours(path: Path) -> list[str]:
    try:
        beside = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        beside = []
    return [*BUILT_IN, *beside]


def _ends(path: Path, endings: Sequence[str]) -> bool:
    return path.name.lower().endswith(tuple(endings))


def _from_file(path: Path, request: Request) -> Found:
    if _ends(path, _CSV):
        return read_csv(path, request)
    if _ends(path, _PARQUET):
        from .parquet import read_parquet

        return read_parquet([path], path.name, request)
    if _ends(path, [".npy"]):
        return read_npy(path)
    if _ends(path, [".npz"]):
        return read_npz(path)
    if _ends(path, IMAGE_ENDINGS):
        return read_images(path.parent, [path], request, path.name)
    if is_idx(path):
        return read_idx_file(path)
    raise InputError(f"{path} has no format that is known by its name: {_READS}.")


def _from_folder(folder: Path, request: Request) -> Found:
    name = folder.resolve().name or "folder"
    files = files_in(folder)
    if idx := idx_files(files):
        return read_idx_folder(idx, name)
    if parquet := [path for path in files if _ends(path, _PARQUET)]:
        from .parquet import read_parquet

        return read_parquet(parquet, name, request)
    if images := [path for path in files if _ends(path, IMAGE_ENDINGS)]:
        return read_images(folder, images, request, name)
    single = [path for path in files if _ends(path, [*_CSV, ".npy", ".npz"])]
    if single:
        raise InputError(f"{folder} is a folder; open a file in it, such as {single[0]}.")
    inside = f"holds {counted(len(files), 'file')}, but" if files else "is empty, with"
    raise InputError(f"{folder} {inside} no image, Parquet or idx file.")
