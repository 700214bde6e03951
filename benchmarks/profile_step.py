"""Where the time of a training step goes, layer by layer and by the fast path.

    OMP_NUM_THREADS=1 python benchmarks/profile_step.py [--out benchmarks/results]

Rows (D=63, ten couplings of 128, batches of 64 and 1,024) with the plain layers and with the fast
path; the paper's CIFAR-10 model, batch 4, in float32 and with bf16 conditioners. Self CPU time by
torch's profiler, one thread; the profiler itself slows small operations down.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

import pushforward as pf
from pushforward.layers import conditioners_in
from pushforward.layers.fusion import enabled
from report import Report, table

GROUPS = {
    "convolutions": ("convolution", "mkldnn_convolution"),
    "matrix products": ("addmm", "aten::mm", "linear", "_linear_pointwise"),
    "optimiser": ("adam", "_foreach"),
    "elementwise": (
        "add", "mul", "sub", "div", "exp", "tanh", "relu", "threshold", "atan", "neg", "where",
        "sqrt", "rsqrt", "square", "log", "sigmoid", "softplus", "reciprocal", "clamp", "pow",
    ),
    "sums": ("sum", "mean", "norm", "var"),
    "copies and views": ("copy", "cat", "slice", "clone", "to", "contiguous", "view", "t",
                         "transpose", "expand", "fill", "zero", "empty", "index", "permute",
                         "split", "as_strided", "select", "reshape", "constant_pad", "unsqueeze"),
}  # fmt: skip


def cases() -> Iterator[tuple[str, pf.Flow, torch.Tensor, contextlib.AbstractContextManager[Any]]]:
    """Name, flow, batch, and what holds while it is trained."""
    torch.manual_seed(0)
    for batch in (64, 1024):
        x = torch.randn(batch, 63)
        flow = pf.RealNVP((63,), couplings=10, width=128, norm="none", mixing="none")
        flow.initialise(x)
        yield f"rows, batch {batch}, plain layers", flow, x, enabled(False)
        yield f"rows, batch {batch}, fast path", flow, x, contextlib.nullcontext()
    pixels = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8)
    flow = pf.create("realnvp-cifar10")
    flow.initialise(pixels)
    yield "realnvp-cifar10, batch 4, float32", flow, pixels, contextlib.nullcontext()
    yield "realnvp-cifar10, batch 4, bf16", flow, pixels, conditioners_in(flow, torch.bfloat16)


def shares(flow: pf.Flow, x: torch.Tensor, steps: int) -> tuple[float, int, dict[str, float]]:
    """Milliseconds of a step, operations in it, and milliseconds by group."""
    flow.train()
    optimiser = torch.optim.AdamW(flow.parameters(), lr=1e-5, fused=True)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        (-flow.log_prob(x, check=False).mean()).backward()
        optimiser.step()

    for _ in range(3):
        step()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for _ in range(steps):
            step()
    spent: dict[str, float] = {}
    count, total = 0, 0.0
    for row in seen.key_averages():
        ms = row.self_cpu_time_total / 1e3 / steps
        name = row.key.lower()
        group = next(
            (g for g, parts in GROUPS.items() if any(part in name for part in parts)), "the rest"
        )
        spent[group] = spent.get(group, 0.0) + ms
        total += ms
        if row.key.startswith("aten::"):
            count += row.count
    return total, count // steps, spent


def main() -> None:
    """Profile all cases and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    groups = [*GROUPS, "the rest"]
    rows, figures = [], {}
    for name, flow, x, holding in cases():
        with holding:
            total, count, spent = shares(flow, x, 2 if x.ndim == 4 else 20)
        rows.append(
            [name, f"{total:.2f}", f"{count:,}", *(f"{spent.get(g, 0.0):.2f}" for g in groups)]
        )
        figures[name] = {"ms": total, "operations": count, "by group": spent}
        print(rows[-1])
    head = ["training step", "ms", "operations", *groups]
    body = f"{' '.join((__doc__ or '').split(chr(10) * 2)[-1].split())}\n\n{table(head, rows)}"
    report = Report("profile", "Where the time of a training step goes", body, figures)
    print(report.markdown())
    report.save(options.out)


if __name__ == "__main__":
    main()
