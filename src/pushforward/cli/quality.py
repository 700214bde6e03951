"""``quality``: how good synthetic rows are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .options import Html, Json, check_html

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["quality"]


def quality(
    real: Annotated[
        str,
        typer.Argument(
            metavar="REAL", help="The table that the model learned from.", show_default=False
        ),
    ],
    synthetic: Annotated[
        str,
        typer.Argument(
            metavar="SYNTHETIC",
            help="A table of synthetic rows, or a model to draw them from.",
            show_default=False,
        ),
    ],
    target: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="A column that trees learn to predict from both kinds of rows.",
            show_default=False,
        ),
    ] = None,
    unseen: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Real rows that the model did not learn from.",
            show_default=False,
        ),
    ] = None,
    html: Html = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    json_file: Json = None,
) -> None:
    """Judge synthetic rows: are they like the real ones, as useful, and not learned by heart?

    Example: pushforward quality people.csv synthetic.csv --target income --html quality.html

    Example: pushforward quality people.csv runs/people

    Beside them stand SMOTE, which interpolates between real rows, and real rows themselves. With a
    model the real rows are split as in its training. With a file of rows alone, the real rows are
    halved, so give rows that the model has not seen by --unseen if there are any.
    """
    from ..jobs.quality.page import write_quality
    from ..jobs.quality.quality import synthetic_quality
    from ..jobs.tables.frames import source_name
    from .output import paragraphs, say, table, write_json

    check_html(html)
    parts: tuple[Any, Any, Any] = (real, unseen, synthetic)
    if Path(synthetic).is_dir():
        parts = _drawn(real, unseen, Path(synthetic), seed)
    result = synthetic_quality(*parts, target=target, seed=seed)
    command = _command(real, synthetic, target, unseen, html, seed)
    if html is not None:
        write_quality(html, result, source_name(synthetic), command)
    if json_file is not None and write_json(json_file, {"command": command, **result.to_dict()}):
        return
    table(result.header, result.rows())
    say()
    for sentence in result.sentences:
        paragraphs(sentence)
    if html is not None:
        say(f"page written to {html}")


def _drawn(real: str, unseen: str | None, folder: Path, seed: int) -> tuple[Any, Any, Any]:
    """Training rows, unseen rows and as many draws of a model as it learned from."""
    from ..data.schema import Schema
    from .options import Split
    from .reading import open_model, read

    flow = open_model(folder, needs="sample")
    if len(flow.shape) != 1:
        raise InputError(f"{folder} is a model of images; quality is about rows of tables.")
    schema = Schema.of(flow)

    def table(values: Any) -> pd.DataFrame:
        import pandas as pd

        from .reading import column_names

        if schema is not None:
            return schema.decode(values)
        return pd.DataFrame(values, columns=pd.Index(column_names(flow)))

    train = read(flow, real, Split.train)
    test: Any = unseen
    if unseen is None:
        test = table(read(flow, real, Split.test))
    made = flow.sample(max(100, min(len(train), 5_000)), seed=seed).cpu().double().numpy()
    return table(train), test, table(made)


def _command(
    real: str,
    synthetic: str,
    target: str | None,
    unseen: str | None,
    html: Path | None,
    seed: int,
) -> str:
    import shlex

    words = ["pushforward", "quality", real, synthetic]
    for name, value in (("--target", target), ("--unseen", unseen), ("--html", html)):
        words += [] if value is None else [name, str(value)]
    return shlex.join([*words, *(["--seed", str(seed)] if seed else [])])
