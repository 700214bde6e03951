"""A flow as a ``torch.distributions.Distribution``, for programs that are written in those."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from .errors import InputError
from .gaussians.mixture import GaussianMixture
from .layers import FillMissing, Noisy
from .model import Model

__all__ = ["FlowDistribution"]


class FlowDistribution(Distribution):
    r"""The density of a flow, given a context or without one, as torch's own distributions are.

    .. math:: x \sim p(x \mid c), \qquad \texttt{batch\_shape} = \text{shape of } c
              \text{ without its last dimension}

    The flow is not copied: gradients reach its parameters, and a later training step is seen at
    the next call. A flow over integers gives log-probabilities (one draw of a lower bound), and
    has ``sample`` but no ``rsample``.

    Args:
        flow: a trained or untrained flow, or any model with ``log_prob`` and ``sample``.
        context: of a conditional flow, ``(*batch, K)``: one distribution for each of its rows.
        validate_args: look at values before they are scored; if None, torch's default, which is
            True unless a program turns it off for all (zuko does at its import, and sbi imports
            zuko). The context is looked at in any case.

    Attributes:
        event_shape: the flow's shape.
        has_rsample: whether draws carry gradients: not those of integers, nor those of a mixture,
            whose component is drawn.

    Raises:
        InputError: the context is missing, unwanted, of another size, NaN or infinite.

    Example:
        >>> import pushforward as pf
        >>> prior = pf.RealNVP((3,)).distribution()
        >>> prior.rsample((5,)).shape, prior.log_prob(torch.zeros(5, 3)).shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    def __init__(
        self, flow: Model, context: Any = None, *, validate_args: bool | None = None
    ) -> None:
        self.flow = flow
        self.context = _checked_context(flow, context)
        batch = torch.Size() if self.context is None else self.context.shape[:-1]
        super().__init__(batch, torch.Size(flow.shape), validate_args=validate_args)

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        """The context is a vector of real numbers."""
        # torch cannot look at none at all: a batch of no contexts is a distribution, too.
        empty = self.context is None or not self.context.numel()
        return {} if empty else {"context": constraints.real_vector}

    @property
    def support(self) -> constraints.Constraint:
        """Real numbers or, of a flow over integers, its levels."""
        levels = self.flow.levels
        one = constraints.real if levels is None else constraints.integer_interval(0, levels - 1)
        return constraints.independent(one, len(self.event_shape))

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether draws carry gradients."""
        if self.flow.levels is not None or not hasattr(self.flow, "rsample"):
            return False
        # What a Noisy layer turned into real numbers its inverse rounds: all but what fills in
        # missing values, whose inverse leaves draws as they are.
        broken = (Noisy, GaussianMixture)
        return not any(
            isinstance(module, broken) and not isinstance(module, FillMissing)
            for module in self.flow.modules()
        )

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density, in nats, of values ``(*sample, *batch, *event)``: ``(*sample, *batch)``.

        Batch shapes of values and context are broadcast.

        Raises:
            InputError: a value has another event shape, or is infinite.
            ValueError: it is outside of the support, and arguments are validated.
        """
        if self._validate_args:
            self._validate_sample(value)
        batch = torch.broadcast_shapes(_batch_of(value, self.event_shape), self.batch_shape)
        x = value.expand(batch + self.event_shape).reshape(-1, *self.event_shape)
        return self.flow.log_prob(x, self._rows(batch), check=self._validate_args).reshape(batch)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        """Draws without gradients: ``(*sample_shape, *batch, *event)``."""
        shape = torch.Size(sample_shape) + self.batch_shape
        drawn = self.flow.sample(math.prod(shape), context=self._rows(shape))
        return drawn.reshape(shape + self.event_shape)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        """The same with gradients with respect to the flow's parameters and the context.

        Raises:
            NotImplementedError: ``has_rsample`` is False.
        """
        return self.rsample_and_log_prob(sample_shape)[0]

    def rsample_and_log_prob(self, sample_shape: Any = torch.Size()) -> tuple[Tensor, Tensor]:  # noqa: B008
        """Draws with gradients and their log-densities, in one pass, as ELBOs want them."""
        if not self.has_rsample:
            raise NotImplementedError(
                f"{self.flow.name} draws something that carries no gradient; use sample()."
            )
        shape = torch.Size(sample_shape) + self.batch_shape
        x, log_prob = self.flow.rsample(math.prod(shape), context=self._rows(shape))  # type: ignore[operator]
        return x.reshape(shape + self.event_shape), log_prob.reshape(shape)

    def expand(self, batch_shape: Any, _instance: Any = None) -> FlowDistribution:
        """The same distribution, for a larger batch: contexts are repeated, not copied.

        Raises:
            InputError: the batch that it has does not broadcast to that shape.
        """
        new = self._get_checked_instance(FlowDistribution, _instance)
        batch = torch.Size(batch_shape)
        if not _expands(self.batch_shape, batch):
            raise InputError(
                f"a batch of shape {tuple(self.batch_shape)} cannot be expanded to {tuple(batch)}."
            )
        new.flow = self.flow
        new.context = self.context
        if self.context is not None:
            new.context = self.context.expand(batch + self.context.shape[-1:])
        super(FlowDistribution, new).__init__(batch, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _rows(self, shape: torch.Size) -> Tensor | None:
        """The context of each event of a batch: ``(prod(shape), K)``."""
        if self.context is None:
            return None
        size = self.context.shape[-1]
        return self.context.expand(*shape, size).reshape(-1, size)

    def __repr__(self) -> str:
        """Show what it is a distribution of."""
        return (
            f"{type(self).__name__}({self.flow.name}, batch_shape={tuple(self.batch_shape)}, "
            f"event_shape={tuple(self.event_shape)})"
        )


def _checked_context(flow: Model, context: Any) -> Tensor | None:
    """The context as a tensor ``(*batch, K)`` on the flow's device and in its type."""
    if flow.context and context is None:
        raise InputError(
            f"{flow.name} is conditional: FlowDistribution(flow, context) with context of shape "
            f"(*batch, {flow.context})."
        )
    if not flow.context:
        if context is not None:
            raise InputError(
                f"{flow.name} was built without context, but got one; leave it out, or build it "
                f"with context=K."
            )
        return None
    try:
        context = context if isinstance(context, Tensor) else torch.from_numpy(np.array(context))
    except (TypeError, ValueError):  # texts, objects, rows of unequal length
        raise InputError(
            f"the context of {flow.name} is a tensor or an array of numbers; got "
            f"{type(context).__name__}."
        ) from None
    context = context.to(flow.device, flow.dtype)
    if context.ndim == 0 or context.shape[-1] != flow.context:
        raise InputError(
            f"{flow.name} wants a context of shape (*batch, {flow.context}); got "
            f"{tuple(context.shape)}."
        )
    if not bool(torch.isfinite(context).all()):
        raise InputError(f"the context of {flow.name} holds NaN or infinite values.")
    return context


def _expands(batch: torch.Size, wanted: torch.Size) -> bool:
    """Whether a shape becomes another by more dimensions, and by repeating those of size 1."""
    try:
        return torch.broadcast_shapes(batch, wanted) == wanted
    except RuntimeError:
        return False


def _batch_of(value: Tensor, event_shape: torch.Size) -> torch.Size:
    """The shape of a tensor of events without that of an event."""
    dims = len(event_shape)
    if value.ndim < dims or value.shape[value.ndim - dims :] != event_shape:
        raise InputError(
            f"values of event shape {tuple(event_shape)} are wanted; got {tuple(value.shape)}, "
            f"whose last {dims} dimensions differ."
        )
    return value.shape[: value.ndim - dims]
