"""A generative adversarial network: samples without a density."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn.functional import softplus

from ..checks import check_events
from ..distances import sliced_wasserstein
from ..interpolation import between
from ..layers import Standardize, recalibrate
from ..model import Model
from ..nets.players import Discriminator, Generator
from .family import Family, Preset
from .settings import checked, event_shape, settings

__all__ = ["GAN", "GANConfig"]

Widths = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]


@dataclass(config=settings, kw_only=True)
class GANConfig:
    """What ``GAN`` is built from. ``None`` stands for a default that depends on the shape."""

    family: ClassVar[str] = "gan"

    shape: tuple[PositiveInt, ...]
    levels: int | None = Field(default=None, ge=2)
    """Integer levels of discrete data; None for real numbers."""
    latent: int | None = Field(default=None, ge=1)
    """Numbers of noise that an event is made from: 100 for images, 16 for rows."""
    generator: Widths | None = None
    """Hidden units: 128, 256, 512, 1024 for images, 128, 128 for rows."""
    discriminator: Widths | None = None
    """Hidden units: 512, 256 for images, 128, 128 for rows."""
    output_norm: bool = False
    """A batch norm before the generator's tanh, as in the course's code."""
    smoothing: float = Field(default=0.1, ge=0, lt=0.5)
    """Real events are called real with 1 minus this; made ones always with 0."""
    slope: float = Field(default=0.2, ge=0, lt=1)
    """Of the leaky ReLUs below 0."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the starting weights."""


