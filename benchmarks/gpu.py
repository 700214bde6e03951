"""Speed and memory on one GPU: eager, compiled and CUDA graphs; fp32, TF32 and bf16.

    python benchmarks/gpu.py --minutes 9 [--out benchmarks/results]

Needs torch and this library's few requirements. On a machine without a network, put them beside
the sources first (``pip install --target benchmarks/.deps pydantic safetensors rich filelock
pyyaml``): that folder is looked into. The time limit holds: what has not begun by then is left
out, and the table, which comes last, says so. ``--device cpu --quick`` tries the script itself.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / ".deps"), str(HERE.parent / "src")]

import torch  # noqa: E402

import pushforward as pf  # noqa: E402
from pushforward.layers import conditioners_in  # noqa: E402

PEAKS = {  # dense TFLOP/s of the makers' data sheets: float32, TF32, bf16
    "H200": (67, 494, 989),
    "H100": (67, 494, 989),
    "A100": (19.5, 156, 312),
    "L40S": (91.6, 183, 366),
    "RTX 4090": (82.6, 82.6, 165),
}


@dataclass
class Row:
    """One figure of the table."""

    workload: str
    batch: int
    work: str
    mode: str
    precision: str
    milliseconds: float
    events_per_second: float
    peak_share: float | None
    memory: float | None
    """GiB at the most, weights and optimiser included."""
    note: str = ""


class Clock:
    """How long there is; asked before each measurement."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes

    def left(self) -> float:
        """Seconds."""
        return self.end - time.monotonic()


def workloads(quick: bool) -> Iterator[tuple[str, pf.Flow, torch.Tensor, list[int]]]:
    """Name, flow, data and batch sizes."""
    torch.manual_seed(0)
    rows = pf.RealNVP((63,), couplings=10, width=32 if quick else 128, depth=2)
    yield "rows, D=63", rows, torch.randn(16_384, 63), [64] if quick else [1024, 16_384]
    options: dict[str, Any] = {"width": 4, "blocks": 1} if quick else {}
    images = pf.create("realnvp-cifar10", **options)
    pixels = torch.randint(256, (512, 3, 32, 32), dtype=torch.uint8)
    yield "realnvp-cifar10", images, pixels, [4] if quick else [64, 256]


@contextlib.contextmanager
def precision(flow: pf.Flow, name: str) -> Iterator[None]:
    """fp32, TF32 in all products, or bf16 in the conditioners."""
    before = torch.get_float32_matmul_precision()
    cudnn = torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = name == "tf32"
    try:
        with conditioners_in(flow, torch.bfloat16 if name == "bf16" else None):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
        torch.backends.cudnn.allow_tf32 = cudnn


# What is done ----------------------------------------------------------------------------------


def training_step(flow: pf.Flow, x: torch.Tensor, mode: str) -> Callable[[], object]:
    """log_prob, backward, Adam; as a function without arguments that may be called for ever."""
    flow.train()
    cuda = x.device.type == "cuda"
    optimiser = torch.optim.AdamW(flow.parameters(), lr=1e-6, fused=True, capturable=cuda)
    log_prob: Callable[..., torch.Tensor] = flow.log_prob
    if mode == "compiled":
        log_prob = torch.compile(flow.log_prob)

    def step() -> None:
        optimiser.zero_grad(set_to_none=mode != "graph")
        (-log_prob(x, check=False).mean()).backward()
        optimiser.step()

    return captured(step) if mode == "graph" else step


def scoring(flow: pf.Flow, x: torch.Tensor, mode: str) -> Callable[[], object]:
    """log_prob without gradients."""
    flow.eval()
    log_prob = torch.compile(flow.log_prob) if mode == "compiled" else flow.log_prob

    def step() -> None:
        with torch.no_grad():
            log_prob(x, check=False)

    return captured(step) if mode == "graph" else step


def sampling(flow: pf.Flow, x: torch.Tensor, mode: str) -> Callable[[], object]:
    """Base draws and the inverse."""
    flow.eval()
    inverse = torch.compile(flow.chain.inverse) if mode == "compiled" else flow.chain.inverse

    def step() -> None:
        with torch.no_grad():
            inverse(flow.base.sample(len(x), 1.0))

    return captured(step) if mode == "graph" else step


WORK = {"training step": training_step, "log_prob": scoring, "sampling": sampling}


def captured(step: Callable[[], object]) -> Callable[[], object]:
    """The step as a CUDA graph."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


# How it is measured ----------------------------------------------------------------------------


def timed(step: Callable[[], object], device: torch.device, quick: bool) -> float:
    """Median milliseconds of a call."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    for _ in range(1 if quick else 3):
        step()
    wait()
    start = time.perf_counter()
    step()
    wait()
    once = time.perf_counter() - start
    calls = 1 if quick else max(3, min(200, int(0.3 / max(once, 1e-6))))
    times = []
    for _ in range(3 if quick else 5):
        start = time.perf_counter()
        for _ in range(calls):
            step()
        wait()
        times.append((time.perf_counter() - start) / calls)
    return 1e3 * statistics.median(times)


