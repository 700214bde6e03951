"""A flow: invertible layers over a base density."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from .bases import Base, StandardNormal
from .checks import check_context, check_events
from .errors import InputError, NumericalError
from .gaussians.fitted import note_base
from .layers import Chain, DequantizeColumns, FillMissing, Layer, Noisy, Shape
from .layers.soundness import first_unsound
from .model import Density, Model

if TYPE_CHECKING:
    from .distributions import FlowDistribution

__all__ = ["Flow"]


class Flow(Model):
    r"""The density of data whose image under invertible layers follows a simple base density.

    .. math:: \log p(x) = \log p_Z(f(x)) + \log\left|\det \frac{\partial f}{\partial x}\right|,
              \qquad f = f_K \circ \dots \circ f_1

    Densities are in nats. A flow whose first layer is ``Dequantize`` is over integers: its
    log_prob is one draw of a lower bound on their log-probability (``exact`` is False), as with
    every ``Noisy`` layer, and ``bits_per_dim`` is what image models report. The log of a continuous
    density may well be positive: densities may exceed 1, and the negative log-likelihood may fall
    below 0.

    Args:
        shape: the event shape, ``(D,)`` or ``(C, H, W)``.
        layers: from data to latent.
        base: the base density over latents; standard normal by default.
        context: how many numbers of context the layers take (0: unconditional).
        name: what errors call it.

    Raises:
        InputError: the layers do not fit the shape or one another; the message names the layer.

    Source: Rezende and Mohamed 2015, equation 5; Dinh et al. 2017 (Real NVP), equations 2 and 3.
    """

    about: ClassVar[str] = "A normalizing flow: a density made of invertible layers."

    def __init__(
        self,
        shape: int | Sequence[int],
        layers: Sequence[Layer],
        base: Base | None = None,
        *,
        context: int = 0,
        name: str = "Flow",
    ) -> None:
        event_shape: Shape = (shape,) if isinstance(shape, int) else tuple(shape)
        super().__init__(event_shape, context=context, name=name)
        for layer in layers:
            if not isinstance(layer, Layer):
                raise InputError(
                    f"a Flow is made of layers; got {type(layer).__name__}, which has no inverse. "
                    f"Networks go inside a Coupling."
                )
        self.chain = Chain(layers)
        self.latent_shape = self.chain.output_shape(self.shape)
        self.base = StandardNormal(self.latent_shape) if base is None else base
        if self.base.shape != self.latent_shape:
            raise InputError(
                f"the layers make latents of shape {self.latent_shape}, but the base is over "
                f"{self.base.shape}; build the base for {self.latent_shape}."
            )

    # What it is ------------------------------------------------------------------------------

    @property
    def levels(self) -> int | None:
        """The number of integer levels of a discrete flow; None for a continuous one."""
        return next((m.levels for m in self._noisy if m.levels is not None), None)

    @property
    def _noisy(self) -> list[Noisy]:
        return [module for module in self.chain.modules() if isinstance(module, Noisy)]

    @property
    def density(self) -> Density:
        """``exact``, or ``lower bound`` where log_prob is one draw of one."""
        exact = all(getattr(module, "exact", True) for module in self.chain.modules())
        return "exact" if exact else "lower bound"

    @property
    def takes_missing(self) -> bool:
        """Whether rows may lack numbers (NaN): one of its layers fills them in."""
        return any(isinstance(layer, FillMissing) for layer in self.chain)

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type that it computes in."""
        return self.base.anchor.dtype

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.base.anchor.device

    @property
    def memory(self) -> str:
        """What a training step keeps for the way back: ``store``, ``checkpoint`` or ``constant``.

        ``store`` keeps what autograd keeps, ``checkpoint`` the input of each coupling, ``constant``
        the last output only, from which inputs are restored by the exact inverse: memory does not
        grow with depth. Both give the same gradients for one more evaluation of each conditioner.
        Neither can be compiled, and ``constant`` gives no second derivatives. A saved model does
        not keep it.

        Raises:
            InputError: set to another word.
            NumericalError: in ``backward``, if ``constant`` could not restore the input of a layer
                well enough; names the layer.
        """
        return self.chain.memory

    @memory.setter
    def memory(self, memory: str) -> None:
        self.chain.memory = memory

    # Density ---------------------------------------------------------------------------------

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map data to latent without any check: ``(z, log_det)``, as a layer does."""
        return self.chain(x, context)

    def log_prob(
        self, x: Any, context: Any = None, *, samples: int = 1, check: bool = True
    ) -> Tensor:
        r"""Log-density of each event, in nats; of the integers themselves for a discrete flow.

        .. math:: \ell(x) = \log \frac{1}{K} \sum_{k=1}^{K} e^{\ell_k(x)}

        with :math:`\ell_k` under K independent draws of noise, where the flow has ``Noisy`` layers.
        K = 1 is what papers report; more draws give a tighter bound (Burda et al. 2016).

        Args:
            x: ``(N, *shape)``, tensor or array; integers for a discrete flow.
            context: ``(N, context)`` for a conditional flow.
            samples: K; an exact flow needs no more than one.
            check: look for wrong shapes, NaN, infinities and levels first, and for NaN in the
                result. Training loops that have checked their data once may leave it out.

        Returns:
            ``(N,)``, differentiable.

        Raises:
            InputError: the input cannot be scored; says what, where, what instead.
            NumericalError: the result is NaN; names the layer.
        """
        if samples < 1:
            raise InputError(f"log_prob needs at least one sample; got {samples}.")
        x, context = self.prepare(x, context, check)
        # Looking through the modules takes a tenth of a small batch's time: only if it is needed.
        noisy = [] if samples == 1 else self._noisy
        if not noisy:
            return self._log_prob(x, context, check)
        draws: list[Tensor] = []
        before = [layer.seed.clone() for layer in noisy]
        try:
            for _ in range(samples):
                draws.append(self._log_prob(x, context, check))
                for layer in noisy:
                    layer.seed.add_(1)
        finally:
            for layer, seed in zip(noisy, before, strict=True):
                layer.seed.copy_(seed)
        return torch.logsumexp(torch.stack(draws), dim=0) - math.log(samples)

    def _log_prob(self, x: Tensor, context: Tensor | None, check: bool) -> Tensor:
        """The log_prob of events that have been prepared; ``check`` is for the result."""
        z, log_det = self.chain(x, context)
        result = self.base.log_prob(z) + log_det
        if check and not torch.compiler.is_compiling() and bool(torch.isnan(result).any()):
            raise NumericalError(self._blame(x, context))
        return result

    def bits_per_dim(
        self, x: Any, context: Any = None, *, samples: int = 1, check: bool = True
    ) -> Tensor:
        r"""Bits per number that the flow needs for each event of integers.

        .. math:: b(v) = -\frac{\ell(v)}{D \ln 2}

        with :math:`\ell` the log_prob under so many ``samples`` of noise.

        Returns:
            ``(N,)`` bits/dim.

        Raises:
            InputError: the flow is continuous; then use ``log_prob``, in nats.
        """
        if self.levels is None:
            raise InputError(
                f"{self.name} is a density of real numbers, for which bits/dim mean nothing: use "
                f"log_prob (nats), or build it with levels= for integer data."
            )
        total = self.log_prob(x, context, samples=samples, check=check)
        return -total / (self.dims * math.log(2))

    # Sampling --------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        temperature: float = 1.0,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        context: Any = None,
        chunk: int | None = None,
    ) -> Tensor:
        """Draw ``n`` events, in evaluation mode and in chunks, so that memory holds for any n.

        Args:
            n: how many.
            temperature: spread of the base draws; 1 samples the density, less gives typical ones.
            seed: makes the draw repeatable. Give this or ``generator``; with neither, torch's own
                generator is used.
            generator: a ``torch.Generator`` on the flow's device.
            context: ``(context,)`` for all, or ``(n, context)``.
            chunk: events at a time; chosen by size if None. Part of what a seed repeats.

        Returns:
            ``(n, *shape)``; integers for a discrete flow.
        """
        context, generator = self.check_draw(n, temperature, seed, generator, context, chunk)
        chunk = chunk or min(4096, max(32, 2**18 // self.dims))
        parts = []
        with self.evaluating():
            for start in range(0, max(n, 1), chunk):
                size = min(chunk, n - start)
                part = None if context is None else context[start : start + size]
                z = self.base.sample(size, temperature, generator)
                parts.append(self.chain.inverse(z, part)[0])
        return torch.cat(parts)

    def rsample(
        self,
        n: int,
        *,
        temperature: float = 1.0,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        context: Any = None,
    ) -> tuple[Tensor, Tensor]:
        """Draw ``n`` events with gradients, and their log-density: ``(x, log_prob)``, in one pass.

        The log-density is that of the flow at temperature 1. Made for variational objectives.

        Raises:
            InputError: the flow is over integers, through which no gradient passes.
        """
        if self.levels is not None or any(isinstance(m, DequantizeColumns) for m in self._noisy):
            raise InputError(
                f"{self.name} samples integers, through which no gradient passes: use sample()."
            )
        context, generator = self.check_draw(n, temperature, seed, generator, context, None)
        z = self.base.sample(n, temperature, generator)
        x, log_det = self.chain.inverse(z, context)
        return x, self.base.log_prob(z) - log_det

    def distribution(
        self, context: Any = None, *, validate_args: bool | None = None
    ) -> FlowDistribution:
        """It as a ``torch.distributions.Distribution``, given a context ``(*batch, K)``.

        See ``pushforward.distributions.FlowDistribution``.
        """
        from .distributions import FlowDistribution

        return FlowDistribution(self, context, validate_args=validate_args)

    # Latents ---------------------------------------------------------------------------------

    def encode(self, x: Any, context: Any = None) -> Tensor:
        """The latent of each event, all of it (factored-out parts too), in evaluation mode."""
        x, context = self.prepare(x, context, True)
        with self.evaluating():
            return self.latents(x, context)

    def latents(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """What ``encode`` gives, of data that are not checked and in the mode that it is in."""
        return self.chain(x, context)[0]

    def decode(self, z: Any, context: Any = None) -> Tensor:
        """The event of each latent ``(N, *latent_shape)``: ``decode(encode(x))`` is x."""
        z = check_events(z, name=f"decode of {self.name}", shape=self.latent_shape, levels=None)
        context = check_context(context, name=self.name, size=self.context, rows=len(z))
        z = z.to(self.device, self.dtype)
        context = None if context is None else context.to(z)
        with self.evaluating():
            return self.chain.inverse(z, context)[0]

    # Data and files --------------------------------------------------------------------------

    def initialise(self, x: Any, context: Any = None) -> None:
        """Let each layer that reads something off data (means, ActNorm) do so, and the base."""
        x, context = self.prepare(x, context, True)
        columns = [layer for layer in self._noisy if isinstance(layer, DequantizeColumns)]
        with self.evaluating():
            for layer in columns:
                layer.apart = True
            try:
                self.chain.initialise(x, context)
                if self.base.reads_data:
                    self.base.initialise(self.chain(x, context)[0])
                    note_base(self)
            finally:
                for layer in columns:
                    layer.apart = False

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        format: str | None = None,
        function: str = "log_prob",
    ) -> float:
        """Write a function of the flow as a program that needs no pushforward.

        See ``pushforward.exporting.export``: format ``torch`` (``.pt2``) or ``onnx``, function
        ``log_prob``, ``encode`` or ``decode``.

        Returns:
            the largest error of the written program, relative to 1 + the size of the result.

        Raises:
            InputError: the flow cannot be exported, in one sentence.
        """
        from .exporting import export

        return export(self, path, format=format, function=function)

    def extra_repr(self) -> str:
        """Show shape and kind."""
        levels = "" if self.levels is None else f", levels={self.levels}"
        context = f", context={self.context}" if self.context else ""
        return f"shape={self.shape}{levels}{context}"

    # Inside ----------------------------------------------------------------------------------

    def _wide(self, x: Tensor) -> bool:
        # Float64 goes to Standardize as it is: timestamps differ in digits that float32 has not,
        # and so do the large whole numbers of a discrete column.
        first = self.chain[0] if len(self.chain) else None
        whole = isinstance(first, DequantizeColumns) and x.dtype in (torch.int32, torch.int64)
        return (x.dtype == torch.float64 or whole) and first is not None and first.takes_float64

    def prepare(self, x: Any, context: Any, check: bool) -> tuple[Tensor, Tensor | None]:
        """Events and context as a model's; impossible values of a column are refused."""
        x, context = super().prepare(x, context, check)
        if check and len(x) and not torch.compiler.is_compiling():
            for layer in itertools.islice(self.chain, 2):
                layer.check(x, self.name)
        return x, context

    @torch.no_grad()
    def first_unsound_layer(self, x: Tensor, context: Tensor | None = None) -> str | None:
        """The first layer whose output or log-det is not finite, such as ``layer 3 (Coupling)``.

        None if all are finite. Multi-scale layers are looked into.
        """
        x, context = self.prepare(x, context, False)
        return first_unsound(self.chain, x, context)

    @torch.no_grad()
    def _blame(self, x: Tensor, context: Tensor | None) -> str:
        rows = int(torch.isnan(self._log_prob(x, context, check=False)).sum())
        said = f"{self.name}: log_prob is NaN for {rows} of {len(x)} events"
        layer = first_unsound(self.chain, x, context)
        if layer is None:
            return f"{said} in the base density."
        return (
            f"{said}; {layer} is the first that leaves the finite numbers. Its weights or the "
            f"input are too large: lower the learning rate, clip gradients, or scale the data."
        )
