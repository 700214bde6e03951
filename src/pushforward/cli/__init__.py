"""The command line: each verb parses, calls the library, and prints or writes what came back.

Importing this package loads typer and nothing heavier: a verb imports what it needs when it runs.
"""

from __future__ import annotations

from .program import app, main

__all__ = ["app", "main"]
