"""The runs of a comparison: one process after the other, watched; then all of them measured."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

import torch
import typer

from ..data import Dataset
from ..errors import InputError
from ..jobs.comparing import compare_runs
from ..jobs.comparison_page import NAMES, write_comparison
from ..jobs.run_folder import is_run, remove_run, saved_facts
from ..training.history import read_metrics
from .config import Plan
from .output import pairs, paragraphs, say, table
from .prepare import located
from .yaml_text import dump_yaml

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["Contest", "conclude", "hold"]

_GRACE = 30.0
"""Seconds that a run gets to save itself after Ctrl-C."""


@dataclass(frozen=True)
class Contest:
    """Models, their settings, their common budget, and the folder with a run of each."""

    folder: Path
    plans: Mapping[str, Plan]
    seed: int | None
    budget: float

    def run(self, name: str) -> Path:
        """The folder of a model's run."""
        return self.folder / name

    def claim(self, *, resume: bool, force: bool) -> None:
        """Make the folder, or make sure that what lies in it may be used.

        Raises:
            InputError: it holds a comparison, and neither ``resume`` nor ``force`` was given.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"--out {self.folder} is a file; give the name of a folder.")
        runs = [path.parent for path in self.folder.glob("*/config.yaml") if is_run(path.parent)]
        if (runs or (self.folder / "compare.json").exists()) and not (resume or force):
            raise InputError(
                f"{self.folder} already holds a comparison; give another --out, --resume to go on "
                f"with it, or --force to replace it."
            )
        if force:
            for run in runs:
                remove_run(run)
                with contextlib.suppress(OSError):
                    run.rmdir()
            for name in NAMES:
                (self.folder / name).unlink(missing_ok=True)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"cannot make the folder {self.folder}: {error.strerror}; give another --out."
            ) from None


def hold(contest: Contest, dataset: Dataset, command: str) -> dict[str, str]:
    """Train each model in a process of its own; returns why those failed that did.

    Raises:
        typer.Exit: with 130, after Ctrl-C; what was learned by then is saved.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    counts = ", ".join(f"{len(part):,} {name}" for name, part in dataset.splits().items())
    notes = {"notes" if not index else " " * index: n for index, n in enumerate(dataset.notes)}
    pairs(
        {
            "data": f"{dataset.name}: {counts}",
            **notes,
            "models": ", ".join(contest.plans),
            "budget": f"{contest.budget:g} s each",
            "folder": contest.folder,
        }
    )
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description:12}"),
        BarColumn(24),
        TimeElapsedColumn(),
        TextColumn("{task.fields[said]}"),
        console=console,
        disable=not console.is_terminal,
    )
    failed: dict[str, str] = {}
    with bar:
        for name in contest.plans:
            task = bar.add_task(name, total=contest.budget, said="")
            if not console.is_terminal:
                typer.echo(f"training {name}", err=True)

            code, last = _train(contest, name, partial(_tell, bar, task, contest, name))
            if code in (130, 143):
                bar.stop()
                typer.echo(f"interrupted; go on with\n    {command} --resume", err=True)
                raise typer.Exit(code)
            if not code and not (contest.run(name) / "best" / "config.json").exists():
                code, last = 1, "it learned nothing within its budget; give it more time"
            if code:
                failed[name] = f"failed: {last}"
                bar.update(task, said=failed[name])
                if not console.is_terminal:
                    typer.echo(f"{name} {failed[name]}", err=True)
            else:
                bar.update(task, completed=contest.budget, said=_state(contest.run(name))[0])
    return failed


def conclude(contest: Contest, dataset: Dataset, failed: Mapping[str, str], command: str) -> None:
    """Measure what was learned, write table and page, print the table.

    Raises:
        InputError: every model failed; with what the first one said.
    """
    if len(failed) == len(contest.plans):
        name, why = next(iter(failed.items()))
        raise InputError(f"no model could be trained; {name} {why}")
    runs = {name: contest.run(name) for name in contest.plans}
    asked = next(iter(contest.plans.values())).fit
    if asked.get("threads"):
        torch.set_num_threads(asked["threads"])
    device = asked.get("device") or "cpu"
    comparison = compare_runs(runs, dataset, failed=failed, device=device)
    paths = write_comparison(contest.folder, comparison, dataset, command)
    say()
    cells = [comparison.header, *comparison.rows()]
    shown = _columns_that_fit(cells)
    header, *rows = (row[:shown] for row in cells)
    table(header, rows, left=(0, 2), whole=(0,))
    say()
    if cut := comparison.header[shown:]:
        paragraphs(f"The page has {', '.join(cut)} besides.")
    for sentence in comparison.sentences:
        paragraphs(sentence)
    say()
    pairs({"page": paths["compare.html"], "samples": paths["samples.png"]})


def _columns_that_fit(cells: Sequence[Sequence[str]]) -> int:
    """How many columns the terminal has room for."""
    room = shutil.get_terminal_size().columns + 2
    for count, column in enumerate(zip(*cells, strict=True)):
        room -= max(map(len, column)) + 2
        if room < 0:
            return max(3, count)
    return len(cells[0])


def _tell(bar: Progress, task: TaskID, contest: Contest, name: str) -> None:
    said, seconds = _state(contest.run(name))
    bar.update(task, completed=min(seconds, contest.budget), said=said)


# One run ---------------------------------------------------------------------------------------


def _train(contest: Contest, name: str, tell: Callable[[], None]) -> tuple[int, str]:
    """Run ``train`` in a process; returns its exit code and the last line of what it complained."""
    plan, out = contest.plans[name], contest.run(name)
    content = {
        "source": located(plan.source),
        "model": {"name": name, **plan.model},
        "fit": plan.fit,
        "data": asdict(plan.data),
    }
    words = [sys.executable, "-m", "pushforward", "train", "--out", str(out), "--quiet"]
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryFile() as complaints:
        settings = Path(place, "settings.yaml")
        settings.write_text(dump_yaml(content), encoding="utf-8")
        words += ["--resume"] if is_run(out) else ["--config", str(settings)]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=complaints)
        try:
            while True:
                try:
                    process.wait(0.5)
                    break
                except subprocess.TimeoutExpired:
                    tell()
        except KeyboardInterrupt:  # a terminal sends it to the run as well
            _end(process)
            return 130, "interrupted"
        except BaseException:
            process.kill()
            raise
        if process.returncode < 0:
            return 1, _of_signal(-process.returncode)
        return process.returncode, _last_line(complaints)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let a run save itself; then no longer."""
    for ask in (lambda: None, process.terminate, process.kill):
        ask()
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(_GRACE)
            return


def _of_signal(number: int) -> str:
    name = signal.Signals(number).name
    return f"ended by {name}" + (", which the system sends when memory is short" * (number == 9))


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("error: ") if lines else "it said nothing"


def _state(run: Path) -> tuple[str, float]:
    """How far a run has come: in words, and the seconds that it has trained."""
    records = read_metrics(run / "metrics.jsonl")
    if not records:
        return "", 0.0
    metrics = saved_facts(run).get("metrics", {})
    last = records[-1]
    unit = metrics.get("unit", "")
    return f"validation {last['validation']:.3f} {unit}", float(last.get("seconds", 0.0))
