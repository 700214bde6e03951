"""A flow as the density estimator of sbi: the posterior of a simulator that has no likelihood.

    python examples/sbi_posterior.py     (about a minute; needs pip install 'pushforward[interop]')

Two parameters, each observed through normal noise, so that the posterior is known: the flow learns
it from 2,000 simulations by sbi's own training (``NPE``), and sbi's own posterior object samples.
"""

from __future__ import annotations

import torch
from sbi.inference import NPE
from torch import Tensor
from torch.distributions import MultivariateNormal

import pushforward as pf
from pushforward.interop.sbi import density_estimator

PRIOR = MultivariateNormal(torch.zeros(2), torch.eye(2))
NOISE = 0.5


def simulate(theta: Tensor) -> Tensor:
    """Parameters ``(N, 2)`` seen through noise: ``(N, 2)``."""
    return theta + NOISE * torch.randn(theta.shape)


def exact(observed: Tensor) -> MultivariateNormal:
    """The posterior of one observation ``(2,)``."""
    precision = 1 + 1 / NOISE**2
    return MultivariateNormal(observed / NOISE**2 / precision, torch.eye(2) / precision)


def main(simulations: int = 2_000, patience: int = 10) -> dict[str, float]:
    """Simulate, learn, sample, compare; return the differences in posterior deviations."""
    torch.manual_seed(0)
    theta = PRIOR.sample((simulations,))
    estimator = density_estimator(pf.RealNVP, couplings=4, width=32)
    trainer = NPE(PRIOR, density_estimator=estimator, show_progress_bars=False)
    trainer.append_simulations(theta, simulate(theta))
    trainer.train(stop_after_epochs=patience, learning_rate=1e-3)
    posterior = trainer.build_posterior()
    observed = torch.tensor([0.8, -0.4])
    draws = posterior.sample((5_000,), x=observed, show_progress_bars=False)
    truth = exact(observed)
    away = (draws.mean(0) - truth.mean).abs() / truth.stddev
    spread = draws.std(0) / truth.stddev
    gap = (truth.log_prob(draws) - posterior.log_prob(draws, x=observed)).mean()
    print(f"mean {draws.mean(0).tolist()}, exact {truth.mean.tolist()}")
    print(f"deviation over the exact one: {spread.tolist()}; KL {-gap:.4f} nats")
    return {
        "mean": float(away.max()),
        "std": float((spread - 1).abs().max()),
        "divergence": -float(gap),
    }


if __name__ == "__main__":
    main()
