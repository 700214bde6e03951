"""Anomalies in tables: ours beside the usual detectors, in one harness.

Six sets of ADBench, two protocols (those of DTE, Livernoche et al. 2024):

- ``semi``: train on half of the usual rows, drawn by the seed; test on the rest and all anomalies.
- ``unsup``: train on everything, anomalies included; test on the very same rows. (DTE trains on a
  bootstrap of them; here each row is there once, and none is its own neighbour.)

Rows are standard-scaled by the training rows. Sets above ``--cap`` rows are thinned at random, by a
fixed seed and for all methods alike. Measured: area under the ROC curve, average precision, and the
seconds of fitting and of scoring on one thread. No method sees a label, and all settings are the
same for all sets. Ours (noise, number of normals, share trimmed) were chosen on the six sets, among
some hundred variants with one or two seeds; ``--unseen`` measures three sets of scikit-learn, which
played no part in that: anomalies are the rarer class, or the digits 5 to 9, thinned to a tenth.

    python benchmarks/anomaly.py --data DIR --seeds 5
    python benchmarks/anomaly.py --unseen
    python benchmarks/anomaly.py --data DIR --quick            # does it run?
    python benchmarks/anomaly.py --page                        # only the table, of what is there
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from detecting.baselines import BASELINES
from detecting.ours import OURS
from pushforward.files import write_text

SETS = ("thyroid", "cardio", "mammography", "satellite", "shuttle", "pendigits")
UNSEEN = ("breast-cancer", "wine", "digits")
PROTOCOLS = ("semi", "unsup")
RESULTS = Path(__file__).parent / "results"
METHODS = {**OURS, **BASELINES}


def load(folder: Path, name: str, cap: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and labels (1: anomaly), thinned to ``cap`` rows."""
    if name in UNSEEN:
        return bundled(name)
    with np.load(folder / f"adbench_{name}.npz") as file:
        x, y = file["X"].astype(np.float64), file["y"].astype(int)
    if len(x) > cap:
        kept = np.sort(np.random.default_rng(0).permutation(len(x))[:cap])
        x, y = x[kept], y[kept]
    return x, y


