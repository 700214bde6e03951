"""One run of ``train``, from what was asked to the exit code, alone or under torchrun."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import typer

from ..errors import InputError, NumericalError
from ..files import write_bytes
from ..jobs.prepared import Prepared
from ..jobs.run_folder import newest_step, resume_command
from ..training import Run
from ..training.ranks import Ranks, joined
from .config import Level, Plan, plan
from .folder import refuse_taken, reserved
from .output import pairs, paragraphs, say
from .prepare import prepare
from .results import announce, conclude, learn, write_settings
from .resume import finished, resumed_plan, run_to_resume
from .tensorboard import check_tensorboard, write_tensorboard

__all__ = ["Wishes", "run"]

T = TypeVar("T")

CODES = {"interrupted": 130, "terminated": 143}


@dataclass(frozen=True)
class Wishes:
    """What was said on the command line: levels of settings, the weakest first, and the rest."""

    levels: Sequence[Level]
    seed: int | None
    out: Path | None
    resume: bool
    force: bool
    quiet: bool
    board: bool


@dataclass(frozen=True)
class _Begun:
    """What to train, and the folder of the run to go on with; ``done`` if nothing is left to do."""

    asked: Plan
    folder: Path | None = None
    done: tuple[str, str] | None = None


def run(wishes: Wishes) -> None:
    """Train as asked; every process of torchrun comes here, and the first one speaks.

    Raises:
        InputError: something that was asked for cannot be done.
        typer.Exit: with 130 or 143, after a signal ended the run.
    """
    if wishes.board:
        check_tensorboard()
    if wishes.resume and wishes.force:
        raise InputError("--resume goes on with a run and --force replaces it; give one of them.")
    with joined() as ranks:
        begun = _by_lead(ranks, lambda: _begin(wishes))
        if begun.done is not None:
            if ranks.lead:
                sentence, command = begun.done
                paragraphs(sentence)
                say(f"    {command}")  # in one line, to be copied
            return
        stopped = _train(wishes, ranks, begun)
    if stopped in CODES:
        raise typer.Exit(CODES[stopped])


def _begin(wishes: Wishes) -> _Begun:
    """Find the run to go on with, or make sure that a new one has a place."""
    folder = run_to_resume(wishes.out, wishes.levels) if wishes.resume else None
    if folder is not None:
        asked = resumed_plan(folder, wishes.levels, wishes.seed)
        return _Begun(asked, folder, finished(folder, asked))
    asked = plan(wishes.levels, wishes.seed)
    if wishes.out is not None:
        refuse_taken(wishes.out, wishes.force)
    return _Begun(asked)


def _train(wishes: Wishes, ranks: Ranks, begun: _Begun) -> str:
    """Train and leave a whole folder; returns why training ended."""
    asked, resuming = begun.asked, begun.folder is not None
    prepared = prepare(asked)
    with contextlib.ExitStack() as stack:
        place = reserved(begun.folder or wishes.out, prepared.dataset.name, anew=not resuming)
        folder = _by_lead(ranks, lambda: stack.enter_context(place))
        if ranks.lead:
            stack.enter_context(_settings_kept(folder))
            write_settings(prepared, asked, folder)
            _header(prepared, asked, folder, wishes.quiet)
        shown = ranks.lead and not wishes.quiet
        with _telling_the_way_on(folder):
            record = learn(prepared, asked, folder, resume=resuming, progress=shown)
        return _finish(wishes, prepared, folder, record) if ranks.lead else record.stopped


def _finish(wishes: Wishes, prepared: Prepared, folder: Path, record: Run) -> str:
    """Measure, draw and say how to go on; returns why the run ended."""
    if wishes.quiet:
        for sentence in record.events:
            typer.echo(f"note: {sentence}", err=True)
    stopped = record.stopped
    if stopped != "terminated":  # schedulers give seconds
        try:
            conclude(folder, prepared.dataset, record, wishes.quiet)
            if wishes.board:
                write_tensorboard(folder)
        except KeyboardInterrupt:  # the model is safe; --resume measures and draws it
            stopped = "interrupted"
    if stopped in CODES:
        typer.echo(f"{stopped}; go on with\n    {resume_command(folder)}", err=True)
    return stopped


@contextlib.contextmanager
def _settings_kept(folder: Path) -> Iterator[None]:
    """Put the settings of a run back, if what was asked of it now is refused (other data, say)."""
    path = folder / "config.yaml"
    before = path.read_bytes() if path.exists() else None
    try:
        yield
    except InputError as error:
        if before is not None and not _was_training(error):
            write_bytes(path, before)
        raise


def _was_training(error: BaseException) -> bool:
    """Whether it ended a run that had a checkpoint by then, of which ``fit`` leaves a note."""
    return bool(getattr(error, "__notes__", None) or getattr(error.__cause__, "__notes__", None))


@contextlib.contextmanager
def _telling_the_way_on(folder: Path) -> Iterator[None]:
    """Name the command that resumes the run, if what ended it has left a checkpoint to resume."""
    try:
        yield
    except (InputError, NumericalError) as error:
        step = newest_step(folder)
        if step is None or not _was_training(error):
            raise
        command = resume_command(folder)
        raise type(error)(f"{error} To go on from step {step:,}: {command}") from error


def _header(prepared: Prepared, asked: Plan, folder: Path, quiet: bool) -> None:
    if not quiet:
        pairs(announce(prepared, asked, folder))
        return
    for note in prepared.dataset.notes:
        typer.echo(f"note: {note}", err=True)


def _by_lead(ranks: Ranks, work: Callable[[], T]) -> T:
    """Let the first process do what must be done once; all get its result, or its refusal."""
    result: Any = None
    refused: str | None = None
    if ranks.lead:
        try:
            result = work()
        except InputError as error:
            refused = str(error)
    result, refused = ranks.share((result, refused))
    if refused is not None:
        raise InputError(refused)
    return result
