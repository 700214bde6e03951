"""What makes an event unusual: three scores of one density, and the test of a whole batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from ...errors import InputError
from ...flow import Flow
from ...scoring import score

__all__ = [
    "SCORES",
    "ScoreName",
    "against",
    "batch_typicality",
    "codec_bits",
    "events_score",
    "score_name",
]

Array = np.ndarray[Any, np.dtype[Any]]
ScoreName = Literal["likelihood", "typicality", "complexity", "either"]

SCORES: dict[ScoreName, str] = {
    "likelihood": "nats: -log p(x)",
    "typicality": "nats: |-log p(x) - H|, H the mean of held-out events",
    "complexity": "bits/dim by the model less bits/dim by a lossless codec",
    "either": "the larger of typicality and complexity, in spreads of held-out events",
}
"""The scores and their units; each is large where an event is unusual."""


def score_name(flow: Flow, wished: str) -> ScoreName:
    """The score for this kind of data where ``auto`` is wished; else what is wished, checked.

    Rows go by their likelihood. Images go by typicality and complexity together: likelihood alone
    takes flat images, which are short under any code, for the most usual ones, and complexity alone
    overlooks what costs a codec as much more, or less, as it does the model: defects, blur.

    Raises:
        InputError: no such score, or complexity of what no image codec takes.
    """
    codable = len(flow.shape) == 3 and flow.shape[0] in (1, 3) and (flow.levels or 257) <= 256
    if wished == "auto":
        if len(flow.shape) == 3:
            return "either" if codable else "typicality"
        return "likelihood"
    if wished not in SCORES:
        raise InputError(f"score is one of auto, {', '.join(SCORES)}; got {wished!r}.")
    if wished in ("complexity", "either") and not codable:
        raise InputError(
            f"{wished} compares with the codecs of images of 1 or 3 channels and 8 bits; "
            f"{flow.name} is of something else. Take score='typicality' or 'likelihood'."
        )
    return wished


def events_score(
    flow: Flow, x: Array, name: ScoreName, context: Any = None, *, samples: int = 1
) -> Array:
    """What a score is made of, of each event: ``(N, 1)``, and ``(N, 2)`` for ``either``.

    -log p in nats, or in bits/dim where a codec's bits/dim are taken from it. NaN where values are
    missing and the flow takes none.

    Raises:
        InputError: an event cannot be scored.
        NumericalError: a log_prob is NaN.
    """
    known: Array = np.full(len(x), True)
    if x.dtype.kind == "f" and not flow.takes_missing:
        known = np.asarray(~np.isnan(x.reshape(len(x), -1)).any(axis=1))
    given = None if context is None else context[known]
    nats = np.full(len(x), math.nan)
    nats[known] = -score(flow, x[known], given, samples=samples)
    if name in ("likelihood", "typicality"):
        return nats[:, None]
    bits = nats / (flow.dims * math.log(2))
    less = bits - codec_bits(x, flow.levels)
    return less[:, None] if name == "complexity" else np.stack([bits, less], axis=1)


def against(name: ScoreName, parts: Array, usual: Array) -> tuple[Array, Array]:
    r"""Scores of events and of held-out ones, from what ``events_score`` gave of both.

    Likelihood and complexity are as they are. Of the others

    .. math:: s = |{-\log p} - \hat H| \quad \text{(typicality)}, \qquad
              s = \max\left( \frac{|b - \mathrm{med}|}{\mathrm{iqr}},
              \frac{S - \mathrm{med}_S}{\mathrm{iqr}_S} \right) \quad \text{(either)}

    with b the bits/dim by the model and S the complexity. The reference is read off one half of
    the held-out events, and the other half calibrates: the very events that give a mean are a
    little closer to it than others.

    Returns:
        ``(N,)`` and ``(n,)``.

    Source: Nalisnick et al. 2019 (typicality, single events).
    """
    if name in ("likelihood", "complexity"):
        return parts[:, 0], usual[:, 0]
    reference, rest = (usual[::2], usual[1::2]) if len(usual) > 3 else (usual, usual)
    if name == "typicality":
        centre = reference.mean()
        return np.abs(parts[:, 0] - centre), np.abs(rest[:, 0] - centre)
    low, middle, high = np.quantile(reference, [0.25, 0.5, 0.75], axis=0)
    spread = np.where(high > low, high - low, 1.0)

    def larger(values: Array) -> Array:
        units = (values - middle) / spread
        return np.maximum(np.abs(units[:, 0]), units[:, 1])

    return larger(parts), larger(rest)


# Complexity --------------------------------------------------------------------------------------


def codec_bits(images: Array, levels: int | None = 256) -> Array:
    r"""Bits per number by the better of two lossless codecs, PNG and WebP or JPEG 2000: ``(N,)``.

    .. math:: L(x) = \frac8D \min_c \left( |c(x)| - |c(0_{1 \times 1})| \right)

    in bytes, what a file of one black pixel takes being no content. Which codecs Pillow has does
    not change from image to image.

    Args:
        images: ``(N, C, H, W)`` of integers, C 1 or 3.
        levels: of the integers; fewer than 256 are spread over 8 bits, which costs a codec nothing.

    Source: Serrà et al. 2020, section 3 (L of the best of several compressors).
    """
    from PIL import Image

    codecs = _codecs()
    images = np.asarray(images)
    if levels is not None and levels < 256:
        images = images * (255 // (levels - 1))
    pixels = images.astype(np.uint8).transpose(0, 2, 3, 1)  # (N, C, H, W) -> (N, H, W, C)
    if pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    empty = Image.fromarray(np.zeros((1, 1, *pixels.shape[3:]), np.uint8))
    overhead = [codec(empty) for codec in codecs]
    lengths = np.empty(len(pixels))
    for i, image in enumerate(pixels):
        picture = Image.fromarray(image)
        lengths[i] = min(
            codec(picture) - less for codec, less in zip(codecs, overhead, strict=True)
        )
    return 8 * np.maximum(lengths, 0) / math.prod(images.shape[1:])


def _codecs() -> list[Callable[[Any], int]]:
    import io

    from PIL import features

    def codec(name: str, **options: Any) -> Callable[[Any], int]:
        def length(image: Any) -> int:
            buffer = io.BytesIO()
            image.save(buffer, name, **options)
            return buffer.tell()

        return length

    found = [codec("PNG", optimize=True)]
    if features.check("webp"):
        found.append(codec("WEBP", lossless=True, quality=100, method=4))
    elif features.check("jpg_2000"):
        found.append(codec("JPEG2000", irreversible=False))
    return found


# Typicality of a batch ---------------------------------------------------------------------------


def batch_typicality(
    scores: Any, held_out: Any, *, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    r"""Whether M events together are typical: the distance of their mean, and its p-value.

    .. math:: \epsilon = \left| \frac1M \sum_m -\log p(x_m) - \hat H \right|

    compared with the :math:`\epsilon` of ``draws`` batches of M drawn with replacement from the
    held-out events: :math:`p = (1 + \#\{\epsilon_b \ge \epsilon\}) / (B + 1)`. A batch shows what
    no single event does: a thousand events that are all a little too probable.

    Args:
        scores: ``(M,)`` of -log p of the batch, nats.
        held_out: ``(n,)`` the same of held-out events, whose mean is H.
        draws: B.
        seed: of the bootstrap.

    Returns:
        :math:`\epsilon` in nats, and p.

    Raises:
        InputError: an empty batch, or fewer than two held-out events.

    Source: Nalisnick et al. 2019 (typicality), algorithm 1.
    """
    batch, usual = np.asarray(scores, np.float64), np.asarray(held_out, np.float64)
    if not len(batch) or len(usual) < 2:
        raise InputError(
            f"a batch of at least one event is compared with at least two held-out ones; got "
            f"{len(batch)} and {len(usual)}."
        )
    centre = usual.mean()
    distance = abs(batch.mean() - centre)
    generator = np.random.default_rng(seed)
    drawn = [abs(generator.choice(usual, len(batch)).mean() - centre) for _ in range(draws)]
    return float(distance), float((1 + np.sum(np.array(drawn) >= distance)) / (draws + 1))
