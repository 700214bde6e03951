"""Learn a texture on 16x16 patches, and draw it ten times as large.

A flow whose conditioners are convolutions alone has no weight that knows the size of an image.
Trained for a few minutes on patches of labyrinths (band-limited noise), it draws larger ones.

    python examples/textures.py --steps 250 --out latent-extrapolate.png
"""

from __future__ import annotations

import argparse

import numpy as np

import pushforward as pf
from pushforward.pictures import image_grid, write_png

SIDE, LEVELS = 16, 32


def labyrinths(n: int, seed: int = 0) -> np.ndarray:
    """``(n, 1, 16, 16)`` patches of noise with waves of about seven pixels, in 32 levels."""
    rng, patches = np.random.default_rng(seed), []
    frequency = np.fft.fftfreq(4 * SIDE)
    radius = np.hypot(frequency[:, None], frequency[None])
    band = np.exp(-(((radius - 0.14) / 0.03) ** 2))
    while len(patches) < n:
        field = np.fft.ifft2(np.fft.fft2(rng.normal(size=(4 * SIDE, 4 * SIDE))) * band).real
        light = LEVELS / (1 + np.exp(-2 * field / field.std()))
        cut = light.astype(int).clip(0, LEVELS - 1).reshape(4, SIDE, 4, SIDE).swapaxes(1, 2)
        patches += list(cut.reshape(16, SIDE, SIDE))
    return np.stack(patches)[:n, None].astype(np.uint8)


def told(name: str, x: np.ndarray) -> str:
    """Mean, spread and the correlation of neighbours, which a larger image should share."""
    light = x / (LEVELS - 1)
    near = np.corrcoef(light[..., :-1].ravel(), light[..., 1:].ravel())[0, 1]
    return f"{name:8} mean {light.mean():.3f}  spread {light.std():.3f}  neighbours {near:.3f}"


def main() -> None:
    """Train, draw, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="latent-extrapolate.png")
    args = parser.parse_args()
    x = labyrinths(8000, args.seed)
    flow = pf.RealNVP((1, SIDE, SIDE), levels=LEVELS, positions=False, scales=2, width=24)
    run = pf.fit(flow, x, max_steps=args.steps, progress=False, seed=args.seed)
    print(f"{run.best['validation']:.3f} bits/dim on held-out patches after {args.steps} steps")
    small = flow.sample(500, seed=1).numpy()
    large = pf.extrapolate(flow, 5, scale=10, seed=1).numpy()
    for name, images in (("data", x), ("sampled", small), ("10 times", large)):
        print(told(name, images))
    rows = (x[:64:4], 4), (small[:16], 4), (large[:1], 2)
    grids = [image_grid(images, LEVELS, scale=scale) for images, scale in rows]
    high = max(len(grid) for grid in grids)
    padded = [np.pad(g, ((0, high - len(g)), (0, 10), (0, 0)), constant_values=255) for g in grids]
    write_png(args.out, np.concatenate(padded, axis=1))


if __name__ == "__main__":
    main()
