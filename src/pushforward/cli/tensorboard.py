"""The curves of a run, for those who look at theirs in TensorBoard."""

from __future__ import annotations

import contextlib
import importlib.util
from pathlib import Path

from ..errors import InputError
from ..training.history import read_metrics

__all__ = ["check_tensorboard", "write_tensorboard"]


def check_tensorboard() -> None:
    """Say at once, before training, if TensorBoard is not installed.

    Raises:
        InputError: it is not.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise InputError(
            "--tensorboard needs TensorBoard, which is not installed; pip install "
            "'pushforward[tensorboard]', or leave it out: report.html shows the same curves."
        )


def write_tensorboard(folder: Path) -> None:
    """Write ``folder/tensorboard`` anew from the metrics, so that no step comes twice."""
    from torch.utils.tensorboard import SummaryWriter

    target = folder / "tensorboard"
    for old in target.glob("events.out.tfevents.*"):
        with contextlib.suppress(OSError):
            old.unlink()
    with SummaryWriter(str(target)) as writer:
        for record in read_metrics(folder / "metrics.jsonl"):
            for name, value in record.items():
                if name != "step" and isinstance(value, (int, float)):
                    writer.add_scalar(_tag(name), value, int(record["step"]))


def _tag(name: str) -> str:
    """Training and validation loss beside each other, the rest apart."""
    return f"loss/{name}" if name in ("train", "validation") else f"run/{name}"
