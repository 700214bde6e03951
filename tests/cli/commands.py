"""Run a command and say what is expected of it."""

from typer.testing import CliRunner

from pushforward.cli import app

SMALL = ["--max-steps", "5", "--set", "model.couplings=2", "--set", "model.width=8"]
PLAIN = [*SMALL, "--set", "model.base=normal"]
"""Of tables, without the search for a mixture to begin with, which takes seconds."""


def invoke(*arguments):
    """Run a command in this process; unexpected exceptions are the test's."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "\x1b" not in result.output  # this is not a terminal
    return result


def succeeds(*arguments):
    """Run a command that must succeed; return what it printed."""
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def fails(*arguments):
    """Run a command that must be refused; return its one line without ``error: ``."""
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("error: ").strip()
