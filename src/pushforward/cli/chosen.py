"""Which events of which data a verb is about, and what a conditional model is given of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .options import Split

if TYPE_CHECKING:
    from ..flow import Flow

__all__ = ["all_events", "complete", "given_to_all", "pairs_of", "picked", "source_of", "their_own"]

Array = np.ndarray[Any, np.dtype[Any]]


def source_of(flow: Flow, data: str | None, verb: str) -> str:
    """The data that were named, or the built-in set that the model learned.

    Raises:
        InputError: neither is there.
    """
    from .reading import default_source

    source = data or default_source(flow)
    if source is None:
        raise InputError(
            f"the model did not learn a built-in set, so say which data are meant: "
            f"pushforward {verb} MODEL DATA."
        )
    return source


def all_events(flow: Flow, source: str) -> Array:
    """All events of the source, in its order: ``(N, *shape)``; what is missing is NaN.

    What a conditional model is given need not be in it.
    """
    from ..jobs.learned_data import read_as_learned
    from .reading import reading_of

    return read_as_learned(flow, source, missing="keep", reading=asdict(reading_of(flow)))


def given_to_all(flow: Flow, text: str | None) -> Array | None:
    """The context that ``--given`` tells, for all events: ``(K,)``; None if the model takes none.

    Raises:
        InputError: a conditional model is given nothing, another something, or what it does not
            know.
    """
    from ..jobs.given_data import given_of
    from .given import asked_of

    known = given_of(flow)
    if known is not None and text is None:
        raise InputError(
            f"the model is given {', '.join(known.names)}: say what, such as --given "
            f"{known.example()}."
        )
    asked = asked_of(flow, text, None, 1)
    return None if asked is None else np.asarray(asked.context[0])


def their_own(flow: Flow, source: str, places: list[int]) -> tuple[Array, Array | None]:
    """The events at these places, and what the source says that a conditional model is given.

    Raises:
        InputError: as for ``picked``.
    """
    from .reading import read_beside

    x, context = read_beside(flow, source, Split.all, "keep")
    chosen = picked(x, places, source)
    return chosen, None if context is None else picked(context, places, source)


def complete(x: Array) -> Array:
    """Which events lack nothing: ``(N,)``, Boolean."""
    if x.dtype.kind != "f":
        return np.ones(len(x), bool)
    return np.asarray(~np.isnan(x.reshape(len(x), -1)).any(axis=1))


def picked(x: Array, places: list[int], source: str) -> Array:
    """The events at these places, counted from 0.

    Raises:
        InputError: there is none at one of them, or it lacks a value.
    """
    wrong = next((place for place in places if not 0 <= place < len(x)), None)
    if wrong is not None:
        raise InputError(
            f"there is no event {wrong:,} in {source}: it has {len(x):,}, counted from 0."
        )
    chosen = np.stack([np.asarray(x[place]) for place in places])
    lacking = [place for place, whole in zip(places, complete(chosen), strict=True) if not whole]
    if lacking:
        raise InputError(
            f"event {lacking[0]:,} of {source} lacks a value, so it has no latent; choose another, "
            f"or fill it in first."
        )
    return chosen


def pairs_of(flow: Flow, texts: list[str], data: str | None) -> tuple[Array, Array]:
    """Both ends of each ``A,B``: places in the data, or two files of one event each.

    Raises:
        InputError: something else than two, or files that hold more than one event.
    """
    ends: list[list[Array]] = []
    x: Array | None = None
    for text in texts:
        parts = [part.strip() for part in text.split(",")]
        if len(parts) != 2 or not all(parts):
            raise InputError(f"--between takes two, such as 3,17 or a.png,b.png; got {text!r}.")
        numbers = [part.lstrip("-").isdigit() for part in parts]
        if any(numbers) and not all(numbers):
            raise InputError(f"--between takes two numbers, or two files; got {text!r}.")
        if all(numbers):
            source = source_of(flow, data, "interpolate")
            x = all_events(flow, source) if x is None else x
            ends.append(list(picked(x, [int(part) for part in parts], source)))
        else:
            ends.append([_only(flow, part) for part in parts])
    return np.stack([a for a, _ in ends]), np.stack([b for _, b in ends])


def _only(flow: Flow, path: str) -> Array:
    x = all_events(flow, path)
    if len(x) != 1:
        raise InputError(
            f"{path} holds {len(x):,} events, of which --between takes one; say "
            f"pushforward interpolate MODEL {path} --between 0,1 to choose by number."
        )
    return np.asarray(x[0])
