import errno
import os
import subprocess
import sys

import pytest
from commands import fails, invoke, succeeds

import pushforward
from pushforward.errors import NumericalError

VERBS = (
    *("train", "sample", "score", "encode", "eval", "verify", "info", "report"),
    *("models", "data", "cache"),
)


def python(code, **options):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--version"]])
def test_help_and_version_import_nothing_heavy(arguments):
    code = f"""
import sys
sys.argv = ["pushforward", *{arguments!r}]
from pushforward.cli import main
try:
    main()
except SystemExit as end:
    assert end.code == 0
heavy = {{"torch", "numpy", "pandas", "pydantic", "matplotlib", "pyarrow", "PIL", "yaml"}}
print("HEAVY", sorted(heavy & set(sys.modules)))
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_help_groups_every_verb_with_an_example():
    text = succeeds("--help")
    for verb in VERBS:
        assert f" {verb} " in text
        assert f"Example: pushforward {verb}" in succeeds(verb, "--help")
    for panel in ("Learn", "Use a model", "Judge a model", "Look up"):
        assert panel in text
    assert max(map(len, text.splitlines())) <= 80


def test_version():
    assert succeeds("--version") == f"pushforward {pushforward.__version__}\n"


def test_module_runs_as_the_command(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "pushforward", "data", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: no such file or folder: ")
    assert "Traceback" not in done.stderr


def test_usage_errors_exit_with_2():
    assert invoke("sample").exit_code == 2
    assert invoke("nonsense").exit_code == 2
    assert invoke("sample", "x", "-n", "many").exit_code == 2


def broken(error):
    def load(*arguments, **options):
        raise error

    return load


def test_numerical_error_is_one_line(monkeypatch):
    monkeypatch.setattr("pushforward.cli.reading.load", broken(NumericalError("NaN\nin layer 3")))
    assert fails("info", "model") == "NaN in layer 3"


def test_interrupt_is_one_line_and_130(monkeypatch):
    monkeypatch.setattr("pushforward.cli.reading.load", broken(KeyboardInterrupt()))
    result = invoke("info", "model")
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "interrupted\n")


def test_system_error_is_one_line(monkeypatch):
    error = OSError(errno.EACCES, os.strerror(errno.EACCES), "model/config.json")
    monkeypatch.setattr("pushforward.cli.reading.load", broken(error))
    assert fails("info", "model") == "model/config.json: Permission denied."


def test_out_of_memory_is_one_line(monkeypatch):
    import torch

    monkeypatch.setattr("pushforward.cli.reading.load", broken(torch.OutOfMemoryError("CUDA")))
    assert "ran out of memory" in fails("info", "model")


def test_other_exceptions_keep_their_trace(monkeypatch):
    monkeypatch.setattr("pushforward.cli.reading.load", broken(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        invoke("info", "model")


def test_closed_pipe_is_silent():
    code = """
import sys
sys.argv = ["pushforward", "data", "digits"]
from pushforward.cli import main
main()
"""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120
    )
    os.close(writer)
    assert done.returncode == 141
    assert done.stderr == ""


def test_names_that_the_terminal_cannot_print(tmp_path):
    path = tmp_path / "größe.csv"
    path.write_text("höhe,数\n" + "1,2\n3,4\n" * 20, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pushforward", "data", str(path)],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "\nhöhe".encode("latin-1") in done.stdout
    assert b"\n\\u6570" in done.stdout