class GAN(Model):
    r"""A generator G that learns to make events which a discriminator D takes for real ones.

    .. math:: L_D = -\mathbb{E}\big[(1-\epsilon)\log D(x) + \epsilon\log(1 - D(x))\big]
              - \mathbb{E}\log(1 - D(G(z))), \qquad L_G = -\mathbb{E}\log D(G(z))

    L_G is the non-saturating loss. The smoothing :math:`\epsilon` is one-sided: it keeps D from
    being sure of real events and has no say about made ones. Without it D is at its best
    :math:`p(x) / (p(x) + p_G(x))`; where G has learned the data that is 1/2 everywhere and the
    value of the game :math:`\mathbb{E}\log D(x) + \mathbb{E}\log(1 - D(G(z)))` is -log 4.

    There is no density: ``log_prob``, ``bits_per_dim`` and ``encode`` are refused. Validation is by
    a distance between samples and held-out events (``distance``), which is no likelihood.

    Integers are learned on the scale of -1 to 1 and given as integers again, the nearest ones.
    Real numbers are standardised first. Outside of training batch norms go by their averages, so a
    sample depends on its own noise alone.

    Args:
        shape: the event shape, ``(D,)`` or ``(C, H, W)``.
        levels: integer levels: 256 for images and none for rows unless given.
        **options: the other fields of ``GANConfig``.

    Raises:
        InputError: an unknown or impossible option; says which and why.

    Source: Goodfellow et al. 2014; one-sided smoothing from Salimans et al. 2016.
    """

    learner = "contest"
    judged_by = "distance"
    about = "A generative adversarial network: it makes events, and has no density."
    example = ("model.sample(16, seed=0)", "model.interpolate(z_0, z_1, 8)")
    refuses: ClassVar[dict[str, str]] = {
        "log_prob": "a GAN makes events and has no density. Train a flow, such as RealNVP.",
        "bits_per_dim": "a GAN makes events and has no density. Train a flow, such as RealNVP.",
        "encode": "a GAN leads from noise to events, and no way leads back. A flow has one.",
        "verify": "it checks inverses and densities of flows, and a GAN has neither.",
        "export": "it writes log_prob, encode or decode of flows. The generator is a torch module "
        "from noise to events: torch.export.export(model.generator.eval(), (z,)) takes it.",
    }
    training_defaults: ClassVar[dict[str, Any]] = {
        "optimiser": "adam",
        "lr": 2e-4,
        "momentum": 0.5,
        "batch_size": 64,
        "schedule": "constant",
        "warmup": 0,
        "ema": 0.999,
        "patience": None,
    }

    def __init__(
        self,
        shape: int | Sequence[int],
        *,
        levels: int | Literal["auto"] | None = "auto",
        **options: Any,
    ) -> None:
        event = event_shape(shape, "GAN")
        images = len(event) == 3
        if levels == "auto":
            levels = 256 if images else None
        config = checked(GANConfig, {"shape": event, "levels": levels, **options}, "GAN")
        super().__init__(event, name="GAN")
        self.config = config
        self.latent_shape = (config.latent or (100 if images else 16),)
        self.smoothing = config.smoothing
        wide, narrow = ((128, 256, 512, 1024), (512, 256)) if images else ((128, 128), (128, 128))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.generator = Generator(
                self.latent_shape[0],
                self.dims,
                widths=config.generator or wide,
                bounded=levels is not None,
                output_norm=config.output_norm,
                slope=config.slope,
            )
            self.discriminator = Discriminator(
                self.dims, widths=config.discriminator or narrow, slope=config.slope
            )
        self.scale = Standardize(event) if levels is None else None

    @property
    def levels(self) -> int | None:
        """The integer levels of the data; None for real numbers."""
        return self.config.levels

    @property
    def unit(self) -> str:
        """What its validation is in; see ``distance``."""
        return "sliced Wasserstein"

    # The game --------------------------------------------------------------------------------

    def contest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The losses of D and of G on a batch: ``(N,)`` each, G making as many events as D sees.

        D's loss is cut off from G. G's loss depends on both, and is G's to follow alone.
        """
        made = self.generator(self.noise(len(x)))
        # softplus(-l) is -log D, softplus(l) is -log(1 - D)
        real, fake = self.discriminator(self._in(x)), self.discriminator(made.detach())
        of_real = (1 - self.smoothing) * softplus(-real) + self.smoothing * softplus(real)
        return of_real + softplus(fake), softplus(-self.discriminator(made))

    def objective(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """How well D knows events for real ones: log D, in nats, ``(N,)``."""
        return -softplus(-self.discriminator(self._in(x)))

    def noise(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Standard normal latents ``(n, latent)``."""
        shape = (n, *self.latent_shape)
        return torch.randn(shape, generator=generator, device=self.device, dtype=self.dtype)

    def _in(self, x: Tensor) -> Tensor:
        """Events on the scale that the networks know, flattened: ``(N, D)``."""
        x, _ = self.prepare(x, None, False)
        if self.scale is not None:
            return self.scale(x)[0].flatten(1)
        assert self.levels is not None
        return x.flatten(1).to(self.dtype) * (2 / (self.levels - 1)) - 1

    def _out(self, made: Tensor) -> Tensor:
        """Events as the data have them."""
        made = made.reshape(-1, *self.shape)
        if self.scale is not None:
            return self.scale.inverse(made)[0]
        assert self.levels is not None
        return ((made + 1) * ((self.levels - 1) / 2)).round().long()

    def _wide(self, x: Tensor) -> bool:
        return x.dtype == torch.float64 and self.scale is not None

    # What it can do --------------------------------------------------------------------------

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
        """Make ``n`` events, in evaluation mode and in chunks: integers if the data have levels.

        Args:
            n: how many.
            temperature: spread of the noise; it was 1 in training.
            seed: makes the draw repeatable. Give this or ``generator``; with neither, torch's own
                generator is used.
            generator: a ``torch.Generator`` on the model's device.
            context: none is taken.
            chunk: events at a time; 4,096 if None.
        """
        generator = self.check_draw(n, temperature, seed, generator, context, chunk)[1]
        sizes = [min(chunk or 4096, n - start) for start in range(0, max(n, 1), chunk or 4096)]
        with self.evaluating():
            made = [self.generator(self.noise(size, generator) * temperature) for size in sizes]
        return self._out(torch.cat(made))

    @torch.no_grad()
    def decode(self, z: Any, context: Any = None) -> Tensor:
        """The event that each latent ``(N, latent)`` becomes."""
        z = check_events(z, name=f"decode of {self.name}", shape=self.latent_shape, levels=None)
        with self.evaluating():
            return self._out(self.generator(z.to(self.device, self.dtype)))

    def interpolate(
        self, z_0: Any, z_1: Any, n: int = 8, *, path: Literal["shell", "line"] = "shell"
    ) -> Tensor:
        """The events on the way from one latent to another: ``(n, *shape)``, both ends included.

        On the ``shell`` the way stays as far from the origin as the latents that G has learned
        from; the straight ``line`` passes nearer by (see interpolation.py).

        Raises:
            InputError: fewer than 2 steps, or latents of another shape.
        """
        name = f"interpolate of {self.name}"
        rows = [torch.as_tensor(z).reshape(1, -1) for z in (z_0, z_1)]
        start, end = (
            check_events(z, name=name, shape=self.latent_shape, levels=None) for z in rows
        )
        return self.decode(between(start, end, n, path))

    # What training asks of it ----------------------------------------------------------------

    def distance(self, x: Any, *, seed: int = 0, directions: int = 256) -> float:
        """The sliced Wasserstein distance between events and as many samples, seeds fixed.

        Integers are measured in shares of their range, 0 to 1, and real numbers in standard
        deviations of the data. Less is better; see ``sliced_wasserstein`` for what it does not see.
        """
        x, _ = self.prepare(x, None, True)
        samples = self.sample(len(x), seed=seed)
        return self.distance_between(samples, x, directions=directions)

    def distance_between(self, a: Tensor, b: Tensor, *, directions: int = 256) -> float:
        """The same between two sets of events."""
        share = 1.0 if self.levels is None else 0.5  # the networks' scale is two units wide
        return share * sliced_wasserstein(self._in(a), self._in(b), directions=directions)

    @torch.no_grad()
    def initialise(self, x: Any, context: Any = None) -> None:
        """Read mean and spread off real numbers, once."""
        x, _ = self.prepare(x, context, True)
        if self.scale is not None:
            self.scale.initialise(x)

    def settle(self, x: Tensor, context: Tensor | None = None) -> float:
        """Give the generator's batch norms the exact moments of as many latents as there are x."""
        noise = torch.Generator(self.device).manual_seed(0)
        recalibrate(self.generator, [self.noise(len(x), noise)])
        return 1.0


def build_gan(config: GANConfig) -> GAN:
    """Build the model that ``config`` describes, its weights drawn from ``config.seed``."""
    values = asdict(config)
    return GAN(values.pop("shape"), **values)


FAMILIES = (Family(GANConfig, build_gan),)

PRESETS = {
    "gan": Preset(
        GAN,
        GANConfig,
        "generative adversarial network for rows and images of any shape; no density",
        training=GAN.training_defaults,
    ),
    "gan-mnist": Preset(
        GAN,
        GANConfig,
        "the GAN of a university course on MNIST, 2.0 M parameters",
        {"shape": (1, 28, 28), "levels": 256},
        # The course's first beta is Adam's 0.9, by which, with smoothing of one side, D is sure of
        # itself within an epoch and samples stay noise; with 0.5 they are digits after three.
        {**GAN.training_defaults, "ema": 0.0},
    ),
}
