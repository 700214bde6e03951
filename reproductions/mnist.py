"""MNIST as it is, by convolutional flows: one scale, variational dequantisation, several scales.

    python reproductions/mnist.py --data DATA --minutes 60 [--models single,single-vd,multi-vd]

Published (a university course, trained on a GPU; test, bits/dim): 1.078 for a single-scale flow
with gated residual conditioners, 1.043 with variational dequantisation, 1.020 with several scales
as well. Elsewhere: Glow 1.05, Real NVP 1.06.

Protocol: MNIST's training images 0 to 49,999, unshifted, to train on, 50,000 to 59,999 to validate
on, the 10,000 test images. Our Real NVP with its defaults (``single`` squeezes once, ``multi`` as
often as the sides allow; ``-vd`` shapes the noise within pixels by a small flow) and our default
Glow, each by ``fit`` with its defaults for ``--minutes``; the weights of the best validation are
tested. Figures are one draw of the bound on each test image.

Conditioners are plain convolutions, not the gated residual networks of the published row. A run
that is cut short goes on from its last checkpoint; ``--device cuda`` trains on a GPU.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from nice_mnist import mnist
from record import Clock, arguments, picture, record, recorded, row

import pushforward as pf
from pushforward.pictures import image_grid, write_png
from pushforward.scoring import in_unit, score

MODELS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "single": ("realnvp", "Real NVP, one scale", {"scales": 1}, "1.078"),
    "single-vd": (
        "realnvp",
        "Real NVP, one scale, variational dequantisation",
        {"scales": 1, "dequantization": "variational"},
        "1.043",
    ),
    "multi": ("realnvp", "Real NVP, two scales", {}, ""),
    "multi-vd": (
        "realnvp",
        "Real NVP, two scales, variational dequantisation",
        {"dequantization": "variational"},
        "1.020",
    ),
    "glow": ("glow", "Glow of a small size", {}, ""),
}


def train(name: str, data: pf.Dataset, args: argparse.Namespace) -> None:
    """Fit one model, test it, and write what came of it."""
    kind, what, options, published = MODELS[name]
    if args.quick:
        options = options | {"width": 4} | ({"steps": 1} if kind == "glow" else {"couplings": 2})
    flow = pf.create(kind, shape=(1, 28, 28), seed=args.seed, **options)
    clock = Clock()
    run = pf.fit(
        flow,
        data,
        folder=args.work / ("quick" if args.quick else f"seed-{args.seed}") / name,
        resume=True,
        progress=not args.quick,
        max_time=3 if args.quick else 60 * args.minutes,
        seed=args.seed,
        threads=args.threads,
        device=args.device,
        validate_every=5 if args.quick else 1_000,
        validate_on=2_000,
        patience=None,
    )
    bits = in_unit(flow, score(flow, data.test))
    error = float(bits.std()) / len(bits) ** 0.5
    epochs = run.records[-1]["epoch"]
    print(f"{what}: {bits.mean():.4f} +- {error:.4f} bits/dim (test), {epochs:.2f} epochs")
    if args.quick:
        return
    samples = picture(f"mnist_{name}.png")
    write_png(samples, image_grid(flow.sample(64, seed=args.seed), 256))
    parameters = sum(p.numel() for p in flow.parameters())
    note = f"{epochs:.2f} epochs, {parameters:,} parameters; +- {error:.4f} (s.e.)"
    record(
        f"mnist_{name}",
        [row(f"MNIST, {what}", published or "-", f"{bits.mean():.4f} bits/dim", note)],
        protocol=(__doc__ or "").split("Protocol: ")[1].split("\n\n")[0],
        command=f"python reproductions/mnist.py --models {name} --minutes {args.minutes:g} "
        f"--seed {args.seed}",
        seed=args.seed,
        clock=clock,
        figures={
            "what": what,
            "test": float(bits.mean()),
            "standard_error": error,
            "parameters": parameters,
            "curve": run.records,
        },
        pictures=(samples, picture("mnist_curves.png")),
        threads=run.settings["threads"],
    )
    curves()


def curves() -> None:
    """Validation over time of all that have been measured, beside the published figures."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for name in MODELS:
        measured = recorded(f"mnist_{name}")
        if measured:
            points = [(r["seconds"] / 60, r["validation"]) for r in measured["figures"]["curve"]]
            axes.plot(*zip(*points, strict=True), label=measured["figures"]["what"])
    for published in ("1.078", "1.043", "1.020"):
        axes.axhline(float(published), color="black", linewidth=0.7, linestyle="--")
    axes.set(xlabel="minutes", ylabel="validation, bits/dim", ylim=(1.0, 1.7))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(picture("mnist_curves.png"), dpi=120)
    pyplot.close(figure)


def main() -> None:
    """Read the options and train."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--minutes", type=float, default=60.0, help="of training, for each model")
    parser.add_argument("--models", default=",".join(MODELS), help="some of the names, by commas")
    parser.add_argument("--device", help="such as cuda")
    parser.add_argument("--work", type=Path, default=Path("runs/mnist"))
    args = parser.parse_args()
    names = args.models.split(",")
    if unknown := sorted(set(names) - set(MODELS)):
        parser.error(f"there is no model {unknown[0]!r}; there are {', '.join(MODELS)}.")
    torch.set_num_threads(args.threads or torch.get_num_threads())
    data = mnist(args)
    for name in names:
        train(name, data, args)


if __name__ == "__main__":
    main()
