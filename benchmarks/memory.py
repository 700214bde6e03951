"""What a training step takes, in memory and time, with each way to remember activations.

    OMP_NUM_THREADS=1 python benchmarks/memory.py rows              # depth 10, 40, 160
    OMP_NUM_THREADS=1 python benchmarks/memory.py images --batch 16 --blocks 8

Memory: the peak of a step over what the process held before it (weights, gradients, optimiser),
each in a fresh process whose allocator gives large blocks back at once. Time: the process's own
CPU time, the ways taking turns, medians. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import pushforward as pf
from pushforward.flow import Flow

WAYS = ("store", "checkpoint", "constant")


def main() -> None:
    """Measure what was asked for, or be one of the fresh processes."""
    args = arguments()
    torch.set_num_threads(1)
    if args.child:
        print(json.dumps(peak(json.loads(args.child))))
        return
    sizes = [{"couplings": c} for c in args.couplings] if args.what == "rows" else [{}]
    for size in sizes:
        plan = {"what": args.what, "batch": args.batch, "blocks": args.blocks, **size}
        megabytes = {way: fresh({**plan, "way": way}) for way in WAYS}
        seconds = times(plan, args.rounds)
        print(f"\n{json.dumps(plan)}\n\n| memory | peak, MB | CPU s | of store: peak | time |")
        print("|---|---|---|---|---|")
        for way in WAYS:
            less, slower = megabytes["store"] / megabytes[way], seconds[way] / seconds["store"]
            cells = f"{megabytes[way]:.0f} | {seconds[way]:.3f} | 1/{less:.1f} | {slower:.2f}"
            print(f"| {way} | {cells} |", flush=True)


def build(plan: dict[str, Any]) -> tuple[Flow, Tensor]:
    """The flow of a plan, and a batch."""
    torch.manual_seed(0)
    if plan["what"] == "rows":
        flow = pf.RealNVP((63,), couplings=plan["couplings"])
        x = torch.randn(plan["batch"] or 8192, 63)
    else:
        flow = pf.create("realnvp-cifar10", blocks=plan["blocks"])
        x = torch.randint(256, (plan["batch"] or 16, 3, 32, 32))
    flow.initialise(x[:64])
    return flow.train(), x


def step(flow: Flow, optimiser: torch.optim.Optimizer, x: Tensor) -> None:
    """One training step."""
    optimiser.zero_grad()
    (-flow.log_prob(x, check=False).mean()).backward()
    optimiser.step()


def peak(plan: dict[str, Any]) -> float:
    """MB of the largest step over what was held before, in this process."""
    flow, x = build(plan)
    flow.memory = plan["way"]
    optimiser = torch.optim.Adam(flow.parameters(), lr=1e-4)
    step(flow, optimiser, x[:4])
    Path("/proc/self/clear_refs").write_text("5")  # forget earlier peaks
    held = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    for _ in range(2):
        step(flow, optimiser, x)
    lines = Path("/proc/self/status").read_text().splitlines()
    high = next(line for line in lines if line.startswith("VmHWM"))
    return int(high.split()[1]) / 2**10 - held


def fresh(plan: dict[str, Any]) -> float:
    """``peak`` in a process of its own."""
    command = [sys.executable, __file__, plan["what"], "--child", json.dumps(plan)]
    settings = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(
        command, env={**os.environ, **settings}, check=True, capture_output=True, text=True
    )
    return float(json.loads(done.stdout))


def times(plan: dict[str, Any], rounds: int) -> dict[str, float]:
    """Median CPU seconds of a step."""
    flow, x = build(plan)
    optimiser = torch.optim.Adam(flow.parameters(), lr=1e-4)
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn in range(rounds + 1):
        for way in WAYS:
            flow.memory = way
            start = time.process_time()
            step(flow, optimiser, x)
            if turn:  # the first is for warming up
                taken[way].append(time.process_time() - start)
    return {way: statistics.median(values) for way, values in taken.items()}


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("what", choices=("rows", "images"))
    parser.add_argument("--couplings", type=int, nargs="+", default=[10, 40, 160], help="rows")
    parser.add_argument("--blocks", type=int, default=8, help="images: residual blocks")
    parser.add_argument("--batch", type=int, help="8192 rows or 16 images unless given")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
