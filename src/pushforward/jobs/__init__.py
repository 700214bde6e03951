"""What a trained flow is for: one job a file, each a function that returns a record."""

from .evaluation import Evaluation, evaluate
from .measuring import Classification, SampleDistance, measure
from .verification import Verification, verify

__all__ = [
    "Classification",
    "Evaluation",
    "SampleDistance",
    "Verification",
    "evaluate",
    "measure",
    "verify",
]
