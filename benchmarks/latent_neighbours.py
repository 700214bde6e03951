"""Are neighbours in the latent space of a flow neighbours in meaning?

Of every image of a labelled set the five nearest others are found, by the angle and by the distance
between latents that are means over 1, 8 or 32 draws of noise, and by pixels. Measured: the share of
neighbours with the label of the image, and the hub, the largest number of images that one and the
same image is a neighbour of. A neighbour drawn blindly has the label once in ten times.

    python benchmarks/latent_neighbours.py                     # trains RealNVP on digits, 600 steps
    python benchmarks/latent_neighbours.py --model runs/digits # or takes a model of the set
    python benchmarks/latent_neighbours.py --quick             # does it run?
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import pushforward as pf
from pushforward.files import write_text

RESULTS = Path(__file__).parent / "results"
K = 5


def trained(data: pf.Dataset, steps: int, seed: int) -> pf.Flow:
    """The default model of the set, after so many steps."""
    flow = pf.RealNVP(data.shape, levels=data.levels, seed=seed)
    pf.fit(flow, data, max_steps=steps, progress=False, seed=seed)
    return flow


def measure(places: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """How many of the neighbours ``(N, K)`` have the label, and the largest hub."""
    share = float((labels[places] == labels[:, None]).mean())
    return {"same_label": share, "hub": int(np.bincount(places.ravel()).max())}


def main() -> None:
    """Train or load, measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--model")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    data = pf.open_data(args.data)
    if data.labels is None:
        raise SystemExit(f"{args.data} has no labels.")
    steps = 3 if args.quick else args.steps
    flow = pf.load(args.model) if args.model else trained(data, steps, args.seed)
    x = data.everything
    labels = np.concatenate([data.labels[part] for part in data.splits()])
    rows: list[dict[str, Any]] = []
    for draws in (1, 2) if args.quick else (1, 8, 32):
        for metric in ("distance", "angle"):
            found = pf.nearest(flow, x, x, k=K, metric=metric, draws=draws, own=range(len(x)))
            rows.append({"space": "latent", "metric": metric, "draws": draws})
            rows[-1].update(measure(found.latent, labels))
    rows.append({"space": "pixels", "metric": "distance", "draws": None})
    rows[-1].update(measure(found.data, labels))
    for row in rows:
        print(row)
    loss = float(pf.evaluate(flow, data.test).loss)
    content = {"data": args.data, "events": len(x), "k": K, "seed": args.seed, "test": loss}
    if not args.quick:
        path = RESULTS / "latent_neighbours.json"
        write_text(path, json.dumps(content | {"rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
