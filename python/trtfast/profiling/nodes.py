"""What the nodes of an ONNX model take, give and compute, with the shapes that ran."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from .._onnx import bodies, graph_node_names, is_control_flow, named_skeleton
from ..inspector import InspectedTensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import onnx

    from ..spec import Shape

__all__ = ["Node", "nodes_of", "total"]

# Operators that compute convolutions and products inside, of how many operations is not known here.
_UNKNOWN = frozenset({"Attention", "DeformConv", "Einsum", "GRU", "LSTM", "RNN"})
# Which input is the first factor of a product, or the weight of a convolution.
_PRODUCTS = {"Gemm": 0, "MatMul": 0, "MatMulInteger": 0, "QLinearMatMul": 0}
_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "ConvTranspose": 1, "QLinearConv": 3}


@dataclass(frozen=True)
class Node:
    """A node of an ONNX model.

    Attributes
    ----------
    name, kind : str
        ``kind`` is its operator.
    inputs, outputs : tuple of InspectedTensor
        With the shapes that ran.
    constants : frozenset of str
        The names of those inputs that do not depend on the model's.
    flops : int or None
        Of a convolution or a matrix product, two for each multiplication and addition; 0 for other
        operators, and where nothing depends on the model's inputs. None where it is not known.
    """

    name: str
    kind: str
    inputs: tuple[InspectedTensor, ...]
    outputs: tuple[InspectedTensor, ...]
    constants: frozenset[str]
    flops: int | None


def nodes_of(model: onnx.ModelProto, shapes: Mapping[str, Shape]) -> dict[str, Node]:
    """Return the nodes of a model by name, in its order.

    Parameters
    ----------
    model : onnx.ModelProto
        Not changed. Nodes without a name are named after their first output.
    shapes : mapping from input name to shape
        Those that ran.

    Returns
    -------
    dict of str to Node
        Nodes inside control flow are there too, without their tensors.
    """
    import onnx

    light = named_skeleton(model)
    _set_shapes(light.graph, shapes)
    typed = onnx.shape_inference.infer_shapes(light, data_prop=True).graph
    tensors = _tensors(typed)
    constants = _constants(typed)
    found: dict[str, Node] = {}
    for node in typed.node:
        inputs = [tensors.get(name, InspectedTensor(name, "", None)) for name in node.input]
        outputs = [tensors.get(name, InspectedTensor(name, "", None)) for name in node.output]
        known = constants.intersection(node.input)
        is_constant = constants.issuperset(node.output)
        flops = 0 if is_constant else _flops(node, inputs, outputs)
        found[node.name] = Node(
            node.name,
            node.op_type,
            tuple(tensor for tensor in inputs if tensor.name),
            tuple(tensor for tensor in outputs if tensor.name),
            known,
            flops,
        )
        for body in bodies(node):
            for inner in graph_node_names(body):
                found.setdefault(inner, Node(inner, "", (), (), frozenset(), flops))
    return found


def _set_shapes(graph: onnx.GraphProto, shapes: Mapping[str, Shape]) -> None:
    """Fix the inputs' shapes, and what they say of the names of dimensions elsewhere."""
    sizes: dict[str, int] = {}
    for value in graph.input:
        for dim, size in zip(
            value.type.tensor_type.shape.dim, shapes.get(value.name, ()), strict=False
        ):
            if dim.dim_param:
                sizes[dim.dim_param] = size
            dim.dim_value = size
    for value in (*graph.value_info, *graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in sizes:
                dim.dim_value = sizes[dim.dim_param]
            elif dim.dim_param:
                dim.Clear()  # for inference to find


def _tensors(graph: onnx.GraphProto) -> dict[str, InspectedTensor]:
    found = {
        tensor.name: InspectedTensor(tensor.name, _dtype(tensor.data_type), tuple(tensor.dims))
        for tensor in graph.initializer
    }
    for value in (*graph.input, *graph.output, *graph.value_info):
        kind = value.type.tensor_type
        dims = kind.shape.dim
        is_known = kind.HasField("shape") and all(dim.HasField("dim_value") for dim in dims)
        shape = tuple(dim.dim_value for dim in dims) if is_known else None
        found.setdefault(value.name, InspectedTensor(value.name, _dtype(kind.elem_type), shape))
    return found


def _dtype(element: int) -> str:
    from onnx import TensorProto, helper

    if element in (TensorProto.UNDEFINED, TensorProto.STRING):
        return ""
    return str(helper.tensor_dtype_to_np_dtype(element))


def _constants(graph: onnx.GraphProto) -> frozenset[str]:
    """Return the names of all values that do not depend on the graph's inputs."""
    constant = {"", *(tensor.name for tensor in graph.initializer)}
    for node in graph.node:
        # A body may read any value of the graph around it.
        if not is_control_flow(node) and constant.issuperset(node.input):
            constant.update(node.output)
    return frozenset(constant)


def _flops(
    node: onnx.NodeProto, inputs: Sequence[InspectedTensor], outputs: Sequence[InspectedTensor]
) -> int | None:
    if is_control_flow(node):
        return None if any(map(_computes, bodies(node))) else 0
    if _is_unknown(node):
        return None
    if node.op_type in _CONVOLUTIONS:
        weight = inputs[_CONVOLUTIONS[node.op_type]].shape
        # Of a transposed one, each value that is taken meets each of a filter.
        each = (inputs if node.op_type == "ConvTranspose" else outputs)[0].elements
        return None if weight is None or each is None else 2 * each * prod(weight[1:])
    if node.op_type in _PRODUCTS:
        factor, each = inputs[_PRODUCTS[node.op_type]].shape, outputs[0].elements
        if factor is None or each is None:
            return None
        is_turned = any(entry.name == "transA" and entry.i for entry in node.attribute)
        return 2 * each * factor[0 if is_turned else -1]
    return 0


def _computes(graph: onnx.GraphProto) -> bool:
    """Whether a graph has convolutions or products, or what may be."""
    return any(
        node.op_type in _CONVOLUTIONS
        or node.op_type in _PRODUCTS
        or _is_unknown(node)
        or any(map(_computes, bodies(node)))
        for node in graph.node
    )


def _is_unknown(node: onnx.NodeProto) -> bool:
    return node.op_type in _UNKNOWN or node.domain not in ("", "ai.onnx", "ai.onnx.ml")


def total(nodes: Iterable[Node]) -> int | None:
    """Return the operations of all; None if those of one are not known."""
    flops = [node.flops for node in nodes]
    return None if None in flops else sum(each for each in flops if each is not None)
