"""Reading ONNX graphs: what precision needs to know of nodes, values and bodies."""

from __future__ import annotations

from itertools import chain
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import onnx


def skeleton(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy without the values of large weights, so that it stays below protobuf's 2 GB."""
    import onnx

    result = onnx.ModelProto()
    for descriptor, value in model.ListFields():
        if descriptor.name != "graph":
            part = onnx.ModelProto(**{descriptor.name: value})
            result.MergeFrom(part)
    for descriptor, value in model.graph.ListFields():
        if descriptor.name != "initializer":
            result.graph.MergeFrom(onnx.GraphProto(**{descriptor.name: value}))
    for tensor in model.graph.initializer:
        if prod(tensor.dims) <= 1024:
            result.graph.initializer.append(tensor)
        else:
            result.graph.initializer.add(
                name=tensor.name, data_type=tensor.data_type, dims=tensor.dims
            )
    return result


def typed_skeleton(model: onnx.ModelProto, minimum_opset: int) -> onnx.ModelProto:
    """Return a skeleton whose every value has a type, converted to an opset if it is older."""
    import onnx

    return onnx.shape_inference.infer_shapes(_converted(model, minimum_opset))


def _converted(model: onnx.ModelProto, minimum_opset: int) -> onnx.ModelProto:
    """Return a skeleton with functions inlined, converted to an opset if it is older."""
    from onnx import inliner, version_converter

    result = skeleton(model)
    if result.functions:
        result = inliner.inline_local_functions(result)
    if any(entry.domain == "" and entry.version < minimum_opset for entry in result.opset_import):
        result = version_converter.convert_version(result, minimum_opset)
    return result


def schema_of(node: onnx.NodeProto, opsets: Mapping[str, int]) -> onnx.defs.OpSchema | None:
    """Return ONNX's definition of the node's operator, or None for an operator of others."""
    import onnx

    domain = "" if node.domain == "ai.onnx" else node.domain
    try:
        return onnx.defs.get_schema(node.op_type, opsets.get(domain, 1), domain)
    except onnx.defs.SchemaError:
        return None


def constant_value(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """Return the value of a Constant as a tensor with the name of the node's output."""
    import numpy as np
    import onnx

    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
        return None
    attribute = node.attribute[0]
    result = onnx.TensorProto()
    if attribute.name == "value":
        result.CopyFrom(attribute.t)
    elif attribute.name in ("value_float", "value_floats"):
        values = np.array(onnx.helper.get_attribute_value(attribute), dtype=np.float32)
        result = onnx.numpy_helper.from_array(values)
    elif attribute.name in ("value_int", "value_ints"):
        values = np.array(onnx.helper.get_attribute_value(attribute), dtype=np.int64)
        result = onnx.numpy_helper.from_array(values)
    else:
        return None
    result.name = node.output[0]
    return result


def is_control_flow(node: onnx.NodeProto) -> bool:
    """Tell whether the node is an operator that runs graphs inside it."""
    return node.op_type in ("If", "Loop", "Scan") and node.domain in ("", "ai.onnx")


def type_parameter(formal: Sequence[onnx.defs.OpSchema.FormalParameter], index: int) -> str:
    """Return the type parameter of an argument; the last formal parameter may be variadic."""
    return formal[min(index, len(formal) - 1)].type_str


def describe(node: onnx.NodeProto) -> str:
    """Name the node for an error message."""
    return f"node {node.name!r} ({node.op_type})" if node.name else f"a {node.op_type} node"


def bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Give the graphs directly inside a node."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Give a graph and all graphs inside it."""
    yield graph
    for node in graph.node:
        for body in bodies(node):
            yield from _graphs(body)


def node_names(model: onnx.ModelProto) -> set[str]:
    """Return the names of all nodes that have one, inner graphs included."""
    return graph_node_names(model.graph)


def graph_node_names(graph: onnx.GraphProto) -> set[str]:
    """Return the names of all nodes of a graph that have one, inner graphs included."""
    return {node.name for each in _graphs(graph) for node in each.node if node.name}


def value_names(graph: onnx.GraphProto) -> set[str]:
    """Return the names of all values, inner graphs included."""
    names: set[str] = set()
    for each in _graphs(graph):
        names.update(value.name for value in chain(each.input, each.initializer))
        names.update(name for node in each.node for name in node.output)
    return names


def used_names(graph: onnx.GraphProto) -> set[str]:
    """Return the names of all values that a node or a graph output reads."""
    names: set[str] = set()
    for each in _graphs(graph):
        names.update(value.name for value in each.output)
        names.update(name for node in each.node for name in node.input)
    return names - {""}


def renewed(model: onnx.ModelProto, minimum_opset: int) -> onnx.ModelProto:
    """Return a whole copy with functions inlined and all nodes named, of an opset at least."""
    result = _converted(model, minimum_opset)
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    for tensor in result.graph.initializer:
        if tensor.name in values:
            tensor.CopyFrom(values[tensor.name])
    _name_nodes(result)
    return result


def named_skeleton(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a skeleton with functions inlined and all nodes named."""
    result = _converted(model, 0)
    _name_nodes(result)
    return result


def _name_nodes(model: onnx.ModelProto) -> None:
    """Name the nodes that have no name, after their first output, which is theirs alone."""
    known = node_names(model)
    for graph in _graphs(model.graph):
        for node in graph.node:
            if not node.name:
                node.name = unique(next(filter(None, node.output), node.op_type), known)


def unique(name: str, known: set[str]) -> str:
    """Return the name, with underscores added until nobody has it; and let it be known."""
    while name in known:
        name += "_"
    known.add(name)
    return name


def constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Return the values of a graph that are always the same: initialisers and Constant nodes."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if (value := constant_value(node)) is not None:
            found[value.name] = value
    return found
