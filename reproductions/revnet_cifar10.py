"""A reversible classifier against the residual one of its size on CIFAR-10: error and memory.

    python reproductions/revnet_cifar10.py --data DATA --epochs 10
    python reproductions/revnet_cifar10.py --data DATA --full --device cuda      # the paper's sizes

Published (Gomez et al. 2017, error on the 10,000 test images): ResNet-32 7.14 %, RevNet-38 7.24 %;
ResNet-110 5.74 %, RevNet-110 5.76 %. Activations of the reversible blocks are not kept, so that
memory does not grow with depth, for about half as much time again.

Protocol: CIFAR-10's 50,000 training images, the last 1,000 of them to validate on; mirrored at
random, padded by 4 pixels and cut at random. Cross-entropy; SGD with momentum 0.9, batches of 100,
weight decay 2e-4, rate 0.1, a tenth of it after half of the steps and again after three quarters.
A small ResNet (4 units a stage, 8-16-32 channels; 92,466 parameters) and a RevNet (2 units of two
functions each a stage, 16-32-64 channels in two halves; 93,082), the same budget and seed; the
RevNet by ``memory="constant"``. Kept are the weights of the best validation. ``--full`` is the
paper's RevNet-38 and ResNet-32 and its 80,000 steps, for a GPU. The error is that of all test
images, with its standard error.

Memory: the peak of a training step over what the process held before, in a fresh process, for
networks of 1, 3 and 9 units a stage at the small widths; seconds are of the processor. Besides, a
bijective i-RevNet of the same budget is inverted from its last features to the image. A run that is
cut short goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import Clock, arguments, data_folder, picture, record, row
from torch import Tensor

import pushforward as pf
from pushforward.files import writing
from pushforward.jobs import Classification, measure
from pushforward.models.classifier import Classifier
from pushforward.models.irevnet import InvertibleClassifier
from pushforward.models.registry import PRESETS
from pushforward.pictures import image_grid, write_png
from pushforward.training import Run

SHAPE = (3, 32, 32)
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "ResNet": (
        "revnet",
        {"shape": SHAPE, "blocks": "plain", "units": (4, 4, 4), "stem": 8, "channels": (8, 16, 32)},
    ),
    "RevNet": (
        "revnet",
        {"shape": SHAPE, "units": (2, 2, 2), "stem": 16, "channels": (16, 32, 64)},
    ),
    "i-RevNet": (
        "irevnet",
        {"shape": SHAPE, "squeezes": 1, "channels": 12, "units": (3, 3, 3), "bottleneck": 1},
    ),
}
FULL: dict[str, tuple[str, dict[str, Any]]] = {
    "ResNet-32": ("resnet-32", {}),
    "RevNet-38": ("revnet-38", {}),
}
PUBLISHED = {"ResNet-32": "7.14 %", "RevNet-38": "7.24 %"}
DEPTHS = (1, 3, 9)
CASES = {"ResNet, all kept": ("plain", "store"), "RevNet, all kept": ("reversible", "store")} | {
    "RevNet, restored": ("reversible", "constant")
}


# Training --------------------------------------------------------------------------------------


def cifar10(args: argparse.Namespace) -> pf.Dataset:
    """The 50,000 images in order, the last 1,000 held out, and the 10,000 test images."""
    source = pf.open_data(data_folder(args.data) / "cifar10", fractions=(0.0, 0.0))
    assert source.labels is not None
    x, y, test, answers = (
        source.train,
        source.labels["train"],
        source.test,
        source.labels["test"],
    )
    held = 1_000
    if args.quick:
        x, y, held = x[:1_200], y[:1_200], 200
        test, answers = test[:200], answers[:200]
    parts = x[:-held], x[-held:], test
    labels = {"train": y[:-held], "validation": y[-held:], "test": answers}
    return pf.Dataset("CIFAR-10", "images", SHAPE, 256, *parts, labels=labels)


def train(
    what: str, data: pf.Dataset, args: argparse.Namespace
) -> tuple[Classifier, Run, Classification]:
    """Train one model of the comparison and measure it on the test images."""
    name, options = (FULL if args.full else SMALL)[what]
    model = pf.create(name, seed=args.seed, **options)
    limits: dict[str, Any] = {"max_steps": 80_000} if args.full else {"epochs": args.epochs}
    if args.minutes is not None:
        limits = {"max_time": 60 * args.minutes}
    settings = {**PRESETS[name].training, "crop": 4, "flip": True}
    run = pf.fit(
        model,
        data,
        **settings,
        **limits,
        memory="store" if what.startswith("ResNet") else "constant",
        folder=args.work / f"{what}-{args.seed}",
        resume=True,
        progress=not args.quick,
        seed=args.seed,
        threads=args.threads,
        device=args.device,
    )
    assert data.labels is not None
    found = measure(model, data.test, data.labels["test"])
    assert isinstance(found, Classification)
    return model, run, found


def draw_errors(runs: dict[str, Run], path: Path) -> None:
    """Validation error over epochs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    for what, run in runs.items():
        axes.plot(
            [r["epoch"] for r in run.records], [100 * r["error"] for r in run.records], label=what
        )
    axes.set(xlabel="epoch", ylabel="validation error (%)", ylim=(0, None))
    _plain(axes)
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def draw_inverted(model: InvertibleClassifier, images: np.ndarray, path: Path) -> float:
    """Test images above their reconstructions from the last features; the largest error, levels."""
    x = torch.from_numpy(np.array(images))
    with torch.no_grad():
        back = model.invert(model.features(x), whole=False).cpu()
    worst = float((back - x).abs().max())
    both = [part for i in range(0, len(x), 10) for part in (x[i : i + 10], back[i : i + 10])]
    write_png(path, image_grid(torch.cat([part.round().clamp(0, 255) for part in both]), 256, 10))
    return worst


