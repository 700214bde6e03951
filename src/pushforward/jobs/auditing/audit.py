"""Which groups and regions of the data a model finds likely, which are rare, and what has drifted.

A density tells what is common in the data it learned, not what is fair, right or wanted.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.found import counted
from ...errors import InputError
from ...model import Model
from ..tables.frames import source_name
from ..tables.mixed_table import MixedTable
from .drift import Drift, drift_between
from .events import Events, events_of, learned_on_half, scores_of
from .groups import Group, chosen_columns, groups_of, partition, percent
from .regions import Region, rare_regions, unlikely_regions

if TYPE_CHECKING:
    from ...data.dataset import Source

__all__ = ["Audit", "audit"]

Array = np.ndarray[Any, np.dtype[Any]]

CARE = (
    "A density tells what is common in the data, not what is fair. A group can be unlikely because "
    "it is rare, or because its members differ much from one another; and a group that is well "
    "represented can still be described by wrong or biased values, which no density shows."
)


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit found. It prints as lines.

    Attributes:
        data: name of the data.
        reference: name of the other set; None without.
        events: how many rows or images.
        scored: those with a log_prob.
        unit: of log_prob: nats per event.
        learned: whether the model was learned for the audit, from half of the events.
        log_prob: the mean over the scored events; None if nothing is scored.
        by: the columns of the groups.
        groups: what was found of each, see `Group`.
        regions: conditions in words, the least likely first, see `Region`.
        rare: regions where the reference has a larger share of its rows, the largest ratio first.
        drift: between both sets; None without a reference.
        notes: what to know about the reading, a sentence each.
    """

    data: str
    reference: str | None
    events: int
    scored: int
    learned: bool
    log_prob: float | None
    by: tuple[str, ...]
    groups: tuple[Group, ...]
    regions: tuple[Region, ...]
    rare: tuple[Region, ...]
    drift: Drift | None
    notes: tuple[str, ...] = ()
    unit: str = "nats"
    pictures: Any = field(default=None, repr=False, compare=False)

    @property
    def findings(self) -> list[str]:
        """What stands out, the most important first; a sentence each."""
        said = [] if self.drift is None else [self.drift.sentence]
        for word in ("absent", "tiny", "under-represented"):
            found = [group for group in self.groups if word in group.finding]
            if found:
                names = "; ".join(
                    f"{g.name} ({counted(g.rows, 'row')}, {percent(g.share)}"
                    + (f", expected {percent(g.expected)})" if g.expected is not None else ")")
                    for g in found[:5]
                )
                more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
                said.append(f"Groups that are {word}: {names}{more}.")
        for region in self.rare[:2]:
            said.append(
                f"Under-represented beside {self.reference}: {region.name}, "
                f"{percent(region.share)} of rows, there {percent(region.expected or 0)}."
            )
        least = [g for g in self.groups if "unlikely" in g.finding and g.log_prob is not None]
        least.sort(key=lambda g: g.log_prob or 0.0)
        for group in least[:2]:
            said.append(
                f"Unlikely group: {group.name}, mean log p {group.log_prob:.4g} where the rest "
                f"has {group.rest:.4g}."
            )
        for region in self.regions[:2]:
            below = self.log_prob is not None and region.high is not None
            if below and region.high < self.log_prob:  # type: ignore[operator]
                said.append(f"Unlikely region: {region}.")
        return said or ["Nothing stands out: no group or region differs beyond chance."]

    @property
    def sentences(self) -> list[str]:
        """How to read the tables."""
        said = [CARE]
        if self.scored:
            said.append(
                "log p is the natural logarithm of the density (nats), the mean over the scored "
                "rows; intervals are 95 % for all groups at once (Student's t corrected for "
                "skewness, Bonferroni), p-values are adjusted for the number of tests (Holm)."
            )
        if any(group.expected is not None for group in self.groups):
            said.append(
                f"Expected is the share in {self.reference}."
                if self.reference
                else "Expected is the share in a balanced table: equal shares of a column's "
                "values, and of several columns the product of their shares."
            )
        if self.learned:
            said.append(
                "The model was learned for this audit from a random half of the rows; log p is of "
                "the other half, which it has not seen."
            )
        elif self.scored:
            said.append(
                "Rows that the model learned from look a little likelier than new ones: audit "
                "held-out rows where figures have to be exact."
            )
        return [*said, *self.notes]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pictures' numbers, ready for JSON."""
        content = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del content["pictures"]
        for name in ("groups", "regions", "rare"):
            content[name] = [dataclasses.asdict(item) for item in content[name]]
        for group, item in zip(content["groups"], self.groups, strict=True):
            group["finding"] = item.finding
        if self.drift is not None:
            content["drift"] = {**dataclasses.asdict(self.drift), "p_value": self.drift.p_value}
        return {**content, "findings": self.findings}

    def __str__(self) -> str:
        lines = [f"{self.data}: {self.events:,} events", *self.findings]
        lines += [f"  {region}" for region in self.regions]
        return "\n".join(lines)


