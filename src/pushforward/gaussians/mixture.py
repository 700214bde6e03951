"""The Gaussian mixture as a base: the density that EM fits, and the baseline of every flow."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from ..bases import Base
from ..errors import InputError
from ..layers.layer import Shape

__all__ = ["GaussianMixture"]


class GaussianMixture(Base):
    r"""A weighted sum of K normals, of full or of diagonal covariance.

    .. math:: p(z) = \sum_k \pi_k\, \mathcal N(z;\, \mu_k,\, \Sigma_k), \qquad
              \Sigma_k^{-1} = W_k^\top W_k

    Kept are the lower triangular :math:`W_k`, the inverses of the Cholesky factors of the
    covariances, whose diagonals are exponentials: any values of the parameters are a density, so
    that it may be fitted by EM (``set_moments``) as well as by gradients. It starts as the standard
    normal, K times over.

    ``temperature`` multiplies the spread of each component about its mean; which component is drawn
    does not depend on it.

    Args:
        shape: of an event; images are flattened.
        components: K.
        covariance: ``full``, D (D - 1) / 2 numbers more for each component, or ``diag``.
    """

    def __init__(
        self,
        shape: Shape,
        components: int = 1,
        covariance: Literal["full", "diag"] = "full",
    ) -> None:
        super().__init__(shape)
        if components < 1:
            raise InputError(f"a mixture needs at least one component; got {components}.")
        if covariance not in ("full", "diag"):
            raise InputError(f"covariance is 'full' or 'diag'; got {covariance!r}.")
        self.components, self.covariance = components, covariance
        dims = math.prod(shape)
        self.logits = nn.Parameter(torch.zeros(components))
        self.mean = nn.Parameter(torch.zeros(components, dims))
        self.log_precision = nn.Parameter(torch.zeros(components, dims))  # log of W's diagonal
        if covariance == "full":  # what lies below it, row by row
            self.below = nn.Parameter(torch.zeros(components, dims * (dims - 1) // 2))

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of each event, in nats."""
        return torch.logsumexp(self.joint(z), dim=1)

    def joint(self, z: Tensor) -> Tensor:
        r""":math:`\log \pi_k + \log \mathcal N(z; \mu_k, \Sigma_k)` of each component: ``(N, K)``.

        Less its logsumexp over k, it is the log of the responsibilities of the E-step.
        """
        log_weights = torch.log_softmax(self.logits, dim=0)
        # From the mean first: far from 0, W z - W mu would be a small difference of large numbers.
        away = z.flatten(1) - self.mean[:, None]  # (K, N, D)
        if self.covariance == "diag":
            white = away * torch.exp(self.log_precision)[:, None]
        else:
            white = away @ self.factors().mT
        constant = math.log(2 * math.pi) * self.mean.shape[1]
        return (
            log_weights
            - 0.5 * (white.square().sum(dim=2).T + constant)  # (K, N) -> (N, K)
            + self.log_precision.sum(dim=1)
        )

    def sample(
        self, n: int, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw ``n`` events: a component each, then a normal about its mean."""
        u = torch.rand(n, generator=generator, dtype=torch.float64, device=self.anchor.device)
        edges = torch.softmax(self.logits.double(), dim=0).cumsum(0)
        which = torch.searchsorted(edges, u).clamp(max=self.components - 1)
        noise = temperature * self._normal(n, generator).flatten(1)  # (n, D)
        scale = torch.exp(self.log_precision)
        if self.covariance == "diag":
            return (self.mean[which] + noise / scale[which]).reshape(n, *self.shape)
        z = self.mean[which]
        for k, below in enumerate(self._below()):  # component by component: K factors, not n
            mine = which == k
            factor = below + torch.diag(scale[k])
            spread = torch.linalg.solve_triangular(factor, noise[mine].mT, upper=False).mT
            z = z.index_put((mine,), z[mine] + spread)
        return z.reshape(n, *self.shape)

    @torch.no_grad()
    def set_moments(self, weights: Tensor, means: Tensor, covariances: Tensor) -> None:
        """Take the parameters of a mixture.

        Args:
            weights: ``(K,)``, above 0; they are divided by their sum.
            means: ``(K, D)``.
            covariances: ``(K, D, D)``, or the variances ``(K, D)`` of a diagonal mixture.

        Raises:
            InputError: a covariance that is not positive definite.
        """
        if self.covariance == "diag":
            if not bool((covariances > 0).all()):
                raise InputError("a variance of the mixture is not above 0; raise reg.")
            self.log_precision.copy_(-0.5 * covariances.double().log())
        else:
            lower, failed = torch.linalg.cholesky_ex(covariances.double())
            if bool(failed.any()):
                raise InputError(
                    "a covariance of the mixture is not positive definite; raise reg, or use "
                    "covariance='diag'."
                )
            identity = torch.eye(lower.shape[-1], dtype=lower.dtype, device=lower.device)
            factor = torch.linalg.solve_triangular(lower, identity.expand_as(lower), upper=False)
            self.log_precision.copy_(factor.diagonal(dim1=1, dim2=2).log())
            row, column = self._places()
            self.below.copy_(factor[:, row, column])
        self.logits.copy_(weights.double().log())
        self.mean.copy_(means)

    def factors(self, dtype: torch.dtype | None = None) -> Tensor:
        """The lower triangular W of full covariances: ``(K, D, D)``, in ``dtype`` or its own."""
        dtype = dtype or self.mean.dtype
        scale = torch.exp(self.log_precision.to(dtype))
        return self._below().to(dtype) + torch.diag_embed(scale)

    def _below(self) -> Tensor:
        """The strictly lower triangles: ``(K, D, D)``."""
        row, column = self._places()
        dims = self.mean.shape[1]
        square = self.below.new_zeros(self.components, dims * dims)
        return square.index_copy(1, row * dims + column, self.below).unflatten(1, (dims, dims))

    def _places(self) -> tuple[Tensor, Tensor]:
        dims = self.mean.shape[1]
        row, column = torch.tril_indices(dims, dims, -1, device=self.mean.device)
        return row, column

    def extra_repr(self) -> str:
        """Show the event shape, the number of components and their kind."""
        return f"shape={self.shape}, components={self.components}, covariance={self.covariance}"
