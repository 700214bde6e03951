"""Folders: what is in them, and images whose sub-folders are splits and labels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import InputError
from .encoded import Item
from .found import SPLITS, Request, counted, listed, natural, split_of
from .image_stream import ImageStream

__all__ = ["IMAGE_ENDINGS", "files_in", "list_images", "read_images"]

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


def files_in(folder: Path) -> list[Path]:
    """Return all files of a folder and its sub-folders in natural order (2 before 10).

    Hidden files and folders are skipped, and what is no file, such as a pipe; links are followed,
    each folder once, and those to nothing are returned.

    Raises:
        InputError: a folder cannot be read.
    """
    found: list[Path] = []
    seen: set[str] = set()
    todo, links = [os.fspath(folder)], list[str]()
    while todo or links:  # what lies here first, so that a link beside it does not take its place
        root = todo.pop() if todo else links.pop(0)
        if (real := os.path.realpath(root)) in seen:
            continue
        seen.add(real)
        try:
            with os.scandir(root) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if entry.name.startswith((".", "__MACOSX")):
                        continue
                    if entry.is_dir():
                        (links if entry.is_symlink() else todo).append(entry.path)
                    elif entry.is_file() or not Path(entry.path).exists():
                        found.append(Path(entry.path))
        except OSError as error:
            raise InputError(
                f"cannot read the folder {root}: {error.strerror}. Change its permissions, or "
                "move it elsewhere."
            ) from error
    return sorted(found, key=lambda path: natural(path.relative_to(folder)))


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the image files of a folder, or the one file, in the order of ``read_for``."""
    folder = Path(folder)
    if folder.is_file():
        return [folder]
    images = [path for path in files_in(folder) if path.suffix.lower() in IMAGE_ENDINGS]
    groups, _ = _by_split(folder, images)
    return [path for split in SPLITS for path in groups.get(split, [])]


def read_images(
    folder: Path, images: list[Path], request: Request, name: str, notes: Sequence[str] = ()
) -> ImageStream:
    """Read image files as one source; ``folder`` is what their names are told relative to.

    If all first-level sub-folders are called train, test, val or validation, they are the splits.
    The sub-folders below (or the first-level ones) are labels, integers in the order of
    ``label_names``, if there are several and every image lies in one.
    """
    groups, depth = _by_split(folder, images)
    classes = {path: _class_of(path.relative_to(folder), depth) for path in images}
    names = sorted({label for label in classes.values() if label})
    loose = sum(not label for label in classes.values())
    notes = list(notes)
    if names and loose:
        notes.append(
            f"No labels were taken from the folders ({listed(names, 5)}), because "
            f"{counted(loose, 'image')} {'lies' if loose == 1 else 'lie'} beside them."
        )
    labelled = len(names) > 1 and not loose
    labels = {path: names.index(label) for path, label in classes.items()} if labelled else {}
    images_of = _Files(folder, groups, labels, notes)
    return ImageStream(name, images_of, request, tuple(names) if labelled else None)


class _Files:
    def __init__(
        self,
        folder: Path,
        groups: dict[str, list[Path]],
        labels: dict[Path, int],
        notes: list[str],
    ) -> None:
        self.folder, self.groups, self.labels, self.notes = folder, groups, labels, notes
        self.splits = tuple(split for split in SPLITS if split in groups)
        self.labelled = bool(labels)

    def estimate(self) -> int:
        return sum(self.counts().values())

    def counts(self) -> dict[str, int]:
        return {split: len(self.groups[split]) for split in self.splits}

    def read(self, split: str, start: int) -> Iterator[Item]:
        for path in self.groups[split][start:]:
            name = path.relative_to(self.folder).as_posix()
            yield Item(path, name, self.labels.get(path, -1))

    def files(self) -> list[str]:
        return [str(path) for split in self.splits for path in self.groups[split]]


def _by_split(folder: Path, images: list[Path]) -> tuple[dict[str, list[Path]], int]:
    """Return the images by split, and how many levels of folders that took: 1, or 0 for none."""
    tops = {path: path.relative_to(folder).parts[0] for path in images}
    splits = {path: split_of(top) for path, top in tops.items() if path.name != top}
    if len(splits) < len(images) or None in splits.values() or "train" not in splits.values():
        return {"train": images}, 0
    groups: dict[str, list[Path]] = {}
    for path, split in splits.items():
        groups.setdefault(split or "train", []).append(path)
    return groups, 1


def _class_of(path: Path, depth: int) -> str:
    return path.parts[depth] if len(path.parts) > depth + 1 else ""
