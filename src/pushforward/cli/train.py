"""``train``: from a source to a saved model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from .options import Columns, Device, Size

__all__ = ["train"]


def train(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="A built-in name (see 'data'), a file, a folder or a quoted glob.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="See 'models'; realnvp if not given.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where to save; a new folder in runs/ if not given.",
            show_default=False,
        ),
    ] = None,
    max_time: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Such as 90s, 15m, 1h30m.", show_default=False),
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(help="Passes over the data.", show_default=False)
    ] = None,
    max_steps: Annotated[
        int | None, typer.Option(help="Steps of the optimiser.", show_default=False)
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Events in a step.", show_default=False)
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.", show_default=False)] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Of first weights, order and noise, not of the splits. 0 if not given.",
            show_default=False,
        ),
    ] = None,
    size: Size = None,
    columns: Columns = None,
    device: Device = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="YAML with source: and the sections model:, fit:, data:.",
            show_default=False,
        ),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="One setting, such as model.couplings=6 or fit.clip=1. Repeat as you need.",
            show_default=False,
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a model in --out.")] = False,
) -> None:
    """Train a model on any source and save it with curves, samples and its settings.

    Example: pushforward train digits

    Example: pushforward train table.csv --columns age,income --max-time 15m

    A setting is taken from the first of these that has it: an option, --set, the --config file,
    the recommendation for the data (or the named model's own), the library's default. A limit
    (epochs, steps, time) replaces the limits of all that come later in this list. Ctrl-C ends
    training, saves the best weights so far and exits with code 130.
    """
    from .config import plan, read_config, read_sets
    from .folder import refuse_taken, reserved
    from .output import pairs
    from .prepare import prepare
    from .results import announce, conclude

    fit = {
        "max_time": max_time,
        "epochs": epochs,
        "max_steps": max_steps,
        "batch_size": batch_size,
        "lr": lr,
        "device": device,
    }
    flags = {
        "source": source,
        "model": {"name": model},
        "fit": fit,
        "data": {"size": size, "columns": columns},
    }
    levels = [read_config(config) if config else {}, read_sets(sets or []), _given(flags)]
    asked = plan(levels, seed)
    if out is not None:
        refuse_taken(out, force)
    prepared = prepare(asked)
    with reserved(out, prepared.dataset.name) as folder:
        if quiet:
            for note in prepared.dataset.notes:
                typer.echo(f"note: {note}", err=True)
        else:
            pairs(announce(prepared, asked, folder))
        interrupted = conclude(prepared, asked, folder, quiet)
    if interrupted:
        typer.echo("interrupted; the best weights so far are saved", err=True)
        raise typer.Exit(130)


def _given(level: Mapping[str, object]) -> dict[str, object]:
    """The flags that were given."""
    return {
        key: _given(value) if isinstance(value, Mapping) else value
        for key, value in level.items()
        if value is not None
    }
