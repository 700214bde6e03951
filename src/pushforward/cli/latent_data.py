"""``resample``, ``edit``: other latents for given events."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from .latent import Out, Seed
from .options import Device, Model, SomeData

if TYPE_CHECKING:
    from ..flow import Flow

__all__ = ["Events", "edit", "resample"]

Events = Annotated[
    str, typer.Option(metavar="A,B,...", help="Events of DATA by their numbers, from 0.")
]


class Fill(StrEnum):
    """What takes the place of latents that are not kept."""

    noise = "noise"
    zero = "zero"


def resample(
    model: Model,
    data: SomeData = None,
    events: Events = "0,1,2,3",
    keep: Annotated[
        str, typer.Option(metavar="A,B,...", help="Per cent of the latents that stay.")
    ] = "100,50,25,12.5,6.25",
    fill: Annotated[
        Fill, typer.Option(help="What the others become: new noise, or 0 (lossy compression).")
    ] = Fill.noise,
    seed: Seed = 0,
    out: Out = None,
    device: Device = None,
) -> None:
    """Keep the coarse latents of images and draw the others anew, a share a column.

    The order is from the scale that leaves last to the one that leaves first. A conditional model
    is given what the data say of each image.

    Example: pushforward resample runs/digits digits --events 0,1,2,3
    """
    from ..jobs import latent
    from .chosen import source_of, their_own
    from .latent import checked_seed
    from .output import say
    from .reading import open_model
    from .strips import Axis, list_of_numbers, strip_path, write_strips

    flow = open_model(model, device, conditional=True, needs="encode")
    latent.check_images(flow, "resample")
    target = strip_path(flow, out, "resample")
    places = list_of_numbers(events, "--events", int)
    shares = list_of_numbers(keep, "--keep")
    if not all(0 < share <= 100 for share in shares):
        raise InputError(f"--keep takes per cent above 0 and up to 100; got {keep}.")
    source = source_of(flow, data, "resample")
    x, context = their_own(flow, source, places)
    share = [value / 100 for value in shares]
    images = latent.resample(
        flow, x, keep=share, fill=fill.value, seed=checked_seed(seed), context=context
    )
    columns = Axis("keep", share, [f"{value:g} %" for value in shares])
    write_strips(target, flow, images, Axis("event", places, [str(i) for i in places]), columns)
    say(f"{len(x):,} images at {len(share):,} shares written to {target}")


def edit(
    model: Model,
    data: SomeData = None,
    direction: Annotated[
        str,
        typer.Option(
            metavar="WHAT",
            help="What events move to: label=3 of images; column=value or column>value of rows.",
            show_default=False,
        ),
    ] = "",
    against: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="What they move away from, said the same way; all others if not given.",
            show_default=False,
        ),
    ] = None,
    events: Events = "0,1,2,3",
    strengths: Annotated[
        str,
        typer.Option(metavar="A,B,...", help="How far: 1 is as far as the two means are apart."),
    ] = "-1,-0.5,0,0.5,1",
    given: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A=X",
            help="Of a conditional model: what is given instead. May be said several times; every "
            "class if not given.",
            show_default=False,
        ),
    ] = None,
    out: Out = None,
    device: Device = None,
) -> None:
    """Move events along an attribute: the mean latent of those that have it minus the others'.

    A conditional model exchanges what it is given instead, and keeps the latent.

    Rows become a table with the columns event and strength.

    Example: pushforward edit runs/digits digits --direction label=3 --against label=1

    Example: pushforward edit runs/people people.csv --direction "income>5000" -o moved.csv

    Example: pushforward edit runs/by-label digits --given label=3 --given label=8
    """
    from ..jobs import latent
    from .attributes import Attributes
    from .chosen import all_events, picked, source_of
    from .output import say
    from .reading import open_model
    from .strips import Axis, list_of_numbers, strip_path, write_strips

    flow = open_model(model, device, conditional=True, needs="encode")
    target = strip_path(flow, out, "edit")
    if flow.context:
        if direction or against:
            raise InputError("a conditional model is edited by --given, not by --direction.")
        _swap(flow, source_of(flow, data, "edit"), events, given or [], target)
        return
    if given:
        raise InputError(f"{flow.name} is given nothing; edit it by --direction.")
    if not direction:
        raise InputError("say where to: --direction label=3, or --direction column=value of rows.")
    places = list_of_numbers(events, "--events", int)
    values = list_of_numbers(strengths, "--strengths")
    source = source_of(flow, data, "edit")
    x = picked(all_events(flow, source), places, source)
    known = Attributes(flow, source)
    having = known.having(direction, "--direction")
    lacking = ~having if against is None else known.having(against, "--against")
    along = latent.direction(flow, known.x[having], known.x[lacking])
    moved = latent.edit(flow, x, along, strengths=values)
    columns = Axis("strength", values, [f"{value:g}" for value in values])
    write_strips(target, flow, moved, Axis("event", places, [str(i) for i in places]), columns)
    say(f"{len(x):,} events at {len(values):,} strengths written to {target}")


def _swap(flow: Flow, source: str, events: str, given: list[str], target: Path) -> None:
    """Give events something else and keep their latents: an event a row, a gift a column."""
    import numpy as np

    from ..jobs import latent
    from ..jobs.given_data import given_of
    from .chosen import their_own
    from .output import say
    from .strips import Axis, list_of_numbers, write_strips

    known = given_of(flow)
    assert known is not None
    categories = known.schema.columns[0].categories
    if not given and (len(known.names) > 1 or not categories):
        raise InputError(f"say what is given instead: --given {known.example()}.")
    said = given or [f"{known.names[0]}={category}" for category in categories or ()]
    others = np.concatenate([known.context(known.parse(text)) for text in said])
    places = list_of_numbers(events, "--events", int)
    swapped = latent.swap(flow, *their_own(flow, source, places), others)
    short = [text.split("=", 1)[1] if len(known.names) == 1 else text for text in said]
    columns = Axis("given", said, short)
    write_strips(target, flow, swapped, Axis("event", places, [str(i) for i in places]), columns)
    say(f"{len(places):,} events given {len(said):,} values written to {target}")
