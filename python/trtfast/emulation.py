"""Half precision on a CPU: a model in float16 or bfloat16 as a float32 model that rounds alike.

ONNX Runtime's CPU provider is no measure of half precision. It runs most float16 operators in
float32 and drops the casts between them, so that nothing is rounded and nothing overflows; and it
has next to none for bfloat16. It does honour a float32 model that casts each result to half and
back.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from ._onnx import bodies, skeleton, value_names

if TYPE_CHECKING:
    import onnx

__all__ = ["emulated"]

# TensorProto.DataType, which is ONNX's file format and so never changes.
_FLOAT, _HALVES = 1, (10, 16)
# Attributes that hold the type of an output.
_TYPE_ATTRIBUTES = ("dtype", "output_dtype", "to")


def emulated(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a float32 model that gives, on a CPU, what a model in half precision gives on a GPU.

    Each result that the model has in float16 or bfloat16 is computed in float32, as by kernels that
    add up in float32, and then rounded to it: what overflows there is infinite here. A GPU rounds
    less often where it fuses layers, and adds up in another order.

    Parameters
    ----------
    model : onnx.ModelProto
        Not changed; as :func:`trtfast.precision.cast` makes it. Its weights must have been loaded.

    Returns
    -------
    onnx.ModelProto
        Its inputs and outputs are float32 where those of the model are half precision.
    """
    import onnx

    types = _half_types(onnx.shape_inference.infer_shapes(skeleton(model)).graph)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    _Emulator(types, value_names(model.graph)).rewrite(result.graph)
    return result


def _half_types(graph: onnx.GraphProto) -> dict[str, int]:
    """Return the type of each value in half precision, inner graphs included."""
    values = chain(graph.input, graph.output, graph.value_info)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        for body in bodies(node):
            types |= _half_types(body)
    return {name: element for name, element in types.items() if element in _HALVES}


class _Emulator:
    def __init__(self, types: dict[str, int], names: set[str]) -> None:
        self._types = types
        self._names = names

    def rewrite(self, graph: onnx.GraphProto) -> None:
        """Have a graph, and those inside it, compute in float32."""
        import onnx

        del graph.value_info[:]
        for value in chain(graph.input, graph.output):
            if value.type.tensor_type.elem_type in _HALVES:
                value.type.tensor_type.elem_type = _FLOAT
        for tensor in graph.initializer:
            _widen(tensor)
        nodes = list(graph.node)
        del graph.node[:]
        for node in nodes:
            for body in bodies(node):
                self.rewrite(body)
            for attribute in node.attribute:
                if attribute.name in _TYPE_ATTRIBUTES and attribute.i in _HALVES:
                    attribute.i = _FLOAT
                if attribute.HasField("t"):
                    _widen(attribute.t)
            casts = []
            for index, name in enumerate(node.output):
                if element := self._types.get(name):
                    exact, rounded = self._new(name, "exact"), self._new(name, "rounded")
                    node.output[index] = exact
                    casts += [
                        onnx.helper.make_node("Cast", [exact], [rounded], to=element),
                        onnx.helper.make_node("Cast", [rounded], [name], to=_FLOAT),
                    ]
            graph.node.extend([node, *casts])

    def _new(self, name: str, what: str) -> str:
        new = f"{name}_{what}"
        while new in self._names:
            new += "_"
        self._names.add(new)
        return new


def _widen(tensor: onnx.TensorProto) -> None:
    """Hold a tensor's values in float32, which has all of half precision's."""
    import numpy as np
    import onnx

    if tensor.data_type in _HALVES:
        values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
