"""What stands for the words of a table where rows are told apart by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from .schema import Schema

__all__ = ["by_content", "words_of"]


def words_of(schema: Schema | None) -> dict[int, np.ndarray]:
    """A number for each category of each column that has some: place -> ``(k,)``, float64.

    It is made of the word alone. The code of a category is its place in a list whose order
    follows from the whole table, and is another one when the table grows.
    """
    if schema is None:
        return {}
    return {
        place: np.array([_number(word) for word in column.categories])
        for place, column in enumerate(schema.columns)
        if column.categories
    }


def by_content(rows: np.ndarray, words: Mapping[int, np.ndarray]) -> np.ndarray:
    """Rows ``(N, D)`` with these numbers in place of codes; what is missing stays NaN."""
    if not words:
        return rows
    told = rows.astype(np.float64)
    for place, numbers in words.items():
        codes = told[:, place]
        known = ~np.isnan(codes)
        told[known, place] = numbers[codes[known].astype(np.int64)]
    return told


def _number(word: str) -> float:
    """A whole number that float64 holds, the same for the same word everywhere."""
    digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=6).digest()
    return float(int.from_bytes(digest, "little"))
