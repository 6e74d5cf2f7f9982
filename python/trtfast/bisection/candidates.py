"""How a model in some precision is run, so that its layers can be looked at."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .. import precision as precisions
from ..build import build
from ..emulation import emulated
from ..engine import Engine
from ..reference import ReferenceEngine

if TYPE_CHECKING:
    from collections.abc import Collection

    import onnx

    from ..precision.ranges import Calibration
    from ..spec import InferenceEngine

__all__ = ["Candidate", "on_cpu", "on_gpu"]


class Candidate(Protocol):
    """Makes an engine of a float32 model."""

    def __call__(
        self,
        model: onnx.ModelProto,
        keep_fp32: Collection[str],
        keep_fp16: Collection[str] = (),
        /,
    ) -> InferenceEngine:
        """Return the engine.

        Parameters
        ----------
        model : onnx.ModelProto
            It may have more outputs than the one that is bisected, and the engine must have them.
        keep_fp32, keep_fp16 : collection of str
            Names of the nodes that stay in float32, and of those that are not quantised.
        """


def on_cpu(precision: str, calibration: Calibration | None = None) -> Candidate:
    """Return what runs a model on the CPU, with the rounding of its precision emulated.

    Parameters
    ----------
    precision : "fp16", "bf16", "mixed", "int8" or "fp8"
        What is quantised is rounded by the graph itself.
    calibration : Calibration, optional
        For the last three.

    Raises
    ------
    InputError
        If a calibration is missing, or of no use.
    PrecisionError
        If there is no such precision.
    """
    precisions.check(precision, is_calibrated=calibration is not None, keep_fp16=())

    def make(
        model: onnx.ModelProto, keep_fp32: Collection[str], keep_fp16: Collection[str] = ()
    ) -> InferenceEngine:
        if calibration is None:
            return ReferenceEngine(emulated(precisions.cast(model, precision, keep_fp32=keep_fp32)))
        rewritten = precisions.rewrite(
            model,
            precision,
            keep_fp32=keep_fp32,
            keep_fp16=keep_fp16,
            calibration=calibration,
        )
        return ReferenceEngine(emulated(rewritten.model))

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

    def make(
        model: onnx.ModelProto, keep_fp32: Collection[str], keep_fp16: Collection[str] = ()
    ) -> InferenceEngine:
        with tempfile.TemporaryDirectory(prefix="trtfast-") as folder:
            plan = build(
                model,
                Path(folder) / "candidate.engine",
                precision=precision,
                keep_fp32=keep_fp32,
                keep_fp16=keep_fp16,
                device=device,
                **options,
            )
            return Engine(plan, device=device, lanes=1)

    return make
