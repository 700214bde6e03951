"""The generative adversarial network of a university course on MNIST, with its pictures.

    python reproductions/gan_mnist.py --data DATA

Published: pictures of samples at the start, midway and after 187,500 of 187,600 steps, and of the
way from one digit to another in nine steps; no figure, for there is no likelihood to report.

Protocol: MNIST's 60,000 training images on the scale of -1 to 1. Generator
100-128-256-512-1024-784, leaky ReLU 0.2, batch norm but in the first layer, tanh (the course's own
batch norm before it is left out; ``--output-norm`` brings it back); discriminator 784-512-256-1.
Non-saturating loss, one-sided smoothing 0.9 (the course's code smooths both sides), Adam 2e-4 with
first beta 0.5 (the course: 0.9, by which D wins within an epoch here; ``--momentum 0.9``), batches
of 64, 200 epochs; both networks step at once, D on images that are cut off from G (the
course's code differentiates through weights that have changed, which torch now refuses). Kept are
the weights of the lowest sliced Wasserstein distance between 5,000 samples and the first 5,000 test
images; the figure is that distance to the other 5,000. It is no likelihood.

Digits in samples are told by the nearest of 20,000 training images: how many there are of each
shows whether the generator makes all of them. A run that is cut short goes on from its last
checkpoint.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import Clock, arguments, data_folder, picture, record, row
from torch import Tensor

import pushforward as pf
from pushforward.data.idx import read_idx
from pushforward.jobs import measure
from pushforward.models.registry import PRESETS
from pushforward.pictures import image_grid, write_png
from pushforward.training import Run

STEPS = 9
"""Pictures from one digit to another, both ends included, as published."""
WAYS = ((0, 6), (1, 7), (3, 8), (4, 9), (5, 3), (7, 2))
"""From which digit to which."""


def mnist(args: argparse.Namespace) -> pf.Dataset:
    """The training images; of the test images half to validate on, half to measure."""
    folder = data_folder(args.data) / "mnist"
    images = read_idx(folder / "train-images-idx3-ubyte.gz")[:, None]
    test = read_idx(folder / "t10k-images-idx3-ubyte.gz")[:, None]
    labels = {"train": read_idx(folder / "train-labels-idx1-ubyte.gz")}
    if args.quick:
        images, test = images[:2_000], test[:1_000]
    half = len(test) // 2
    return pf.Dataset(
        "MNIST", "images", (1, 28, 28), 256, images, test[:half], test[half:], labels=labels
    )


def train(epochs: float, data: pf.Dataset, args: argparse.Namespace) -> tuple[pf.GAN, Run]:
    """Train to so many epochs in all, from the last checkpoint if there is one."""
    gan = pf.create("gan-mnist", seed=args.seed, output_norm=args.output_norm)
    limits: dict[str, Any] = {"epochs": epochs}
    if args.minutes is not None:
        limits["max_time"] = 60 * args.minutes
    run = pf.fit(
        gan,
        data,
        **{**PRESETS["gan-mnist"].training, "momentum": args.momentum},
        folder=args.work / f"seed-{args.seed}",
        resume=True,
        progress=not args.quick,
        seed=args.seed,
        threads=args.threads,
        validate_every=math.ceil(len(data.train) / 64),
        validate_on=5_000,
        **limits,
    )
    return gan, run


def nearest_digits(samples: Tensor, data: pf.Dataset) -> Tensor:
    """The label of the nearest training image of each sample: ``(N,)``."""
    assert data.labels is not None
    known = torch.from_numpy(data.train[:20_000]).flatten(1).float()
    nearest = torch.cdist(samples.flatten(1).float(), known).argmin(1)
    return torch.from_numpy(data.labels["train"].astype(np.int64))[nearest]


def draw_ways(gan: pf.GAN, data: pf.Dataset, args: argparse.Namespace) -> Path:
    """The way from one digit to another on the shell of the latents, a row each."""
    generator = torch.Generator().manual_seed(args.seed)
    z = torch.randn(400, *gan.latent_shape, generator=generator)
    digits = nearest_digits(gan.decode(z), data).tolist()
    rows = []
    for first, last in WAYS:
        ends = [digits.index(digit) if digit in digits else digit for digit in (first, last)]
        rows.append(gan.interpolate(z[ends[0]], z[ends[1]], STEPS))
    path = place("interpolation", args)
    write_png(path, image_grid(torch.cat(rows), 256, STEPS))
    return path


def draw_samples(gan: pf.GAN, what: str, args: argparse.Namespace) -> Path:
    """64 samples, the same latents each time."""
    path = place(what, args)
    write_png(path, image_grid(gan.sample(64, seed=args.seed), 256))
    return path


def place(what: str, args: argparse.Namespace) -> Path:
    """Where a picture goes: a quick one is for nobody to see."""
    return args.work / f"{what}.png" if args.quick else picture(f"gan_mnist_{what}.png")


def main() -> None:
    """Train, draw after one epoch and at the end, measure."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--epochs", type=float, default=200)
    parser.add_argument("--minutes", type=float, help="of training, if that comes first")
    parser.add_argument("--momentum", type=float, default=0.5, help="Adam's first beta")
    parser.add_argument("--output-norm", action="store_true", help="the course's batch norm")
    parser.add_argument("--work", type=Path, default=Path("runs/gan_mnist"))
    args = parser.parse_args()
    if args.quick:
        args.epochs, args.work = min(args.epochs, 3), args.work / "quick"
    if args.threads:
        torch.set_num_threads(args.threads)
    data, clock = mnist(args), Clock()
    pictures = [place("1_epoch", args)]
    if not (args.work / f"seed-{args.seed}" / "best").exists():  # else it goes on, and has drawn it
        gan, _ = train(1, data, args)
        draw_samples(gan, "1_epoch", args)
    gan, run = train(args.epochs, data, args)
    epochs = run.records[-1]["epoch"]
    pictures += [draw_samples(gan, "samples", args), draw_ways(gan, data, args)]
    pictures.append(place("curve", args))
    run.plot(pictures[-1])
    found = measure(gan, data.test)
    counts = torch.bincount(nearest_digits(gan.sample(1_000, seed=1), data), minlength=10).tolist()
    print(f"{found}\n{epochs:.0f} epochs; digits 0 to 9 in 1,000 samples: {counts}")
    if args.quick:
        return
    record(
        "gan_mnist",
        [
            row(
                f"GAN, MNIST, {epochs:.0f} epochs",
                "pictures at 1 epoch and at the end",
                "pictures; distance of samples "
                f"{found.loss:.4f} (of a perfect model {found.floor:.4f})",  # type: ignore[union-attr]
                "no likelihood; sliced Wasserstein, range of pixels 0 to 1",
            )
        ],
        protocol=(__doc__ or "").split("Protocol: ")[1].split("\n\n")[0],
        command="python reproductions/gan_mnist.py --data DATA"
        + ("" if args.momentum == 0.5 else f" --momentum {args.momentum:g}")
        + (" --output-norm" if args.output_norm else ""),
        seed=args.seed,
        clock=clock,
        figures={
            "epochs": epochs,
            "kept": run.best,
            "training_seconds": run.records[-1]["seconds"],
            "measured": found.to_dict(),
            "digits_in_1000_samples": counts,
            "curve": [[r["epoch"], r["discriminator"], r["validation"]] for r in run.records],
        },
        pictures=pictures,
    )


if __name__ == "__main__":
    main()
