"""How fast it is, and how much memory it takes, beside other libraries, in interleaved rounds.

    python benchmarks/speed.py                          # everything: about a quarter of an hour
    python benchmarks/speed.py rows-train --threads 1 --rounds 9
    python benchmarks/speed.py --quick --peers none     # does it run?

Each workload writes ``speed-<workload>.md``, ``.json`` and ``.png`` to ``benchmarks/results`` as
soon as it is done, and in the end ``benchmarks/RESULTS.md`` is made anew from all that is there. So
a run that was cut short goes on with the workloads that it has not reached.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

# Nothing heavy up here: every lane's process reads this file again, and not all want torch.
from racing import growth, images, rows
from racing.peaks import peaks
from racing.rounds import Lane, Timed, race, started

WORKLOADS = (
    *("rows-train", "rows-log_prob", "rows-sample"),
    *("images-train", "images-log_prob", "images-sample", "memory", "growth"),
)


def main() -> None:
    """Run the workloads that were asked for, then write the page."""
    args = arguments()
    if args.quick:
        args.rounds, args.threads, args.least = 2, [1], 0.02
    wanted = [] if args.page else args.workloads or WORKLOADS
    for kind in dict.fromkeys(name.partition("-")[0] for name in wanted):
        load = f"{os.getloadavg()[0]:.1f}"
        print(f"{kind}", flush=True)
        if kind == "memory":
            finish(kind, memory(args), args, load)
        elif kind == "growth":
            finish(kind, grown(args), args, load)
        else:
            jobs = [name.partition("-")[2] for name in wanted if name.startswith(kind)]
            for job, found in raced(kind, jobs, args):
                finish(f"{kind}-{job}", found, args, load)
    from racing.page import write_page

    page = args.out.parent / "RESULTS.md"
    write_page(args.out, page)
    print(f"The page is {page}.")


def finish(workload: str, found: list[dict[str, Any]], args: argparse.Namespace, load: str) -> None:
    """Write a workload's table, figures and chart."""
    from racing import charts, page

    bodies = {"memory": page.memory_body, "growth": page.growth_body}
    body = bodies.get(workload, page.race_body)(found)
    threads = [1] if workload in bodies else args.threads
    figures = {"rounds": args.rounds, "cases": found}
    report = page.write_report(args.out, workload, body, figures, threads, load)
    picture = args.out / f"speed-{workload}.png"
    if workload == "memory":
        depths = [case["case"]["couplings"] for case in found]
        curves = {
            lane["name"]: (depths, [case["lanes"][index]["megabytes"] for case in found])
            for index, lane in enumerate(found[0]["lanes"])
        }
        charts.lines(picture, "Peak memory of a training step against depth", curves)
    elif workload == "growth":
        curves = {f"{axis['name']}: time": (axis["sizes"], axis["seconds"]) for axis in found}
        charts.lines(picture, "CPU time against size", curves)
    else:
        charts.bars(picture, report.title, found)
    print("\n" + report.markdown(), flush=True)


