"""A flow as the guide of a Pyro model, and as the likelihood of another.

    python examples/pyro_guide.py     (about a minute; needs pip install 'pushforward[interop]')

The model is ordinary Pyro: a line through points with outliers (examples/variational.py). The
guide is ``PyroFlow``: SVI sees a distribution like any other. The reference is quadrature.
"""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import Tensor

import pushforward as pf
from pushforward.interop.pyro import PyroFlow


def model(x: Tensor, y: Tensor) -> None:
    """Two weights with normal priors; noise with heavy tails."""
    w = pyro.sample("w", dist.Normal(torch.zeros(2), 3.0).to_event(1))
    mean = w[..., 0] + w[..., 1] * x  # (particles, points), or (points,)
    with pyro.plate("points", len(x)):
        pyro.sample("y", dist.StudentT(2.0, mean, 0.3), obs=y)


def infer(x: Tensor, y: Tensor, steps: int = 600) -> tuple[PyroFlow, float]:
    """The posterior as a distribution, and the last bound on the log-evidence, in nats."""
    pyro.clear_param_store()
    flow = pf.RealNVP((2,), couplings=4, width=32, norm="none")

    def guide(x: Tensor, y: Tensor) -> None:
        pyro.module("posterior", flow)
        pyro.sample("w", PyroFlow(flow))

    # A rate that falls, as for any flow: here to a hundredth, over all steps.
    adam = pyro.optim.ClippedAdam({"lr": 5e-3, "lrd": 0.01 ** (1 / steps), "clip_norm": 10.0})
    loss = Trace_ELBO(num_particles=64, vectorize_particles=True, max_plate_nesting=1)
    svi = SVI(model, guide, adam, loss)
    bounds = [-svi.step(x, y) for _ in range(steps)]
    flow.eval()
    return PyroFlow(flow), math.fsum(bounds[-50:]) / 50


def as_likelihood(noise: pf.Flow, observed: Tensor, steps: int = 300) -> Tensor:
    """Where observations lie whose noise has the density of a flow: the posterior mean of a shift.

    Args:
        noise: a flow over ``(1,)``, learned from noise alone; SVI leaves it as it is.
        observed: ``(N, 1)``.
    """

    def shifted(observed: Tensor) -> None:
        shift = pyro.sample("shift", dist.Normal(0.0, 10.0))
        with pyro.plate("events", len(observed)):
            pyro.sample("x", PyroFlow(noise), obs=observed - shift)

    pyro.clear_param_store()
    guide = pyro.infer.autoguide.AutoNormal(shifted)
    svi = SVI(shifted, guide, pyro.optim.Adam({"lr": 0.05}), Trace_ELBO(num_particles=8))
    for _ in range(steps):
        svi.step(observed)
    return guide.median(observed)["shift"].detach()


def main() -> dict[str, float]:
    """Infer, compare, print; return the differences in posterior deviations."""
    from variational import compare, data

    x, y = data()
    pyro.set_rng_seed(0)
    posterior, bound = infer(x, y)
    with torch.no_grad():
        draws = posterior.sample((20_000,))
    return compare(draws, bound, x, y)


if __name__ == "__main__":
    main()
