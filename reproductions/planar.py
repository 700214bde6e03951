"""Planar flows of K = 2, 8 and 32 layers on the four energies U1 to U4, and Real NVP beside them.

    python reproductions/planar.py

Published: figure 3 of Rezende and Mohamed 2015, a picture without figures.

Protocol: the energies of the paper's table 1; U2 to U4, which have no end along z1, with a smooth
wall outside of |z1| <= 4. q0 is a normal with learned mean and scale. Reverse KL with the paper's
annealing over half of the steps, Adam at 5e-3 falling to 0, 256 samples a step; 4,000 steps, of
Real NVP (8 couplings, width 32) 2,000 at 3e-3. The best by free energy of 3, 2 and 1 starts for
K = 2, 8 and 32. KL(q||p) is by quadrature on 400 x 400 cells, log Z too: no sampling noise.
About 8 CPU minutes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from record import Clock, arguments, picture, record, row

import pushforward as pf
from pushforward.energies import ENERGIES, divergence, grid, log_z
from pushforward.files import writing

DEPTHS = {2: 3, 8: 2, 32: 1}
"""Layers and how many starts."""


def make(column: str, seed: int) -> tuple[pf.Flow, dict[str, Any]]:
    """The flow of a column, and how it is trained."""
    if column == "Real NVP":
        flow = pf.RealNVP((2,), couplings=8, width=32, seed=seed)
        return flow, {"steps": 2_000, "lr": 3e-3}
    layers = int(column.removeprefix("K = "))
    flow = pf.PlanarFlow((2,), layers=layers, direction="sampling", seed=seed)
    return flow, {"steps": 4_000, "lr": 5e-3}


def fitted(args: argparse.Namespace, name: str, column: str, starts: int) -> dict[str, Any]:
    """The best of some starts on one energy: its figures, and its density on the picture's grid."""
    energy = ENERGIES[name]
    runs = []
    for seed in range(args.seed, args.seed + starts):
        flow, options = make(column, seed)
        if args.quick:
            options["steps"] = 30
        runs.append(
            pf.fit_density(energy, flow, seed=seed, validate_every=500, progress=False, **options)
        )
    run = min(runs, key=lambda run: run.free_energy)
    points, _ = grid(4.0, 200)
    with torch.no_grad():
        density = run.flow.log_prob(points).exp().reshape(200, 200).numpy()
    return {
        "kl": divergence(run.flow, energy),
        "kls_by_samples": [run.free_energy + log_z(energy) for run in runs],
        "log_z": run.log_z,
        "log_z_error": run.log_z_error,
        "ess": run.ess,
        "pareto_k": run.pareto_k,
        "density": density,
    }


def draw(path: Path, results: dict[str, dict[str, dict[str, Any]]], columns: list[str]) -> None:
    """A row for each energy: the density, then every flow, its divergence written below."""
    points, _ = grid(4.0, 200)
    figure = Figure(figsize=(1.9 * (len(columns) + 1), 2.1 * len(results)), layout="constrained")
    panels = figure.subplots(len(results), len(columns) + 1, squeeze=False)
    for line, (name, found) in zip(panels, results.items(), strict=True):
        target = torch.exp(-ENERGIES[name](points)).reshape(200, 200).numpy()
        densities = [target, *(found[column]["density"] for column in columns)]
        texts = [name, *(f"KL {found[column]['kl']:.3f}" for column in columns)]
        for axes, density, text in zip(line, densities, texts, strict=True):
            axes.imshow(density, origin="lower", extent=(-4, 4, -4, 4), cmap="magma")
            axes.set_xlabel(text, fontsize=9)
            axes.set(xticks=[], yticks=[])
    for axes, title in zip(panels[0], ["density", *columns], strict=True):
        axes.set_title(title, fontsize=10)
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=120, bbox_inches="tight")


def main() -> None:
    """Fit all of them, print the table, keep it."""
    parser = arguments(__doc__ or "", data=False)
    parser.add_argument("--work", type=Path, default=Path("runs/planar"))
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    clock = Clock()
    depths = {2: 1} if args.quick else DEPTHS
    starts = {**{f"K = {layers}": n for layers, n in depths.items()}, "Real NVP": 1}
    results: dict[str, dict[str, dict[str, Any]]] = {}
    for name in list(ENERGIES)[: 1 if args.quick else None]:
        results[name] = {}
        for column, n in starts.items():
            found = results[name][column] = fitted(args, name, column, n)
            print(
                f"{name} {column:9} KL {found['kl']:.4f} nats, effective samples "
                f"{found['ess']:.1%}, log Z {found['log_z']:.4f} ± {found['log_z_error']:.4f} "
                f"(true {log_z(ENERGIES[name]):.4f})",
                flush=True,
            )
    path = args.work / "quick" / "planar.png" if args.quick else picture("planar.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(path, results, list(starts))
    if args.quick:
        return
    rows = [
        row(
            f"{column} on U1, U2, U3, U4: KL(q, p) in nats",
            "a picture",
            ", ".join(f"{results[name][column]['kl']:.3f}" for name in results),
            "by quadrature" if column != "Real NVP" else "8 couplings; by quadrature",
        )
        for column in starts
    ]
    figures = {
        name: {
            "log_z": log_z(ENERGIES[name]),
            **{
                column: {key: value for key, value in found.items() if key != "density"}
                for column, found in columns.items()
            },
        }
        for name, columns in results.items()
    }
    record(
        "planar",
        rows,
        protocol=(__doc__ or "").split("Protocol:")[1],
        command="python reproductions/planar.py",
        seed=list(np.arange(args.seed, args.seed + max(DEPTHS.values())).tolist()),
        clock=clock,
        figures=figures,
        pictures=[path],
    )


if __name__ == "__main__":
    main()
