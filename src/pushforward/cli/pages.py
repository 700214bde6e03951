"""``report``, and what it draws into the folder of a run: curves, samples, the page around them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError

if TYPE_CHECKING:
    from ..flow import Flow

__all__ = ["report", "write_pages"]


def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a run.", show_default=False)
    ],
) -> None:
    """Draw the report of a run anew: report.html, with its curves and samples.

    Example: pushforward report runs/digits

    The run may still be going on: the report is of the best model saved so far.
    """
    from ..jobs.run_folder import is_run
    from ..models import load
    from .output import say

    if not run.is_dir():
        raise InputError(f"there is no run at {run}: no such folder.")
    if not is_run(run) and not (run / "metrics.jsonl").exists():
        raise InputError(
            f"{run} is not the folder of a run: it has no config.yaml of pushforward train. For a "
            f"saved model, pushforward info shows what is known."
        )
    best = run / "best"
    flow = load(best) if (best / "config.json").exists() else None
    write_pages(run, flow, *((None, None) if flow is None else _rows_of(run, flow)))
    say(f"report written to {run / 'report.html'}")


def write_pages(folder: Path, flow: Flow | None, rows: Any = None, given: Any = None) -> None:
    """Draw ``curves.png``, ``samples.png`` (over ``rows`` of the data) and ``report.html``.

    A conditional model draws its samples for what is ``given`` beside the rows, or by class.
    """
    from ..jobs.report import write_report
    from ..training.history import Run, best_of, read_metrics

    records = read_metrics(folder / "metrics.jsonl")
    if records:
        unit = "" if flow is None else flow.unit
        Run(unit, records, best_of(records)).plot(folder / "curves.png")
    if flow is not None and "sample" not in flow.refuses:
        draw_samples(flow, folder / "samples.png", rows, given)
    write_report(folder)


def draw_samples(flow: Flow, path: Path, rows: Any = None, given: Any = None) -> None:
    """64 images or some of each class, or 2,000 rows over the data's."""
    import numpy as np

    from ..data.schema import Schema
    from ..pictures import image_grid, scatter_rows, write_png
    from .given import contexts_to_draw
    from .reading import column_names

    n = 64 if len(flow.shape) == 3 else 2000
    context, across = contexts_to_draw(flow, given, n)
    if flow.context and context is None:  # of a run whose source cannot be read any more
        return
    n = n if context is None else len(context)
    drawn = flow.sample(n, seed=0, context=context).cpu().numpy()
    if len(flow.shape) == 3:
        write_png(path, image_grid(drawn, flow.levels, across))
        return
    finite = np.isfinite(drawn).all(axis=1)
    label = "samples"
    if not finite.all():
        label += f" ({int(finite.sum()):,} of {len(drawn):,} are finite)"
    names, schema = column_names(flow), Schema.of(flow)
    scatter_rows(path, drawn[finite], rows, names, label=label, schema=schema)


def _rows_of(folder: Path, flow: Flow) -> tuple[Any, Any]:
    """Held-out rows to draw the samples over and what is given beside them, if still readable."""
    from .config import read_config
    from .options import Split
    from .reading import read_beside

    if len(flow.shape) == 3:
        return None, None
    try:
        source = str(read_config(folder / "config.yaml")["source"])
        return read_beside(flow, source, Split.test)
    except (InputError, KeyError):
        return None, None
