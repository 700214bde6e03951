"""Is the loader ever the bottleneck? Items per second: reading, the loader alone, training.

    python benchmarks/loader.py [--data FOLDER] [--out benchmarks/results]

A folder of 5,000 PNG images and, if ``--data`` (or ``PUSHFORWARD_DATA``) has ``cifar10``, its
Parquet files; each once in memory and once from the memory-mapped cache. Training takes the
smallest model of images that one would still train, so that the ratio is at its worst. One thread,
rounds interleaved, medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pushforward as pf
from pushforward.training.events import Events
from pushforward.training.feed import Feed
from pushforward.training.settings import FitConfig
from report import Report, table

_ABOUT = (
    "Items per second: reading the source, the loader alone (shuffled batches of 64, half of them "
    "mirrored), and `fit` of a model of two couplings of width 4, the smallest that one would "
    "train, so that the ratio is at its worst. Medians of interleaved rounds."
)
BATCH, ROUNDS, SECONDS = 64, 5, 2.0


def pictures(folder: Path, count: int) -> None:
    """Write smooth random colour images, which compress about as photographs do."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(count):
        small = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        image = np.asarray(Image.fromarray(small).resize((32, 32), Image.Resampling.BICUBIC))
        noisy = np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
        place = folder / f"{i % 10}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy).save(place / f"{i:05}.png")


def loader_rate(dataset: pf.Dataset, seed: int) -> float:
    """Items per second of batches that are shuffled, taken and mirrored."""
    x = dataset.train
    events = Events(x if isinstance(x, np.memmap) else torch.from_numpy(x))
    feed = Feed(events, FitConfig(batch_size=BATCH, flip=True, seed=seed), torch.device("cpu"))
    start, step = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        feed.batch(step)
        step += 1
    elapsed = time.perf_counter() - start
    feed.close()
    return step * BATCH / elapsed


def training_rate(dataset: pf.Dataset, seed: int) -> float:
    """Items per second of ``fit`` with two couplings of width 4."""
    flow = pf.RealNVP(dataset.shape, width=4, couplings=2, depth=1, seed=seed)
    options = {"batch_size": BATCH, "flip": True, "threads": 1, "validate_on": 64}
    steps = 150
    run = pf.fit(flow, dataset, max_steps=steps, validate_every=steps, progress=False, **options)
    return run.records[0]["items_per_second"]


def opened(source: str, cache: bool) -> tuple[pf.Dataset, float]:
    """The source, and how long it took to open."""
    start = time.perf_counter()
    dataset = pf.open_data(source, cache=cache)
    return dataset, time.perf_counter() - start


def measure(name: str, source: str) -> list[dict[str, Any]]:
    """Rows of the table for one source."""
    ways = []
    for cache in (False, True):
        dataset, first = opened(source, cache)
        again = opened(source, cache)[1] if cache else first
        ways.append(("cache" if cache else "memory", dataset, first, again))
    rates: dict[str, dict[str, list[float]]] = {w[0]: {"loader": [], "training": []} for w in ways}
    for seed in range(ROUNDS):
        for way, dataset, _, _ in ways:
            rates[way]["loader"].append(loader_rate(dataset, seed))
            rates[way]["training"].append(training_rate(dataset, seed))
    rows = []
    for way, dataset, first, again in ways:
        loader, training = (statistics.median(rates[way][key]) for key in ("loader", "training"))
        rows.append(
            {
                "source": name,
                "from": way,
                "events": len(dataset),
                "first opening (s)": round(first, 2),
                "items/s": round(len(dataset) / first),
                "later opening (s)": round(again, 3),
                "loader alone (items/s)": round(loader),
                "training (items/s)": round(training),
                "ratio": round(loader / training, 1),
            }
        )
    return rows


def main() -> None:
    """Measure all sources and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("PUSHFORWARD_DATA"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["PUSHFORWARD_CACHE"] = str(Path(scratch, "cache"))
        folder = Path(scratch, "pictures")
        pictures(folder, 5_000)
        rows += measure("5,000 PNG, 32x32", str(folder))
        if options.data:
            rows += measure("CIFAR-10, Parquet", str(Path(options.data, "cifar10")))
    body = table(list(rows[0]), [[_shown(value) for value in row.values()] for row in rows])
    title = "Is the loader ever the bottleneck?"
    report = Report("loader", title, f"{_ABOUT}\n\n{body}", {"rows": rows})
    print(report.markdown())
    report.save(options.out)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:,}"


if __name__ == "__main__":
    main()
