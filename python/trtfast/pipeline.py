"""The short ways to an engine: ``load`` what is there, or ``compile`` a PyTorch module."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from . import backend as backends
from .build import cached
from .engine import Engine
from .errors import InputError
from .export import export
from .reference import ReferenceEngine

if TYPE_CHECKING:
    import os

    import torch

    from .export import Args, DynamicAxes
    from .spec import InferenceEngine

__all__ = ["compile", "load"]

logger = logging.getLogger("trtfast")

PLANS = (".engine", ".plan", ".trt")


def load(
    path: str | os.PathLike[str],
    *,
    backend: str = "auto",
    device: int = 0,
    **options: Any,
) -> InferenceEngine:
    """Load a model in the best way that this machine allows.

    A plan becomes an :class:`Engine`. An ONNX model becomes one too where TensorRT and a GPU that
    it supports are at hand: it is built once, and kept in the cache. Elsewhere an ONNX model
    becomes a :class:`ReferenceEngine`, and a line in the log says so.

    Parameters
    ----------
    path : path
        ``.engine``, ``.plan``, ``.trt`` or ``.onnx``.
    backend : "auto", "tensorrt", "tensorrt_rtx" or "reference"
        Only "auto" falls back on the reference.
    device : int
        The GPU's index.
    **options
        Those of :class:`Engine`, and for an ONNX model those of :func:`build`.

    Raises
    ------
    InputError
        If there is no such file, or its ending is none of the above.
    EngineIncompatibleError
        If a plan cannot be loaded here; with ``rebuild=True``, if it cannot be built again either.
    """
    path = Path(path)
    if backend == "reference":
        return ReferenceEngine(path, preprocess=options.get("preprocess"))
    backends.check_backend(backend)
    if path.suffix in PLANS:
        return Engine(path, backend=backend, device=device, **options)
    if path.suffix != ".onnx":
        raise InputError(f"{path}: the ending must be .onnx or one of {', '.join(PLANS)}")
    if not path.is_file():
        raise InputError(f"there is no ONNX file {path}")
    allowed = options.get("allow_unsupported_gpu")
    if backend == "auto" and (reason := backends.why_no_engine(device, allowed)):
        logger.warning("%s runs on the CPU, on the reference engine: %s", path, reason)
        return ReferenceEngine(path, preprocess=options.get("preprocess"))
    return _cached_engine(path, backend=backend, device=device, **options)


def compile(  # noqa: A001 - the word for it, as in torch.compile
    model: torch.nn.Module,
    args: Args,
    *,
    dynamic: DynamicAxes | Literal[False] | None = None,
    opset: int | None = None,
    backend: str = "auto",
    device: int = 0,
    **options: Any,
) -> Engine:
    """Export a PyTorch module, build an engine from it, and load that.

    The engine is kept in the cache: the same module with the same options is built once for each
    TensorRT and GPU.

    Parameters
    ----------
    model, args, dynamic, opset
        As in :func:`export`.
    backend : "auto", "tensorrt" or "tensorrt_rtx"
    device : int
        The GPU's index.
    **options
        Those of :func:`build` and of :class:`Engine`.

    Raises
    ------
    ExportError, BuildError, PrecisionError, UnsupportedDeviceError, TensorRTNotFoundError
    """
    backends.require_gpu(device)
    with tempfile.TemporaryDirectory(prefix="trtfast-") as folder:
        onnx = export(model, args, Path(folder) / "model.onnx", dynamic=dynamic, opset=opset)
        return _cached_engine(onnx, backend=backend, device=device, **options)


_ENGINE_OPTIONS = (
    "activation_memory",
    "allow_unsupported_gpu",
    "cuda_graph",
    "lanes",
    "max_queue",
    "nvtx",
    "pad_to_bucket",
    "preprocess",
    "rebuild",
    "wait",
)


def _cached_engine(onnx: Path, *, backend: str, device: int, **options: Any) -> Engine:
    engine_options = {name: options.pop(name) for name in _ENGINE_OPTIONS if name in options}
    backends.require_gpu(device)
    path = cached(onnx, backend=backend, device=device, **options)
    return Engine(path, backend=backend, device=device, **engine_options)
