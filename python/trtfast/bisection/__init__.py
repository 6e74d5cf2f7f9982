"""``trtfast.bisect``: the ONNX nodes where a precision loses the answer."""

from .candidates import Candidate, on_cpu, on_gpu
from .layers import NodeError
from .report import BisectReport, Trial, read_keep_list
from .search import bisect

__all__ = [
    "BisectReport",
    "Candidate",
    "NodeError",
    "Trial",
    "bisect",
    "on_cpu",
    "on_gpu",
    "read_keep_list",
]
