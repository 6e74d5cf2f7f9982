"""How a model in some precision is run, so that its layers can be looked at."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from .. import precision as precisions
from ..build import build
from ..emulation import emulated
from ..engine import Engine
from ..reference import ReferenceEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import onnx

    from ..spec import InferenceEngine

__all__ = ["Candidate", "on_cpu", "on_gpu"]

Candidate: TypeAlias = "Callable[[onnx.ModelProto, Collection[str]], InferenceEngine]"
"""Makes an engine of a float32 model, in which the nodes of these names stay float32.

The model may have more outputs than the one that is bisected, and the engine must have them too.
"""


def on_cpu(precision: str) -> Candidate:
    """Return what runs a model on the CPU, with the rounding of its precision emulated.

    Parameters
    ----------
    precision : "fp16" or "bf16"
    """

    def make(model: onnx.ModelProto, keep_fp32: Collection[str]) -> InferenceEngine:
        return ReferenceEngine(emulated(precisions.cast(model, precision, keep_fp32=keep_fp32)))

    return make


def on_gpu(precision: str, *, device: int = 0, **options: Any) -> Candidate:
    """Return what builds a TensorRT engine and runs it.

    Parameters
    ----------
    precision : str
    device : int
        The GPU's index.
    **options
        Those of :func:`trtfast.build`.
    """

    def make(model: onnx.ModelProto, keep_fp32: Collection[str]) -> InferenceEngine:
        with tempfile.TemporaryDirectory(prefix="trtfast-") as folder:
            plan = build(
                model,
                Path(folder) / "candidate.engine",
                precision=precision,
                keep_fp32=keep_fp32,
                device=device,
                **options,
            )
            return Engine(plan, device=device, lanes=1)

    return make
