"""The Gaussian mixture: the baseline that every density must beat, and no network at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from ..errors import InputError
from ..flow import Flow
from ..gaussians.mixture import GaussianMixture
from ..layers.columns import ColumnSpec
from .family import Family, Preset
from .front import row_front
from .settings import checked, event_shape, settings

__all__ = ["FAMILIES", "GMM", "PRESETS", "GMMConfig", "MixtureFlow", "build_gmm"]

_LARGEST_FULL = 1024
"""Numbers per event up to which covariances are full unless the user says otherwise."""


@dataclass(config=settings, kw_only=True)
class GMMConfig:
    """What ``GMM`` is built from. ``None`` stands for a default, or for what ``fit`` chooses."""

    family: ClassVar[str] = "gmm"

    shape: tuple[PositiveInt, ...]
    levels: int | None = Field(default=None, ge=2)
    """Integer levels of discrete data; None for continuous data."""
    columns: tuple[ColumnSpec, ...] | None = None
    """What each column of a table holds; None: plain numbers."""
    missing: bool = False
    """Refused: EM needs complete rows."""
    components: int | None = Field(default=None, ge=1)
    """How many normals; None lets validation choose."""
    covariance: Literal["full", "diag"] | None = None
    """Of each normal: full up to 1,024 numbers an event, else diagonal."""
    reg: float | None = Field(default=None, gt=0)
    """Added to each variance, in the space of the mixture; None lets validation choose."""
    alpha: float | None = Field(default=None, gt=0, lt=0.5)
    """Squash before the logit of integers; None lets the data choose when training begins."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Kept for the record: fitting is seeded by ``fit``."""


def GMM(
    shape: int | Sequence[int], *, levels: int | Literal["auto"] | None = "auto", **options: object
) -> MixtureFlow:
    """A mixture of normals over rows ``(D,)`` or images ``(C, H, W)``, which ``fit`` learns by EM.

    Rows are standardised; integers dequantised and taken through a logit, so that the mixture is
    measured in bits/dim or nats as flows are, on the same data. How many normals, and how much is
    added to their variances, is chosen by the validation likelihood unless given. See docs/em.md.

    Args:
        shape: the event shape; images are flattened.
        levels: integer levels: 256 for images and none for rows unless given; None for images
            of real numbers.
        **options: any field of ``GMMConfig``: columns, components, covariance, reg, alpha, seed.

    Raises:
        InputError: an unknown or impossible option; says which and why.

    Example:
        >>> GMM((6,), components=8).sample(3).shape
        torch.Size([3, 6])

    Source: Dempster, Laird and Rubin 1977.
    """
    shape = event_shape(shape, "GMM")
    if levels == "auto":
        levels = 256 if len(shape) == 3 else None
    return build_gmm(checked(GMMConfig, {"shape": shape, "levels": levels, **options}, "GMM"))


class MixtureFlow(Flow):
    """A flow over a Gaussian mixture that ``fit`` learns by EM instead of by gradients."""

    about: ClassVar[str] = "A mixture of normals, learned by expectation maximisation."

    def take(self, base: GaussianMixture, reg: float | None) -> None:
        """Put another mixture in the place of its base, and into its configuration."""
        self.base = base.to(self.device, self.dtype)
        self.config = replace(self.config, components=base.components, reg=reg)

    @property
    def covariance(self) -> Literal["full", "diag"]:
        """Of the components: as configured, or by the size of an event."""
        usual: Literal["full", "diag"] = "full" if self.dims <= _LARGEST_FULL else "diag"
        return self.config.covariance or usual


def build_gmm(config: GMMConfig) -> MixtureFlow:
    """Build the mixture that ``config`` describes: standard normals, until it is fitted."""
    if config.missing:
        raise InputError(
            "GMM learns by EM from complete rows: leave out rows with missing cells, or use "
            "RealNVP(..., missing=True), whose base may be a mixture."
        )
    flow = MixtureFlow(config.shape, row_front(config, "GMM"), name="GMM")
    flow.config = config
    flow.base = GaussianMixture(config.shape, config.components or 1, flow.covariance)
    return flow


FAMILIES = (Family(GMMConfig, build_gmm),)

PRESETS = {
    "gmm": Preset(
        GMM,
        GMMConfig,
        "Gaussian mixture by EM, the baseline for rows and images (components by validation)",
    )
}
