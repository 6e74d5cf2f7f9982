"""From a trained PyTorch model to production latency: PyTorch → ONNX → TensorRT → ``infer``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# These modules have the name of their function, so the function has to be bound at once.
from .build import build
from .check import Verdict, check
from .errors import (
    BuildError,
    ClosedError,
    CudaError,
    DeadlineExceededError,
    EngineIncompatibleError,
    Error,
    ExportError,
    InputError,
    OutOfMemoryError,
    PrecisionError,
    QueueFullError,
    TensorRTNotFoundError,
    UnsupportedDeviceError,
    UnsupportedVersionError,
)
from .export import export
from .spec import InferenceEngine, ShapeRange, TensorSpec

if TYPE_CHECKING:
    from ._core import DeviceArray, __version__
    from .batcher import Batcher
    from .benchmarking import BenchmarkReport, benchmark
    from .bisection import BisectReport, bisect
    from .comparison import CompareReport, compare
    from .engine import Engine
    from .futures import InferenceFuture
    from .labels import class_names
    from .passport import Passport
    from .pipeline import compile, load  # noqa: A004 - the word for it, as in torch.compile
    from .postprocess import Classification, sigmoid, softmax, top_k
    from .precision.calibrate import calibrate
    from .precision.ranges import Calibration
    from .preprocess import Preprocess, read_image
    from .profiling import ProfileReport, profile
    from .reference import ReferenceEngine
    from .report import BatcherStats, EngineStats, LayerTime, MemoryReport
    from .verification import Tolerance, VerifyReport, verify

__all__ = [
    "Batcher",
    "BatcherStats",
    "BenchmarkReport",
    "BisectReport",
    "BuildError",
    "Calibration",
    "Classification",
    "ClosedError",
    "CompareReport",
    "CudaError",
    "DeadlineExceededError",
    "DeviceArray",
    "Engine",
    "EngineIncompatibleError",
    "EngineStats",
    "Error",
    "ExportError",
    "InferenceEngine",
    "InferenceFuture",
    "InputError",
    "LayerTime",
    "MemoryReport",
    "OutOfMemoryError",
    "Passport",
    "PrecisionError",
    "Preprocess",
    "ProfileReport",
    "QueueFullError",
    "ReferenceEngine",
    "ShapeRange",
    "TensorRTNotFoundError",
    "TensorSpec",
    "Tolerance",
    "UnsupportedDeviceError",
    "UnsupportedVersionError",
    "Verdict",
    "VerifyReport",
    "__version__",
    "benchmark",
    "bisect",
    "build",
    "calibrate",
    "check",
    "class_names",
    "compare",
    "compile",
    "export",
    "load",
    "profile",
    "read_image",
    "sigmoid",
    "softmax",
    "top_k",
    "verify",
]

# NumPy alone takes as long to import as a service may take to start: these come when first used.
_LAZY = {
    "Batcher": "batcher",
    "BatcherStats": "report",
    "BenchmarkReport": "benchmarking",
    "BisectReport": "bisection",
    "Calibration": "precision.ranges",
    "Classification": "postprocess",
    "CompareReport": "comparison",
    "DeviceArray": "_core",
    "Engine": "engine",
    "EngineStats": "report",
    "LayerTime": "report",
    "InferenceFuture": "futures",
    "MemoryReport": "report",
    "Passport": "passport",
    "Preprocess": "preprocess",
    "ProfileReport": "profiling",
    "ReferenceEngine": "reference",
    "Tolerance": "verification",
    "VerifyReport": "verification",
    "__version__": "_core",
    "benchmark": "benchmarking",
    "bisect": "bisection",
    "calibrate": "precision.calibrate",
    "class_names": "labels",
    "compare": "comparison",
    "compile": "pipeline",
    "load": "pipeline",
    "profile": "profiling",
    "read_image": "preprocess",
    "sigmoid": "postprocess",
    "softmax": "postprocess",
    "top_k": "postprocess",
    "verify": "verification",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
