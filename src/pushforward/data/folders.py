"""Folders: what is in them, and images whose sub-folders are splits and labels."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from .found import SPLITS, Found, Request, counted, listed, natural, split_of
from .images import ImageStack, stack_splits

__all__ = ["IMAGE_ENDINGS", "files_in", "list_images", "read_images"]

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


def files_in(folder: Path) -> list[Path]:
    """Return all files of a folder and its sub-folders in natural order (2 before 10).

    Hidden files and folders are skipped; links are followed, each folder once.
    """
    found, seen = [], set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        found += [Path(root, name) for name in names if not name.startswith(".")]
    return sorted(found, key=lambda path: natural(path.relative_to(folder)))


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the image files of a folder, or the one file, in the order of ``read_for``."""
    folder = Path(folder)
    if folder.is_file():
        return [folder]
    images = [path for path in files_in(folder) if path.suffix.lower() in IMAGE_ENDINGS]
    groups, _ = _by_split(folder, images)
    return [path for split in SPLITS for path in groups.get(split, [])]


def read_images(folder: Path, images: list[Path], request: Request, name: str) -> Found:
    """Read image files as one source; ``folder`` is what their names are told relative to.

    If all first-level sub-folders are called train, test, val or validation, they are the splits.
    The sub-folders below (or the first-level ones) are labels, integers in the order of
    ``label_names``, if there are several and every image lies in one.
    """
    groups, depth = _by_split(folder, images)
    classes = {path: _class_of(path.relative_to(folder), depth) for path in images}
    names = sorted({label for label in classes.values() if label})
    loose = sum(not label for label in classes.values())
    labelled = len(names) > 1 and not loose
    stacks = {}
    for split, paths in groups.items():
        stack = stacks[split] = ImageStack(request, labelled=labelled)
        told = [path.relative_to(folder).as_posix() for path in paths]
        labels = np.array([names.index(classes[path]) for path in paths]) if labelled else None
        stack.add(paths, told, labels)
    found = stack_splits(name, stacks, request)
    if labelled:
        found.label_names = tuple(names)
    elif names and loose:
        found.notes.append(
            f"No labels were taken from the folders ({listed(names, 5)}), because "
            f"{counted(loose, 'image')} lie beside them."
        )
    return found


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
