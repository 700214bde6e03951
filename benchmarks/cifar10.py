"""The paper's CIFAR-10 model on real CIFAR-10, as long as a GPU is there.

    python benchmarks/cifar10.py --data DATA/cifar10 --minutes 27 [--out runs/cifar10]

Trains ``realnvp-cifar10`` with bf16 conditioners, averaged weights, mirrored images and a cosine
schedule over the budget; goes on from its last checkpoint if it is called again, so that several
short loans of a card add up: ``--minutes`` is the budget of all of them together, ``--session``
how long this one may last. At the end: the exact test figure of all 10,000 images, the curve, a
grid of samples, and the weights in bf16 as safetensors shards under 16 MiB. ``--device cpu --steps
3`` tries all of it on a few images.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / ".deps"), str(HERE.parent / "src")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

import pushforward as pf  # noqa: E402

SHARD = 15 * 2**20


def data(source: str, few: bool) -> pf.Dataset:
    """CIFAR-10 with the last 5,000 training images for validation; a stand-in for a trial."""
    if few and not Path(source).exists():
        noise = np.random.default_rng(0).integers(0, 256, (96, 3, 32, 32), dtype=np.uint8)
        return pf.Dataset("noise", "images", (3, 32, 32), 256, noise[:64], noise[64:80], noise[80:])
    whole = pf.open_data(source, fractions=(0.1, 0.1))
    if not few:
        return whole
    parts = {name: np.array(values[:64]) for name, values in whole.splits().items()}
    return pf.Dataset(whole.name, "images", whole.shape, whole.levels, **parts)


def shards(flow: pf.Flow, folder: Path) -> list[str]:
    """The weights in bf16, in files that stay small; Standard buffers keep their own types."""
    folder.mkdir(parents=True, exist_ok=True)
    names, part, size = [], {}, 0

    def write() -> None:
        name = f"weights-bf16-{len(names):02}.safetensors"
        save_file(part, folder / name)
        names.append(name)

    for key, value in flow.state_dict().items():
        kept = value.detach().cpu().contiguous()
        if kept.dtype == torch.float32 and kept.numel() > 1024:
            kept = kept.bfloat16()
        bytes_ = kept.numel() * kept.element_size()
        if part and size + bytes_ > SHARD:
            write()
            part, size = {}, 0
        part[key], size = kept, size + bytes_
    write()
    return names


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--out", type=Path, default=Path("runs/cifar10"))
    parser.add_argument("--minutes", type=float, default=27.0, help="of training, in all")
    parser.add_argument("--session", type=float, help="minutes after which this call ends")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    parser.add_argument("--steps", type=int, help="so many steps on a few images, for a trial")
    options = parser.parse_args()
    few = options.steps is not None
    torch.set_float32_matmul_precision("high")  # TF32 where bf16 does not reach
    dataset = data(options.data, few)
    limit: dict[str, Any] = {"max_time": 60 * options.minutes}
    if few:
        limit = {"max_steps": options.steps, "validate_every": 100}
    flow = pf.create("realnvp-cifar10", **({"width": 4, "blocks": 1} if few else {}))
    if options.session is not None:  # ends the run as Ctrl-C does: with a checkpoint
        timer = threading.Timer(60 * options.session, signal.raise_signal, [signal.SIGINT])
        timer.daemon = True
        timer.start()
    start = time.monotonic()
    run = pf.fit(
        flow,
        dataset,
        folder=options.out,
        resume=True,
        batch_size=4 if few else options.batch,
        optimiser="adamax",
        lr=options.lr,
        warmup=500,
        schedule="cosine",
        clip=1.0,
        ema=0.999,
        l2=5e-5,
        flip=True,
        patience=None,
        precision="bf16",
        compile=not (options.eager or few),
        device=options.device,
        **limit,
    )
    print(f"{run.stopped} after {time.monotonic() - start:.0f} s, {run.records[-1]['step']} steps")
    if run.stopped == "interrupted":
        print("call it again to go on")
        return
    conclude(flow, dataset, run, options.out)


def conclude(flow: pf.Flow, dataset: pf.Dataset, run: pf.Run, folder: Path) -> None:
    """The exact figure, curve, samples, weights."""
    from pushforward.pictures import image_grid, write_png

    with torch.no_grad():
        result = pf.evaluate(flow, dataset.test)
    print(result)
    run.plot(folder / "curves.png")
    grid = flow.sample(64, seed=0).cpu().numpy()
    write_png(folder / "samples.png", image_grid(grid, flow.levels))
    names = shards(flow, folder / "weights")
    figures = {
        "test": result.to_dict(),
        "best": run.best,
        "settings": run.settings,
        "curve": run.records,
        "card": torch.cuda.get_device_name() if flow.device.type == "cuda" else "CPU",
        "torch": torch.__version__,
        "weights": names,
    }
    (folder / "cifar10.json").write_text(json.dumps(figures, indent=1, default=str) + "\n")
    print(f"written to {folder}: cifar10.json, curves.png, samples.png, {len(names)} shard(s)")


if __name__ == "__main__":
    main()
