"""Two moons and POWER: Real NVP, MAF, neural spline flows and a Gaussian mixture on one ruler.

    python reproductions/tabular.py --data DATA
    .venv-peers/bin/python reproductions/tabular.py --data DATA --peer

Published, on all of POWER (2,049,280 rows), test nats: Gaussian mixtures none; Real NVP (10) 0.17,
MAF (5) 0.14, MAF of a rerun 0.45, RQ-NSF (C) 0.64, RQ-NSF (AR) 0.66. What is repeated here is
their order: the rows at hand are half a year of the four (13.8 %), where the density is another.

Protocol: POWER of 2006-12-16 to 2007-06-30, prepared as in the MAF paper: rows with missing values
and columns 1 and 3 dropped, shuffled, uniform noise of the meters' resolution, 10 % test, 10 % of
the rest validation, standardised by train and validation. Two moons: 20,000 rows, 2,000 to
validate, 20,000 to test, noise 0.05. Every flow, ours or not, is trained by one loop: Adam at 2e-3
down a cosine, batches of 512, clipping at 5, an average of weights, twenty validations of which the
best stays; the same budget in CPU seconds (or steps) on one thread. Networks have two hidden
layers, of splines two residual blocks, of one width. Gaussian mixtures have full covariances, their
number chosen by validation; EM sees the first 100,000 rows 60 times at most. Three seeds, of
weights and order; the split is the same. Mean log-density of the test rows in nats: mean over seeds
and their standard deviation.

Each model and seed is recorded as soon as it is done, and not run again unless ``--anew``. Run the
two commands one after the other: they write to one file.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import Clock, arguments, data_folder, picture, record, recorded, row
from tabular_models import OURS, PEERS, Contender, Splits, mixture, scores, train

from pushforward.data.toy import two_moons, two_moons_log_density
from pushforward.files import writing

MIXTURE = "Gaussian mixture"
PUBLISHED = {
    "Real NVP (10)": "0.17 ± 0.01",
    "MAF (5)": "0.14 ± 0.01; rerun 0.45 ± 0.01",
    "RQ-NSF (C)": "0.64 ± 0.01",
    "RQ-NSF (AR)": "0.66 ± 0.01",
}
WIDTH = {"moons": 64, "power": 128}
COMPONENTS = {"moons": (16, 32, 64), "power": (50,)}


def moons() -> Splits:
    """Always the same rows."""
    rng = np.random.default_rng(7)
    return Splits(*(two_moons(n, rng).astype(np.float32) for n in (20_000, 2_000, 20_000)))


def power(folder: Path) -> Splits:
    """As the MAF paper prepares them."""
    import pandas as pd

    frame = pd.read_parquet(folder / "tabular" / "power_2007h1.parquet").dropna()
    rng = np.random.default_rng(42)
    rows = np.delete(rng.permutation(frame.to_numpy(np.float64)), (1, 3), axis=1)
    # active power, voltage, three sub-meters, minute of the day
    rows += rng.random(rows.shape) * np.array([0.001, 0.01, 1, 1, 1, 0])
    rest, test = np.split(rows, [len(rows) - len(rows) // 10])
    mean, deviation = rest.mean(0), rest.std(0)
    train_rows, validation = np.split(rest, [len(rest) - len(rest) // 10])
    parts = (train_rows, validation, test)
    return Splits(*(((part - mean) / deviation).astype(np.float32) for part in parts))


# One run ---------------------------------------------------------------------------------------


def run(data: str, name: str, splits: Splits, seed: int, args: argparse.Namespace) -> dict:
    """Train a contender and measure it; the density of moons is kept for the picture."""
    rows = torch.from_numpy(splits.train[:10_000])
    start, steps, size = time.process_time(), 0, 0
    if name == MIXTURE:
        fitted, size = mixture(splits, COMPONENTS[data], seed)
        score = fitted.score_samples
    else:
        make = {**OURS, **PEERS}[name]
        contender: Contender = make(rows, 16 if args.quick else WIDTH[data], seed)
        _, steps = train(contender, splits, seed=seed, seconds=args.seconds, steps=args.steps)
        size = sum(p.numel() for p in contender.module.parameters())

        def score(x: np.ndarray) -> np.ndarray:
            return scores(contender, x)

    test = score(splits.test)
    if data == "moons" and seed == args.seed:
        np.save(args.work / f"{name}.npy", score(grid()).reshape(SIDE, SIDE))
    return {
        "test": float(test.mean()),
        "median": float(np.median(test)),
        "worst": float(test.min()),
        "validation": float(score(splits.validation).mean()),
        "parameters or components": size,
        "steps": steps,
        "cpu_seconds": round(time.process_time() - start, 1),
    }


SIDE, BOX = 200, (-1.5, 2.5, -1.0, 1.5)


def grid() -> np.ndarray:
    """Points of the plane around the moons, row by row."""
    x, y = np.linspace(*BOX[:2], SIDE), np.linspace(*BOX[2:], SIDE)
    return np.stack(np.meshgrid(x, y), -1).reshape(-1, 2).astype(np.float32)


# Pictures --------------------------------------------------------------------------------------


def draw_moons(names: list[str], path: Path, work: Path) -> None:
    """The learned densities in a row, the true one first."""
    from matplotlib.figure import Figure

    truth = np.exp(two_moons_log_density(grid().astype(np.float64), 0.05)).reshape(SIDE, SIDE)
    found = [("true density", truth)]
    found += [
        (n, np.exp(np.load(work / f"{n}.npy"))) for n in names if (work / f"{n}.npy").exists()
    ]
    figure = Figure(figsize=(2.3 * len(found), 1.7), layout="constrained")
    for axes, (name, density) in zip(
        figure.subplots(1, len(found), squeeze=False)[0], found, strict=True
    ):
        axes.imshow(density, origin="lower", extent=BOX, cmap="magma", vmax=truth.max())
        axes.set_title(name, fontsize=9)
        axes.set(xticks=[], yticks=[])
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=130)


def draw_seeds(results: dict[str, dict[str, list[float]]], path: Path) -> None:
    """A dot for each seed, a bar at their mean: ours in blue, other libraries in grey."""
    from matplotlib.figure import Figure

    height = 0.8 + 0.27 * max(map(len, results.values()))
    figure = Figure(figsize=(4.2 * len(results), height), layout="constrained")
    titles = {"moons": "two moons (dotted: the true density)", "power": "POWER, half a year"}
    for axes, (data, entries) in zip(
        figure.subplots(1, len(results), squeeze=False)[0], results.items(), strict=True
    ):
        for place, (name, values) in enumerate(reversed(entries.items())):
            colour = "0.55" if name in PEERS else "C1" if name == MIXTURE else "C0"
            axes.plot(values, [place] * len(values), "o", color=colour, alpha=0.6, markersize=5)
            axes.plot([np.mean(values)] * 2, [place - 0.3, place + 0.3], color=colour, linewidth=2)
        if data == "moons":
            true = float(two_moons_log_density(moons().test.astype(np.float64), 0.05).mean())
            axes.axvline(true, color="0.3", linewidth=1, linestyle=":")
        axes.set_yticks(range(len(entries)), list(reversed(entries)), fontsize=8)
        axes.set_title(titles[data], fontsize=10)
        axes.set_xlabel("test log-density (nats)", fontsize=9)
        axes.tick_params(axis="x", labelsize=8)
        axes.locator_params(axis="x", nbins=5)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", color="0.92")
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=130)


# All runs --------------------------------------------------------------------------------------


def main() -> None:
    """Run what is not recorded yet, and write table and pictures."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=170.0, help="CPU seconds of a training")
    parser.add_argument("--steps", type=int, help="steps of a training in place of seconds")
    parser.add_argument("--peer", action="store_true", help="the other libraries' models")
    parser.add_argument("--sets", nargs="+", choices=("moons", "power"), default=["moons", "power"])
    parser.add_argument("--models", nargs="+", metavar="NAME", help="only these")
    parser.add_argument("--anew", action="store_true", help="run again what is recorded")
    parser.add_argument("--work", type=Path, default=Path("runs/tabular"))
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.steps, args.work = 1, args.steps or 30, args.work / "quick"
    torch.set_num_threads(args.threads or 1)
    args.work.mkdir(parents=True, exist_ok=True)
    known = (None if args.quick else recorded("tabular")) or {}
    runs: dict[str, Any] = known.get("figures", {}).get("runs", {})
    clock = Clock(known.get("seconds") or 0.0, known.get("cpu_seconds") or 0.0)
    names = [*PEERS] if args.peer else [*OURS, MIXTURE]
    for data in args.sets:
        splits = moons() if data == "moons" else power(data_folder(args.data))
        if args.quick:
            splits = Splits(splits.train[:5_000], splits.validation[:500], splits.test[:500])
        for name in [n for n in names if not args.models or n in args.models]:
            for seed in range(args.seed, args.seed + args.seeds):
                key = f"{data} / {name} / seed {seed}"
                if runs.get(key, {}).get("budget") == budget(args) and not args.anew:
                    continue
                runs[key] = {"budget": budget(args), **run(data, name, splits, seed, args)}
                print(f"{key}: {runs[key]['test']:.3f} nats", flush=True)
                keep(runs, args, clock)
    keep(runs, args, clock)


