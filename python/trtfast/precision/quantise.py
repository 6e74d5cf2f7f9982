"""Post-training quantisation: QuantizeLinear and DequantizeLinear around what is to be int8 or fp8.

TensorRT fuses each such pair into the convolution or product behind it. ONNX Runtime runs the same
graph, so that accuracy can be had before an engine is built.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._onnx import constants, unique, used_names, value_names
from ..errors import PrecisionError
from .ranges import quantisable

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy.typing as npt
    import onnx

    from .ranges import Calibration

__all__ = ["LARGEST", "quantise", "scale_of"]

# The largest magnitude that each can hold: both are symmetric, as TensorRT wants them.
LARGEST = {"int8": 127.0, "fp8": 448.0}


def quantise(
    model: onnx.ModelProto, precision: str, calibration: Calibration, keep: Collection[str]
) -> tuple[onnx.ModelProto, frozenset[str]]:
    """Quantise the convolutions and the products with constant weights of a float32 model.

    Weights are quantised by channel of the output and stored so, activations by tensor, both
    symmetrically; biases stay as they are. Scales are such that float16 holds them exactly.

    Parameters
    ----------
    model : onnx.ModelProto
        As :func:`trtfast.precision.ranges.normalised` gives it; not changed.
    precision : {"int8", "fp8"}
    calibration : Calibration
        Of the same model.
    keep : collection of str
        Names of nodes to leave as they are.

    Returns
    -------
    The quantised model, and the names of the nodes that take what is quantised

    Raises
    ------
    PrecisionError
        If no node is left to quantise, or the calibration is that of another model.
    """
    import onnx

    result = onnx.ModelProto()
    result.CopyFrom(model)
    result.ir_version = max(result.ir_version, 9)  # the first with float8
    chosen = [entry for entry in quantisable(model.graph) if entry[0].name not in keep]
    if not chosen:
        raise PrecisionError(
            f"there is nothing to compute in {precision}: the model has no convolution and no "
            "product with a constant weight that is not to be kept in float; use fp16"
        )
    if lacking := [name for _, name, _ in chosen if name not in calibration.ranges]:
        raise PrecisionError(
            f"the calibration says nothing of {lacking[0]!r}: it is that of another model. "
            "Calibrate again"
        )
    quantiser = _Quantiser(precision, calibration, result.graph, constants(model.graph))
    pairs = {node.name: quantiser.pair(node, *names) for node, *names in chosen}
    nodes = list(result.graph.node)
    del result.graph.node[:]
    for node in nodes:
        if node.name in pairs:
            node.input[:2] = pairs[node.name]
        # In order: what makes a value comes before what quantises it.
        result.graph.node.extend(quantiser.made.pop(node.name, ()))
        result.graph.node.append(node)
    _drop_unused(result.graph)
    return result, frozenset(pairs)


def scale_of(largest: npt.NDArray[Any], precision: str) -> npt.NDArray[Any]:
    """Return the scales that spread a precision's values over what is at most so large.

    They are float32 and rounded up to what float16 holds, so that the largest still fits. What is
    always zero gets the scale 1.
    """
    import numpy as np

    exact = np.asarray(largest, np.float32) / np.float32(LARGEST[precision])
    half = exact.astype(np.float16)
    up = np.where(half < exact, np.nextafter(half, np.float16(np.inf)), half)
    return np.where(exact > 0, up, 1).astype(np.float32)


@dataclass
class _Quantiser:
    precision: str
    calibration: Calibration
    graph: onnx.GraphProto
    constants: dict[str, onnx.TensorProto]
    made: dict[str, list[onnx.NodeProto]] = field(default_factory=dict)  # by the node behind
    _known: dict[Any, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._values = value_names(self.graph)
        self._nodes = {node.name for node in self.graph.node}

    def pair(self, node: onnx.NodeProto, activation: str, weight: str) -> tuple[str, str]:
        """Return the names of a node's input and weight after they were quantised."""
        axis: int | None = 0
        if node.op_type != "Conv":
            transposed = any(a.name == "transB" and a.i for a in node.attribute)
            axis = 0 if transposed else 1
            if len(self.constants[weight].dims) != 2:
                axis = None  # a product of many matrices
        return self._activation(node, activation), self._weight(node, weight, axis)

    def _activation(self, node: onnx.NodeProto, name: str) -> str:
        import numpy as np

        if name not in self._known:
            scale = scale_of(np.float32(self.calibration.ranges[name]), self.precision)
            parameters = self._parameters(name, scale)
            quantised = self._make(node, "QuantizeLinear", [name, *parameters], {})
            self._known[name] = self._make(node, "DequantizeLinear", [quantised, *parameters], {})
        return self._known[name]

    def _weight(self, node: onnx.NodeProto, name: str, axis: int | None) -> str:
        import numpy as np
        from onnx import numpy_helper

        if (name, axis) not in self._known:
            values = numpy_helper.to_array(self.constants[name])
            others = tuple(i for i in range(values.ndim) if i != axis)
            scale = scale_of(np.abs(values).max(others), self.precision)
            spread = scale if axis is None else np.expand_dims(scale, others)
            quantised = self._store(f"{name}_{self.precision}", self._rounded(values / spread))
            inputs = [quantised, *self._parameters(name, scale)]
            attributes = {} if axis is None else {"axis": axis}
            self._known[name, axis] = self._make(node, "DequantizeLinear", inputs, attributes)
        return self._known[name, axis]

    def _rounded(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        import ml_dtypes
        import numpy as np

        largest = LARGEST[self.precision]
        clipped = np.clip(values, -largest, largest)
        rounded: npt.NDArray[Any] = (
            np.rint(clipped).astype(np.int8)
            if self.precision == "int8"
            else clipped.astype(ml_dtypes.float8_e4m3fn)
        )
        return rounded

    def _parameters(self, name: str, scale: npt.NDArray[Any]) -> list[str]:
        zero = self._rounded(scale * 0)
        return [self._store(f"{name}_scale", scale), self._store(f"{name}_zero", zero)]

    def _store(self, name: str, values: npt.NDArray[Any]) -> str:
        import numpy as np
        from onnx import numpy_helper

        name = unique(name, self._values)
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def _make(
        self, node: onnx.NodeProto, kind: str, inputs: list[str], attributes: dict[str, Any]
    ) -> str:
        from onnx import helper

        output = unique(f"{inputs[0]}_{kind}", self._values)
        name = unique(output, self._nodes)
        made = helper.make_node(kind, inputs, [output], name=name, **attributes)
        self.made.setdefault(node.name, []).append(made)
        return output


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Drop the float weights that nothing reads any more."""
    used = used_names(graph)
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
