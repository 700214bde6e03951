"""Interleaved rounds: every lane is a process of its own, and the lanes take turns.

Processes, so that no library's threads, allocator or compiler disturb another's. Turns, so that a
busy minute of the machine meets all of them alike.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import math
import multiprocessing
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["Lane", "Task", "Timed", "Worker", "race", "ratio", "spread", "started"]

PATIENCE = 600.0
"""Seconds after which a lane that does not answer counts as failed."""


@dataclass
class Task:
    """A unit of work, finished when ``run`` returns, and the size of the model that does it."""

    run: Callable[[], object]
    parameters: int = 0
    note: str = ""


@dataclass(frozen=True)
class Lane:
    """A name and the function, importable by name, that builds its task in another process."""

    name: str
    build: Callable[..., Task]
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    """Modules that the build imports."""


@dataclass
class Timed:
    """Seconds of one task in each round: of the process's CPU, and of the wall clock."""

    name: str
    parameters: int = 0
    note: str = ""
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    error: str = ""
    slot: int = 0

    def plain(self) -> dict[str, Any]:
        """For JSON: the rounds and their medians."""
        medians = {
            f"median_{clock}": statistics.median(values)
            for clock, values in (("cpu", self.cpu), ("wall", self.wall))
            if values
        }
        return {**asdict(self), **medians}


def spread(values: Sequence[float]) -> float:
    """The distance between the quartiles over the median: how far rounds differ."""
    if len(values) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / middle


def ratio(values: Sequence[float], reference: Sequence[float]) -> float:
    """The median over rounds of a lane's time over the reference's time in the same round."""
    return statistics.median(a / b for a, b in zip(values, reference, strict=True))


class Worker:
    """A process for the tasks of one library. It works only while it is asked something.

    Args:
        threads: how many it may use.
        needs: modules that it imports at once; so several workers do it side by side.
        settings: environment variables of the process.
    """

    def __init__(self, threads: int, needs: Sequence[str] = (), **settings: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, tuple(needs)), daemon=True)
        with _environment(threads, settings):
            self._process.start()
        theirs.close()

    def prepare(
        self, lane: Lane, case: Mapping[str, Any], least: float, *, beside: bool = False
    ) -> Timed:
        """Build and warm up the task of a case; rounds will last ``least`` seconds or longer.

        With ``beside`` the tasks that were prepared before stay; else this one replaces them.
        """
        answer = self._ask(("prepare", lane, dict(case), least, beside))
        if isinstance(answer, str):
            return Timed(lane.name, error=answer)
        parameters, note, slot = answer
        return Timed(lane.name, parameters, note, slot=slot)

    def round(self, timed: Timed) -> None:
        """One more round, noted in ``timed``; nothing if the lane has failed."""
        answer = self.ask(timed, _measure)
        if answer is not None:
            timed.cpu.append(answer[0])
            timed.wall.append(answer[1])

    def ask(self, timed: Timed, question: Callable[[Task, int], Any]) -> Any:
        """What a function, importable by name, says of the task; None if the lane has failed."""
        if timed.error:
            return None
        answer = self._ask(("ask", timed.slot, question))
        if isinstance(answer, str):
            timed.error = answer
            return None
        return answer

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self._pipe.send(None)
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()

    def _ask(self, message: tuple[Any, ...]) -> Any:
        try:
            self._pipe.send(message)
            if not self._pipe.poll(PATIENCE):
                self._process.kill()
                return f"no answer for {PATIENCE:.0f} s"
            return self._pipe.recv()
        except (OSError, EOFError):
            return "its process has ended"


@contextlib.contextmanager
def started(lanes: Sequence[Lane], threads: int) -> Iterator[list[Worker]]:
    """A process for each lane, all ended afterwards."""
    workers = [Worker(threads, lane.needs) for lane in lanes]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.close()


def race(
    workers: Sequence[Worker],
    lanes: Sequence[Lane],
    case: Mapping[str, Any],
    rounds: int,
    least: float = 0.1,
) -> list[Timed]:
    """Time every lane on a case, each in its worker; lanes of one library may share one.

    Each round begins with another lane, so that none always follows the same one.
    """
    met: set[Worker] = set()
    timed = []
    for worker, lane in zip(workers, lanes, strict=True):
        timed.append(worker.prepare(lane, case, least, beside=worker in met))
        met.add(worker)
    for turn in range(rounds):
        first = turn % len(lanes)
        for index in [*range(first, len(lanes)), *range(first)]:
            workers[index].round(timed[index])
    return timed


def _serve(pipe: Connection, needs: tuple[str, ...]) -> None:
    """Answer the parent's questions until it says None; a failure is answered by its text."""
    warnings.simplefilter("ignore")  # of other libraries, about their own future
    with contextlib.suppress(ImportError):  # told when it is asked to prepare
        for name in needs:
            importlib.import_module(name)
    tasks: list[tuple[Task, int]] = []
    while True:
        try:
            message = pipe.recv()
        except EOFError:
            return
        if message is None:
            return
        try:
            if message[0] == "prepare":
                _, lane, case, least, beside = message
                if not beside:
                    tasks.clear()
                task = lane.build(**lane.options, **case)
                tasks.append((task, _warm(task, least)))
                pipe.send((task.parameters, task.note, len(tasks) - 1))
            else:
                task, repeat = tasks[message[1]]
                pipe.send(message[2](task, repeat))
            del task  # the next one may need its memory
        except Exception as error:
            pipe.send(f"{type(error).__name__}: {error}"[:300])


def _warm(task: Task, least: float) -> int:
    """Run a few times (compilers compile, caches fill); how often a round has to run it."""
    taken = math.inf
    began = time.perf_counter()
    for turn in range(5):
        start = time.process_time()
        task.run()
        taken = min(taken, time.process_time() - start)
        if turn and time.perf_counter() - began > 5 * least:
            break
    return max(1, math.ceil(least / max(taken, 1e-6)))


def _measure(task: Task, repeat: int) -> tuple[float, float]:
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(repeat):
        task.run()
    return (time.process_time() - cpu) / repeat, (time.perf_counter() - wall) / repeat


@contextlib.contextmanager
def _environment(threads: int, more: Mapping[str, str]) -> Iterator[None]:
    """What a process started within it may use: read by OpenMP, MKL and XLA when they start."""
    eigen = "true" if threads > 1 else "false"
    settings = {
        **more,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "NPROC": str(threads),  # the size of XLA's thread pool
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={eigen}",
        "JAX_PLATFORMS": "cpu",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
