"""Where likelihood fails: a flow of one set of images asked about another.

A small Real NVP learns one set; then its test part is compared with sets that it never saw:

- ``mnist``: learns MNIST; asked about CIFAR-10 in grey, cut to 28x28;
- ``cifar``: the reverse;
- ``digits``: learns the built-in digits (8x8); needs no data folder;

and each is asked about constant images of one grey, its own test images inverted and blurred, and
uniform noise. Printed is the area under the ROC curve, in percent, of each score: 50 is guessing,
below 50 the unknown is found more usual than the known. One seed; 500 test images a set; bits/dim
by one draw of the noise of dequantisation.

    python benchmarks/anomaly_images.py mnist cifar digits --data DIR --seconds 300
    python benchmarks/anomaly_images.py digits --quick            # does it run?
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

import pushforward as pf
from pushforward.files import write_text
from pushforward.jobs.detection.scores import SCORES, against, events_score

RESULTS = Path(__file__).parent / "results"
TESTED = 500

Array = np.ndarray[Any, np.dtype[Any]]


def sets(name: str, folder: Path | None) -> tuple[Array, Array, int, dict[str, Array]]:
    """Images to learn, images held out, their levels, and the unknown sets."""
    if name == "digits":
        data = pf.open_data("digits")
        learn, rest = data.train, np.concatenate([data.validation, data.test])
        return learn, rest, data.levels or 256, {}
    assert folder is not None
    mnist = pf.open_data(str(folder / "mnist"))
    cifar = pf.open_data(str(folder / "cifar10"))
    grey = {
        "train": grey28(cifar.train[:20_000]),
        "test": grey28(cifar.test[:2_000]),
    }
    if name == "mnist":
        return mnist.train[:20_000], mnist.test[:2_000], 256, {"CIFAR-10, grey": grey["test"]}
    return grey["train"], grey["test"], 256, {"MNIST": mnist.test[:2_000]}


def grey28(images: Array) -> Array:
    """``(N, 3, 32, 32)`` to ``(N, 1, 28, 28)``: luma, the middle of the image."""
    luma = np.tensordot(images, [0.299, 0.587, 0.114], axes=(1, 0))
    return np.rint(luma[:, None, 2:30, 2:30]).astype(np.uint8)


def unknown(known: Array, levels: int) -> dict[str, Array]:
    """What is made of the test images, or of nothing."""
    generator = np.random.default_rng(0)
    n = len(known)
    one = generator.integers(0, levels, (n, 1, 1, 1))
    soft = known.astype(np.float64)
    for axis in (2, 3):
        soft = (np.roll(soft, 1, axis) + 2 * soft + np.roll(soft, -1, axis)) / 4
    made = {
        "constant": np.broadcast_to(one, known.shape),
        "inverted": levels - 1 - known.astype(int),
        "blurred": np.rint(soft),
        "noise": generator.integers(0, levels, known.shape),
    }
    return {name: np.ascontiguousarray(images, known.dtype) for name, images in made.items()}


def examine(name: str, args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Array]]:
    """Learn, score, compare; also the bits/dim of each set, for the picture."""
    learn, rest, levels, others = sets(name, args.data)
    shape = learn.shape[1:]
    small = {"couplings": 4, "width": 24} if shape[-1] > 8 else {"dropout": 0.2}
    flow = pf.RealNVP(shape, levels=levels, **small)
    start = time.perf_counter()
    run = pf.fit(flow, learn, max_time=args.seconds, progress=False, validate_on=500, threads=1)
    taken = time.perf_counter() - start
    half = len(rest) // 2
    usual, known = rest[:half][: 2 * TESTED], rest[half:][:TESTED]
    others = {**others, **unknown(known, levels)}
    reference = events_score(flow, usual, "either")

    def scores(images: Array) -> dict[str, Array]:
        bits, less = (parts := events_score(flow, images, "either")).T
        return {
            "likelihood": bits,
            "typicality": against("typicality", parts[:, :1], reference[:, :1])[0],
            "complexity": less,
            "either": against("either", parts, reference)[0],
        }

    of_known, table, bits = scores(known), {}, {}
    bits["test images"] = of_known["likelihood"]
    for other, images in others.items():
        of = scores(images[:TESTED])
        truth = np.repeat([0, 1], [len(known), len(of["likelihood"])])
        table[other] = {
            s: 100 * float(roc_auc_score(truth, np.concatenate([of_known[s], of[s]])))
            for s in SCORES
        }
        table[other]["bits_per_dim"] = float(of["likelihood"].mean())
        bits[other] = of["likelihood"]
    result = {
        "learned": name,
        "bits_per_dim": float(of_known["likelihood"].mean()),
        "train_seconds": taken,
        "steps": run.steps,
        "auroc": table,
    }
    return result, bits


def page(results: list[dict[str, Any]]) -> str:
    """A table for each set that was learned."""
    lines = []
    for result in results:
        lines += [
            f"Learned {result['learned']} ({result['train_seconds']:.0f} s, {result['steps']:,} "
            f"steps): {result['bits_per_dim']:.2f} bits/dim on its own test images",
            "",
            f"| asked about | bits/dim | {' | '.join(SCORES)} |",
            "|---" * (len(SCORES) + 2) + "|",
        ]
        for other, row in result["auroc"].items():
            cells = " | ".join(f"{row[s]:.1f}" for s in SCORES)
            lines.append(f"| {other} | {row['bits_per_dim']:.2f} | {cells} |")
        lines.append("")
    return "\n".join(lines)


def draw(path: Path, everything: dict[str, dict[str, Array]]) -> None:
    """Histograms of bits/dim: one panel for each set that was learned."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    titles = {"mnist": "a flow of MNIST", "cifar": "a flow of grey CIFAR-10", "digits": "digits"}
    figure = Figure(figsize=(4.6 * len(everything), 3.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, bits) in zip(
        np.atleast_1d(figure.subplots(1, len(everything))), everything.items(), strict=True
    ):
        most = max(12.0, float(np.quantile(bits["test images"], 0.99)) * 1.5)
        for other, values in bits.items():
            axes.hist(
                np.clip(values, None, most),
                bins=np.linspace(min(0, float(values.min())), most, 60),
                density=True,
                histtype="stepfilled" if other == "test images" else "step",
                alpha=0.5 if other == "test images" else 1.0,
                linewidth=1.5,
                label=other,
            )
        axes.set(xlabel="bits/dim", yticks=[], title=titles[name])
        axes.set_ylim(top=min(axes.get_ylim()[1], 4))
        axes.legend(fontsize=8, frameon=False)
    figure.savefig(path)


def main() -> None:
    """Measure, write the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("learned", nargs="+", choices=["mnist", "cifar", "digits"])
    parser.add_argument("--data", type=Path, default=os.environ.get("PUSHFORWARD_DATA"))
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--out", type=Path, default=RESULTS / "anomaly-images.json")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--quick", action="store_true", help="five seconds, nothing kept")
    args = parser.parse_args()
    if args.quick:
        args.seconds, args.out = 5.0, None
    args.data = None if args.data is None else Path(args.data)
    results, everything = [], {}
    for name in args.learned:
        result, everything[name] = examine(name, args)
        results.append(result)
        print(page([result]), flush=True)
    if args.out:
        write_text(args.out, json.dumps(results, indent=1))
        write_text(args.out.with_suffix(".md"), page(results))
    if args.picture:
        draw(args.picture, everything)


if __name__ == "__main__":
    main()
