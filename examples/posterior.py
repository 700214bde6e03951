"""The posterior of a small Bayesian model: a flow beside a reference sampler.

    python examples/posterior.py [output.png]     (about a minute)

Logistic regression on scikit-learn's breast cancer data: is a tumour benign, given five
standardised measurements? Six weights, each with a normal prior of standard deviation 3. The flow
learns by ``fit_density`` from the unnormalised posterior; the reference is a random-walk Metropolis
sampler, 64 chains long enough that their means agree.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import pushforward as pf
from pushforward.files import writing

MEASURED = ("mean radius", "mean texture", "mean smoothness", "mean concavity", "mean symmetry")
PRIOR = 3.0


def data() -> tuple[np.ndarray, np.ndarray]:
    """A column of ones and the standardised measurements ``(569, 6)``; 1 for benign ``(569,)``."""
    from sklearn.datasets import load_breast_cancer

    loaded = load_breast_cancer()
    columns = [list(loaded.feature_names).index(name) for name in MEASURED]
    x = loaded.data[:, columns]
    x = (x - x.mean(0)) / x.std(0)
    return np.concatenate((np.ones((len(x), 1)), x), axis=1), loaded.target


def logistic_energy(x: np.ndarray, y: np.ndarray, prior: float = PRIOR) -> Callable[..., Tensor]:
    r"""-log likelihood - log prior of weights w, all constants included, so that Z is the evidence.

    .. math:: U(w) = \sum_n \mathrm{softplus}\bigl((1 - 2 y_n)\, w^\top x_n\bigr)
              - \log N(w;\, 0,\, \sigma^2 I)
    """
    signed = torch.from_numpy(x * (1 - 2 * y[:, None]))
    normal = torch.distributions.Normal(0.0, prior)

    def energy(w: Tensor) -> Tensor:
        misfit = torch.nn.functional.softplus(w @ signed.T.to(w)).sum(1)
        return misfit - normal.log_prob(w).sum(1)

    return energy


def metropolis(
    energy: Callable[[Tensor], Tensor], dims: int, chains: int = 64, steps: int = 6_000
) -> tuple[np.ndarray, float]:
    """Random-walk Metropolis with the proposal of a Laplace approximation, after a burn-in.

    Returns:
        draws ``(steps, chains, dims)``, and the largest Gelman-Rubin statistic.
    """
    mode = torch.zeros(1, dims, dtype=torch.float64, requires_grad=True)
    newton = torch.optim.LBFGS([mode], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        newton.zero_grad()
        value = energy(mode).sum()
        value.backward()
        return value

    newton.step(closure)
    start = mode.detach()
    hessian = torch.autograd.functional.hessian(lambda w: energy(w[None]).sum(), start[0])
    factor = torch.linalg.cholesky(torch.linalg.inv(hessian))
    generator = torch.Generator().manual_seed(0)
    noise = lambda: torch.randn(chains, dims, generator=generator, dtype=torch.float64)  # noqa: E731
    draws = []
    with torch.no_grad():
        w = start + 2 * noise() @ factor.T
        height = energy(w)
        for _ in range(steps + steps // 5):
            proposed = w + 2.38 / dims**0.5 * noise() @ factor.T
            there = energy(proposed)
            accept = torch.rand(chains, generator=generator).log() < height - there
            w = torch.where(accept[:, None], proposed, w)
            height = torch.where(accept, there, height)
            draws.append(w)
    kept = torch.stack(draws[steps // 5 :]).numpy()
    within = kept.var(0, ddof=1).mean(0)
    between = kept.mean(0).var(0, ddof=1)
    return kept, float(np.sqrt(1 + between / within).max())


def draw(path: str, run: pf.VariationalRun, reference: np.ndarray) -> None:
    """The six marginals, flow over reference."""
    weights = torch.softmax(run.log_weights, dim=0).numpy()
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    for index, axes in enumerate(figure.subplots(2, 3).flat):
        values = reference[:, index]
        span = np.quantile(values, [0.0005, 0.9995])
        edges = np.linspace(*span, 50)
        axes.hist(values, edges, density=True, color="0.8", label="Metropolis")
        heights, _ = np.histogram(run.draws[:, index], edges, weights=weights, density=True)
        axes.stairs(heights, edges, color="C0", lw=1.5, label="flow")
        axes.set_title(("intercept", *MEASURED)[index], fontsize=10)
        axes.set_yticks([])
        axes.spines[["top", "right", "left"]].set_visible(False)
        if index == 0:
            axes.legend(frameon=False, fontsize=8)
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def main(path: str = "docs/posterior.png", steps: int = 3_000) -> dict[str, np.ndarray | float]:
    """Fit, sample, compare, draw; return the largest differences in posterior deviations."""
    x, y = data()
    energy = logistic_energy(x, y)
    flow = pf.PlanarFlow((x.shape[1],), "sylvester", layers=4, direction="sampling")
    run = pf.fit_density(energy, flow, steps=steps, lr=1e-2)
    print(run)
    chains, gelman_rubin = metropolis(energy, x.shape[1])
    reference = chains.reshape(-1, x.shape[1])
    mean, std = (values.numpy() for values in run.moments())
    true_mean, true_std = reference.mean(0), reference.std(0)
    print(f"Metropolis: {len(reference):,} draws, Gelman-Rubin {gelman_rubin:.4f} at most")
    print(f"{'':16}{'flow':>16}{'Metropolis':>18}")
    for name, *row in zip(("intercept", *MEASURED), mean, std, true_mean, true_std, strict=True):
        print(f"{name:16}{row[0]:9.3f} ±{row[1]:6.3f}{row[2]:11.3f} ±{row[3]:6.3f}")
    draw(path, run, reference)
    return {
        "mean": np.abs(mean - true_mean) / true_std,
        "std": np.abs(std / true_std - 1),
        "gelman_rubin": gelman_rubin,
        "ess": run.ess,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
