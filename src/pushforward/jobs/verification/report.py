"""The record that ``verify`` returns: checks, layers, a table for people and a dictionary."""

from __future__ import annotations

import dataclasses
import io
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from .layerwise import LayerReport

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

__all__ = ["Check", "Verdict", "Verification"]

Verdict = Literal["pass", "warn", "fail"]

_STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red"}
_ROWS = 8
"""Layers shown in the table unless all are asked for."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One measurement: right if ``value <= tolerance``.

    Attributes:
        group: what it is about: inverse, log-det, stability, batch, density.
        name: unique within a verification.
        value: what was measured; infinite where a result was not a number, None where nothing
            could be measured.
        tolerance: what still passes.
        verdict: ``pass``, ``warn`` (use with care) or ``fail`` (do not trust).
        meaning: what the value is, in a phrase, with its unit.
        layer: the layer most to blame, as in ``layer 7 Coupling``; None if none is.
    """

    group: str
    name: str
    value: float | None
    tolerance: float
    verdict: Verdict
    meaning: str
    layer: str | None = None


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What ``verify`` found out about a flow. It prints as a table.

    Attributes:
        flow: the flow's name.
        checks: the measurements, each with its tolerance and verdict.
        layers: each layer by itself, from data to latent.
        events: how many events were looked at.
        source: where they came from.
        dtype: the flow's own precision; float64 is looked at besides.
        device: where it was computed.
        exact: whether log_prob is an equality, or one draw of a lower bound.
        seed: of the random directions and samples.
        seconds: how long it took.
        notes: what was not looked at, and why.
    """

    flow: str
    checks: list[Check]
    layers: list[LayerReport]
    events: int
    source: str
    dtype: str
    device: str
    exact: bool
    seed: int
    seconds: float
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether no check failed; warnings are allowed."""
        return all(check.verdict != "fail" for check in self.checks)

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all checks."""
        found = {check.verdict for check in self.checks}
        return "fail" if "fail" in found else "warn" if "warn" in found else "pass"

    def __getitem__(self, name: str) -> Check:
        """The check of this name; KeyError if it was not made."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(f"no check {name!r}; there are {', '.join(c.name for c in self.checks)}")

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON: numbers that are not finite become strings such as "inf"."""
        found = _plain(dataclasses.asdict(self))
        return {"ok": self.ok, "verdict": self.verdict, **found}

    # For people ------------------------------------------------------------------------------

    def table(self, *, all_layers: bool = False) -> RenderableType:
        """What ``rich`` prints: the checks, then the layers that stand out, or all of them."""
        from rich.console import Group
        from rich.text import Text

        style = _STYLES[self.verdict]
        head = Text.assemble((self.flow, "bold"), ": ", (self._summary(), style))
        bound = "" if self.exact else "\nlog_prob is one draw of a lower bound"
        about = Text(
            f"{self.events} events ({self.source}), {self.dtype} on {self.device}, "
            f"seed {self.seed}, {self.seconds:.1f} s{bound}",
            "dim",
        )
        shown = self.layers if all_layers else self._outstanding()
        parts: list[RenderableType] = [head, about, Text(), self._check_table()]
        if shown:
            what = "Every layer" if len(shown) == len(self.layers) else "Layers that stand out"
            parts += [
                Text(),
                Text.assemble((what, "bold"), (f" ({len(shown)} of {len(self.layers)})", "dim")),
                self._layer_table(shown),
            ]
        parts += [Text(f"Not looked at: {note}", "dim") for note in self.notes]
        return Group(*parts)

    def print_to(self, console: Console, *, all_layers: bool = False) -> None:
        """Print the table on a ``rich`` console."""
        console.print(self.table(all_layers=all_layers))

    def __str__(self) -> str:
        from rich.console import Console

        out = io.StringIO()
        self.print_to(Console(file=out, width=80, color_system=None, highlight=False))
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines())

    __repr__ = __str__

    def _summary(self) -> str:
        failed = sum(check.verdict == "fail" for check in self.checks)
        warned = sum(check.verdict == "warn" for check in self.checks)
        if failed:
            more = f", {warned} with a warning" if warned else ""
            return f"{failed} of {len(self.checks)} checks failed{more}"
        if warned:
            return f"no check failed, {warned} of {len(self.checks)} with a warning"
        return f"all {len(self.checks)} checks passed"

    def _check_table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
        table.add_column("", no_wrap=True)
        table.add_column("check", no_wrap=True)
        table.add_column("value", justify="right", no_wrap=True)
        table.add_column("at most", justify="right", no_wrap=True, style="dim")
        table.add_column("which is", overflow="fold", ratio=1)
        group = self.checks[0].group if self.checks else ""
        for check in self.checks:
            if check.group != group:
                table.add_row()
                group = check.group
            meaning = Text(check.meaning)
            if check.layer and check.verdict != "pass":
                meaning.append(f"\nmost in {check.layer}", _STYLES[check.verdict])
            table.add_row(
                Text(check.verdict, _STYLES[check.verdict]),
                check.name,
                _number(check.value),
                _number(check.tolerance),
                meaning,
            )
        return table

    def _layer_table(self, layers: list[LayerReport]) -> Table:
        from rich.table import Table

        table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
        table.add_column("", overflow="fold", ratio=1)
        short = self.dtype.replace("float", "f")
        titles = [f"inverse\n{short}", "inverse\nf64", "grows\nforth", "grows\nback"]
        for title in [*titles, "log-det\nerror"]:
            table.add_column(title, justify="right", no_wrap=True)
        table.add_column("log-det\nmeasured as", no_wrap=True)
        for layer in layers:
            figures = (layer.inverse, layer.inverse64, layer.growth, layer.growth_back)
            table.add_row(
                layer.name.removeprefix("layer "),
                *map(_number, figures),
                _number(layer.log_det_error),
                layer.log_det_how,
            )
        return table

    def _outstanding(self) -> list[LayerReport]:
        """Those that failing checks name, then the largest of each column, in their own order."""
        named = [check.layer for check in self.checks if check.verdict != "pass"]
        chosen = {layer.name for layer in self.layers if layer.name in named}
        columns = ("log_det_error", "inverse", "inverse64", "growth_back", "growth")
        for rank in range(len(self.layers)):
            for column in columns:
                if len(chosen) >= min(_ROWS, len(self.layers)):
                    break
                order = sorted(self.layers, key=lambda la: -_size(getattr(la, column)))
                chosen.add(order[rank].name)
        return [layer for layer in self.layers if layer.name in chosen]


def _size(value: float | None) -> float:
    return -1.0 if value is None else math.inf if math.isnan(value) else value


def _number(value: float | None) -> str:
    """A figure of few characters: ``3.1e-07``, ``1.52``; 0 is exactly 0."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    return f"{value:.2f}" if 0.1 <= abs(value) < 1000 else f"{value:.1e}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
