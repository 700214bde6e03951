"""What a trained flow is for: one job a file, each a function that returns a record."""

from .evaluation import Evaluation, evaluate
from .verification import Verification, verify

__all__ = ["Evaluation", "Verification", "evaluate", "verify"]
