"""``interpolate``, ``manifold``, ``temperature``, ``extrapolate``: from latents to pictures."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from .options import Device, Model, SomeData

__all__ = [
    "Out",
    "Seed",
    "ToAll",
    "checked_seed",
    "extrapolate",
    "interpolate",
    "manifold",
    "temperature",
]

Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE",
        help="Images: .png, .gif or .npy; rows: .csv, .parquet or .npy. Named by the verb if not "
        "given.",
        show_default=False,
    ),
]

Seed = Annotated[int | None, typer.Option(help="Makes the draw repeatable.", show_default=False)]

ToAll = Annotated[
    str | None,
    typer.Option(
        "--given",
        metavar="A=X,B=Y",
        help="What a conditional model is given, the same for all events.",
        show_default=False,
    ),
]


class Way(StrEnum):
    """From one latent to another."""

    shell = "shell"
    line = "line"


def interpolate(
    model: Model,
    data: SomeData = None,
    between: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A,B",
            help="Two events of DATA by their numbers, or two files. May be given several times.",
            show_default=False,
        ),
    ] = None,
    pairs: Annotated[
        int, typer.Option(help="Without --between: so many pairs of random latents.")
    ] = 4,
    steps: Annotated[int, typer.Option(help="Events on each way, both ends included.")] = 8,
    path: Annotated[
        Way, typer.Option(help="Along the shell that latents lie on, or straight.")
    ] = Way.shell,
    given: ToAll = None,
    seed: Seed = None,
    out: Out = None,
    device: Device = None,
) -> None:
    """Show the way from one event to another through the latent space, a pair a row.

    A .gif goes there and back. Rows become a table with the columns pair and step.

    Example: pushforward interpolate runs/digits digits --between 3,17 --between 5,8

    Example: pushforward interpolate runs/digits --seed 0 --steps 24 -o way.gif
    """
    from ..jobs import latent
    from .chosen import given_to_all, pairs_of
    from .output import say
    from .reading import open_model
    from .strips import Axis, strip_path, write_strips

    flow = open_model(model, device, conditional=True, needs="encode" if between else "sample")
    target = strip_path(flow, out, "interpolation")
    context = given_to_all(flow, given)
    ends = pairs_of(flow, between, data) if between else (None, None)
    x = latent.interpolate(
        flow,
        *ends,
        steps=steps,
        path=path.value,
        pairs=pairs,
        seed=checked_seed(seed),
        context=context,
    )
    count = len(x)
    rows = Axis("pair", range(count), between)
    write_strips(target, flow, x, rows, Axis("step", range(steps)))
    say(f"{count:,} x {steps:,} events written to {target}")


def manifold(
    model: Model,
    data: SomeData = None,
    of: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C,D",
            help="Four events of DATA by their numbers; four random latents if not given.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps of either angle.")] = 8,
    given: ToAll = None,
    seed: Seed = None,
    out: Out = None,
    device: Device = None,
) -> None:
    """Draw the manifold that four images span (Real NVP, equation 19), by two angles.

    The examples are in the first row and column: A upper left, then B to the right, C below, D
    below B. Both angles go round; a .gif goes round the first. A VAE with two latent numbers shows
    its whole plane.

    Example: pushforward manifold runs/digits digits --of 0,11,22,33
    """
    from ..jobs import latent
    from .chosen import all_events, given_to_all, picked, source_of
    from .output import say
    from .reading import open_model
    from .strips import Axis, list_of_numbers, strip_path, write_strips

    flow = open_model(model, device, conditional=True, needs="encode" if of else "sample")
    latent.check_images(flow, "the manifold")
    target = strip_path(flow, out, "manifold")
    context = given_to_all(flow, given)
    x = None
    if of is not None:
        places = list_of_numbers(of, "--of", int)
        source = source_of(flow, data, "manifold")
        x = picked(all_events(flow, source), places, source)
    images = latent.manifold(flow, x, steps=steps, seed=checked_seed(seed), context=context)
    moving = target.suffix.lower() == ".gif"
    if moving:  # one picture for each step of the first angle
        images = images.transpose(0, 1)
    axes = Axis("first angle", range(steps)), Axis("second angle", range(steps))
    write_strips(target, flow, images, *axes, back=False)
    say(f"{steps:,} x {steps:,} images written to {target}")


def temperature(
    model: Model,
    temperatures: Annotated[
        str, typer.Option(metavar="A,B,...", help="Spreads of the noise; 1 is the density itself.")
    ] = "0.5,0.7,0.9,1",
    n: Annotated[int, typer.Option("-n", metavar="COUNT", help="Samples at each.")] = 8,
    given: ToAll = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise, the same at all.")] = 0,
    out: Out = None,
    device: Device = None,
) -> None:
    """Draw samples at several temperatures from the same noise, a temperature a row.

    Rows become a table with the columns temperature and sample.

    Example: pushforward temperature runs/digits --temperatures 0.5,0.7,0.9,1
    """
    from ..jobs import latent
    from .chosen import given_to_all
    from .output import say
    from .reading import open_model
    from .strips import Axis, list_of_numbers, strip_path, write_strips

    flow = open_model(model, device, conditional=True, needs="sample")
    target = strip_path(flow, out, "temperature")
    values = list_of_numbers(temperatures, "--temperatures")
    x = latent.temperatures(flow, values, n=n, seed=seed, context=given_to_all(flow, given))
    rows, columns = (
        Axis("temperature", values, [f"{t:g}" for t in values]),
        Axis("sample", range(n)),
    )
    if target.suffix.lower() == ".gif":  # one picture for each temperature
        x, rows, columns = x.transpose(0, 1), columns, rows
    write_strips(target, flow, x, rows, columns)
    say(f"{len(values):,} x {n:,} samples written to {target}")


def extrapolate(
    model: Model,
    scale: Annotated[int, typer.Option(help="Times as high and wide as what was learned.")] = 2,
    n: Annotated[
        int | None,
        typer.Option(
            "-n",
            metavar="COUNT",
            help="How many images; 9 of twice the size, 1 of ten times it, if not given.",
            show_default=False,
        ),
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="Spread of the noise: 1 is the density itself, less is tamer.")
    ] = 1.0,
    given: ToAll = None,
    seed: Seed = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="Where to write: .png or .npy.")
    ] = Path("extrapolation.png"),
    device: Device = None,
) -> None:
    """Draw images larger than those that were learned, by a fully convolutional flow.

    Such are RealNVP with model.positions=false, and the models of the paper (realnvp-cifar10).

    Example: pushforward extrapolate runs/textures --scale 2

    Example: pushforward extrapolate runs/textures --scale 10 -n 1 --temperature 0.9
    """
    from ..jobs import latent
    from ..pictures import image_grid, write_png
    from .chosen import given_to_all
    from .output import say
    from .reading import open_model
    from .strips import strip_path
    from .writers import npy_writer

    flow = open_model(model, device, conditional=True, needs="sample")
    latent.check_images(flow, "extrapolate")
    target = strip_path(flow, out, "extrapolation", gif=False)
    count = max(1, round(36 / max(1, scale) ** 2)) if n is None else n
    x = latent.extrapolate(
        flow,
        count,
        scale=scale,
        temperature=temperature,
        seed=checked_seed(seed),
        context=given_to_all(flow, given),
    )
    values = x.cpu().numpy()
    if target.suffix.lower() == ".npy":
        with npy_writer(target, values.shape) as write:
            write(values)
    else:
        enlarged = max(1, round(64 / max(flow.shape[1:])))  # as samples of the usual size are
        write_png(target, image_grid(values, flow.levels, scale=enlarged))
    size = " x ".join(map(str, values.shape[2:]))
    say(f"{count:,} image{'' if count == 1 else 's'} of {size} pixels written to {target}")


def checked_seed(seed: int | None) -> int | None:
    """The seed that was given, if it is one."""
    if seed is not None and not 0 <= seed < 2**63:
        raise InputError(f"--seed takes a whole number from 0; got {seed}.")
    return seed
