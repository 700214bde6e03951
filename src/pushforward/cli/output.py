"""What verbs print: lines, tables, JSON. Plain text wherever the output is not a terminal."""

from __future__ import annotations

import json
import math
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from ..files import write_text

__all__ = [
    "counted",
    "number",
    "pairs",
    "paragraphs",
    "say",
    "shape_text",
    "show",
    "table",
    "write_json",
]


def say(text: str = "") -> None:
    """Print one line, however long: terminals wrap it and pipes keep it whole."""
    typer.echo(text)


def pairs(values: Mapping[str, object]) -> None:
    """Print names and values in two columns; a long value goes on under its beginning.

    A word is never broken, so that a path can be copied. Lines of a value stay lines.
    """
    width = max(map(len, values), default=0) + 2
    for name, value in values.items():
        lines = str(value).split("\n")
        first, *rest = [part for line in lines for part in _wrapped(line, width)]
        typer.echo(f"{typer.style(name.ljust(width), dim=True)}{first}")
        for line in rest:
            typer.echo(" " * width + line)


def paragraphs(text: str) -> None:
    """Print text that has line breaks of its own; long lines go on in the next."""
    for line in text.splitlines():
        typer.echo("\n".join(_wrapped(line, 0)))


def _wrapped(text: str, indent: int) -> list[str]:
    width = max(40, shutil.get_terminal_size().columns - indent)
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    left: Sequence[int] = (0,),
    whole: Sequence[int] = (),
) -> None:
    """Print a table; the columns at the positions ``left`` are texts, the others numbers.

    Texts are broken where the terminal is narrow, those at ``whole`` last of all.
    """
    from rich.table import Table

    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for index, name in enumerate(header):
        is_text = index in left
        justify: Any = "left" if is_text else "right"
        grid.add_column(
            name, justify=justify, overflow="fold", no_wrap=not is_text or index in whole
        )
    for row in rows:
        grid.add_row(*(str(cell) for cell in row))
    show(grid)


def show(renderable: object) -> None:
    """Print something of rich's, nothing in it taken for markup; no blanks at the ends in pipes."""
    from rich.console import Console

    # Names of columns and files may look like markup or emoji codes.
    console = Console(markup=False, emoji=False, highlight=False)
    if console.is_terminal:
        console.print(renderable)
        return
    with console.capture() as captured:
        console.print(renderable)
    for line in captured.get().splitlines():
        typer.echo(line.rstrip())


def write_json(path: Path, content: Mapping[str, Any]) -> bool:
    """Write ``content`` to ``path``; return whether it went to the standard output (``-``)."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    if str(path) == "-":
        typer.echo(text)
        return True
    write_text(path, text + "\n")
    return False


def number(value: float, digits: int = 5) -> str:
    """A number with about so many digits: ``1.2346``, ``-0.00012``, ``39,490``, ``1.2e+12``."""
    if not 1e-4 <= abs(value) < 1e9:
        return f"{value:.{digits}g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def counted(count: int, noun: str) -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def shape_text(shape: Sequence[int]) -> str:
    """What events of a shape are, in words: ``rows of 6 numbers``, ``images (3, 32, 32)``."""
    if len(shape) == 1:
        return f"rows of {counted(shape[0], 'number')}"
    return f"images ({', '.join(map(str, shape))})"
