"""What a TensorRT and a GPU cannot run, known before a build."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import PrecisionError
from . import QUANTISED

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import onnx

    from .. import _core

__all__ = ["require", "require_layers"]

# The first compute capability that has the data type. TensorRT-RTX 1.5 refuses it for older ones.
_SINCE = {"tf32": 80, "bf16": 80, "fp8": 89}
# The first TensorRT-RTX that builds int8 convolutions: 1.4 to 1.6 have kernels for float and fp8.
_RTX_INT8_CONVOLUTION = (1, 7)


def require(
    precision: str,
    library: _core.Library,
    gpu: _core.Device | None,
    targets: Sequence[int],
) -> None:
    """Raise PrecisionError if what is to run the engine has no such precision.

    Parameters
    ----------
    precision : one of ``trtfast.precision.PRECISIONS``
    library : the TensorRT that builds
    gpu : the GPU of this machine, if there is one
    targets : compute capabilities to build for; none for the GPU, or for all that can
    """
    if precision == "tf32" and library.is_rtx:
        raise PrecisionError(
            f"{library.product} {library.version} decides by itself where float32 is computed in "
            "TF32: use fp32, which there means either, or fp16"
        )
    devices = targets or ([gpu.compute_capability] if gpu is not None else [])
    since = _SINCE.get(precision)
    if since is not None and (lacking := [device for device in devices if device < since]):
        raise PrecisionError(
            f"{precision} needs compute capability {since / 10} or newer, and the engine is to run "
            f"on {', '.join(f'{device / 10}' for device in lacking)}: use fp16"
        )
    # Measured on 9.0: some float8 engines of TensorRT-RTX 1.5 divide by zero in the library as a
    # context is made, which ends the process; those that run are slower than in float16.
    unlisted = [device for device in devices if not library.supports(device)]
    if precision == "fp8" and library.is_rtx and unlisted:
        raise PrecisionError(
            f"{library.product} {library.version} does not list compute capability "
            f"{', '.join(f'{device / 10}' for device in unlisted)}, where its fp8 engines can end "
            "the process that loads them: use fp16 there"
        )
    if precision in QUANTISED and library.generation == "rtx14" and gpu is None:
        raise PrecisionError(
            f"{library.product} {library.version} builds quantised engines only where a GPU is: "
            "build there, or with 1.5 or newer"
        )


def require_layers(
    precision: str, library: _core.Library, model: onnx.ModelProto, keep: Collection[str]
) -> None:
    """Raise PrecisionError if the TensorRT has no kernel for what is to be quantised.

    Parameters
    ----------
    precision, library
        As of :func:`require`.
    model : onnx.ModelProto
        In float32.
    keep : names of nodes that are not quantised
    """
    from .ranges import normalised, quantisable

    version = tuple(map(int, library.version.split(".")[:2]))
    if precision != "int8" or not library.is_rtx or version >= _RTX_INT8_CONVOLUTION:
        return
    convolutions = [
        node.name
        for node, *_ in quantisable(normalised(model).graph)
        if node.op_type == "Conv" and node.name not in keep
    ]
    if convolutions:
        raise PrecisionError(
            f"{library.product} {library.version} has no int8 convolutions, and the model has "
            f"{len(convolutions)}, as {', '.join(convolutions[:3])}: use fp8, on compute "
            "capability 8.9 or newer, or fp16, or TensorRT; or name them in keep_fp16 to have only "
            "the products in int8"
        )
