"""The latent space of a model, looked into: the figures of the papers, one a file."""

from .edit import direction, edit, swap
from .extrapolate import enlarge, extrapolate
from .interpolate import interpolate
from .latents import check_images
from .manifold import manifold
from .nearest import Neighbours, nearest
from .resample import resample
from .scales import coarsest_first, latent_scales
from .temperature import temperatures

__all__ = [
    "Neighbours",
    "check_images",
    "coarsest_first",
    "direction",
    "edit",
    "enlarge",
    "extrapolate",
    "interpolate",
    "latent_scales",
    "manifold",
    "nearest",
    "resample",
    "swap",
    "temperatures",
]
