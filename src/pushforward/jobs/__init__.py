"""What a trained flow is for: one job a file, each a function that returns a record."""

from .comparing import compare_runs
from .evaluation import Evaluation, evaluate
from .measuring import Classification, SampleDistance, measure
from .verification import Verification, verify

__all__ = [
    "Classification",
    "Evaluation",
    "SampleDistance",
    "Verification",
    "compare_runs",
    "evaluate",
    "measure",
    "verify",
]
