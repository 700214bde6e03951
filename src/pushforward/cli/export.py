"""``export``: a model as a program that runs without this library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Model

__all__ = ["export"]


def export(
    model: Model,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Ends in .pt2 or .onnx.", show_default=False
        ),
    ],
    function: Annotated[
        str, typer.Option(metavar="NAME", help="log_prob, encode or decode.")
    ] = "log_prob",
    format: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="torch or onnx, if the file's ending does not say.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a model as a program that needs no pushforward: torch.export or ONNX.

    Example: pushforward export runs/digits -o digits.onnx

    Example: pushforward export runs/digits -o decoder.pt2 --function decode

    The program takes any number of events at a time. It is run before it is kept, and must agree
    with the model to 1e-5. log_prob is in nats. ONNX needs: pip install 'pushforward[onnx]'.
    """
    from ..models import load
    from .output import say

    flow = load(model)
    if "export" in flow.refuses:
        raise flow.refusal("export")
    worst = flow.export(out, format=format, function=function)
    say(f"{function} of {flow.name} written to {out}; it agrees with the model to {worst:.0e}")