def audit(
    model: Model | str | os.PathLike[str] | None,
    data: Source,
    by: Sequence[str] | str | None = None,
    reference: Source | None = None,
    *,
    seed: int = 0,
    most: int = 20_000,
) -> Audit:
    """Look at data through a density: groups, regions, and drift against a reference.

    Args:
        model: a trained model or its folder. None: one is learned from half of the rows (tables
            only), and the other half is scored.
        data: rows or images to look at, any source.
        by: columns to group by, one or several (or ``"a,b"``): each by itself, and combined. They
            need not be columns of the model. None: all columns of categories, or labels of images.
        reference: another set with the same columns: another month, or a population to compare
            shares with.
        seed: of everything that is drawn.
        most: events of each set at most, beyond which they are drawn at random.

    Raises:
        InputError: the data do not fit the model, a column is not there, or there is nothing.
    """
    if isinstance(model, str | os.PathLike):
        from ...models import load

        model = load(model)
    if model is not None and "log_prob" in model.refuses:
        raise model.refusal("log_prob")
    by = [part.strip() for part in by.split(",")] if isinstance(by, str) else by
    mine = events_of(data, model, "the data", seed=seed, most=most)
    other = None
    if reference is not None:
        other = events_of(reference, model, "the reference", seed=seed + 1, most=most)
        if mine.images is not None:  # labels on one side only say nothing of both
            shared = [name for name in mine.frame.columns if name in other.frame.columns]
            mine.frame, other.frame = mine.frame[shared], other.frame[shared]
    frames = {"the data": mine.frame} | ({"the reference": other.frame} if other else {})
    absent = [name for name in by or () if name not in mine.frame.columns]
    if absent:
        raise InputError(
            f"there is no column {absent[0]!r} to group by; there are "
            f"{', '.join(map(str, mine.frame.columns[:20]))}."
        )
    table = MixedTable(frames, keep=by or ())
    values = table.values(mine.frame)
    reference_values = None if other is None else table.values(other.frame)
    notes = [*mine.notes, *table.notes]
    learned = model is None
    if model is None:
        model, log_prob = learned_on_half(mine, seed)
    else:
        log_prob = scores_of(model, mine)
    other_log_prob = np.empty(0) if other is None else scores_of(model, other)
    notes += _about_scores(log_prob, mine)
    log_prob = np.where(mine.lacking, np.nan, log_prob)
    if other is not None:
        other_log_prob = np.where(other.lacking, np.nan, other_log_prob)
    columns = chosen_columns(table, by)
    everything = values
    if reference_values is not None:
        everything = np.concatenate((values, reference_values))
    parts = partition(table, columns, everything, crossed=by is not None)
    scored = log_prob[np.isfinite(log_prob)]
    drift = None
    if other is not None and reference_values is not None:
        more = None
        if mine.images is not None and other.images is not None:
            more = mine.features, other.features
        notes += _about_shared(values, reference_values)
        drift = drift_between(
            table, values, reference_values, log_prob, other_log_prob, seed=seed, more=more
        )
    return Audit(
        data=source_name(data),
        reference=None if reference is None else source_name(reference),
        events=len(values),
        scored=len(scored),
        learned=learned,
        log_prob=float(scored.mean()) if len(scored) else None,
        by=tuple(table.names[i] for i in columns),
        groups=tuple(groups_of(parts, values, log_prob, reference_values)),
        regions=tuple(unlikely_regions(table, values, log_prob, reference_values, seed)),
        rare=()
        if reference_values is None
        else tuple(rare_regions(table, values, reference_values, seed)),
        drift=drift,
        notes=tuple(notes),
        pictures={
            "table": table,
            "values": values,
            "other_values": reference_values,
            "log_prob": log_prob,
            "other": other_log_prob,
        },
    )


def _about_shared(values: Array, others: Array) -> list[str]:
    """What to know where both sets hold the same rows, which no test of drift expects."""
    there = {row.tobytes() for row in others}
    shared = sum(row.tobytes() in there for row in values)
    # In a table of few categories equal rows are no sign of anything.
    if shared < 0.05 * len(values) or len(there) < 0.9 * len(others):
        return []
    return [
        f"{shared:,} rows are in both sets: shares can be compared, but the tests for drift are "
        f"about sets without common rows."
    ]


def _about_scores(log_prob: Array, events: Events) -> list[str]:
    """What to know of rows that the means are not of."""
    notes, lacking = [], events.lacking
    infinite = int(np.isinf(log_prob).sum())
    if infinite:
        notes.append(f"{infinite:,} rows of log p -inf are left out of the means.")
    if lacking.any():
        unknown = " or unknown categories" if events.unknown else ""
        notes.append(
            f"{int(lacking.sum()):,} rows with missing cells{unknown} are counted, but left out of "
            f"the mean log p: the density of fewer numbers is another quantity."
        )
    if events.unknown:
        notes.append(
            f"The model has never seen {', '.join(events.unknown[:5])}: such rows have no log p."
        )
    return notes
