"""A model in PyTorch and in engines, side by side: answers, errors, times, memory."""

from __future__ import annotations

from .page import write_page
from .report import CompareReport, Contender, Latency, Prediction, Split
from .run import compare

__all__ = [
    "CompareReport",
    "Contender",
    "Latency",
    "Prediction",
    "Split",
    "compare",
    "write_page",
]
