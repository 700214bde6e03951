"""Tell on stderr how far a long reading is: a bar on a terminal, else a line at start and end."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["Telling", "say"]

_PATIENCE = 2.0  # seconds in which nothing is said


def say(line: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


class Telling:
    """Says ``start`` when the work turns out to be long, and then how far it is.

    Attributes:
        total: how many items there are, as soon as that is known.
    """

    def __init__(self, start: str) -> None:
        self.start = start
        self.total: int | None = None
        self._said = False
        self._bar: tuple[Progress, TaskID] | None = None
        # A timer, because the longest silence may lie in one call.
        self._timer = threading.Timer(_PATIENCE, self._say_start)
        self._timer.daemon = True

    def _say_start(self) -> None:
        self._said = True
        say(self.start)

    def __enter__(self) -> Telling:
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        self._close_bar()

    def at(self, done: int) -> None:
        """Tell that ``done`` items of the total have been read."""
        if self._said and self._bar is None and sys.stderr.isatty():
            self._bar = self._open_bar()
        if self._bar is not None:
            self._bar[0].update(self._bar[1], completed=done)

    def _open_bar(self) -> tuple[Progress, TaskID]:
        from rich.console import Console
        from rich.progress import Progress

        bar = Progress(console=Console(stderr=True), transient=True)
        bar.start()
        return bar, bar.add_task("", total=self.total)

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None

    def end(self, line: str) -> None:
        """Say ``line`` if the start was said."""
        self._timer.cancel()
        self._close_bar()
        if self._said:
            say(line)
