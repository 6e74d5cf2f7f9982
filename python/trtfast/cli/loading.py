"""How commands open a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trtfast
from trtfast.errors import InputError

from .console import build_progress, note

if TYPE_CHECKING:
    from pathlib import Path

    from trtfast.spec import InferenceEngine

__all__ = ["load"]


def load(
    path: Path, precision: str | None, backend: str, device: int, **options: Any
) -> InferenceEngine:
    """Open an engine, or an ONNX model, from which one is built where one can run.

    Parameters
    ----------
    path : Path
    precision : str or None
        Of an ONNX model.
    backend, device, **options
        As of :func:`trtfast.load`.
    """
    if precision is not None and path.suffix != ".onnx":
        raise InputError(f"--precision is for an ONNX model, and {path} is built: leave it out")
    if precision is not None:
        options["precision"] = precision
    with build_progress(f"opening {path.name}") as progress:
        if path.suffix == ".onnx":
            options["progress"] = progress
        engine = trtfast.load(path, backend=backend, device=device, **options)
    if precision is not None and isinstance(engine, trtfast.ReferenceEngine):
        note(f"the reference engine runs in float32, and not in {precision}")
    return engine
