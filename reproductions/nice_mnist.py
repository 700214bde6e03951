"""NICE on MNIST: the paper's model and protocol, its likelihood, samples and inpainting.

    python reproductions/nice_mnist.py --data DATA --minutes 60

Published: 1980.50 nats of test log-likelihood, which is 4.36 bits/dim, selected by validation over
1500 epochs.

Protocol: MNIST's training images 0 to 49,999 to train on, 50,000 to 59,999 to validate on, the
10,000 test images; (255 x + u) / 256 of x in [0, 1], no whitening. ``nice-mnist``: 4 additive
couplings of 5 x 1000 ReLU units, logistic base, weights from U(-.01, .01). Adam 1e-3 at a constant
rate, batches of 200, no average of weights; the weights of the best validated epoch are tested. The
log-likelihood is that of the dequantised image on [0, 1], in nats: D (ln 256 - b ln 2) for b
bits/dim.

``--start data`` begins with the scales that the first images have and networks of 0, in place of
scales of 1 and weights from U(-.01, .01): the same model, which need not spend its first ten epochs
on growing its scales by the rate a step.

Beside the figures: the validation curve, samples, and digits completed from parts of them by
projected gradient ascent on log p, as the paper's figure has it. An epoch takes about 90 CPU
seconds; a run that is cut short goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import Clock, arguments, data_folder, picture, record, row

import pushforward as pf
from pushforward.data.idx import read_idx
from pushforward.jobs.imputation.inpaint import inpaint
from pushforward.models.nice import PRESETS, unit_log_likelihood
from pushforward.pictures import image_grid, write_png
from pushforward.scoring import in_unit, score

PUBLISHED, DIMS = 1980.50, 784


def mnist(args: argparse.Namespace) -> pf.Dataset:
    """The paper's three parts."""
    folder = data_folder(args.data) / "mnist"
    train = read_idx(folder / "train-images-idx3-ubyte.gz")[:, None]
    parts = [
        train[:50_000],
        train[50_000:],
        read_idx(folder / "t10k-images-idx3-ubyte.gz")[:, None],
    ]
    if args.quick:
        parts = [part[:400] for part in parts]
    return pf.Dataset("MNIST", "images", (1, 28, 28), 256, *parts)


def masks(seed: int) -> dict[str, np.ndarray]:
    """What is observed, as in the paper's figure: name -> ``(1, 28, 28)``, True where observed."""
    rows, columns = np.mgrid[:28, :28]
    rng = np.random.default_rng(seed)
    observed = {
        "top": rows < 14,
        "bottom": rows >= 14,
        "odd": (28 * rows + columns) % 2 == 1,
        "even": (28 * rows + columns) % 2 == 0,
        "left": columns < 14,
        "right": columns >= 14,
        "all but the middle columns": abs(columns - 13.5) > 7,
        "all but the middle rows": abs(rows - 13.5) > 7,
        "a quarter at random": rng.random((28, 28)) < 0.25,
        "a tenth at random": rng.random((28, 28)) < 0.1,
    }
    return {name: mask[None] for name, mask in observed.items()}


def completed(flow: pf.Flow, digits: np.ndarray, args: argparse.Namespace) -> tuple[Path, Any]:
    """Each kind of mask a row: every digit with what is hidden in grey, then as completed."""
    kinds = masks(args.seed)
    x = np.concatenate([digits] * len(kinds))
    seen = np.stack(list(kinds.values())).repeat(len(digits), axis=0)
    filled = inpaint(flow, x, seen, seed=args.seed).numpy()
    pairs = np.stack([np.where(seen, x, 96), filled], axis=1).reshape(-1, *digits.shape[1:])
    errors = {}
    for index, name in enumerate(kinds):
        part = slice(index * len(digits), (index + 1) * len(digits))
        difference = (filled[part].astype(float) - x[part])[~seen[part]]
        errors[name] = float(np.sqrt(np.mean(difference**2)) / 255)
    path = picture(f"{_name(args)}_inpainting.png")
    write_png(path, image_grid(pairs, 256, columns=2 * len(digits)))
    return path, errors


