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
    write_pages(run, flow, None if flow is None else _rows_of(run, flow))
    say(f"report written to {run / 'report.html'}")


def write_pages(folder: Path, flow: Flow | None, rows: Any = None) -> None:
    """Draw ``curves.png``, ``samples.png`` (over ``rows`` of the data) and ``report.html``."""
    from ..jobs.report import write_report
    from ..training.history import Run, best_of, read_metrics

    records = read_metrics(folder / "metrics.jsonl")
    if records:
        unit = "" if flow is None else flow.unit
        Run(unit, records, best_of(records)).plot(folder / "curves.png")
    if flow is not None and "sample" not in flow.refuses:
        draw_samples(flow, folder / "samples.png", rows)
    write_report(folder)


def draw_samples(flow: Flow, path: Path, rows: Any = None) -> None:
    """64 images, or 2,000 rows over the data's."""
    import numpy as np

    from ..pictures import image_grid, scatter_rows, write_png
    from .reading import column_names

    if len(flow.shape) == 3:
        write_png(path, image_grid(flow.sample(64, seed=0).cpu().numpy(), flow.levels))
        return
    drawn = flow.sample(2000, seed=0).cpu().numpy()
    finite = np.isfinite(drawn).all(axis=1)
    label = "samples"
    if not finite.all():
        label += f" ({int(finite.sum()):,} of {len(drawn):,} are finite)"
    scatter_rows(path, drawn[finite], rows, column_names(flow), label=label)


def _rows_of(folder: Path, flow: Flow) -> Any:
    """Held-out rows to draw the samples over, if the source can still be read."""
    from .config import read_config
    from .options import Split
    from .reading import read

    if len(flow.shape) == 3:
        return None
    try:
        source = str(read_config(folder / "config.yaml")["source"])
        return read(flow, source, Split.test)
    except (InputError, KeyError):
        return None
