"""The errors that are meant to be read by users.

The text of each is a sentence: what was wrong, where, and what to do instead. The command line
prints it without a stack trace and ends with exit code 2.
"""

from __future__ import annotations

__all__ = ["InputError", "LostProcess", "NumericalError"]


class InputError(ValueError):
    """Something that the caller gave cannot be used; the message says what, where, what instead."""


class LostProcess(InputError):
    """Another process of a run that several share has ended, so that this one cannot go on."""


class NumericalError(ArithmeticError):
    """A computation left the finite numbers; the message says in which layer and what may help."""
