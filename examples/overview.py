"""Make the README's picture: samples, a learned density, and the data in latent space.

Run: python examples/overview.py [output.png]     (about two minutes on two cores)
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from matplotlib.figure import Figure

import pushforward as pf
from pushforward.files import writing
from pushforward.pictures import image_grid


def main(path: str = "docs/overview.png") -> None:
    """Train both flows and draw the three panels."""
    digits = pf.RealNVP((1, 8, 8), levels=17, dropout=0.2)
    pf.fit(digits, "digits", max_time=60, shift=0.3)
    grid = image_grid(digits.sample(36, seed=2).numpy(), levels=17)

    moons = pf.open_data("two-moons")
    flow = pf.RealNVP((2,), couplings=8, width=64)
    pf.fit(flow, moons, max_steps=3_000)

    axis_x, axis_y = np.linspace(-1.6, 2.6, 420), np.linspace(-1.1, 1.6, 270)
    mesh = np.stack(np.meshgrid(axis_x, axis_y), axis=-1).reshape(-1, 2)
    with torch.no_grad():
        density = flow.log_prob(mesh).exp().reshape(len(axis_y), len(axis_x)).numpy()
        latent = flow.encode(moons.test).numpy()

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1.45, 1])
    left.imshow(grid)
    left.set_title("digits that nobody wrote")
    left.axis("off")
    extent = (axis_x[0], axis_x[-1], axis_y[0], axis_y[-1])
    middle.imshow(density, origin="lower", extent=extent, cmap="magma", aspect="auto")
    middle.set_title("density learned from two moons")
    to_upper = np.abs(np.hypot(moons.test[:, 0], moons.test[:, 1]) - 1)
    to_lower = np.abs(np.hypot(moons.test[:, 0] - 1, moons.test[:, 1] - 0.5) - 1)
    upper = to_upper < to_lower
    for part, colour in ((upper, "C0"), (~upper, "C1")):
        right.plot(latent[part, 0], latent[part, 1], ".", ms=2, color=colour)
    right.set(title="the same data, encoded", aspect="equal", xlim=(-4, 4), ylim=(-4, 4))
    for axes in (middle, right):
        axes.tick_params(labelsize=8)
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:])
