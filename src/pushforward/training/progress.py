"""What a person sees while a flow trains: a bar in a terminal, lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from .history import Run

__all__ = ["Progress"]


class Progress:
    """A rich progress bar, or one plain line per validation where there is no terminal."""

    def __init__(
        self, shown: bool, unit: str, max_steps: int | None, max_time: float | None
    ) -> None:
        self.shown, self.unit = shown, unit
        self.max_steps, self.max_time = max_steps, max_time
        self.bar: Any = None
        self.loss: float | None = None
        self.validation = ""
        self.last = 0.0

    def __enter__(self) -> Progress:
        if not self.shown:
            return self
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.console = Console()
        if self.console.is_terminal:
            self.bar = Bar(
                BarColumn(bar_width=12),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.fields[text]}"),
                TimeRemainingColumn(compact=True),
                console=self.console,
                refresh_per_second=4,
            )
            self.bar.start()
            self.task = self.bar.add_task("training", total=1.0, text="")
        if self.unit == "nats":
            self.console.print(
                "Loss: negative log-density in nats per event; below 0 is fine, since densities "
                "may exceed 1.",
                style="dim",
                highlight=False,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def update(self, step: int, seconds: float, loss: float, lr: float, batch: int) -> None:
        """After a training step."""
        self.loss = loss if self.loss is None else 0.98 * self.loss + 0.02 * loss
        if self.bar is None or time.monotonic() - self.last < 0.2:
            return
        self.last = time.monotonic()
        text = f"{step:,} steps  loss {self.loss:.3f}{self.validation} {self.unit}"
        text += f"  {step * batch / max(seconds, 1e-9):,.0f}/s  lr {lr:.0e}"
        by_steps = step / self.max_steps if self.max_steps else 0.0
        by_time = seconds / self.max_time if self.max_time else 0.0
        self.bar.update(self.task, completed=min(1.0, max(by_steps, by_time)), text=text)

    def validated(self, record: dict[str, float], best: dict[str, float]) -> None:
        """After a validation."""
        self.validation = f" ({best['validation']:.3f})"
        if self.shown and self.bar is None:
            print(  # noqa: T201 -- the plain form of the progress bar
                f"step {record['step']:>6,}  {record['seconds']:>5.0f} s  "
                f"training {record['train']:>7.3f}  validation {record['validation']:>7.3f} "
                f"{self.unit}  lr {record['lr']:.0e}",
                flush=True,
            )

    def close(self, run: Run) -> None:
        """When training has ended."""
        if self.shown and run.best:
            self.console.print(
                f"Ended after {run.records[-1]['step']:,} steps ({run.stopped}); kept the weights "
                f"of step {run.best['step']:,}: validation "
                f"{run.best['validation']:.3f} {self.unit}.",
                highlight=False,
            )
