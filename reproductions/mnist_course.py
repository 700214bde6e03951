"""The MNIST flow of a university course, to the letter, and our convolutional Real NVP beside it.

    python reproductions/mnist_course.py --data DATA --epochs 40
    python reproductions/mnist_course.py --data DATA --model realnvp --minutes 60

Published: 1.826 bits/dim after 40 epochs (about 2.1 after 1, 1.85 after 10; the pass mark is 1.85),
and 1.804 after 100, by 8 checkerboard couplings of 1024-1024 networks.

Data: MNIST's training images 0 to 39,999 to train on and 40,000 to 49,999 to validate on. Both
are shifted anew at every pass: an edge of 2 pixels is repeated, the image is moved by -2 to 2
pixels along each axis with probabilities .03, .31, .32, .31, .03, and cut to 28x28 again. The
figure is the mean over validation batches of 128 of their means.

``--model course`` trains that flow as the course does: x = (v + u) / 256, alpha = 1e-5, logit; Adam
1e-3, gradients (of nats per image) clipped at norm 5, batches of 128. ``--model realnvp`` trains
our default Real NVP by the defaults of ``fit`` (AdamW from 4e-3 down by a cosine, batches of 32,
averaged weights), on independent shifted copies of the same training images, validated on the same
shifted images. Either goes on from its last checkpoint under ``--work`` if it is called again;
results are written after every epoch of the course's, and at the end of ours. One epoch of the
former takes 90 CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import Clock, arguments, data_folder, picture, record, recorded, row
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import pushforward as pf
from pushforward.data.idx import read_idx
from pushforward.files import writing
from pushforward.models.course import course
from pushforward.pictures import image_grid, write_png

WHAT = {"course": "the course's MLP flow", "realnvp": "our convolutional Real NVP"}
PUBLISHED = {1: 2.1, 10: 1.85, 40: 1.826, 100: 1.804}
STEPS, CHANCES = np.arange(-2, 3), (0.03, 0.31, 0.32, 0.31, 0.03)
BATCH = 128
BITS = 784 * math.log(2)


def shifted(images: np.ndarray, seed: tuple[int, ...]) -> np.ndarray:
    """Move each image ``(N, 1, 28, 28)`` along both axes; its edge is repeated."""
    rng = np.random.default_rng(seed)
    down, right = rng.choice(STEPS, (2, len(images), 1), p=CHANCES)
    rows = (np.arange(28) + down).clip(0, 27)  # (N, 28)
    columns = (np.arange(28) + right).clip(0, 27)
    each = np.arange(len(images))[:, None, None]
    return images[:, 0][each, rows[:, :, None], columns[:, None, :]][:, None]


def digits(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """The 40,000 images to train on and the 10,000 to validate on, before any shift."""
    images = read_idx(data_folder(args.data) / "mnist" / "train-images-idx3-ubyte.gz")[:, None]
    if args.quick:
        return images[:640], images[40_000:40_256]
    return images[:40_000], images[40_000:50_000]


@torch.no_grad()
def bits_per_dim(flow: pf.Flow, images: np.ndarray) -> float:
    """Mean over batches of their mean loss, in bits/dim, in evaluation mode."""
    with flow.evaluating():
        batches = torch.from_numpy(images).split(BATCH)
        return float(np.mean([float(-flow.log_prob(x).mean()) / BITS for x in batches]))


# The course's flow -----------------------------------------------------------------------------


def save(path: Path, flow: pf.Flow, adam: torch.optim.Adam, history: list[dict[str, Any]]) -> None:
    """One file with weights, the optimiser's memory and the curve so far."""
    state = {f"flow.{key}": value for key, value in flow.state_dict().items()}
    for index, values in adam.state_dict()["state"].items():
        state |= {f"adam.{index}.{name}": value for name, value in values.items()}
    with writing(path) as temporary:
        save_file(state, temporary, {"history": json.dumps(history)})


