"""Bits/dim over minutes on CIFAR-10: Jet beside Real NVP and Flow++, same data and budget.

    python benchmarks/cifar10_curves.py --data DATA/cifar10 --minutes 20 [--out runs/curves]

Each contender trains for so many minutes on the same card, on the same 45,000 images with the same
5,000 for validation, mirrored at random, networks in bf16; learning rates and batches are those of
its own preset. Writes ``cifar10_curves.json``, every curve with its settings and test figure, and
``cifar10_curves.png``, validation bits/dim over minutes of training. All figures are one-sample
bounds; those of ``flowpp`` are of learned noise, those of the others of uniform noise.

A contender that has been finished in ``--out`` is not trained again, one that was interrupted goes
on: several short loans of a card add up. ``--device cpu --quick`` tries all of it within a minute.

Not yet run on a GPU: there is no published curve beside which its result could be put.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / ".deps"), str(HERE.parent / "src")]

import torch  # noqa: E402

import pushforward as pf  # noqa: E402
from cifar10 import data  # noqa: E402
from pushforward.files import write_text, writing  # noqa: E402
from pushforward.models.registry import PRESETS  # noqa: E402

SHAPE = (3, 32, 32)

# How each is made, at its real size and for a trial, and what of its preset's training it changes.
CONTENDERS: dict[str, tuple[Callable[..., pf.Flow], dict[str, Any], dict[str, Any]]] = {
    "jet": (
        lambda **small: pf.create("jet-cifar10", **small),
        {"width": 8, "blocks": 1, "couplings": 5},
        PRESETS["jet-cifar10"].training,
    ),
    "realnvp": (
        lambda **small: pf.RealNVP(SHAPE, **{"width": 128, "depth": 4, **small}),
        {"width": 4, "depth": 1, "couplings": 2},
        {"batch_size": 128, "lr": 1e-3, "optimiser": "adamax", "ema": 0.999, "clip": 1.0},
    ),
    "flowpp-uniform": (
        lambda **small: pf.create("flowpp-cifar10", dequantization="uniform", **small),
        {"width": 4, "blocks": 1, "components": 2},
        PRESETS["flowpp-cifar10"].training,
    ),
    "flowpp": (
        lambda **small: pf.create("flowpp-cifar10", **small),
        {"width": 4, "blocks": 1, "components": 2, "noise_width": 4, "noise_blocks": 1},
        PRESETS["flowpp-cifar10"].training,
    ),
}


def main() -> None:
    """Train one after the other; write after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--out", type=Path, default=Path("runs/cifar10-curves"))
    parser.add_argument("--minutes", type=float, default=20.0, help="of training, for each")
    parser.add_argument("--models", default=",".join(CONTENDERS), help="which, comma-separated")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compile", action="store_true", help="compile the training steps")
    parser.add_argument(
        "--quick", action="store_true", help="two steps of tiny models, for a trial"
    )
    options = parser.parse_args()
    if options.quick:  # a trial is no result that a later call could take for its own
        options.out /= "quick"
    names = options.models.split(",")
    if unknown := set(names) - set(CONTENDERS):
        parser.error(f"there is no contender {', '.join(unknown)}; there are {list(CONTENDERS)}")
    torch.set_float32_matmul_precision("high")  # TF32 where bf16 does not reach
    dataset = data(options.data, options.quick)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "cifar10_curves.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for name in names:
        if name not in results:
            found = train(name, dataset, options)
            if found is None:
                print("interrupted: call it again to go on")
                return
            results[name] = found
            write_text(path, json.dumps(results, indent=1, default=str) + "\n")
        draw(results, options.out / "cifar10_curves.png")
        print(f"{name}: test {results[name]['test']['bits_per_dim']:.3f} bits/dim")


def train(name: str, dataset: pf.Dataset, options: argparse.Namespace) -> dict[str, Any] | None:
    """Train one contender and score the test images; None if it was interrupted."""
    make, small, settings = CONTENDERS[name]
    limit: dict[str, Any] = {"max_time": 60 * options.minutes}
    if options.quick:
        limit = {"max_steps": 2, "batch_size": 4, "validate_every": 1}
    flow = make(seed=options.seed, **(small if options.quick else {}))
    asked = {**settings, "schedule": "cosine", "flip": True, "precision": "bf16", "patience": None}
    run = pf.fit(
        flow,
        dataset,
        folder=options.out / name,
        resume=True,
        device=options.device,
        compile=options.compile,
        seed=options.seed,
        **{**asked, **limit},
    )
    if run.stopped in ("interrupted", "terminated"):
        return None
    with torch.no_grad():
        test = pf.evaluate(flow, dataset.test)
    return {
        "test": test.to_dict(),
        "best": run.best,
        "parameters": sum(p.numel() for p in flow.parameters()),
        "settings": run.settings,
        "curve": run.records,
        "seed": options.seed,
        "card": torch.cuda.get_device_name() if flow.device.type == "cuda" else "CPU",
        "torch": torch.__version__,
    }


def draw(results: dict[str, Any], path: Path) -> None:
    """Validation bits/dim over minutes; early heights are left outside the picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.add_subplot()
    late = []
    for name, found in results.items():
        minutes = [record["seconds"] / 60 for record in found["curve"]]
        losses = [record["validation"] for record in found["curve"]]
        late += losses[len(losses) // 5 :]
        label = (
            f"{name}, {found['parameters'] / 1e6:.0f} M, test {found['test']['bits_per_dim']:.3f}"
        )
        axes.plot(minutes, losses, label=label, marker="o" if len(losses) < 3 else None)
    axes.set_ylim(min(late) - 0.05, max(late) + 0.05)
    axes.set(xlabel="minutes of training", ylabel="validation bits/dim")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92")
    axes.legend(frameon=False)
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=120)


if __name__ == "__main__":
    main()
