"""The variational autoencoder of a university course on MNIST, with a true bound.

    python reproductions/vae_mnist.py --data DATA

Published: 79.458 nats after 100 epochs, which is no evidence lower bound: its divergence has
exp(log sigma) where exp(2 log sigma) belongs, and its validation steps the optimiser. The same
network with the right divergence, trained on the training images alone, was measured before this
library was written (one seed), as -ELBO in nats, validation / test: 103.8 / 102.7 after 10 epochs,
101.7 / 100.8 after 20, 100.4 / 99.6 after 40, 99.9 / 99.2 after 60.

Protocol: MNIST made binary by one Bernoulli draw for each pixel, with the seed, for good; images 0
to 49,999 to train on, 50,000 to 59,999 to validate on, the 10,000 test images. 784-500-20-500-784,
ReLU, Bernoulli pixels; Adam 1e-3, batches of 128, a constant rate, no average of weights, no
clipping. -ELBO by one draw of the latent. ``fit`` keeps the weights of the best validated epoch, so
the figure "after 20 epochs" is that of the best of the first 20.

Besides: the importance-weighted bound of K draws; reconstructions, samples (the means of p(x|z), as
papers show them), and, by the same network with a latent of two numbers, the plane of its latents
at equal steps of probability. About ten minutes on one processor core. A run that is cut short
goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import Clock, arguments, data_folder, picture, record, row

import pushforward as pf
from pushforward.data.idx import read_idx
from pushforward.files import write_text, writing
from pushforward.jobs.manifold import write_manifold
from pushforward.models.vae import VariationalAutoencoder
from pushforward.pictures import image_grid, write_png
from pushforward.training.history import Run

REFERENCE = {10: (103.8, 102.7), 20: (101.7, 100.8), 40: (100.4, 99.6), 60: (99.9, 99.2)}
"""Epochs -> -ELBO in nats, validation and test, of the reference run."""


def binary_mnist(args: argparse.Namespace) -> pf.Dataset:
    """MNIST with each pixel drawn once from its intensity."""
    folder = data_folder(args.data) / "mnist"
    train = read_idx(folder / "train-images-idx3-ubyte.gz")[:, None]
    test = read_idx(folder / "t10k-images-idx3-ubyte.gz")[:, None]
    rng = np.random.default_rng(args.seed)
    train, test = ((rng.random(x.shape) < x / 255).astype(np.uint8) for x in (train, test))
    parts = train[:50_000], train[50_000:], test
    if args.quick:
        parts = parts[0][:5_000], parts[1][:500], parts[2][:500]
    return pf.Dataset("binary MNIST", "images", (1, 28, 28), 2, *parts)


def train(
    name: str, data: pf.Dataset, epochs: int, args: argparse.Namespace
) -> tuple[VariationalAutoencoder, Run]:
    """Train a preset to so many epochs in all, from its last checkpoint if there is one."""
    preset = pf.models.registry.PRESETS[name]
    vae = pf.create(name, seed=args.seed, **({"hidden": (64,)} if args.quick else {}))
    run = pf.fit(
        vae,
        data,
        **preset.training,
        folder=args.work / f"{name}-{args.seed}",
        resume=True,
        progress=False,
        epochs=epochs,
        seed=args.seed,
        threads=args.threads,
        validate_every=math.ceil(len(data.train) / 128),
        validate_on=10_000,
    )
    return vae, run


def nats(vae: VariationalAutoencoder, x: Any, samples: int = 1) -> float:
    """The bound with its sign changed: nats per image, fewer are better."""
    return -pf.evaluate(vae, x, samples=samples).log_prob


def draw_curve(run: Run, path: Path) -> None:
    """Validation after each epoch, beside the reference."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    scale = 784 * math.log(2)
    epochs = [r["epoch"] for r in run.records]
    for key, colour, label in (("train", "0.6", "training"), ("validation", "C0", "validation")):
        axes.plot(epochs, [r[key] * scale for r in run.records], color=colour, label=label)
    places = [epoch for epoch in REFERENCE if epoch <= max(epochs) + 0.5]
    known = [REFERENCE[epoch][0] for epoch in places]
    axes.plot(places, known, "o", color="C3", label="reference, validation")
    last = run.records[-1]["validation"] * scale
    axes.set(xlabel="epoch", ylabel="-ELBO (nats per image)", ylim=(None, last + 20))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92")
    axes.legend(frameon=False)
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def draw_images(vae: VariationalAutoencoder, test: Any, args: argparse.Namespace) -> list[Path]:
    """Test images above their reconstructions, and the expected images of latents of the prior."""
    x = torch.from_numpy(test[:40])
    generator = torch.Generator().manual_seed(args.seed)
    with torch.no_grad():
        back = vae.reconstruct(x)
        drawn = vae.expected(torch.randn(100, *vae.latent_shape, generator=generator))
    rows = [part for i in range(0, 40, 10) for part in (x[i : i + 10].float(), back[i : i + 10])]
    paths = [place("reconstructions", args), place("samples", args)]
    write_png(paths[0], image_grid(torch.cat(rows), 2, 10))
    write_png(paths[1], image_grid(drawn, 2, 10))
    return paths


