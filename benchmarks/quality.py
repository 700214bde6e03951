"""How good the densities are, beside other libraries and the truth, in one process.

    python benchmarks/quality.py moons inverse --seeds 10
    python benchmarks/quality.py power --minutes 3
    python benchmarks/quality.py                      # everything

Each workload prints a Markdown table and writes it, with its figures as JSON, to
``benchmarks/results``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import plane
import real
from contenders import PEERS, require
from report import Report, variants

WORKLOADS = ("moons", "sharp", "inverse", "power", "digits")


def main() -> None:
    """Run the workloads that were asked for."""
    args = arguments()
    torch.set_num_threads(args.threads)
    wanted = args.workloads or list(WORKLOADS)
    own = tuple(variants(args.variant))
    peers = tuple(name for name in args.peers if name != "none")
    reports: list[Report] = []
    in_plane = {"moons", "sharp", "inverse"} & set(wanted)
    require([PEERS[name][0] for name in peers] if in_plane else [])
    require(["sklearn"] if {"power", "digits"} & set(wanted) else [])

    def finish(report: Report) -> None:
        print("\n" + report.markdown(), flush=True)
        report.save(args.out)
        reports.append(report)

    if {"moons", "inverse"} & set(wanted):
        trained = plane.train_moons(plane.Plan(args.seeds, args.few, peers, own, lr=args.lr))
        if "moons" in wanted:
            finish(plane.moons(trained))
        if "inverse" in wanted:
            finish(plane.inverse(trained))
    if "sharp" in wanted:
        finish(plane.sharp(plane.Plan(1, 1, peers, own, lr=args.lr)))
    if "power" in wanted:
        report = real.power(60 * args.minutes, args.power_seeds, own)
        if report is not None:
            finish(report)
    if "digits" in wanted:
        finish(real.digits(60 * args.digits_minutes, args.model, own))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "workloads", nargs="*", metavar="workload", help=f"of {', '.join(WORKLOADS)}; default all"
    )
    parser.add_argument("--seeds", type=int, default=10, help="of moons and inverse (sharp: 1)")
    parser.add_argument("--few", type=int, default=3, help="of those, for nflows, FrEIA and pyro")
    parser.add_argument("--lr", type=float, default=1e-3, help="of moons, inverse and sharp")
    parser.add_argument(
        "--peers", nargs="+", default=list(PEERS), choices=[*PEERS, "none"], help="default all"
    )
    parser.add_argument(
        "--variant",
        action="append",
        default=[],
        metavar="KEY=VALUE,...",
        help="one more model of ours with these options of RealNVP or of training; repeatable",
    )
    parser.add_argument("--minutes", type=float, default=3.0, help="of training on power")
    parser.add_argument("--power-seeds", type=int, default=1)
    parser.add_argument("--digits-minutes", type=float, default=1.0, help="of training on digits")
    parser.add_argument("--model", type=Path, help="a saved digits model to score instead")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    unknown = sorted(set(args.workloads) - set(WORKLOADS))
    if unknown:
        parser.error(f"no workload {', '.join(unknown)}; there are {', '.join(WORKLOADS)}.")
    return args


if __name__ == "__main__":
    main()