# Memory ----------------------------------------------------------------------------------------


def network(blocks: str, units: int) -> tuple[Classifier, Tensor, Tensor]:
    """A network of the small widths, ready to train, and a batch."""
    torch.manual_seed(0)
    # A reversible unit has two functions, so that half as many units are as deep.
    plain = blocks == "plain"
    options = SMALL["ResNet" if plain else "RevNet"][1]
    model = pf.create("revnet", **{**options, "units": (2 * units if plain else units,) * 3})
    x, y = torch.randint(256, (100, *SHAPE)), torch.randint(10, (100,))
    model.initialise(x)
    return model.train(), x, y


def peak(blocks: str, memory: str, units: int) -> tuple[float, float]:
    """MB of a training step over what was held before, and its CPU seconds, in this process."""
    model, x, y = network(blocks, units)
    model.memory = memory

    def step(count: int) -> None:
        model.zero_grad()
        (-model.objective(x[:count], y[:count]).mean()).backward()

    step(2)
    Path("/proc/self/clear_refs").write_text("5")  # forget earlier peaks
    held = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    seconds = []
    for _ in range(3):
        start = time.process_time()
        step(len(x))
        seconds.append(time.process_time() - start)
    lines = Path("/proc/self/status").read_text().splitlines()
    high = next(line for line in lines if line.startswith("VmHWM"))
    return int(high.split()[1]) / 2**10 - held, sorted(seconds)[1]


def memories(depths: tuple[int, ...]) -> dict[str, list[tuple[int, float, float]]]:
    """``peak`` of each case and depth, each in a process of its own: units, MB, seconds."""
    settings = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"}
    found: dict[str, list[tuple[int, float, float]]] = {}
    for case, (blocks, memory) in CASES.items():
        for units in depths:
            command = [sys.executable, __file__, "--child", json.dumps([blocks, memory, units])]
            done = subprocess.run(
                command, env={**os.environ, **settings}, check=True, capture_output=True, text=True
            )
            megabytes, seconds = json.loads(done.stdout)
            found.setdefault(case, []).append((units, megabytes, seconds))
            print(f"{case}, {units} units a stage: {megabytes:.0f} MB, {seconds:.2f} s", flush=True)
    return found


