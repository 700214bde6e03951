"""What pages are made of: a shell that needs nothing beside it, sections, tables, pictures."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .. import __version__
from .page_style import STYLE

__all__ = ["duration", "embedded", "grid", "hide_home", "page", "pairs_table", "section"]


def page(title: str, sections: Iterable[str], *, broad: bool = False) -> str:
    """A whole page, ``broad`` for large tables; no scripts in it, and no links to elsewhere."""
    kind = ' class="broad"' if broad else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<main{kind}>\n"
        + "\n".join(part for part in sections if part)
        + f"\n<footer>Drawn by pushforward {__version__}.</footer>\n</main>\n</body>\n</html>\n"
    )


def section(title: str, content: str) -> str:
    """A card with a title; nothing without content."""
    return f"<section><h2>{title}</h2>{content}</section>" if content else ""


def pairs_table(rows: Mapping[str, str]) -> str:
    """Names and values."""
    cells = (
        f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(value)}</td></tr>'
        for name, value in rows.items()
    )
    return f"<table>{''.join(cells)}</table>" if rows else ""


def grid(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = False) -> str:
    """A table with a header, which scrolls by itself where the page is narrow.

    The first and the third column are texts; with ``numbers`` only the first is.
    """
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in header)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    kind = "grid numbers" if numbers else "grid"
    return f'<div class="wide"><table class="{kind}"><tr>{head}</tr>{body}</table></div>'


def embedded(path: Path, alt: str, caption: str) -> str:
    """A PNG within the page; nothing if there is no such file."""
    try:
        content = base64.b64encode(path.read_bytes()).decode("ascii")
    except OSError:
        return ""
    return (
        f'<figure><img alt="{html.escape(alt)}" src="data:image/png;base64,{content}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def duration(seconds: float) -> str:
    """``42 s``, ``12 min 5 s``, ``3 h 4 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.3g} s"


def hide_home(text: str) -> str:
    """A text without the path of the user's own folder."""
    home = str(Path.home())
    return text if home == os.sep else text.replace(home + os.sep, "~" + os.sep)