def budget(args: argparse.Namespace) -> str:
    """Of a training, in words; runs of another one are not mixed with these."""
    return f"{args.steps} steps" if args.steps else f"{args.seconds:g} CPU seconds"


def keep(runs: dict[str, Any], args: argparse.Namespace, clock: Clock) -> None:
    """Table, pictures and figures of all runs so far."""
    results: dict[str, dict[str, list[float]]] = {}
    for data in ("moons", "power"):
        of_set = {
            name: [
                r["test"]
                for key, r in runs.items()
                if key.startswith(f"{data} / {name} /") and r["budget"] == budget(args)
            ]
            for name in (*OURS, *PEERS, MIXTURE)
        }
        if any(of_set.values()):
            results[data] = {name: values for name, values in of_set.items() if values}
    if not results:
        return
    rows = [
        row(
            f"{'POWER, half a year' if data == 'power' else 'two moons'}, {name}, test",
            f"{PUBLISHED[name]} (all of POWER)" if data == "power" and name in PUBLISHED else "-",
            f"{np.mean(values):.3f} ± {np.std(values, ddof=len(values) > 1):.3f} nats",
            f"{len(values)} seeds",
        )
        for data, entries in results.items()
        for name, values in entries.items()
    ]
    pictures = [place("densities", args), place("seeds", args)]
    draw_moons([*OURS, MIXTURE], pictures[0], args.work)
    draw_seeds(results, pictures[1])
    if args.quick:
        return
    record(
        "tabular",
        rows,
        protocol=(__doc__ or "").split("Protocol: ")[1].split("\n\n")[0],
        command="python reproductions/tabular.py --data DATA, then the same with --peer",
        seed=[args.seed + k for k in range(args.seeds)],
        clock=clock,
        figures={"runs": runs},
        pictures=pictures,
    )


def place(what: str, args: argparse.Namespace) -> Path:
    """Where a picture goes: a quick one is for nobody to see."""
    return args.work / f"{what}.png" if args.quick else picture(f"tabular_{what}.png")


if __name__ == "__main__":
    main()
