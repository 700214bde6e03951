"""``nearest``: the neighbours of events, in the latent space and beside it."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .latent_data import Events
from .options import Device, Model, SomeData

if TYPE_CHECKING:
    from ..flow import Flow
    from ..jobs.latent import Neighbours

__all__ = ["nearest"]


class Metric(StrEnum):
    """How far two latents are apart."""

    angle = "angle"
    distance = "distance"


def nearest(
    model: Model,
    data: SomeData = None,
    events: Events = "0,1,2,3",
    of: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Look for the neighbours of all events of this source, not of --events.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", metavar="COUNT", help="Neighbours of each.")] = 5,
    metric: Annotated[
        Metric | None,
        typer.Option(
            help="Between latents; the angle for images, the distance for rows if not given.",
            show_default=False,
        ),
    ] = None,
    draws: Annotated[
        int, typer.Option(help="Draws of noise that a latent is the mean of (integers).")
    ] = 8,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="A .png (images), .csv or .parquet; a picture or a .csv if not given.",
            show_default=False,
        ),
    ] = None,
    device: Device = None,
) -> None:
    """Find the nearest neighbours of events in the latent space, and beside them in the data.

    A picture shows each event, its neighbours by latents and those by pixels, with their numbers.
    A table has the columns event, space, rank, neighbour and distance. Rows that lack a value are
    nobody's neighbours.

    Example: pushforward nearest runs/digits digits --events 0,1,2 -k 5

    Example: pushforward nearest runs/table table.csv --of new.csv -o neighbours.csv
    """
    import numpy as np

    from ..jobs import latent
    from .chosen import all_events, complete, picked, source_of
    from .output import say
    from .reading import open_model
    from .strips import list_of_numbers
    from .writers import check_suffix

    flow = open_model(model, device, needs="encode")
    images = len(flow.shape) == 3
    target = out or Path("nearest.png" if images else "nearest.csv")
    check_suffix(target, [".png", ".csv", ".parquet"] if images else [".csv", ".parquet"])
    source = source_of(flow, data, "nearest")
    x = all_events(flow, source)
    places = list_of_numbers(events, "--events", int)
    queries = picked(x, places, source) if of is None else all_events(flow, of)
    if of is not None:
        places = list(range(len(queries)))
        queries = picked(queries, places, of)
    whole = complete(x)
    where = np.flatnonzero(whole)  # the numbers of those that have latents
    found = latent.nearest(
        flow,
        queries,
        x if whole.all() else x[whole],
        k=k,
        metric=None if metric is None else metric.value,
        draws=draws,
        own=np.searchsorted(where, places) if of is None else None,
    )
    found = replace(found, latent=where[found.latent], data=where[found.data])
    if target.suffix.lower() == ".png":
        _draw(target, flow, queries, x, places, found)
    else:
        _tabulate(target, places, found)
    say(f"{k:,} neighbours of {len(queries):,} events written to {target}")


def _draw(
    path: Path, flow: Flow, queries: Any, x: Any, places: list[int], found: Neighbours
) -> None:
    """A row for each event: itself, its neighbours by latents, a gap, those by pixels."""
    import numpy as np

    from ..pictures import write_png
    from ..sheets import labelled_grid

    n, k = found.latent.shape
    near = np.stack([x[i] for i in found.latent.flatten()]).reshape(n, k, *flow.shape)
    beside = np.stack([x[i] for i in found.data.flatten()]).reshape(n, k, *flow.shape)
    images = np.concatenate((queries[:, None], near, beside), axis=1)
    columns = ["event", *(f"{by} {i + 1}" for by in ("latent", "pixels") for i in range(k))]
    write_png(path, labelled_grid(images, flow.levels, [str(i) for i in places], columns))


def _tabulate(path: Path, places: list[int], found: Neighbours) -> None:
    """A line for each neighbour; numbers count from 0."""
    import numpy as np

    from .writers import table_writer

    n, k = found.latent.shape
    event = np.repeat(np.asarray(places), 2 * k)
    space = np.tile(np.repeat(["latent", "data"], k), n)
    rank = np.tile(np.arange(1, k + 1), 2 * n)
    where = np.concatenate((found.latent, found.data), axis=1).flatten()
    distance = np.concatenate((found.latent_distance, found.data_distance), axis=1).flatten()
    with table_writer(path, ["event", "space", "rank", "neighbour", "distance"]) as append:
        append([event, space, rank, where, distance])
