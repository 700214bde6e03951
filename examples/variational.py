"""Variational inference in plain PyTorch: a flow fitted to an unnormalised posterior by hand.

    python examples/variational.py     (about twenty seconds)

A line through points with outliers: intercept and slope have normal priors, the noise is Student's
t. The flow learns by the evidence lower bound, a loop of ten lines that any program can hold;
``fit_density`` does the same with more care. The reference is quadrature on a grid.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Normal, StudentT

import pushforward as pf


def data(n: int = 30) -> tuple[Tensor, Tensor]:
    """Points about y = 1 + 2 x, one in ten of them far off."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(n, generator=generator) * 2 - 1
    y = 1 + 2 * x + 0.3 * torch.randn(n, generator=generator)
    y[::10] -= 4
    return x, y


def log_joint(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
    r""":math:`\log p(y \mid w) + \log p(w)` of weights ``(N, 2)``: ``(N,)``."""
    mean = w[:, :1] + w[:, 1:] * x
    likelihood = StudentT(2.0, mean, 0.3).log_prob(y).sum(1)
    return likelihood + Normal(0.0, 3.0).log_prob(w).sum(1)


def learn(x: Tensor, y: Tensor, steps: int = 600) -> tuple[pf.FlowDistribution, float]:
    """The posterior as a distribution, and the last bound on the log-evidence, in nats."""
    flow = pf.RealNVP((2,), couplings=4, width=32, norm="none")
    posterior = flow.distribution()
    optimiser = torch.optim.Adam(flow.parameters(), lr=5e-3)
    bounds = []
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 5e-3 * 0.5 * (1 + math.cos(math.pi * step / steps))
        w, log_q = posterior.rsample_and_log_prob((256,))
        elbo = (log_joint(w, x, y) - log_q).mean()
        optimiser.zero_grad()
        (-elbo).backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 10.0)
        optimiser.step()
        bounds.append(elbo.item())
    flow.eval()
    return posterior, sum(bounds[-20:]) / 20


def quadrature(x: Tensor, y: Tensor, n: int = 400) -> tuple[Tensor, Tensor, float]:
    """Means and deviations of the two weights, and the log-evidence, on a grid."""
    grids = torch.linspace(0, 2, n), torch.linspace(0.8, 3.2, n)
    w = torch.cartesian_prod(*grids)
    height = log_joint(w, x, y)
    cell = (grids[0][1] - grids[0][0]) * (grids[1][1] - grids[1][0])
    evidence = float(torch.logsumexp(height, 0) + cell.log())
    weight = torch.softmax(height, 0)[:, None]
    mean = (weight * w).sum(0)
    return mean, (weight * (w - mean).square()).sum(0).sqrt(), evidence


def main() -> dict[str, float]:
    """Fit, compare, print; return the differences in posterior deviations."""
    x, y = data()
    posterior, bound = learn(x, y)
    draws = posterior.sample((20_000,))
    return compare(draws, bound, x, y)


def compare(draws: Tensor, bound: float, x: Tensor, y: Tensor) -> dict[str, float]:
    """Print draws and bound beside the grid; return the differences in posterior deviations."""
    mean, std, evidence = quadrature(x, y)
    for name, found, true, scale in zip(("intercept", "slope"), draws.T, mean, std, strict=True):
        print(
            f"{name:10} flow {found.mean():.3f} ± {found.std():.3f}   grid {true:.3f} ± {scale:.3f}"
        )
    print(f"bound on the log-evidence {bound:.3f} nats, log-evidence {evidence:.3f}")
    return {
        "mean": float(((draws.mean(0) - mean) / std).abs().max()),
        "std": float((draws.std(0) / std - 1).abs().max()),
        "gap": evidence - bound,
    }


if __name__ == "__main__":
    main()
