"""``trtfast.verify``: the proof that an engine gives the right answers, and always the same."""

from .metrics import ClassAgreement, OutputErrors
from .report import BatchInvariance, Determinism, VerifyReport
from .run import verify
from .tolerance import Tolerance

__all__ = [
    "BatchInvariance",
    "ClassAgreement",
    "Determinism",
    "OutputErrors",
    "Tolerance",
    "VerifyReport",
    "verify",
]
