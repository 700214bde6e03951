"""``audit``: groups, regions and drift, as a model finds them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .options import Html, Json, check_html

if TYPE_CHECKING:
    from ..jobs.auditing.audit import Audit

__all__ = ["audit"]


def audit(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] DATA",
            help="A model, and any source that it can score; or a table alone.",
            show_default=False,
        ),
    ],
    by: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Columns to group by, and combined; all categories if not given.",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="OTHER",
            help="Another source to compare with: shares, and drift.",
            show_default=False,
        ),
    ] = None,
    html: Html = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    json_file: Json = None,
) -> None:
    """Find the groups and regions of data that are rare or unlikely, and what has drifted.

    Example: pushforward audit people.csv --by sex,city --html audit.html

    Example: pushforward audit runs/people may.csv --against june.csv

    Without a model, one is learned from half of the rows, and the other half is scored. A density
    tells what is common in the data, not what is fair.
    """
    from ..jobs.auditing.audit import audit as examine
    from ..jobs.auditing.page import write_audit
    from .output import say, write_json
    from .reading import open_model

    if len(sources) > 2:
        raise InputError(
            f"audit takes a model and a source, or a source alone; got {len(sources)} arguments. "
            f"The set to compare with is --against {sources[-1]}."
        )
    check_html(html)
    model = open_model(Path(sources[0]), needs="log_prob") if len(sources) == 2 else None
    result = examine(model, sources[-1], by, against, seed=seed)
    command = _command(sources, by, against, html, seed)
    if html is not None:
        write_audit(html, result, command)
    if json_file is None or not write_json(json_file, {"command": command, **result.to_dict()}):
        _print(result)
        if html is not None:
            say(f"page written to {html}")


def _print(result: Audit) -> None:
    from ..jobs.auditing.page import column_rows, group_rows, region_rows, test_rows
    from .output import counted, paragraphs, say, table

    paragraphs(f"{result.data}: {counted(result.events, 'event')}, {result.scored:,} scored")
    for sentence in result.findings:
        paragraphs(f"- {sentence}")
    tables: list[tuple[Any, Any]] = []
    if result.drift is not None:
        tables += [test_rows(result), column_rows(result)]
    if result.groups:
        tables.append(group_rows(result.groups))
    tables += [region_rows(r) for r in (result.regions, result.rare) if r]
    for header, rows in tables:
        say()
        left = [i for i, name in enumerate(header) if i == 0 or name in ("stands out", "change")]
        table(header, rows, left=left)
    say()
    for sentence in result.sentences:
        paragraphs(sentence)


def _command(
    sources: list[str], by: str | None, against: str | None, html: Path | None, seed: int
) -> str:
    import shlex

    words = ["pushforward", "audit", *sources]
    for name, value in (("--by", by), ("--against", against), ("--html", html)):
        words += [] if value is None else [name, str(value)]
    return shlex.join([*words, *(["--seed", str(seed)] if seed else [])])
