"""How good synthetic rows are: like the real ones, as useful, and not learned by heart."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError
from ..tables.frames import frame_of
from ..tables.marginals import associations, column_distances
from ..tables.mixed_table import MixedTable
from ..tables.two_sample import separate
from .neighbours import Nearness, nearest, nearness, smote
from .usefulness import Task, task_of

if TYPE_CHECKING:
    from ...data.dataset import Source

__all__ = ["Quality", "RowsMeasured", "synthetic_quality"]

Array = np.ndarray[Any, np.dtype[Any]]

_PRIVACY = (
    "Privacy: {copies:.1%} of the synthetic rows are copies of a training row ({held_out:.1%} of "
    "unseen real rows are), and {close:.1%} of the others lie nearer to one than all but 5 % of "
    "unseen rows do: the model repeats rows that it learned from, so do not hand these out as "
    "anonymous."
)


@dataclass(frozen=True, kw_only=True)
class RowsMeasured:
    """What was measured of some rows beside real rows that nobody learned from.

    Attributes:
        name: whose rows.
        rows: how many.
        marginal: the mean over columns of their distance (see ``column_distances``), 0 to 1.
        worst: the largest of them, and ``worst_column`` whose it is.
        association: the mean absolute difference of the ``associations`` of two columns.
        auc: of a classifier that tells them from real rows; 0.5 is best, and ``auc_low`` and
            ``auc_high`` its 95 % interval.
        useful: the score of trees that learned from these rows, on the real ones.
        near: how near they are to the training rows; of the real ones, the unseen rows.
    """

    name: str
    rows: int
    marginal: float
    worst: float
    worst_column: str
    association: float
    auc: float
    auc_low: float
    auc_high: float
    useful: float | None
    near: Nearness


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Synthetic rows beside two references: SMOTE, and other real rows. It prints as a table.

    Attributes:
        synthetic, smote, real: what was measured of each.
        target: the column that trees predict, and ``measure`` how they are judged.
        train_rows, test_rows: how many real rows are behind it.
        columns: name -> distance of the marginal of the synthetic rows.
        notes: what to know about the reading, a sentence each.
    """

    synthetic: RowsMeasured
    smote: RowsMeasured
    real: RowsMeasured
    target: str | None
    measure: str | None
    train_rows: int
    test_rows: int
    columns: dict[str, float]
    notes: tuple[str, ...] = ()
    pictures: Any = field(default=None, repr=False, compare=False)

    @property
    def warning(self) -> str | None:
        """The sentence about privacy; None where nothing points to rows learned by heart."""
        near = self.synthetic.near
        if not near.memorised:
            return None
        return _PRIVACY.format(close=near.close, copies=near.copies, held_out=near.held_out_copies)

    @property
    def header(self) -> tuple[str, ...]:
        """Of ``rows``."""
        return ("measured", "synthetic", "SMOTE", "real", "best")

    def rows(self) -> list[tuple[str, ...]]:
        """The table, as texts."""
        kinds = (self.synthetic, self.smote, self.real)
        found = [
            ("marginals, mean distance", *(f"{k.marginal:.3f}" for k in kinds), "0"),
            ("marginals, worst column", *(f"{k.worst:.3f}" for k in kinds), "0"),
            ("associations, mean difference", *(_text(k.association) for k in kinds), "0"),
            ("told from real rows, AUC", *(f"{k.auc:.3f}" for k in kinds), "0.5"),
        ]
        if self.measure is not None:
            said = f"trees learned from them, {self.measure}"
            found.append((said, *(_text(k.useful) for k in kinds), "1"))
        nears = [k.near for k in kinds]
        for name, part, best in (
            ("nearer to training than unseen rows", "nearer", "0.5"),
            ("closer than 95 % of unseen rows", "close", "0.05"),
            ("copies of training rows", "copies", _text(nears[0].held_out_copies)),
        ):
            cells = (_text(getattr(near, part)) for near in nears)
            found.append((name, *cells, best))
        return found

    @property
    def sentences(self) -> list[str]:
        """How to read the table."""
        worst = self.synthetic
        said = [
            f"Measured against {self.test_rows:,} real rows; SMOTE interpolates between the "
            f"{self.train_rows:,} training rows, and 'real' are those rows themselves (for "
            f"nearness, the unseen rows): what rows of the same source are like.",
            f"The worst marginal is that of {worst.worst_column!r}. A distance is the "
            f"Kolmogorov-Smirnov one of numbers and the total variation of categories.",
        ]
        if self.warning:
            said.append(self.warning)
        else:
            said.append(
                "Privacy: the synthetic rows are not nearer to training rows than unseen real "
                "rows are, beyond chance. That is no proof that nothing can be learned of a person."
            )
        return [*said, *self.notes]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pictures' rows, ready for JSON."""
        content = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del content["pictures"]
        for name in ("synthetic", "smote", "real"):
            content[name] = dataclasses.asdict(content[name])
        return _plain({**content, "warning": self.warning})

    def markdown(self) -> str:
        """The table as a page."""
        lines = ["| " + " | ".join(self.header) + " |", "|---" * len(self.header) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in self.rows()]
        return "\n".join([*lines, "", *self.sentences, ""])

    def __str__(self) -> str:
        rows = [self.header, *self.rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self.header))]
        lines = [
            "  ".join(
                cell.ljust(w) if i == 0 else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        return "\n".join([*lines, "", *self.sentences])


def synthetic_quality(
    real_train: Source,
    real_test: Source | None,
    synthetic: Source,
    *,
    target: str | None = None,
    schema: Any = None,
    seed: int = 0,
    most: int = 5_000,
) -> Quality:
    """Judge synthetic rows beside real ones, SMOTE and a second part of the real rows.

    Args:
        real_train: the rows that the model learned from.
        real_test: real rows that it did not see. None: the real rows are halved for all
            comparisons but the nearest neighbours, which are then those of all real rows, beside
            the distances that real rows have among themselves.
        synthetic: the rows to judge.
        target: a column to predict from the others: trees learn it from each kind of rows.
        schema: what the columns are, where that is known.
        seed: of everything that is drawn.
        most: rows of each kind at most, beyond which they are drawn at random.

    Raises:
        InputError: a table without rows, lacking columns, or with text where numbers should be.
    """
    frames = {"the real rows": frame_of(real_train), "the synthetic rows": frame_of(synthetic)}
    if real_test is not None:
        frames["the real test rows"] = frame_of(real_test)
    table = MixedTable(frames, schema, keep=() if target is None else (target,))
    train, made, *others = (table.values(frame) for frame in frames.values())
    generator = np.random.default_rng(seed)
    train, made = _some(train, most, generator), _some(made, most, generator)
    whole = train
    if others:
        test = _some(others[0], most, generator)
    else:
        if len(train) < 4:
            raise InputError(
                f"a comparison takes at least 4 real rows, better hundreds; got {len(train)}."
            )
        order = generator.permutation(len(train))
        train, test = train[order[::2]], train[order[1::2]]
    task = None if target is None else task_of(table, target, train)
    drawn = smote(table, train, len(train), target=None if task is None else task.column, seed=seed)
    points = table.embedded(whole, whole)
    if others:
        unseen = nearest(table.embedded(test, whole), points)
    else:
        unseen = nearest(points, points, itself=True)
    measure = _Measure(table, test, task, seed)
    near: dict[str, Array] = {}
    for name, rows in (("synthetic", made), ("SMOTE", drawn)):
        near[name] = nearest(table.embedded(rows, whole), points)
    near["real"] = unseen
    results = [
        measure("synthetic", made, nearness(near["synthetic"], unseen)),
        measure("SMOTE", drawn, nearness(near["SMOTE"], unseen)),
        measure("real", train, nearness(unseen, unseen)),
    ]
    pictures = {"table": table, "real": test, "synthetic": made, "near": near}
    return Quality(
        synthetic=results[0],
        smote=results[1],
        real=results[2],
        target=target,
        measure=None if task is None else task.measure,
        train_rows=len(train),
        test_rows=len(test),
        columns=dict(zip(table.names, column_distances(table, test, made).tolist(), strict=True)),
        notes=table.notes,
        pictures=pictures,
    )


class _Measure:
    """Measures rows against the same real ones."""

    def __init__(self, table: MixedTable, test: Array, task: Task | None, seed: int) -> None:
        self.table, self.test, self.task, self.seed = table, test, task, seed
        self.associations = associations(table, test)

    def __call__(self, name: str, rows: Array, near: Nearness) -> RowsMeasured:
        distances = column_distances(self.table, self.test, rows)
        apart = abs(associations(self.table, rows) - self.associations)
        pairs = apart[np.triu_indices(len(apart), 1)]
        told = separate(self.test, rows, self.table.categories, seed=self.seed)
        return RowsMeasured(
            name=name,
            rows=len(rows),
            marginal=float(distances.mean()),
            worst=float(distances.max()),
            worst_column=self.table.names[int(distances.argmax())],
            association=float(pairs.mean()) if len(pairs) else math.nan,
            auc=told.auc,
            auc_low=told.low,
            auc_high=told.high,
            useful=None if self.task is None else self.task.score(rows, self.test, self.seed),
            near=near,
        )


def _some(values: Array, most: int, generator: np.random.Generator) -> Array:
    return values if len(values) <= most else values[generator.permutation(len(values))[:most]]


def _text(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def _plain(value: Any) -> Any:
    """For JSON, which knows no NaN."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