def draw_memories(found: dict[str, list[tuple[int, float, float]]], path: Path) -> None:
    """Peak memory over depth."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    for case, points in found.items():
        axes.plot([6 * units for units, *_ in points], [p[1] for p in points], "o-", label=case)
    axes.set(xlabel="residual functions", ylabel="peak of a step (MB)", ylim=(0, None))
    _plain(axes)
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _plain(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92")
    axes.legend(frameon=False)


# All of it -------------------------------------------------------------------------------------


def main() -> None:
    """Train each, measure, draw; or be one of the fresh processes."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--minutes", type=float, help="of training each model, in place of epochs")
    parser.add_argument("--full", action="store_true", help="the paper's sizes and steps")
    parser.add_argument("--device", help="such as cuda")
    parser.add_argument("--work", type=Path, default=Path("runs/revnet_cifar10"))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(peak(*json.loads(args.child))))
        return
    if args.quick:
        args.epochs, args.work = min(args.epochs, 1), args.work / "quick"
    if args.threads:
        torch.set_num_threads(args.threads)
    data, clock = cifar10(args), Clock()
    rows, figures, runs = [], dict[str, Any](), dict[str, Run]()
    pictures = [place(what, args) for what in ("error", "memory")]
    for what in FULL if args.full else SMALL:
        model, run, found = train(what, data, args)
        runs[what] = run
        parameters = sum(p.numel() for p in model.parameters())
        said = f"{100 * found.error:.2f} ± {100 * found.error_error:.2f} %"
        rows.append(
            row(
                f"{what}, {parameters:,} parameters, CIFAR-10, "
                f"{run.records[-1]['epoch']:.0f} epochs, test error",
                PUBLISHED.get(what, "-"),
                said,
                "" if args.full else "a small size; the paper's RevNets have their ResNets' error",
            )
        )
        figures[what] = {
            "parameters": parameters,
            "measured": found.to_dict(),
            "training_seconds": run.records[-1]["seconds"],
            "curve": [[r["epoch"], r["train"], r["validation"], r["error"]] for r in run.records],
        }
        print(f"{what}: {said}, {run.records[-1]['seconds']:.0f} s of training", flush=True)
        if isinstance(model, InvertibleClassifier):
            pictures.append(place("inverted", args))
            worst = draw_inverted(model, data.test[:30], pictures[-1])
            figures[what]["largest_error_of_the_inverse"] = worst
            print(f"{what}: inverted from its last features, off by {worst:.2g} of 255 at most")
            rows.append(
                row(
                    "i-RevNet, image from its last features, largest error of 30 images",
                    "exact, but for rounding",
                    f"{worst:.1g} of 255 grey levels",
                )
            )
    draw_errors(runs, pictures[0])
    memory = memories(DEPTHS[:2] if args.quick else DEPTHS)
    figures["memory: units a stage, MB, CPU seconds of a step of 100 images"] = memory
    draw_memories(memory, pictures[1])
    for case, points in memory.items():
        depths = " / ".join(str(units) for units, *_ in points)
        rows.append(
            row(
                f"{case}: peak memory of a step at {depths} units a stage",
                "flat in depth" if "restored" in case else "grows",
                " / ".join(f"{megabytes:.0f}" for _, megabytes, _ in points) + " MB",
                "CPU seconds " + " / ".join(f"{seconds:.2f}" for *_, seconds in points),
            )
        )
    if args.quick:
        return
    record(
        "revnet_cifar10_full" if args.full else "revnet_cifar10",
        rows,
        protocol=(__doc__ or "").split("Protocol: ")[1].rsplit("\n\n", 1)[0],
        command="python reproductions/revnet_cifar10.py --data DATA"
        + (" --full --device cuda" if args.full else f" --epochs {args.epochs:g}")
        + (f" --minutes {args.minutes:g}" if args.minutes else ""),
        seed=args.seed,
        clock=clock,
        figures=figures,
        pictures=pictures,
    )


def place(what: str, args: argparse.Namespace) -> Path:
    """Where a picture goes: a quick one is for nobody to see."""
    name = f"{'revnet_cifar10_full' if args.full else 'revnet_cifar10'}_{what}.png"
    return args.work / f"{what}.png" if args.quick else picture(name)


if __name__ == "__main__":
    main()
