"""Ctrl-C, SIGTERM and a closed terminal as wishes that a run grants between two steps."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["StopRequests"]

_NAMES = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
if hasattr(signal, "SIGHUP"):  # not on Windows
    _NAMES[signal.SIGHUP] = "terminated"


class StopRequests:
    """Listens for signals while it is entered; a second Ctrl-C gets through as usual.

    Attributes:
        asked: ``interrupted`` (Ctrl-C), ``terminated`` (SIGTERM, SIGHUP), or empty.
        torn: whether a second Ctrl-C has ended work that should not have been left in the middle.
    """

    def __init__(self) -> None:
        self.asked = ""
        self.torn = False
        self._at_once = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopRequests:
        # Only the main thread may set handlers; elsewhere signals do what they always do.
        if threading.current_thread() is threading.main_thread():
            for number in _NAMES:
                # nohup ignores SIGHUP, so that the run outlives its terminal.
                if signal.getsignal(number) is signal.SIG_IGN:
                    continue
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """For work that may be left in the middle: a signal raises KeyboardInterrupt there."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        again = self.asked == "interrupted" and number == signal.SIGINT
        self.asked = _NAMES[signal.Signals(number)]
        self.torn = self.torn or (again and not self._at_once)
        if self._at_once or again:
            raise KeyboardInterrupt
