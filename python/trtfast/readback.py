"""Did the precision asked for come true? Read it back from the network that was built."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from . import inspector
from .errors import PrecisionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

    from . import _core
    from .precision import Rewritten
    from .report import LayerTime

__all__ = ["check", "computed", "engine_dtypes", "time_shares"]

_DTYPES = {"fp32": "float32", "tf32": "float32", "bf16": "bfloat16"}  # else float16
_QUANTISED = {"int8": "int8", "fp8": "float8_e4m3fn"}
_COMPUTE = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def check(
    layers: Sequence[_core.LayerInfo], rewritten: Rewritten, precision: str
) -> dict[str, int]:
    """Compare the dtypes of TensorRT's layers with the precision that was asked for.

    TensorRT's networks are strongly typed: an engine computes each layer in the dtypes that its
    network gives it.

    Parameters
    ----------
    layers : those of the network that was built
    rewritten : Rewritten
        What it was parsed from.
    precision : one of ``trtfast.precision.PRECISIONS``

    Returns
    -------
    dict
        How many layers give each dtype.

    Raises
    ------
    PrecisionError
        Naming the convolutions and matrix products that are in another precision, or take what is
        not quantised.
    """
    wanted = _DTYPES.get(precision, "float16")
    nodes = rewritten.model.graph.node
    asked = {node.name for node in nodes if node.op_type in _COMPUTE} - rewritten.kept
    wrong = [
        f"{layer.name} in {layer.outputs[0]}"
        for layer in layers
        if layer.name in asked and layer.outputs and layer.outputs[0] != wanted
    ]
    taken = _taken(layers, rewritten)
    for name in sorted(rewritten.quantised):
        others = {dtype for dtype in taken[name] if dtype != _QUANTISED[precision]}
        wrong += [f"{name} takes {' and '.join(sorted(others))}"] if others else []
    if wrong:
        raise PrecisionError(
            f"asked for {precision}, but {len(wrong)} layers are in another precision: "
            f"{', '.join(wrong[:5])}{', …' if len(wrong) > 5 else ''}. Name those nodes in "
            "keep_fp32 if that is meant, or export the model in float32."
        )
    return dict(Counter(dtype for layer in layers for dtype in layer.outputs[:1]).most_common())


def computed(layers: Sequence[_core.LayerInfo], rewritten: Rewritten) -> dict[str, int]:
    """Count the convolutions and matrix products by the dtype of what they take.

    Parameters
    ----------
    layers, rewritten
        As of :func:`check`.
    """
    taken = _taken(layers, rewritten)
    plain = {layer.name: layer.outputs[0] for layer in layers if layer.outputs}
    found: Counter[str] = Counter()
    for node in rewritten.model.graph.node:
        if node.op_type in _COMPUTE and node.name in taken:
            found["".join(taken[node.name][:1])] += 1
        elif node.op_type in _COMPUTE and node.name in plain:
            found[plain[node.name]] += 1
    return dict(found.most_common())


def engine_dtypes(told: str) -> dict[str, int]:
    """Count the layers of an engine by the dtype that each computes in.

    Parameters
    ----------
    told : str
        The engine inspector's JSON.
    """
    computing = (layer.dtype for layer in inspector.layers(told))
    return dict(Counter(dtype for dtype in computing if dtype is not None).most_common())


def time_shares(told: str, times: Sequence[LayerTime]) -> dict[str, float]:
    """Return which share of an engine's time its layers spend in each dtype.

    Parameters
    ----------
    told : str
        The engine inspector's JSON.
    times : sequence of LayerTime
        Of the same engine, as ``Engine.profile`` gives them.

    Returns
    -------
    dict
        From dtype to share, of a sum of 1, the largest first; ``"unknown"`` for layers that the
        inspector does not tell of.
    """
    dtypes = {layer.name: layer.dtype for layer in inspector.layers(told)}
    spent: Counter[str] = Counter()
    for layer in times:
        spent[dtypes.get(layer.name) or "unknown"] += layer.milliseconds  # type: ignore[assignment]
    total = sum(spent.values())
    return {dtype: time / total for dtype, time in spent.most_common()} if total else {}


def _taken(layers: Sequence[_core.LayerInfo], rewritten: Rewritten) -> dict[str, list[str]]:
    """Return, of each node that is to be quantised, the dtypes of its input and its weight.

    TensorRT's network has a layer for each DequantizeLinear; what that one takes is what the fused
    kernel takes.
    """
    took = {layer.name: layer.inputs[0] for layer in layers if layer.inputs}
    sources: dict[str, onnx.NodeProto] = {
        name: node for node in rewritten.model.graph.node for name in node.output
    }

    def dtype_of(value: str) -> str:
        source = sources.get(value)
        if source is None or source.op_type != "DequantizeLinear":
            return "what is not quantised"
        return took.get(source.name, "what no layer dequantises")

    return {
        node.name: [dtype_of(value) for value in node.input[:2]]
        for node in rewritten.model.graph.node
        if node.name in rewritten.quantised
    }
