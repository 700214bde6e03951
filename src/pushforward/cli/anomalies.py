"""``anomalies``: rank rows or images by how unusual they are, and say why."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .options import Device

if TYPE_CHECKING:
    from ..jobs.detection.record import Anomalies

__all__ = ["anomalies"]

SHOWN = 10
"""Events that are printed."""


def anomalies(
    model_or_data: Annotated[
        str,
        typer.Argument(
            metavar="[MODEL] DATA",
            help="Folder of a saved model, then any source; or the source alone.",
            show_default=False,
        ),
    ],
    data: Annotated[str | None, typer.Argument(metavar="", hidden=True)] = None,
    held_out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Usual events that were not learned, to calibrate by; the test part if DATA is "
            "what the model learned.",
            show_default=False,
        ),
    ] = None,
    false_alarms: Annotated[
        float, typer.Option(help="Share of usual events that may be flagged.")
    ] = 0.01,
    score: Annotated[
        str,
        typer.Option(
            help="likelihood, typicality, complexity, either, or auto: by the kind of data."
        ),
    ] = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Write score, p-value, flag and reasons of all: .csv or .parquet.",
            show_default=False,
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The top 16 images with heat maps, .png.", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of learning, without a model.")] = 0,
    device: Device = None,
) -> None:
    """Find the rows or images that do not belong, with calibrated p-values and the reasons.

    Example: pushforward anomalies table.csv

    Example: pushforward anomalies runs/table new.csv --held-out usual.csv -o scores.csv

    Example: pushforward anomalies runs/photos photos/ --picture top.png

    With DATA alone a density is learned from the very data, such that anomalies among them do not
    bend it. A p-value is the share of held-out events that are as unusual; of usual events a share
    of --false-alarms is flagged. For each row the columns that take part are shown, with the range
    in which 9 of 10 values would lie, given the other columns.
    """
    from ..jobs.detection.anomalies import anomalies as find
    from ..storage import is_model
    from .reading import open_model
    from .writers import check_suffix

    if out is not None:
        check_suffix(out, [".csv", ".parquet"])
    if picture is not None:
        check_suffix(picture, [".png"])
    if not 0 < false_alarms < 1:
        raise InputError(f"--false-alarms is a share such as 0.01; got {false_alarms}.")
    flow, source = None, data
    if data is None and not is_model(model_or_data):
        source = model_or_data
        if picture is not None:
            raise InputError("--picture is of images; a table has none. Write -o FILE.csv.")
    else:
        from .reading import default_source

        flow = open_model(Path(model_or_data), device, needs="log_prob")
        source = data or default_source(flow)
        if source is None:
            raise InputError(
                f"{model_or_data} did not learn a built-in set, so say what to look at: "
                f"pushforward anomalies {model_or_data} DATA."
            )
        if picture is not None and len(flow.shape) != 3:
            raise InputError("--picture is of images; a model of rows has none. Write -o FILE.csv.")
    found = find(flow, source, held_out=held_out, false_alarms=false_alarms, score=score, seed=seed)
    if out is not None:
        _write(out, found)
    if picture is not None:
        found.save_picture(picture)
    _print(found, out, picture)


def _print(found: Anomalies, out: Path | None, picture: Path | None) -> None:
    from .output import counted, number, say, table

    shown = [event for event in found.order[:SHOWN] if not math.isnan(found.scores[event])]
    if found.reasons is None:
        rows = [_cells(found, event) for event in shown]
        table(["event", "score", "p-value"], rows, left=())
    else:
        rows, explained = [], set(found.explained.tolist())
        for event in shown:
            lines = [str(why) for why in found.why(int(event))] if event in explained else []
            first, *rest = lines or [""]
            rows.append([*_cells(found, event), first])
            rows += [["", "", "", line] for line in rest]
        table(["row", "score", "p-value", "because of"], rows, left=(3,))
    flagged, known = int(found.flags.sum()), int((~_nan(found.scores)).sum())
    say()
    if math.isinf(found.threshold):
        needed = math.ceil(1 / found.false_alarms)
        say(
            f"no threshold: {counted(len(found.calibration), 'event')} to calibrate by cannot tell "
            f"of {found.false_alarms:.3g} false alarms; {needed:,} could"
        )
    else:
        say(
            f"{flagged:,} of {known:,} flagged: score above {number(found.threshold)}, at "
            f"{found.false_alarms:.3g} false alarms"
        )
    say(
        f"score: {found.score}; calibrated on {counted(len(found.calibration), 'event')}, "
        f"{found.calibrated_on}"
    )
    lacking = len(found.scores) - known
    if lacking:
        say(f"{counted(lacking, 'event')} with missing values without a score")
    some = int(
        (_nan(found.events).reshape(len(found.scores), -1).any(1) & ~_nan(found.scores)).sum()
    )
    if some:
        say(f"{counted(some, 'row')} with missing values scored by the values that are there")
    if out is not None:
        say(f"{counted(len(found.scores), 'line')} written to {out}")
    if picture is not None:
        say(f"picture written to {picture}")


def _nan(values: Any) -> Any:
    import numpy as np

    return np.isnan(values)


def _cells(found: Anomalies, event: Any) -> list[str]:
    from .output import number

    p = found.p_values[event]
    return [f"{event:,}", number(found.scores[event], 4), f"{p:.2g}"]


def _write(out: Path, found: Anomalies) -> None:
    """All events, in the source's order; of those explained the part of each column as well."""
    import numpy as np

    from .writers import table_writer

    frame = found.to_frame()
    columns = {
        name: np.ma.masked_invalid(values) if values.dtype.kind == "f" else values
        for name, values in ((str(name), frame[name].to_numpy()) for name in frame)
    }
    if found.reasons is not None and found.columns is not None and found.attribution is not None:
        parts = np.full((len(found.scores), len(found.columns)), np.nan)
        parts[found.explained] = found.attribution
        for j, name in enumerate(found.columns):
            columns[f"because_{name}"] = np.ma.masked_invalid(parts[:, j])
    with table_writer(out, list(columns)) as append:
        append(list(columns.values()))
