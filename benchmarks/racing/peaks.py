"""The memory of a task: its peak over what the process held before, each lane in a fresh process.

What is held before is the weights, the gradients and the optimiser's averages. The allocator of
the process gives large blocks back at once, so that what is live is seen and not what it hoards.
Linux only.
"""

from __future__ import annotations

import gc
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .rounds import Lane, Task, Worker

__all__ = ["peaks"]

_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}


def peaks(lane: Lane, cases: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each case ``{"name", "parameters", "megabytes", "error"}``; None megabytes if failed."""
    worker = Worker(1, lane.needs, **_MALLOC)
    found = []
    try:
        for case in cases:
            timed = worker.prepare(lane, case, 0.0)
            found.append(
                {
                    "name": lane.name,
                    "parameters": timed.parameters,
                    "megabytes": worker.ask(timed, _peak),
                    "error": timed.error,
                }
            )
    finally:
        worker.close()
    return found


def _peak(task: Task, repeat: int) -> float:
    """MB over what is held, in two more runs (it has run before: compiled, initialised)."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # forget earlier peaks
    held = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    for _ in range(2):
        task.run()
    lines = Path("/proc/self/status").read_text().splitlines()
    high = next(line for line in lines if line.startswith("VmHWM"))
    return int(high.split()[1]) / 2**10 - held
