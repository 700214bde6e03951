"""Importing the package is cheap, and every public name is there."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import subprocess
import sys

import pytest

import pushforward
from pushforward.errors import InputError

HEAVY = ("torch", "numpy", "pandas", "pyarrow", "matplotlib", "PIL", "pydantic", "rich", "typer")


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_importing_the_package_imports_nothing_heavy():
    loaded = run("import sys, pushforward; print(*sys.modules)")
    assert "pushforward" in loaded
    assert not set(HEAVY) & set(loaded)


def test_reading_data_imports_no_torch():
    loaded = run("import sys, pushforward; pushforward.open_data; print(*sys.modules)")
    assert "pushforward.data" in loaded
    assert "torch" not in loaded


def test_torch_comes_with_the_first_name_that_needs_it():
    loaded = run("import sys, pushforward; pushforward.RealNVP; print(*sys.modules)")
    assert "torch" in loaded
    assert not {"matplotlib", "pandas", "pyarrow", "rich", "sklearn", "scipy"} & set(loaded)


@pytest.mark.parametrize("name", pushforward.__all__)
def test_every_public_name_is_there(name):
    assert getattr(pushforward, name) is not None
    assert name in dir(pushforward)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'pushforward' has no attribute 'RealNPV'"):
        pushforward.RealNPV  # noqa: B018
    assert not hasattr(pushforward, "numpy")


def modules():
    found = pkgutil.walk_packages(pushforward.__path__, "pushforward.")
    return [m.name for m in found if not m.name.endswith("__main__")]


@pytest.mark.parametrize("name", modules())
def test_every_module_says_what_it_is_and_exports_what_exists(name):
    package, _, library = name.rpartition(".")
    if package == "pushforward.interop" and importlib.util.find_spec(library) is None:
        with pytest.raises(InputError, match=r"pip install"):
            importlib.import_module(name)
        return
    module = importlib.import_module(name)
    assert module.__doc__, "says in a sentence what it is about"
    for public in getattr(module, "__all__", ()):
        assert hasattr(module, public), public


def test_the_version_is_that_of_the_package():
    from importlib.metadata import version

    assert pushforward.__version__ == version("pushforward")
