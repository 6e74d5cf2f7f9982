"""Did the precision asked for come true? Read it back from the network that was built."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING

from .errors import PrecisionError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import onnx

    from . import _core

__all__ = ["check", "engine_dtypes"]

_DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
# What engine inspectors call them, in "Datatype" or, before TensorRT 11, "Format/Datatype".
_INSPECTOR_DTYPES = {
    r"Float|FP32": "float32",
    r"Half|FP16": "float16",
    r"BFloat16|BF16": "bfloat16",
}
_COMPUTE = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def check(
    layers: Sequence[_core.LayerInfo],
    model: onnx.ModelProto,
    precision: str,
    keep_fp32: Collection[str],
) -> dict[str, int]:
    """Compare the dtypes of TensorRT's layers with the precision that was asked for.

    TensorRT's networks are strongly typed: an engine computes each layer in the dtype that its
    network gives it.

    Parameters
    ----------
    layers : those of the network that was built
    model : onnx.ModelProto
        What it was parsed from.
    precision : "fp32", "fp16" or "bf16"
    keep_fp32 : names of ONNX nodes that were to stay in float32

    Returns
    -------
    dict
        How many layers give each dtype.

    Raises
    ------
    PrecisionError
        Naming the convolutions and matrix products that are in another precision.
    """
    asked = {node.name for node in model.graph.node if node.op_type in _COMPUTE} - set(keep_fp32)
    wrong = [
        f"{layer.name} in {layer.outputs[0]}"
        for layer in layers
        if layer.name in asked and layer.outputs and layer.outputs[0] != _DTYPES[precision]
    ]
    if wrong:
        raise PrecisionError(
            f"asked for {precision}, but {len(wrong)} layers are in another precision: "
            f"{', '.join(wrong[:5])}{', …' if len(wrong) > 5 else ''}. Name those nodes in "
            "keep_fp32 if that is meant, or export the model in float32."
        )
    return dict(Counter(dtype for layer in layers for dtype in layer.outputs[:1]).most_common())


def engine_dtypes(told: str) -> dict[str, int]:
    """Count the layers of an engine by the dtype that each gives.

    Parameters
    ----------
    told : str
        The engine inspector's JSON.
    """
    found: Counter[str] = Counter()
    for layer in json.loads(told)["Layers"]:
        for output in layer.get("Outputs", ())[:1] if isinstance(layer, dict) else ():
            text = output.get("Datatype") or output.get("Format/Datatype", "")
            found[_dtype_of(text)] += 1
    return dict(found.most_common())


def _dtype_of(text: str) -> str:
    for pattern, name in _INSPECTOR_DTYPES.items():
        if re.search(rf"\b({pattern})\b", text):
            return name
    return text.lower()
