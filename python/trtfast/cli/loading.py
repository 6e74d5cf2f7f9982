"""How commands open a model."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import trtfast
from trtfast import backend as backends
from trtfast import model as models
from trtfast.errors import InputError, UnsupportedDeviceError
from trtfast.passport import Passport

from .console import build_progress, note

if TYPE_CHECKING:
    from pathlib import Path

    from trtfast.spec import InferenceEngine

__all__ = ["known_of", "load"]


def known_of(path: Path) -> Passport | None:
    """Return the passport of an engine; of an ONNX model, that of the engine beside it.

    None where the engine was built from another model, or nothing can tell.
    """
    if path.suffix != ".onnx" or not path.is_file():
        return Passport.of(path)
    known = Passport.of(path.with_suffix(".engine"))
    if known is None or find_spec("onnx") is None:
        return None
    if known.onnx_sha256 != models.sha256(models.read(path)[0]):
        return None
    return known


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
    if path.suffix != ".onnx" and backend == "reference":
        raise InputError(f"the reference engine runs ONNX models, and {path} is none")
    with build_progress(f"opening {path.name}") as progress:
        if path.suffix == ".onnx":
            options["progress"] = progress
        try:
            engine = trtfast.load(path, backend=backend, device=device, **options)
        except UnsupportedDeviceError:
            reason = backends.why_no_engine()
            if reason is None or path.suffix == ".onnx" or backends.gpu() is not None:
                raise
            raise UnsupportedDeviceError(
                f"{path.name} is an engine, and {reason}. The ONNX model that it was built from "
                "runs without one, on the CPU; `trtfast doctor` tells what is missing"
            ) from None
    if precision is not None and isinstance(engine, trtfast.ReferenceEngine):
        note(f"the reference engine runs in float32, and not in {precision}")
    return engine