def raced(
    kind: str, jobs: Sequence[str], args: argparse.Namespace
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Rows or images: for each job every lane on every case, with each number of threads.

    The processes stay from job to job, since starting a dozen libraries takes a while.
    """
    lanes = images.lanes(args.peers, args.levers) if kind == "images" else rows.lanes(args.peers)
    results: dict[str, list[dict[str, Any]]] = {job: [] for job in jobs}
    for count in args.threads:
        with started(lanes, count) as workers:
            for job in jobs:
                cases = row_cases(job, args) if kind == "rows" else image_cases(job, args)
                # A training step of rows is quick, so its rounds can be many.
                rounds = args.rounds if (kind, job) == ("rows", "train") else fewer(args.rounds)
                for case in cases:
                    timed = race(workers, lanes, case, rounds, args.least)
                    told = [lane.plain() for lane in timed]
                    results[job].append({"case": case, "threads": count, "lanes": told})
                    tell(f"  {_words(case)}, {count} thread(s)", timed)
                if count == args.threads[-1]:
                    yield job, results[job]


def row_cases(job: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """What is asked of every lane of rows."""
    many = 10_000 if args.quick else 100_000
    sizes = (64, 1024) if job == "train" else (many,)
    return [{"job": job, "dims": d, "rows": n} for d in (6, 63) for n in sizes]


def image_cases(job: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """What is asked of every lane of images."""
    batches = {"small": 8} if args.quick else {"cifar10": 4, "small": 16}
    return [{"model": model, "job": job, "batch": n} for model, n in batches.items()]


def fewer(rounds: int) -> int:
    """The rounds of what takes long."""
    return max(2, rounds * 5 // 9)


def memory(args: argparse.Namespace) -> list[dict[str, Any]]:
    """A training step of rows at several depths: our ways to remember, and the peers."""
    lanes = [
        Lane(f"pushforward, {way}", rows.task, {"library": "pushforward", "memory": way})
        for way in ("store", "checkpoint", "constant")
    ]
    lanes += [lane for lane in rows.lanes(args.peers) if lane.name in args.peers]
    batch, depths = (512, (2, 4)) if args.quick else (8192, (10, 40, 160))
    cases = [{"job": "train", "dims": 63, "rows": batch, "couplings": n} for n in depths]
    found = []
    for lane in lanes:
        found.append(peaks(lane, cases))
        sizes = ", ".join(_told(one) for one in found[-1])
        print(f"  {lane.name}: {sizes}", flush=True)
    return [
        {"case": case, "threads": 1, "lanes": list(lanes)}
        for case, lanes in zip(cases, zip(*found, strict=True), strict=True)
    ]


def grown(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Our time and memory at growing sizes."""
    results = []
    for axis in growth.AXES[:2] if args.quick else growth.AXES:
        values = axis.sizes[:2] if args.quick else axis.sizes
        lanes = growth.lanes(axis, values)
        with started(lanes[:1], 1) as workers:  # all sizes in one process
            timed = race(workers * len(lanes), lanes, {}, fewer(args.rounds), args.least)
        tell(f"  {axis.name}", timed)
        sizes = [{axis.option: value} for value in values]
        found = peaks(replace(lanes[0], options=axis.fixed), sizes)
        results.append(
            {
                "name": axis.name,
                "about": axis.about,
                "sizes": [axis.size(value) for value in values],
                "seconds": [statistics.median(one.cpu) if one.cpu else None for one in timed],
                "megabytes": [one["megabytes"] for one in found],
                "lanes": [one.plain() for one in timed],
                "errors": [one["error"] for one in found if one["error"]],
            }
        )
    return results


def tell(text: str, timed: Sequence[Timed]) -> None:
    """Say how far it is, and what has failed."""
    print(text, flush=True)
    for lane in timed:
        if lane.error:
            print(f"    {lane.name} failed: {lane.error}", flush=True)


def _words(case: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in case.items())


def _told(found: dict[str, Any]) -> str:
    size = found["megabytes"]
    return f"{size:.0f} MB" if size is not None else str(found["error"])


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "workloads", nargs="*", metavar="workload", help=f"of {', '.join(WORKLOADS)}; default all"
    )
    parser.add_argument(
        "--rounds", type=int, default=9, help="of a training step of rows; of others 5/9 of it"
    )
    parser.add_argument("--least", type=float, default=0.1, help="seconds that a round lasts")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--peers", nargs="+", default=list(rows.PEERS), choices=[*rows.PEERS, "none"]
    )
    parser.add_argument(
        "--levers",
        nargs="*",
        default=["bfloat16", "constant"],
        choices=images.LEVERS,
        help="of our models of images, each alone; compile takes minutes to start",
    )
    parser.add_argument("--quick", action="store_true", help="a minute: two rounds, small sizes")
    parser.add_argument("--page", action="store_true", help="only make RESULTS.md anew")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args(given)
    unknown = sorted(set(args.workloads) - set(WORKLOADS))
    if unknown:
        parser.error(f"no workload {', '.join(unknown)}; there are {', '.join(WORKLOADS)}.")
    if min(args.rounds, *args.threads) < 1:
        parser.error("--rounds and --threads must be at least 1.")
    args.peers = [name for name in args.peers if name != "none"]
    missing = [name for name in args.peers if importlib.util.find_spec(name) is None]
    if missing and not args.page:
        parser.error(
            f"{', '.join(missing)} not installed here: use `make bench`, which sets up all peers, "
            "or choose others with --peers (--peers none needs none of them)."
        )
    return args


if __name__ == "__main__":
    main()
