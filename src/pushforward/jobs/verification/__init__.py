"""Whether a flow's numbers can be trusted: ``verify`` and the record that it returns."""

from .report import Check, Verification
from .verify import verify

__all__ = ["Check", "Verification", "verify"]