def restore(path: Path, flow: pf.Flow, adam: torch.optim.Adam) -> list[dict[str, Any]]:
    """What ``save`` wrote; an empty curve if there is nothing."""
    if not path.exists():
        return []
    state, memory = load_file(path), {}
    for key in [key for key in state if key.startswith("adam.")]:
        _, index, name = key.split(".")
        memory.setdefault(int(index), {})[name] = state.pop(key)
    flow.load_state_dict({key.removeprefix("flow."): value for key, value in state.items()})
    adam.load_state_dict({**adam.state_dict(), "state": memory})
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["history"])


def one_epoch(
    flow: pf.Flow, adam: torch.optim.Adam, images: np.ndarray, seed: int, epoch: int
) -> float:
    """One pass over shifted images in a new order; the mean loss in bits/dim."""
    flow.train()
    noisy = [layer for layer in flow.modules() if hasattr(layer, "passes")]
    order = np.random.default_rng((seed, epoch, 1)).permutation(len(images))
    batches = torch.from_numpy(shifted(images, (seed, epoch, 2))[order]).split(BATCH)
    losses = []
    for step, x in enumerate(batches):
        for layer in noisy:  # a run that goes on draws the noise that it would have drawn
            layer.passes.fill_((seed << 32) + epoch * len(batches) + step)
        adam.zero_grad(set_to_none=True)
        loss = -flow.log_prob(x, check=False).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
        adam.step()
        losses.append(float(loss.detach()) / BITS)
        if not math.isfinite(losses[-1]):
            raise SystemExit(f"the loss of epoch {epoch}, step {step} is {losses[-1]}.")
    return float(np.mean(losses))


def train_course(args: argparse.Namespace) -> None:
    """The course's flow, by the course's loop."""
    train, validation = digits(args)
    flow = course(seed=args.seed, width=64) if args.quick else course(seed=args.seed)
    adam = torch.optim.Adam(flow.parameters(), lr=1e-3, fused=True)
    checkpoint = args.work / f"course-{args.seed}.safetensors"
    history = restore(checkpoint, flow, adam)
    clock = Clock(history[-1]["seconds"], history[-1]["cpu_seconds"]) if history else Clock()
    for epoch in range(len(history) + 1, args.epochs + 1):
        loss = one_epoch(flow, adam, train, args.seed, epoch)
        measured = bits_per_dim(flow, shifted(validation, (args.seed, epoch, 3)))
        history.append(
            {
                "epoch": epoch,
                "train": loss,
                "validation": measured,
                "seconds": clock.seconds,
                "cpu_seconds": clock.cpu_seconds,
            }
        )
        save(checkpoint, flow, adam, history)
        report(args, "course", flow, history, clock)
        print(f"epoch {epoch:3d}: {loss:.4f} train, {measured:.4f} validation", flush=True)


# Ours ------------------------------------------------------------------------------------------


def train_realnvp(args: argparse.Namespace) -> None:
    """Our default Real NVP, by ``fit``, on as many shifted copies as an hour can read."""
    train, validation = digits(args)
    copies = 2 if args.quick else args.copies
    many = np.concatenate([shifted(train, (args.seed, copy, 2)) for copy in range(copies)])
    held_out = shifted(validation, (args.seed, 1, 3))
    dataset = pf.Dataset("shifted", "images", (1, 28, 28), 256, many, held_out, held_out[:0])
    flow = pf.RealNVP((1, 28, 28), seed=args.seed, **({"width": 4} if args.quick else {}))
    half_epoch = len(train) // 2 // 32
    folder = args.work / f"realnvp-{args.seed}"
    before = recorded("mnist_course_realnvp") or {} if (folder / "checkpoints").exists() else {}
    clock = Clock(before.get("seconds") or 0.0, before.get("cpu_seconds") or 0.0)
    run = pf.fit(
        flow,
        dataset,
        folder=folder,
        resume=True,
        progress=not args.quick,
        max_time=60 * args.minutes,
        seed=args.seed,
        threads=args.threads,
        validate_every=half_epoch,
        validate_on=2_000,
        patience=None,
        **({"max_steps": 20} if args.quick else {}),
    )
    history = [
        {
            "epoch": record["step"] * 32 / len(train),
            "train": record["train"],
            "validation": record["validation"],
            "seconds": record["seconds"],
        }
        for record in run.records
    ]
    whole = bits_per_dim(flow, held_out)
    print(f"{history[-1]['epoch']:.2f} epochs: {whole:.4f} bits/dim on all validation images")
    report(args, "realnvp", flow, history, clock, validation_all=whole)


