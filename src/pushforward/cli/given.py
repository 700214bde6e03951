"""What ``sample`` is given: one set of values, the rows of a file, or every class in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from ..data import read_for
from ..data.given import LABEL, Given
from ..errors import InputError
from ..jobs.given_data import given_of

if TYPE_CHECKING:
    from ..flow import Flow

__all__ = ["Asked", "asked_of", "contexts_to_draw"]

Array = np.ndarray[Any, np.dtype[Any]]

OF_A_CLASS = 8
"""Images of each class, where nothing is given."""


@dataclass(frozen=True)
class Asked:
    """What each sample is given.

    Attributes:
        given: the columns.
        values: ``(N, G)``, one row for each sample.
        across: how many samples in turn are given the same, where a picture might show that.
    """

    given: Given
    values: Array
    across: int | None = None

    @property
    def context(self) -> Array:
        """The model's context ``(N, K)``."""
        return self.given.context(self.values)

    def frame(self) -> Any:
        """The given cells, as a data frame with the types of the source."""
        return self.given.schema.decode(self.values)


def asked_of(flow: Flow, text: str | None, source: str | None, n: int | None) -> Asked | None:
    """What each of the samples is given; None for an unconditional model.

    Args:
        flow: the model.
        text: of ``--given``, such as ``y=3,colour=red``.
        source: of ``--given-from``, a table.
        n: how many samples: in all of ``text``, and for each row of ``source`` and each class.

    Raises:
        InputError: something is given to a model that takes nothing, or the other way round; a
            name or a value that the model does not know.
    """
    if text is not None and source is not None:
        raise InputError("--given says what is given once, --given-from for each row; give one.")
    given = given_of(flow)
    if given is None:
        if text is None and source is None:
            return None
        raise InputError(
            f"{flow.name} is given nothing: it learned all columns together. Train it with --given "
            f"and the columns that are to be given."
        )
    if text is not None:
        values = given.parse(text)
        _note_range(given, values)
        return Asked(given, values.repeat(n or (64 if len(flow.shape) == 3 else 1000), axis=0))
    if source is not None:
        values = read_for(
            source, shape=(len(given.names),), columns=list(given.names), schema=given.schema
        )
        if not len(values):
            raise InputError(f"{source} has no rows, so nothing is given.")
        _note_range(given, values)
        return Asked(given, values.repeat(n or 1, axis=0))
    if given.names == (LABEL,) and len(flow.shape) == 3:
        return Asked(given, _classes(given, n or OF_A_CLASS), n or OF_A_CLASS)
    raise InputError(
        f"the model is given {', '.join(given.names)}: say --given {given.example()}, or "
        f"--given-from FILE with a row for each."
    )


def contexts_to_draw(flow: Flow, beside: Array | None, n: int) -> tuple[Array | None, int | None]:
    """Contexts for about n samples, for a look at a model, and how many in turn are the same.

    Images of each class in turn; of rows those of the data, ``beside``, as often as needed.
    """
    given = Given.of(flow)
    if given is not None and len(flow.shape) == 3 and given.names == (LABEL,):
        count = max(1, min(OF_A_CLASS, 2 * n // given.width))
        return given.context(_classes(given, count)), count
    if beside is None or not len(beside):
        return None, None
    return np.resize(beside, (n, beside.shape[1])), None


def _classes(given: Given, count: int) -> Array:
    """Each class in turn, ``count`` times: ``(classes * count, 1)``."""
    return np.arange(given.width, dtype=np.float64).repeat(count)[:, None]


def _note_range(given: Given, values: Array) -> None:
    """Say where a number lies outside of those that the model has seen: it can but guess there."""
    for i, column in enumerate(given.schema.columns):
        if column.least is None or column.most is None or column.kind not in ("number", "integer"):
            continue
        beyond = (values[:, i] < column.least) | (values[:, i] > column.most)
        if beyond.any():
            typer.echo(
                f"note: {column.name} = {values[beyond][0, i]:g} lies outside of {column.least:g} "
                f"to {column.most:g}, all that the model has seen; what it says there is a guess.",
                err=True,
            )
