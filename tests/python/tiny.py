"""Small ONNX models for tests that need some model rather than a real one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Size = int | str


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Sequence[onnx.TensorProto] = (),
    *domains: str,
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, weights)
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(name, 1) for name in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def value(name: str, *shape: Size, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def weight(name: str, *shape: int, scale: float = 0.1, seed: int = 0) -> onnx.TensorProto:
    values = np.random.default_rng(seed).standard_normal(shape) * scale
    return numpy_helper.from_array(values.astype(np.float32), name)


def dense(*shape: Size, width: int = 4, seed: int = 0) -> onnx.ModelProto:
    """Make ``y = relu(x @ w)``; the shape is that of x, by default with a dynamic batch of 8."""
    shape = shape or ("batch", 8)
    columns = int(shape[-1])
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"], name="project"),
        helper.make_node("Relu", ["product"], ["y"], name="clip"),
    ]
    return model_of(
        nodes,
        [value("x", *shape)],
        [value("y", *shape[:-1], width)],
        [weight("w", columns, width, seed=seed)],
    )


def doubling(*shape: Size) -> onnx.ModelProto:
    """Make ``y = x + x``."""
    node = helper.make_node("Add", ["x", "x"], ["y"])
    return model_of([node], [value("x", *shape)], [value("y", *shape)])


def convolutions(count: int, channels: int) -> onnx.ModelProto:
    """Make a net whose build takes time with its depth: 1000 of 8 channels, some seconds."""
    nodes, weights, name = [], [], "x"
    for index in range(count):
        weights.append(weight(f"w{index}", channels, channels, 3, 3, seed=index))
        inputs = [name, f"w{index}"]
        nodes.append(
            helper.make_node("Conv", inputs, [f"c{index}"], name=f"conv{index}", pads=[1] * 4)
        )
        kind = ("Relu", "Tanh", "Sigmoid", "Elu")[index % 4]
        name = f"a{index}"
        nodes.append(helper.make_node(kind, [f"c{index}"], [name], name=f"act{index}"))
    sizes: tuple[Any, ...] = (1, channels, 32, 32)
    return model_of(nodes, [value("x", *sizes)], [value(name, *sizes)], weights)
