"""What a search for anomalies has found: the record, and how it is told."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.schema import Column, Schema
from ...errors import InputError
from ...flow import Flow
from .reasons import Reasons
from .scores import SCORES, ScoreName

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Anomalies", "Reason"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Reason:
    """A column that takes part in a row being unusual; values as the user writes them.

    Attributes:
        column: its name.
        gain: nats that log p would rise by, were its value the best one given the others.
        value: what the row has.
        low, high: between which 90 % of the values would lie, given the other columns; of a
            category both are the most usual one.
    """

    column: str
    gain: float
    value: str
    low: str
    high: str

    def __str__(self) -> str:
        usual = self.low if self.low == self.high else f"{self.low} to {self.high}"
        return f"{self.column} {self.value} (usual {usual})"


@dataclass(frozen=True, eq=False, repr=False)
class Anomalies:
    """The events of a source, the most unusual ones first in ``order``. It prints as a few lines.

    Attributes:
        score: the name of the score; its unit is ``SCORES[score]``.
        scores: ``(N,)``, large where unusual; NaN for an event that lacks values.
        p_values: ``(N,)`` conformal p-values, NaN where there is no score.
        flags: ``(N,)`` whether the p-value is at most ``false_alarms``.
        order: ``(N,)`` event numbers from the most unusual on; those without a score come last.
        threshold: flagged is what scores above it; infinite where too few events were held out.
        false_alarms: the share of usual events that may be flagged.
        calibration: ``(n,)`` scores that the p-values count, rising.
        calibrated_on: what they are of, in words.
        explained: ``(K,)`` numbers of the events that have reasons.
        attribution: ``(K, D)`` or ``(K, H, W)``: how much each column or pixel takes part, nats.
        reasons: for rows also the best value of each column given the others, and its usual range.
        columns: the D names; None for images.
        events: ``(N, *shape)`` as the flow took them.
        levels: of the events; None for real numbers.
        flow: the density.
    """

    score: ScoreName
    scores: Array
    p_values: Array
    flags: Array
    order: Array
    threshold: float
    false_alarms: float
    calibration: Array
    calibrated_on: str
    explained: Array
    attribution: Array | None
    reasons: Reasons | None
    columns: tuple[str, ...] | None
    events: Array
    levels: int | None
    flow: Flow

    def why(self, event: int, most: int = 3) -> list[Reason]:
        """The columns that make a row unusual, the one with the largest part first.

        Left out are, but for the first, those whose value lies where 90 % of them would, given the
        others, and those with less than a twentieth of the first one's part.

        Raises:
            InputError: the event has no reasons.
        """
        place = np.flatnonzero(self.explained == event)
        if self.reasons is None or self.columns is None or not len(place):
            raise InputError(f"event {event} has no reasons by column; ask for more by explain=.")
        k = int(place[0])
        schema = Schema.of(self.flow)
        found: list[Reason] = []
        for j in np.argsort(-np.nan_to_num(self.reasons.gain[k], nan=-1.0))[:most]:
            value, low, high = (
                self.events[event, j],
                self.reasons.low[k, j],
                self.reasons.high[k, j],
            )
            gain = float(self.reasons.gain[k, j])
            if math.isnan(value) or (found and (low <= value <= high or 20 * gain < found[0].gain)):
                continue
            name = self.columns[j]
            column = None if schema is None else schema[name]
            usual = (low, high)
            if column is not None and column.kind in ("category", "boolean"):
                usual = (self.reasons.best[k, j],) * 2
            said = tuple(_said(column, number) for number in (value, *usual))
            found.append(Reason(name, gain, *said))
        return found

    def to_frame(self) -> pd.DataFrame:
        """One line per event in the source's order: row, score, p_value, flagged, rank, reason.

        ``reason`` is the column that takes the largest part, where it is known.
        """
        import pandas as pd

        rank = np.empty(len(self.order), int)
        rank[self.order] = np.arange(1, len(self.order) + 1)
        frame = {
            "row": np.arange(len(self.scores)),
            "score": self.scores,
            "p_value": self.p_values,
            "flagged": self.flags,
            "rank": rank,
        }
        if self.reasons is not None:
            reason = np.full(len(self.scores), "", dtype=object)
            for event in self.explained:
                reason[event] = next((why.column for why in self.why(int(event), 1)), "")
            frame["reason"] = reason
        return pd.DataFrame(frame)

    def save_picture(self, path: str | os.PathLike[str], most: int = 16) -> None:
        """Draw the most unusual images with their heat maps as a PNG.

        Raises:
            InputError: these are rows.
        """
        from .picture import write_picture

        write_picture(path, self, most)

    def __str__(self) -> str:
        n, flagged = len(self.scores), int(self.flags.sum())
        lines = [
            f"{flagged:,} of {n:,} events flagged at {self.false_alarms:.3g} false alarms",
            f"  score       {self.score} ({SCORES[self.score]})",
            f"  threshold   {self.threshold:.5g}, from {len(self.calibration):,} events: "
            f"{self.calibrated_on}",
        ]
        for event in self.order[:5]:
            lines.append(
                f"  event {event:<6} score {self.scores[event]:.5g}, p {self.p_values[event]:.3g}"
            )
        return "\n".join(lines)

    __repr__ = __str__


def _said(column: Column | None, value: float) -> str:
    """A cell as the user writes it."""
    if column is None or column.kind == "number":
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    if column.kind in ("category", "boolean"):
        words = column.categories or ("False", "True")
        return str(words[int(np.clip(round(value), 0, len(words) - 1))])
    if column.kind == "date":
        return str(np.datetime64(round(value * 86400), "s"))[: 10 if column.step == 1 else 19]
    return f"{value:,.0f}"