def _name(args: argparse.Namespace) -> str:
    return "nice_mnist" if args.start == "paper" else "nice_mnist_from_data"


def curve(records: list[dict[str, Any]], args: argparse.Namespace) -> Path:
    """Log-likelihood over epochs, beside the published one."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    epochs = [entry["epoch"] for entry in records]
    for split in ("train", "validation"):
        nats = [unit_log_likelihood(entry[split], DIMS) for entry in records]
        axes.plot(epochs, nats, ".-", markersize=4, label=split)
    axes.axhline(PUBLISHED, color="black", linestyle="--", label="published, test")
    top = max(unit_log_likelihood(entry["train"], DIMS) for entry in records)
    axes.set(xlabel="epochs", ylabel="log-likelihood, nats", ylim=(0, 1.1 * max(top, PUBLISHED)))
    axes.grid(alpha=0.3)
    axes.legend()
    path = picture(f"{_name(args)}_curve.png")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path


def main() -> None:
    """Train, test, draw."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--minutes", type=float, default=60.0, help="of training")
    parser.add_argument("--start", choices=("paper", "data"), default="paper")
    parser.add_argument("--epochs", type=float, help="at most so many; the paper has 1500")
    parser.add_argument("--work", type=Path, default=Path("runs/nice_mnist"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads or torch.get_num_threads())
    data = mnist(args)
    options = {"width": 50} if args.quick else {}
    if args.start == "data":
        options["init"] = "zero"
    flow = pf.create("nice-mnist", seed=args.seed, **options)
    clock = Clock()
    run = pf.fit(
        flow,
        data,
        **PRESETS["nice-mnist"].training,
        folder=args.work / ("quick" if args.quick else f"{args.start}-{args.seed}"),
        resume=True,
        progress=not args.quick,
        max_time=6 if args.quick else 60 * args.minutes,
        epochs=3 if args.quick else args.epochs,
        seed=args.seed,
        threads=args.threads,
        validate_every=max(1, len(data.train) // 200),
        validate_on=10_000,
        patience=None,
    )
    bits = in_unit(flow, score(flow, data.test))
    test = unit_log_likelihood(float(bits.mean()), DIMS)
    error = float(bits.std()) / len(bits) ** 0.5 * DIMS * np.log(2)
    epochs = run.records[-1]["epoch"]
    print(f"{epochs:.1f} epochs: {test:.1f} +- {error:.1f} nats, {bits.mean():.3f} bits/dim (test)")
    if args.quick:
        inpaint(flow, data.test[:2], masks(args.seed)["top"], steps=20)
        return
    samples = picture(f"{_name(args)}_samples.png")
    write_png(samples, image_grid(flow.sample(64, seed=args.seed), 256))
    inpainting, errors = completed(flow, data.test[:6], args)
    record(
        _name(args),
        [
            row(
                "NICE on MNIST, test" + (", started from data" * (args.start == "data")),
                f"{PUBLISHED} nats = 4.36 bits/dim (1500 epochs)",
                f"{test:.1f} nats = {bits.mean():.3f} bits/dim",
                f"after {epochs:.1f} epochs, best validated of them; +- {error:.1f} (s.e.)",
            )
        ],
        protocol=(__doc__ or "").split("Protocol: ")[1].split("\n\n")[0]
        + (" Started from the scales of the data." if args.start == "data" else ""),
        command=f"python reproductions/nice_mnist.py --start {args.start} --minutes "
        f"{args.minutes:g} --seed {args.seed}",
        seed=args.seed,
        clock=clock,
        figures={
            "test_nats": test,
            "test_bits_per_dim": float(bits.mean()),
            "standard_error_nats": error,
            "curve": run.records,
            "root_mean_square_error_of_hidden_pixels": errors,
        },
        pictures=(curve(run.records, args), samples, inpainting),
        threads=run.settings["threads"],
    )


if __name__ == "__main__":
    main()
