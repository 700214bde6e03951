"""The program: its verbs, and what becomes of an error.

Exit codes: 0 done; 1 a check of ``verify`` failed; 2 the user's mistake, said in one line;
130 interrupted (``train`` has saved the best weights by then); 141 the reader of a pipe has gone;
143 terminated (``train`` has saved a checkpoint).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .. import __version__
from ..errors import InputError, LostProcess, NumericalError
from .anomalies import anomalies
from .audit import audit
from .cached import cache
from .compare import compare
from .evaluate import evaluate
from .export import export
from .impute import impute
from .latent import extrapolate, interpolate, manifold, temperature
from .latent_data import edit, resample
from .listing import data, models
from .nearest import nearest
from .pages import report
from .quality import quality
from .sample import sample
from .score import encode, score
from .train import train
from .verify import info, verify

__all__ = ["app", "main"]


_ITS_TURN = 5.0
"""Seconds that the first process of torchrun has to say what is wrong."""


class Verbs(TyperGroup):
    """All verbs; errors that are meant to be read become one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run a verb and flush what it printed, so that a closed pipe is noticed here."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except (InputError, NumericalError) as error:
            if not isinstance(error, LostProcess):
                _let_the_first_speak()
            _complain(str(error))
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(130) from None
        except BrokenPipeError:
            raise typer.Exit(141) from None
        except OSError as error:
            if error.filename is None:
                raise
            _complain(f"{error.filename}: {error.strerror}.")
            raise typer.Exit(2) from None
        except RuntimeError as error:
            if type(error).__name__ != "OutOfMemoryError":  # torch's, which may not be imported
                raise
            _complain("the device ran out of memory; give a smaller batch or model, or --device.")
            raise typer.Exit(2) from None


def _let_the_first_speak() -> None:
    """Let a mistake that all processes of torchrun meet be told by the first one alone.

    torchrun ends the others as soon as that one has ended. What only another one has met is told
    by that one, a little later.
    """
    if os.environ.get("RANK", "0") != "0" and "TORCHELASTIC_RUN_ID" in os.environ:
        time.sleep(_ITS_TURN)


def _complain(message: str) -> None:
    typer.echo(f"{typer.style('error:', fg='red')} {' '.join(message.splitlines())}", err=True)


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"pushforward {__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Learn the exact probability density of images and tables, and put it to work.

    Begin with: pushforward train digits
    """


def _flowing(text: str) -> str:
    """Join the lines of each paragraph, so that the help is wrapped by the terminal's width."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n")).strip()


_VERBS: dict[str, dict[str, Callable[..., None]]] = {
    "Learn": {"train": train},
    "Use a model": {"sample": sample, "score": score, "encode": encode, "export": export},
    "Put a density to work on data": {
        "impute": impute,
        "anomalies": anomalies,
        "audit": audit,
        "quality": quality,
    },
    "Look into the latent space": {
        "interpolate": interpolate,
        "manifold": manifold,
        "resample": resample,
        "extrapolate": extrapolate,
        "edit": edit,
        "nearest": nearest,
        "temperature": temperature,
    },
    "Judge a model": {
        "compare": compare,
        "eval": evaluate,
        "verify": verify,
        "info": info,
        "report": report,
    },
    "Look up": {"models": models, "data": data, "cache": cache},
}
for _panel, _verbs in _VERBS.items():
    for _name, _verb in _verbs.items():
        app.command(_name, help=_flowing(_verb.__doc__ or ""), rich_help_panel=_panel)(_verb)


def main() -> None:
    """Run the program on ``sys.argv``."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names of files and columns may not fit the encoding
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    finally:
        _close_quietly()


def _close_quietly() -> None:
    """Let Python's last flush go nowhere if the reader of our pipe has gone."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