def bundled(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows and labels of a set that comes with scikit-learn, a tenth of them anomalies."""
    from sklearn import datasets

    x, y = getattr(datasets, f"load_{name.replace('-', '_')}")(return_X_y=True)
    odd = {"breast-cancer": y == 0, "wine": y == 2, "digits": y >= 5}[name]
    usual, rest = np.flatnonzero(~odd), np.random.default_rng(0).permutation(np.flatnonzero(odd))
    kept = np.concatenate([usual, rest[: len(usual) // 9]])
    return x[kept].astype(np.float64), odd[kept].astype(int)


def divide(x: np.ndarray, y: np.ndarray, protocol: str, seed: int) -> tuple[np.ndarray, ...]:
    """Training rows, test rows and test labels, standard-scaled."""
    train, test, labels = x, x, y
    if protocol == "semi":
        usual = np.random.default_rng(seed).permutation(np.flatnonzero(y == 0))
        half = len(usual) // 2
        rest = np.concatenate([usual[half:], np.flatnonzero(y == 1)])
        train, test, labels = x[usual[:half]], x[rest], y[rest]
    mean, std = train.mean(0), train.std(0)
    std[std == 0] = 1.0
    return (train - mean) / std, (test - mean) / std, labels


def measure(method: str, train: np.ndarray, test: np.ndarray, y: np.ndarray, **facts: Any) -> dict:
    """One cell of the table."""
    start = time.perf_counter()
    score = METHODS[method](train, facts["seed"], facts["protocol"] == "unsup")
    fitted = time.perf_counter()
    values = score(test)
    scored = time.perf_counter()
    return {
        "method": method,
        **facts,
        "auroc": 100 * float(roc_auc_score(y, values)),
        "precision": 100 * float(average_precision_score(y, values)),
        "fit_seconds": fitted - start,
        "score_seconds": scored - fitted,
    }


def page(cells: list[dict]) -> str:
    """Tables of the means over the seeds, a protocol each."""
    lines = []
    names = [s for s in (*SETS, *UNSEEN) if any(c["set"] == s for c in cells)]
    methods = list(dict.fromkeys(c["method"] for c in cells))
    for protocol in PROTOCOLS:
        for what, name in (("auroc", "AUROC"), ("precision", "average precision")):
            seeds = len({c["seed"] for c in cells if c["protocol"] == protocol})
            lines += [f"{protocol}, {name}, mean of {seeds} seeds", ""]
            times = " | fit s | score s" if what == "auroc" else ""
            lines += [f"| method | {' | '.join(names)} | mean{times} |"]
            lines += ["|---" * (len(names) + 2 + times.count("|")) + "|"]
            rows = []
            for method in methods:
                mine = [c for c in cells if (c["method"], c["protocol"]) == (method, protocol)]
                of = [np.mean([c[what] for c in mine if c["set"] == s] or [np.nan]) for s in names]
                row = " | ".join(f"{v:.1f}" for v in [*of, np.mean(of)])
                if times:
                    fit = np.mean([c["fit_seconds"] for c in mine])
                    row += f" | {fit:.2f} | {np.mean([c['score_seconds'] for c in mine]):.2f}"
                rows.append((-np.nan_to_num(np.mean(of)), f"| {method} | {row} |"))
            lines += [line for _, line in sorted(rows)]
            lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Measure what is not in the file yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("PUSHFORWARD_DATA"))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=(*SETS, *UNSEEN))
    parser.add_argument("--unseen", action="store_true", help="the three sets of scikit-learn")
    parser.add_argument("--protocols", nargs="+", default=list(PROTOCOLS), choices=PROTOCOLS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cap", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=RESULTS / "anomaly.json")
    parser.add_argument("--again", action="store_true", help="measure what is in the file too")
    parser.add_argument("--quick", action="store_true", help="one seed, 500 rows, nothing kept")
    parser.add_argument("--page", action="store_true", help="only write the table")
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.cap, args.out = 1, 500, None
    if args.unseen:
        args.sets, args.data = list(UNSEEN), "."
        if args.out == RESULTS / "anomaly.json":
            args.out = RESULTS / "anomaly-unseen.json"
    cells = json.loads(args.out.read_text()) if args.out and args.out.exists() else []
    if args.again:
        cells = [c for c in cells if c["method"] not in args.methods]
    if not args.page:
        if args.data is None:
            parser.error("say where the tables are: --data DIR, or PUSHFORWARD_DATA")
        folder = Path(args.data)
        folder = folder / "tabular" if (folder / "tabular").is_dir() else folder
        cells = run(args, folder, cells)
    print(page(cells))
    if args.out:
        write_text(args.out.with_suffix(".md"), page(cells))


def run(args: argparse.Namespace, folder: Path, cells: list[dict]) -> list[dict]:
    """All cells that are asked for; the file is written after each."""
    done = {(c["method"], c["protocol"], c["set"], c["seed"]) for c in cells}
    for method in args.methods:
        for name in args.sets:
            x, y = load(folder, name, args.cap)
            for protocol in args.protocols:
                for seed in range(args.seeds):
                    if (method, protocol, name, seed) in done:
                        continue
                    train, test, labels = divide(x, y, protocol, seed)
                    facts = {"protocol": protocol, "set": name, "seed": seed, "rows": len(x)}
                    cells.append(measure(method, train, test, labels, **facts))
                    if args.out:
                        write_text(args.out, json.dumps(cells, indent=1))
            mine = [c for c in cells if c["method"] == method and c["set"] == name]
            for protocol in args.protocols:
                of = [c["auroc"] for c in mine if c["protocol"] == protocol]
                print(f"{method:16} {name:12} {protocol:6} {np.mean(of):5.1f}", flush=True)
    return cells


if __name__ == "__main__":
    main()
