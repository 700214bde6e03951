"""Mixtures as element-wise laws: through a mixture's distribution function to a simple latent."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from .affine import Law
from .bounds import SoftClamp
from .quantile import log_hazard, log_ndtr, normal_quantile
from .root import implicit_root

__all__ = ["LogisticMixture", "NormalMixture"]

Parts = tuple[Tensor, ...]  # log-weights, means, log-scales

_LOG_SCALES = (-7.0, 7.0)  # the lower end is that of Flow++


class _Mixture(Law):
    r"""``z = Q(F(x))``: F the distribution function of a mixture, Q a quantile function.

    .. math:: F(x) = \sum_k \pi_k\, G\!\left(\frac{x - m_k}{e^{s_k}}\right), \qquad
              \frac{\partial z}{\partial x} = F'(x)\, Q'(F(x))

    F and 1 - F are both computed as logarithms, each from its own sum: their tails keep all
    digits, and no latent is infinite. Raw parameters are K logits, K means, K log-scales; the means
    are counted from points spread over [-1, 1], for components that start alike would stay alike.
    """

    def __init__(self, components: int) -> None:
        super().__init__()
        if components < 1:
            raise ValueError(f"a mixture needs at least one component; got {components}.")
        self.components = components
        self.count = 3 * components

    def _parts(self, x: Tensor, parameters: Tensor) -> Parts:
        """Log-weights, means and log-scales, each ``(N, K, C, ...)``."""
        n, (k, event) = x.shape[0], (self.components, x.shape[1:])
        raw = parameters[:, : 3 * k * event[0]].to(x.dtype).reshape(n, 3, k, *event)
        logits, means, log_scales = raw.unbind(1)
        if k > 1:
            spread = torch.linspace(-1, 1, k, dtype=x.dtype, device=x.device)
            means = means + spread.reshape(k, *(1 for _ in event))
        return logits.log_softmax(1), means, log_scales.clamp(*_LOG_SCALES)

    def _latent(self, x: Tensor, parts: Parts) -> tuple[Tensor, Tensor]:
        """``Q(F(x))`` and the logarithm of its slope."""
        raise NotImplementedError

    def _solve(self, y: Tensor, parts: Parts) -> tuple[Tensor, Tensor]:
        """Where ``_latent`` is y, and the log-slope of this inverse."""
        _, means, log_scales = parts
        # All components together reach a quantile between where the first and the last one does.
        each = means.detach() + y.detach().unsqueeze(1) * log_scales.detach().exp()
        x = implicit_root(self._latent, y, parts, each.amin(1), each.amax(1))
        return x, -self._latent(x, parts)[1]

    def extra_repr(self) -> str:
        """Show the size."""
        return f"components={self.components}"


class LogisticMixture(_Mixture):
    r"""The law of Flow++: the logit of a mixture of logistics, scaled and shifted.

    .. math:: z = e^{a} \left(\log F(x) - \log(1 - F(x))\right) + b, \qquad
              F(x) = \sum_k \pi_k\, \sigma\!\left((x - m_k)\, e^{-s_k}\right)

    Parameters come as K logits, K means, K log-scales (kept between -7 and 7), b, raw a (bounded).
    Where all are zero it is close to the identity. The inverse is a root find of some ten
    evaluations, on to the last digits; its gradients are those of the implicit function theorem.

    Source: Ho et al. 2019 (Flow++), section 3.2.

    Args:
        components: K.
        bound: of a; ``SoftClamp()`` by default.
    """

    def __init__(self, components: int = 32, bound: nn.Module | None = None) -> None:
        super().__init__(components)
        self.count += 2
        self.bound = SoftClamp() if bound is None else bound

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Mixture to logistic, then scale and shift."""
        b, a = self._affine(x, parameters)
        y, log_slope = self._latent(x, self._parts(x, parameters))
        return y * torch.exp(a) + b, log_slope + a

    def inverse(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Unshift and unscale, then find the point."""
        b, a = self._affine(z, parameters)
        x, log_slope = self._solve((z - b) * torch.exp(-a), self._parts(z, parameters))
        return x, log_slope - a

    def _affine(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        b, a = parameters[:, -2 * x.shape[1] :].to(x.dtype).chunk(2, dim=1)
        return b, self.bound(a)

    def _latent(self, x: Tensor, parts: Parts) -> tuple[Tensor, Tensor]:
        weights, means, log_scales = parts
        u = (x.unsqueeze(1) - means) * torch.exp(-log_scales)
        below = logsigmoid(u)
        above = below - u  # log sigmoid(-u)
        share = weights + below
        log_f, log_rest = torch.logsumexp(share, 1), torch.logsumexp(weights + above, 1)
        log_density = torch.logsumexp(share + above - log_scales, 1)
        return log_f - log_rest, log_density - log_f - log_rest


class NormalMixture(_Mixture):
    r"""From a mixture of normals to the standard normal of the same probability.

    .. math:: z = \Phi^{-1}(F(x)), \qquad
              F(x) = \sum_k \pi_k\, \Phi\!\left((x - m_k)\, e^{-s_k}\right)

    Over a standard normal base the density of x is exactly that of the mixture. With this law an
    autoregressive layer is the mixture-of-Gaussians MADE. Parameters come as K logits, K means, K
    log-scales (kept between -7 and 7); the inverse is that of ``LogisticMixture``.

    Source: Papamakarios et al. 2017 (MAF), section 3.3 (MADE MoG).

    Args:
        components: K.
    """

    def __init__(self, components: int = 10) -> None:
        super().__init__(components)

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Mixture to standard normal."""
        return self._latent(x, self._parts(x, parameters))

    def inverse(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Find the point."""
        return self._solve(z, self._parts(z, parameters))

    def _latent(self, x: Tensor, parts: Parts) -> tuple[Tensor, Tensor]:
        weights, means, log_scales = parts
        u = (x.unsqueeze(1) - means) * torch.exp(-log_scales)
        below, above = weights + log_ndtr(u), weights + log_ndtr(-u)
        log_f, log_rest = torch.logsumexp(below, 1), torch.logsumexp(above, 1)
        # From here on in the smaller tail, on the left of a mirror.
        left = log_f <= log_rest
        log_tail = torch.where(left, log_f, log_rest)
        z = normal_quantile(log_tail)
        # f / F is the mean of the components' hazards; that of z itself then cancels its growth.
        mirrored = left.unsqueeze(1)
        share = torch.where(mirrored, below, above) - log_tail.unsqueeze(1)
        hazards = log_hazard(torch.where(mirrored, u, -u)) - log_scales
        log_slope = torch.logsumexp(share + hazards, 1) - log_hazard(z)
        return torch.where(left, z, -z), log_slope
