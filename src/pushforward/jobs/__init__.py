"""What a trained flow is for: one job a file, each a function that returns a record."""

from .evaluate import Evaluation, evaluate
from .verify import Verification, verify

__all__ = ["Evaluation", "Verification", "evaluate", "verify"]