def place(what: str, args: argparse.Namespace) -> Path:
    """Where a picture goes: a quick one is for nobody to see."""
    return args.work / f"{what}.png" if args.quick else picture(f"vae_mnist_{what}.png")


def main() -> None:
    """Train both, measure, draw."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--epochs", type=int, default=60, help="of the 20-dimensional model")
    parser.add_argument("--epochs-2d", type=int, default=40, help="of the 2-dimensional one")
    parser.add_argument("--importance", type=int, default=100, metavar="K", help="draws per image")
    parser.add_argument("--work", type=Path, default=Path("runs/vae_mnist"))
    args = parser.parse_args()
    if args.quick:
        args.epochs, args.epochs_2d, args.importance = 2, 2, 5
        args.work = args.work / "quick"
    if args.threads:
        torch.set_num_threads(args.threads)
    data, clock = binary_mnist(args), Clock()
    assert data.test is not None
    rows, figures = [], dict[str, Any]()
    known = args.work / f"measured-{args.seed}.json"  # a checkpoint has no way back to 10 epochs
    measured = json.loads(known.read_text()) if known.exists() else {}
    for epochs in [e for e in REFERENCE if e < args.epochs] + [args.epochs]:
        if epochs == args.epochs or str(epochs) not in measured:
            vae, run = train("vae-mnist", data, epochs, args)
            measured[str(epochs)] = [nats(vae, data.validation), nats(vae, data.test)]
            write_text(known, json.dumps(measured))
        ours = measured[str(epochs)]
        figures[str(epochs)] = {"validation": ours[0], "test": ours[1]}
        theirs = REFERENCE.get(epochs)
        rows.append(
            row(
                f"VAE, binary MNIST, -ELBO after {epochs} epochs (validation / test)",
                "-" if theirs is None else f"{theirs[0]} / {theirs[1]} nats",
                f"{ours[0]:.1f} / {ours[1]:.1f} nats",
                "published: a rerun of the course's network; its 79.458 is no bound",
            )
        )
        print(f"{epochs:3d} epochs: {rows[-1]['ours']}; reference {rows[-1]['published']}")
    bound = nats(vae, data.test, args.importance)
    figures[f"importance, K = {args.importance}"] = bound
    rows.append(row(f"the same by {args.importance} draws, test", "-", f"{bound:.1f} nats"))
    print(
        f"importance-weighted bound, {args.importance} draws: {bound:.2f} nats on the test images"
    )
    pictures = draw_images(vae, data.test, args)
    pictures.append(place("curve", args))
    draw_curve(run, pictures[-1])
    flat, _ = train("vae-mnist-2d", data, args.epochs_2d, args)
    ours = nats(flat, data.validation), nats(flat, data.test)
    figures["two latents"] = {"validation": ours[0], "test": ours[1]}
    said = f"{ours[0]:.1f} / {ours[1]:.1f} nats"
    rows.append(row(f"two latent numbers, after {args.epochs_2d} epochs", "-", said))
    print(f"two latent numbers: {said}")
    pictures.append(place("manifold", args))
    write_manifold(flat, pictures[-1])
    if args.quick:
        return
    scale = 784 * math.log(2)
    figures["curve"] = [
        [r["epoch"], r["train"] * scale, r["validation"] * scale] for r in run.records
    ]
    record(
        "vae_mnist",
        rows,
        protocol=(__doc__ or "").split("Protocol: ")[1].split("\n\n")[0],
        command="python reproductions/vae_mnist.py --data DATA",
        seed=args.seed,
        clock=clock,
        figures=figures,
        pictures=pictures,
    )


if __name__ == "__main__":
    main()
