"""A picture of digits whose lower half is filled in, by ascent and by draws (docs/inpaint.png).

Protocol: ``RealNVP`` on scikit-learn's digits as ``pushforward train digits`` sets it up (one
minute), the first eight test images, rows 4 to 7 hidden. Printed: root mean squared error on hidden
pixels (0 to 16), by method, and what the chains tell of themselves.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

import pushforward as pf
from pushforward.pictures import image_grid, write_png


def main() -> None:
    """Fill in, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a saved model of digits; trained first if not given")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--quick", action="store_true", help="does it run?")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "docs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    flow = (
        pf.load(args.model)
        if args.model
        else pf.learn("digits", max_time=2 if args.quick else 60, progress=False)
    )
    x = pf.open_data("digits").test[:8]
    missing = np.zeros(flow.shape, dtype=bool)
    missing[:, 4:] = True
    steps = 12 if args.quick else args.steps
    began = time.process_time()
    found = pf.impute(flow, x, missing=missing, draws=5, steps=steps, seed=0)
    took = time.process_time() - began
    climbed = pf.inpaint(flow, torch.tensor(x), torch.tensor(~missing), steps=steps).numpy()
    methods = {"ascent": climbed, "mean": found.mean, "one draw": found.draws[0]}
    for name, filled in methods.items():
        error = (filled.astype(float) - x)[:, missing]
        print(f"{name}: RMSE {np.sqrt(np.mean(error**2)):.2f}")
    accepted = ", ".join(f"{kind} {rate:.2f}" for kind, rate in found.acceptance.items())
    rhat = np.nanmedian(found.rhat)
    print(f"accepted: {accepted}; median R-hat {rhat:.2f}; {took:.0f} s of CPU; {found.notes}")
    shown = [x, np.where(missing, 8, x), climbed, found.mean, *found.draws]
    columns = np.stack(shown, axis=1).reshape(-1, *flow.shape)
    if not args.quick:
        write_png(args.out / "inpaint.png", image_grid(columns, flow.levels, columns=len(shown)))


if __name__ == "__main__":
    main()
