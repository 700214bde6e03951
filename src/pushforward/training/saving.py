"""A session's state as a checkpoint and back, and the best model as a directory."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..gaussians.fitted import take_base_size
from ..model import Model
from .checkpoint import Checkpoint, newest_checkpoint, write_checkpoint
from .order import seed_of

if TYPE_CHECKING:
    from .session import Session

__all__ = ["MAY_DIFFER", "restore", "save_best", "save_checkpoint", "saved_checkpoint"]

MAY_DIFFER = (
    *("epochs", "max_steps", "max_time", "patience", "rewinds"),
    *("checkpoint_every", "device", "threads"),
)
"""Settings that change nothing but when training ends, where, and what is kept: those of a run
that goes on may differ from those it began with."""


def save_checkpoint(session: Session) -> None:
    """Write the state as it is now, and the best model if there is a new one.

    Rank 0 writes for all, whose states are the same.

    Raises:
        InputError: the disk will not take it.
    """
    if session.folder is None or not session.ranks.lead:
        return
    step, good = session.good
    tensors = {f"now.{key}": value for key, value in session.learner.state().items()}
    tensors |= {f"good.{key}": value for key, value in good.items()}
    tensors |= {f"best.{key}": value for key, value in (session.best_state or {}).items()}
    facts: dict[str, Any] = {
        "step": session.step,
        "good": step,
        "elapsed": session.budget.elapsed,
        "threads": session.threads,
        "records": session.result.records,
        "best": session.result.best,
        "events": session.result.events,
        "since_validation": session.since_validation,
        "rewinds": session.rewinds,
        "factor": session.rate.factor,
        "waited": session.rate.waited,
        "usual": [session.guard.mean, session.guard.steps],
        "settings": asdict(session.config),
        "flow": _architecture(session.flow),
        "data": session.fingerprint,
    }
    try:
        write_checkpoint(session.folder, Checkpoint(tensors, facts))
    except InputError:
        with contextlib.suppress(InputError):  # a tenth of the size: it may still find room
            save_best(session)
        raise
    session.step_on_disk = session.step
    save_best(session)


def saved_checkpoint(session: Session, resume: bool) -> Checkpoint | None:
    """The checkpoint that a session is to go on from; None if it begins.

    Raises:
        InputError: there is one, but it is of another run, or the run is not to be resumed.
    """
    if session.folder is None:
        return None
    checkpoint, said = newest_checkpoint(session.folder)
    if checkpoint is None:
        return None
    if not resume:
        raise InputError(
            f"{session.folder} holds checkpoints of a run; give resume=True to go on from them, "
            f"or another folder."
        )
    take_base_size(session.flow, checkpoint.part("now.flow"))
    _check_same(session, checkpoint.facts)
    checkpoint.facts["events"] += said
    return checkpoint


def restore(session: Session, checkpoint: Checkpoint) -> None:
    """Bring a session to where the checkpoint was written."""
    facts = checkpoint.facts
    session.learner.restore(checkpoint.part("now"))
    best = checkpoint.part("best")
    if best:
        session.best_state = {key: value.to(session.flow.device) for key, value in best.items()}
    session.step = facts["step"]
    session.budget.resume(facts["elapsed"])
    session.good = (facts["good"], checkpoint.part("good"))
    session.threads = None if session.config.threads else facts["threads"]
    session.since_validation = facts["since_validation"]
    session.rewinds = facts["rewinds"]
    session.rate.factor, session.rate.waited = facts["factor"], facts["waited"]
    session.guard.mean, session.guard.steps = facts["usual"]
    session.result.records, session.result.best = facts["records"], facts["best"]
    session.result.events = facts["events"]


def _check_same(session: Session, facts: dict[str, Any]) -> None:
    """Refuse to go on with something else."""
    if facts["flow"] != _architecture(session.flow):
        raise InputError(
            f"the checkpoints in {session.folder} are of another architecture than "
            f"{session.flow.name}; restore the model's settings, or start anew in another folder."
        )
    now = asdict(session.config)
    for key, then in facts["settings"].items():
        if key not in MAY_DIFFER and now.get(key) != then:
            raise InputError(
                f"the run in {session.folder} began with {key} = {then}, but now it is "
                f"{now.get(key)}; a run goes on with the settings it began with. Only "
                f"{', '.join(MAY_DIFFER)} may change."
            )
    if facts["data"] != session.fingerprint:
        raise InputError(
            f"the run in {session.folder} was learning from other data: their number or content "
            f"has changed. Restore them, or start anew in another folder."
        )


def _architecture(flow: Model) -> str:
    shapes = [(key, *value.shape) for key, value in flow.state_dict().items()]
    return f"{seed_of(*str(shapes).encode()):016x}"


def save_best(session: Session) -> None:
    """Write the best model to ``best/``, if its weights have not been written yet."""
    best, folder, flow = session.result.best, session.folder, session.flow
    done = session.best_state is None or session.best_saved == best["step"]
    if done or folder is None or not session.ranks.lead or flow.config is None:
        return
    last = session.result.records[-1]
    settings = session.result.settings
    flow.facts = {
        **flow.facts,
        "fit": {key: value for key, value in settings.items() if value is not None},
        "metrics": {
            "unit": session.result.unit,
            "validation": best["validation"],
            "best_step": best["step"],
            "steps": session.step,
            "seconds": last["seconds"],
            "stopped": session.result.stopped or "still training",
        },
    }
    flow.save(folder / "best", weights=session.best_state)
    session.best_saved = best["step"]
