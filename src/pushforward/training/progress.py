"""What a person sees while a flow trains: one live line in a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from .history import Run

__all__ = ["Progress", "clock"]

LIVE = 1.0
"""Seconds between two looks of the live line."""
PLAIN = 30.0
"""The longest silence, in seconds, where there is no terminal."""
BAR = 12


class Progress:
    """One line that is drawn anew each second, or plain lines: one per validation and per 30 s.

    Attributes:
        gone: whether the reader of the pipe that the lines go to has left, as ``head`` does.
    """

    def __init__(
        self,
        shown: bool,
        unit: str,
        max_steps: int | None,
        max_time: float | None,
        *,
        loss_name: str = "train",
    ) -> None:
        self.shown, self.unit = shown, unit
        # A training loss of another kind than the validation's goes by its own name.
        self.loss_name, own = loss_name, loss_name == "train"
        self.training, self.loss_unit = ("training", unit) if own else (loss_name, "nats")
        self.max_steps, self.max_time = max_steps, max_time
        self.live: Any = None
        self.console: Any = None
        self.loss, self.steps = 0.0, 0
        self.best: float | None = None
        self.first: tuple[int, float] | None = None
        self.due = 0.0
        self.gone = False

    def __enter__(self) -> Progress:
        if not self.shown:
            return self
        from rich.console import Console

        self.console = Console(markup=False, emoji=False, highlight=False)
        if self.console.is_terminal:
            from rich.live import Live

            # Drawn by the training loop itself: a thread would take time from it.
            self.live = Live(console=self.console, auto_refresh=False)
            self.live.start()
        if self.unit == "nats":
            self._print(
                "Loss: negative log-likelihood in nats per event; below 0 is fine, since "
                "densities may exceed 1.",
                style="dim",
            )
        self.due = time.monotonic() + (0.0 if self.live is not None else PLAIN)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.live is not None:
            with self._surviving():
                self.live.stop()
            self.live = None

    def update(
        self, *, step: int, epoch: float, seconds: float, loss: float, lr: float, rate: float
    ) -> None:
        """After a training step; ``rate`` is in events per second. Costs nothing until it is due.

        The loss that is shown is an average over some fifty steps.
        """
        self.steps += 1
        share = max(0.02, 1 / self.steps)
        self.loss = (1 - share) * self.loss + share * loss
        if not self.shown:
            return
        if self.first is None:
            self.first = (step, seconds)
        now = time.monotonic()
        if now < self.due:
            return
        self.due = now + (LIVE if self.live is not None else PLAIN)
        left = self._left(step, seconds)
        if self.live is not None:
            line = self._line(step, epoch, seconds, lr, rate, left)
            with self._surviving():
                self.live.update(line, refresh=True)
            return
        ends = "" if left is None else f"  {clock(left)} left"
        told = f"{self.training} {_short(self.loss):>7} {self.loss_unit}"
        self._print(
            f"step {step:>6,}{f'  epoch {epoch:.1f}' if epoch else ''}  {clock(seconds):>7}  "
            f"{told}  lr {lr:.0e}  {rate:,.0f}/s{ends}"
        )

    def validated(self, record: dict[str, float], best: dict[str, float]) -> None:
        """After a validation; ``best`` is the best record so far."""
        self.best = best.get("validation")
        if not self.shown or self.live is not None:
            return
        left = self._left(int(record["step"]), record["seconds"])
        ends = "" if left is None else f"  {clock(left)} left"
        epoch = f"  epoch {record['epoch']:.1f}" if record.get("epoch") else ""
        speed = record.get("items_per_second")
        self._print(
            f"step {record['step']:>6,}{epoch}  {clock(record['seconds']):>7}  "
            f"{self.training} {_short(record[self.loss_name]):>7}  "
            f"validation {_short(record['validation']):>7} "
            f"{self.unit}, best {_short(best['validation'])}  lr {record['lr']:.0e}"
            f"{'' if speed is None else f'  {speed:,.0f}/s'}{ends}"
        )
        self.due = time.monotonic() + PLAIN

    def say(self, sentence: str) -> None:
        """Print what happened on the way, above the live line."""
        if self.shown:
            self._print(sentence, style="yellow")

    def close(self, run: Run) -> None:
        """When training has ended."""
        if self.shown and run.best and run.records:
            self._print(
                f"Ended after {run.steps:,} steps ({run.stopped}); kept the weights "
                f"of step {run.best['step']:,}: validation {_short(run.best['validation'])} "
                f"{self.unit}."
            )

    def _print(self, text: str, style: str | None = None) -> None:
        if self.console is not None:
            from rich.text import Text

            # Lines stay whole in pipes and logs; a terminal wraps them itself. The style is of
            # the text: as that of the call it would colour the live line as well.
            with self._surviving():
                self.console.print(Text(text, style=style or ""), soft_wrap=True)

    @contextlib.contextmanager
    def _surviving(self) -> Iterator[None]:
        """Be silent from now on, rather than end the run, if there is nowhere to print to."""
        try:
            yield
        except (OSError, SystemExit) as error:  # rich leaves the program for a broken pipe
            self.gone = not isinstance(error, OSError) or isinstance(error, BrokenPipeError)
            self.shown, self.console = False, None

    def _left(self, step: int, seconds: float) -> float | None:
        """Seconds until the first limit, by the speed since this process began to train."""
        limits = []
        first, began = self.first or (step, seconds)
        if self.max_steps is not None and step > first:
            limits.append((self.max_steps - step) * (seconds - began) / (step - first))
        if self.max_time is not None:
            limits.append(self.max_time - seconds)
        return max(0.0, min(limits)) if limits else None

    def _line(
        self, step: int, epoch: float, seconds: float, lr: float, rate: float, left: float | None
    ) -> Any:
        """As much as the terminal is wide enough for; what matters least is dropped first."""
        from rich.text import Text

        by_steps = step / self.max_steps if self.max_steps else 0.0
        by_time = seconds / self.max_time if self.max_time else 0.0
        share = min(1.0, max(by_steps, by_time))
        full = round(share * BAR)
        best = "" if self.best is None else f" (validation {_short(self.best)})"
        name = "loss" if self.loss_name == "train" else self.training
        parts = [  # how soon a part is dropped, its text, its style; 0 stays
            (4, "━" * full, "cyan"),
            (4, "━" * (BAR - full) + " ", "bright_black"),
            (0, f"{share:4.0%}", "bold"),
            (2, f"  step {step:,}", ""),
            (5, f"  epoch {epoch:.1f}", ""),
            (0, f"  {name} {_short(self.loss)}", "bold"),
            (1, best, "green"),
            (1, f" {self.unit}", ""),
            (6, f"  lr {lr:.0e}", ""),
            (3, f"  {rate:,.0f}/s", ""),
            (1, "" if left is None else f"  {clock(left)} left", ""),
        ]
        width = self.console.width
        for worst in range(6, 0, -1):
            if sum(len(text) for _, text, _ in parts) < width:
                break
            parts = [part for part in parts if part[0] != worst]
        return Text.assemble(
            *((text, style) for _, text, style in parts), no_wrap=True, overflow="ellipsis"
        )


def _short(loss: float) -> str:
    return f"{loss:.3f}" if abs(loss) < 1e5 else f"{loss:.3g}"


def clock(seconds: float) -> str:
    """A duration: ``0:42``, ``12:05``, ``3:04:05``, ``2 d 3:04``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        days, hours = divmod(hours, 24)
        return f"{days} d {hours}:{minutes:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
