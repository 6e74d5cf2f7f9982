"""The exceptions of trtfast.

Each message says what was wrong, what was expected, and what to do. A class here has the name of
the C++ exception it comes from (``csrc/error.h``).
"""

from __future__ import annotations

__all__ = [
    "BuildError",
    "ClosedError",
    "CudaError",
    "DeadlineExceededError",
    "EngineIncompatibleError",
    "Error",
    "ExportError",
    "InputError",
    "OutOfMemoryError",
    "PrecisionError",
    "QueueFullError",
    "TensorRTNotFoundError",
    "UnsupportedDeviceError",
    "UnsupportedVersionError",
]


class Error(Exception):
    """Base class of all errors that trtfast raises."""


class TensorRTNotFoundError(Error):
    """No TensorRT library could be loaded; the message lists each place that was searched."""


class UnsupportedVersionError(Error):
    """A TensorRT library was found whose version trtfast does not drive."""


class UnsupportedDeviceError(Error):
    """There is no CUDA device, or the TensorRT in use does not list its compute capability."""


class EngineIncompatibleError(Error):
    """A plan is damaged, or was built by another TensorRT or for another GPU."""


class BuildError(Error):
    """TensorRT could not parse an ONNX model or build an engine from it, or write the plan.

    Attributes
    ----------
    node : str | None
        The name of the ONNX node at fault, where TensorRT gave one.
    """

    node: str | None = None


class ExportError(Error):
    """A PyTorch model could not be exported to ONNX, or the export gives other numbers."""


class PrecisionError(Error):
    """The precision asked for cannot be had, or is not what the built engine holds."""


class InputError(Error, ValueError):
    """An argument has the wrong name, dtype, rank or shape, or cannot be read."""


class OutOfMemoryError(Error, MemoryError):
    """Device or page-locked host memory ran out.

    Attributes
    ----------
    requested, free : int | None
        Bytes asked for, and bytes that were free, where they are known.
    """

    requested: int | None = None
    free: int | None = None


class CudaError(Error):
    """A call of the CUDA runtime failed; the message names the call and CUDA's own text."""


class QueueFullError(Error):
    """Too many requests are waiting for a lane."""


class DeadlineExceededError(Error):
    """A request's deadline passed before a lane was free."""


class ClosedError(Error):
    """The engine was used after ``close()``."""
