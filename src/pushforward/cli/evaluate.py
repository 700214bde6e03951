"""``eval``: how well a model describes data, and whether its intervals are right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .options import Device, Json, Model, Part, SomeData, Split

if TYPE_CHECKING:
    from ..data.found import Missing
    from ..flow import Flow
    from ..jobs.coverage import Coverage

__all__ = ["evaluate"]

MOST = 1_000
"""Rows by which intervals are checked, each with some 200 draws."""


def evaluate(
    model: Model,
    data: SomeData = None,
    split: Part = Split.test,
    samples: Annotated[
        int,
        typer.Option(help="Draws of noise per event; more give a tighter bound (integers)."),
    ] = 1,
    intervals: Annotated[
        bool | None,
        typer.Option(
            "--coverage/--no-coverage",
            help="Of tables: how often intervals of 50, 80, 90 and 95 % hold the truth. By default "
            "of conditional models.",
            show_default=False,
        ),
    ] = None,
    json_file: Json = None,
    device: Device = None,
) -> None:
    """Measure the loss of a model on data, with its unit and standard error.

    Models without a density have another measure: a classifier cross-entropy and error rate on the
    labels of the data, a GAN the distance between samples and data.

    Example: pushforward eval runs/digits

    Example: pushforward eval runs/table other.csv --split all

    Of a conditional table it also tells how often the model's intervals hold what happened.

    With --samples K it also tells the loss by one draw, as papers report it.

    A model that learned from rows with missing values is measured on such rows, too; of a
    conditional model, rows that lack what is given are left out, and counted.

    By default on the test part: the split is the one of training, as long as DATA is the source
    that the model learned from. Without DATA, the built-in set that it learned.
    """
    from ..jobs import measure
    from .lacking import lacking_rows, without_lacking
    from .output import paragraphs, write_json
    from .reading import default_source, open_model, read_beside, read_labelled

    flow = open_model(model, device, conditional=True)
    source = data or default_source(flow)
    if source is None:
        raise InputError(
            f"{model} did not learn a built-in set, so say what to evaluate it on: "
            f"pushforward eval {model} DATA."
        )
    if intervals and len(flow.shape) != 1:
        raise InputError("--coverage is of the columns of a table; this is a model of images.")
    found: Coverage | None = None
    remark = ""
    if flow.labels:
        result = measure(flow, *read_labelled(flow, source, split))
    else:
        some = flow.takes_missing
        missing: Missing = "keep" if some or flow.context else "raise"
        x, given = read_beside(flow, source, split, missing)
        x, given, left = without_lacking(x, given, source, some=some)
        if left:
            remark = f"\n\n{lacking_rows(left, given, some=some)} no part in this."
        result = measure(flow, x, given, samples=samples)
        wanted = bool(flow.context) if intervals is None else intervals
        if wanted and len(flow.shape) == 1:
            found = _coverage(flow, x, given)
    content = {"model": str(model), "data": source, "split": split.value, **result.to_dict()}
    if found is not None:
        content["coverage"] = found.to_dict()
    if json_file is None or not write_json(json_file, content):
        part = "all" if split is Split.all else f"the {split.value} part"
        said = "" if found is None else f"\n\n{found}"
        paragraphs(f"{model} on {part} of {source}\n{result}{remark}{said}")


def _coverage(flow: Flow, x: Any, given: Any) -> Coverage:
    """Of at most ``MOST`` complete rows, evenly from all."""
    import numpy as np

    from ..jobs.coverage import coverage
    from .reading import column_names

    rows = np.flatnonzero(~np.isnan(x).any(axis=1))
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), MOST)).astype(np.int64)]
    beside = None if given is None else given[rows]
    return coverage(flow, x[rows], beside, names=column_names(flow))