# What is left behind ---------------------------------------------------------------------------


def report(
    args: argparse.Namespace,
    name: str,
    flow: pf.Flow,
    history: list[dict[str, Any]],
    clock: Clock,
    **extra: Any,
) -> None:
    """The curve, samples and the curves of both models, after every epoch."""
    if args.quick:
        return
    samples = picture(f"mnist_course_{name}.png")
    write_png(samples, image_grid(flow.sample(64, seed=args.seed), 256))
    last = history[-1]
    ours = extra.get("validation_all", last["validation"])
    best = min(record["validation"] for record in history)
    where = "" if name == "course" else " on 2,000 of the images"
    note = f"after {last['epoch']:.4g} epochs; best {best:.4f}{where}"
    published = ", ".join(f"{value} @{epoch}" for epoch, value in PUBLISHED.items() if epoch > 10)
    record(
        f"mnist_course_{name}",
        [row(f"shifted MNIST, {WHAT[name]}", f"{published}", f"{ours:.4f} bits/dim", note)],
        protocol=_protocol(name),
        command=f"python reproductions/mnist_course.py --model {name} --seed {args.seed}"
        + (f" --epochs {args.epochs}" if name == "course" else f" --minutes {args.minutes:g}"),
        seed=args.seed,
        clock=clock,
        figures={
            "parameters": sum(p.numel() for p in flow.parameters()),
            "published": {str(epoch): value for epoch, value in PUBLISHED.items()},
            "curve": history,
            **extra,
        },
        pictures=(samples, picture("mnist_course.png")),
    )
    curves()


def _protocol(name: str) -> str:
    """What the docstring says of the data, and of this model."""
    text = " ".join((__doc__ or "").partition("Data: ")[2].split())
    data, _, rest = text.partition(" ``--model course`` trains ")
    course, _, ours = rest.partition(" ``--model realnvp`` trains ")
    return f"{data} The model: {course if name == 'course' else ours.partition(' Either')[0]}"


def curves() -> None:
    """Validation over epochs of all that have been measured, beside the published figures."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    axes.plot(list(PUBLISHED), list(PUBLISHED.values()), "kx", label="published")
    for name, what in WHAT.items():
        measured = recorded(f"mnist_course_{name}")
        if measured:
            curve = measured["figures"]["curve"]
            epochs, values = zip(*((r["epoch"], r["validation"]) for r in curve), strict=True)
            axes.plot(epochs, values, ".-", markersize=4, label=what)
    axes.set(xscale="log", xlabel="epochs", ylabel="validation, bits/dim", ylim=(None, 2.4))
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(picture("mnist_course.png"), dpi=120)
    pyplot.close(figure)


def main() -> None:
    """Read the options and train."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--model", choices=tuple(WHAT), default="course")
    parser.add_argument("--epochs", type=int, default=40, help="of the course's flow")
    parser.add_argument("--minutes", type=float, default=60.0, help="of ours")
    parser.add_argument("--copies", type=int, default=16, help="shifted copies for ours")
    parser.add_argument("--work", type=Path, default=Path("runs/mnist_course"))
    args = parser.parse_args()
    if args.quick:
        args.epochs, args.work = min(args.epochs, 2), args.work / "quick"
    torch.set_num_threads(args.threads or torch.get_num_threads())
    (train_course if args.model == "course" else train_realnvp)(args)


if __name__ == "__main__":
    main()