def operations(flow: pf.Flow, x: torch.Tensor, work: str) -> int:
    """Multiplications and additions of products and convolutions in one call."""
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    step = WORK[work](flow, x, "eager")
    with counter:
        step()
    return int(counter.get_total_flops())


def peak(device: torch.device, name: str) -> float | None:
    """FLOP/s that the card promises; None if it is not in the list."""
    if device.type != "cuda":
        return None
    card = torch.cuda.get_device_name(device)
    found = next((peaks for key, peaks in PEAKS.items() if key in card), None)
    index = {"fp32": 0, "tf32": 1, "bf16": 2}[name]
    return None if found is None else found[index] * 1e12


def measure(device: torch.device, clock: Clock, quick: bool) -> tuple[list[Row], list[str]]:
    """Every workload in every mode, as far as the time goes."""
    cuda = device.type == "cuda"
    rows: list[Row] = []
    left_out: list[str] = []
    modes = ["eager", "graph", "compiled"] if cuda else ["eager"]
    for mode in modes:  # compiling takes longest and comes last
        for workload, flow, data, batches in workloads(quick):
            flow.initialise(data[:256])
            flow.to(device)
            for work in WORK:
                for batch in batches:
                    x = data[:batch].to(device)
                    count = operations(flow, x, work)
                    for kind in ("fp32", "tf32", "bf16") if cuda else ("fp32", "bf16"):
                        name = f"{workload}, batch {batch}, {work}, {mode}, {kind}"
                        if clock.left() < (90 if mode == "compiled" else 20):
                            left_out.append(name)
                            continue
                        rows.append(one(flow, x, workload, work, mode, kind, count, quick))
                        print(f"{name}: {rows[-1].milliseconds:.2f} ms {rows[-1].note}", flush=True)
            del flow
    return rows, left_out


def one(
    flow: pf.Flow,
    x: torch.Tensor,
    workload: str,
    work: str,
    mode: str,
    kind: str,
    count: int,
    quick: bool,
) -> Row:
    """One measurement; what cannot be done is noted."""
    device, cuda = x.device, x.device.type == "cuda"
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    flow.zero_grad(set_to_none=True)
    try:
        with precision(flow, kind):
            ms = timed(WORK[work](flow, x, mode), device, quick)
    except Exception as error:
        said = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:120]
        return Row(workload, len(x), work, mode, kind, float("nan"), 0.0, None, None, said)
    promised = peak(device, kind)
    return Row(
        workload,
        len(x),
        work,
        mode,
        kind,
        ms,
        1e3 * len(x) / ms,
        None if promised is None else count / (ms / 1e3) / promised,
        torch.cuda.max_memory_allocated() / 2**30 if cuda else None,
    )


def memory(device: torch.device, clock: Clock, quick: bool) -> list[Row]:
    """Memory and time of a training step with stored, checkpointed and recomputed activations."""
    rows = []
    for workload, flow, data, batches in workloads(quick):
        flow.initialise(data[:256])
        flow.to(device)
        for way in ("store", "checkpoint", "constant"):
            if clock.left() < 20 or not hasattr(flow, "memory"):
                continue
            flow.memory = way
            x = data[: batches[-1]].to(device)
            row = one(flow, x, workload, "training step", f"eager, {way}", "fp32", 0, quick)
            row.peak_share = None
            rows.append(row)
            print(f"{workload}, {way}: {row.milliseconds:.2f} ms, {row.memory} GiB", flush=True)
        del flow
    return rows


def table(rows: list[Row]) -> str:
    """Markdown."""
    head = "| workload | batch | work | mode | precision | ms | events/s | of peak | GiB |"
    lines = [head, "|---|---:|---|---|---|---:|---:|---:|---:|"]
    for row in rows:
        share = "" if row.peak_share is None else f"{100 * row.peak_share:.0f} %"
        held = "" if row.memory is None else f"{row.memory:.2f}"
        cells = [row.workload, row.batch, row.work, row.mode, row.precision]
        figures = [f"{row.milliseconds:.2f}", f"{row.events_per_second:,.0f}", share, held]
        if row.note:
            figures = [row.note, "", "", ""]
        lines.append("| " + " | ".join(str(cell) for cell in [*cells, *figures]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, write JSON, print the table last."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--quick", action="store_true", help="tiny models: tries the script")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no GPU here; --device cpu --quick tries the script.")
    device, clock = torch.device(options.device), Clock(options.minutes)
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or "CPU"
    rows = memory(device, clock, options.quick)
    more, left_out = measure(device, clock, options.quick)
    rows += more
    options.out.mkdir(parents=True, exist_ok=True)
    found = {
        "card": name,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "date": time.strftime("%Y-%m-%d"),
        "rows": [asdict(row) for row in rows],
        "left_out": left_out,
    }
    file = options.out / f"gpu-{name.replace(' ', '-').lower()}.json"
    file.write_text(json.dumps(found, indent=1) + "\n")
    print(f"\n# {name}, torch {torch.__version__}\n\n{table(rows)}")
    if left_out:
        print(f"\nThere was no time for {len(left_out)} more: {'; '.join(left_out[:5])}, ...")


if __name__ == "__main__":
    main()
