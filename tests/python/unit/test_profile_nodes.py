"""How many operations ONNX nodes take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import recorded
import tiny
from trtfast.profiling.nodes import nodes_of, total

value, weight = tiny.value, tiny.weight


def test_resnet50_has_its_known_operations(onnx_of: Callable[[str], Path]) -> None:
    model = onnx.load(onnx_of("resnet50"), load_external_data=False)
    for batch in (1, 8):
        nodes = nodes_of(model, {"image": (batch, 3, 224, 224)})
        flops = total(nodes.values())
        assert flops is not None
        assert flops / batch == pytest.approx(2 * 4.09e9, rel=1e-3)  # torchvision's GFLOPS
        convolutions = [node for node in nodes.values() if node.kind == "Conv"]
        assert len(convolutions) == 53
        assert all(node.flops for node in convolutions)
        assert convolutions[0].outputs[0].shape == (batch, 64, 112, 112)


def test_vit_has_its_known_operations() -> None:
    nodes = nodes_of(recorded.model("vit_b_16"), {"image": (2, 3, 224, 224)})
    flops = total(nodes.values())
    assert flops is not None
    assert flops / 2 == pytest.approx(2 * 17.56e9, rel=1e-3)


@settings(deadline=None, max_examples=25)
@given(
    batch=st.integers(1, 3),
    groups=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 2),
    size=st.tuples(st.integers(3, 7), st.integers(3, 7)),
    transposed=st.booleans(),
)
def test_convolutions_are_counted_as_pytorch_does(
    batch: int,
    groups: int,
    channels: tuple[int, int],
    kernel: tuple[int, int],
    stride: int,
    size: tuple[int, int],
    transposed: bool,
) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    taken, given_ = (groups * count for count in channels)
    shape = (taken, given_ // groups) if transposed else (given_, taken // groups)
    node = helper.make_node(
        *("ConvTranspose" if transposed else "Conv", ["x", "w"], ["y"]),
        name="conv",
        group=groups,
        strides=[stride, stride],
    )
    model = tiny.model_of(
        [node],
        [value("x", "batch", taken, *size)],
        [value("y", "batch", given_, "h", "w")],
        [weight("w", *shape, *kernel)],
    )
    run = torch.nn.functional.conv_transpose2d if transposed else torch.nn.functional.conv2d
    with FlopCounterMode(display=False) as counter:
        run(
            torch.zeros(batch, taken, *size),
            torch.zeros(*shape, *kernel),
            stride=stride,
            groups=groups,
        )
    assert nodes_of(model, {"x": (batch, taken, *size)})["conv"].flops == counter.get_total_flops()


def alone(node: onnx.NodeProto, *inputs: onnx.ValueInfoProto, opset: int = 17) -> onnx.ModelProto:
    outputs = [helper.make_empty_tensor_value_info("y")]
    model = tiny.model_of([node], inputs, outputs)
    model.opset_import[0].version = opset
    return model


@pytest.mark.parametrize(
    ("kind", "shapes", "attributes", "flops"),
    [
        ("MatMul", {"a": (5, 7), "b": (7, 3)}, {}, 2 * 5 * 7 * 3),
        ("MatMul", {"a": (4, 5, 7), "b": (7, 3)}, {}, 4 * 2 * 5 * 7 * 3),
        ("MatMul", {"a": (1, 5, 7), "b": (4, 7, 3)}, {}, 4 * 2 * 5 * 7 * 3),
        ("MatMul", {"a": (7,), "b": (7, 3)}, {}, 2 * 7 * 3),
        ("Gemm", {"a": (5, 7), "b": (7, 3)}, {}, 2 * 5 * 7 * 3),
        ("Gemm", {"a": (7, 5), "b": (3, 7)}, {"transA": 1, "transB": 1}, 2 * 5 * 7 * 3),
        ("Add", {"a": (5, 7), "b": (5, 7)}, {}, 0),
        ("Einsum", {"a": (5, 7), "b": (7, 3)}, {"equation": "ij,jk->ik"}, None),
    ],
)
def test_products(
    kind: str, shapes: dict[str, tuple[int, ...]], attributes: dict[str, Any], flops: int | None
) -> None:
    node = helper.make_node(kind, ["a", "b"], ["y"], name="node", **attributes)
    inputs = [value(name, *(f"{name}{i}" for i in range(len(s)))) for name, s in shapes.items()]
    nodes = nodes_of(alone(node, *inputs), shapes)
    assert nodes["node"].flops == flops
    assert total(nodes.values()) == flops


def test_integer_products() -> None:
    node = helper.make_node("MatMulInteger", ["a", "b"], ["y"], name="node")
    inputs = [value(name, "n", "m", dtype=TensorProto.INT8) for name in "ab"]
    found = nodes_of(alone(node, *inputs), {"a": (5, 7), "b": (7, 3)})["node"]
    assert found.flops == 2 * 5 * 7 * 3
    assert [tensor.dtype for tensor in found.inputs] == ["int8", "int8"]


def test_operators_of_others_are_not_known() -> None:
    node = helper.make_node("Wonder", ["a"], ["y"], name="node", domain="some.where")
    model = tiny.model_of([node], [value("a", 2)], [value("y", 2)], (), "some.where")
    assert nodes_of(model, {"a": (2,)})["node"].flops is None


def test_what_no_input_reaches_is_not_computed() -> None:
    nodes = [
        helper.make_node("MatMul", ["w", "w"], ["square"], name="folded"),
        helper.make_node("MatMul", ["x", "square"], ["y"], name="project"),
    ]
    model = tiny.model_of(nodes, [value("x", "n", 4)], [value("y", "n", 4)], [weight("w", 4, 4)])
    found = nodes_of(model, {"x": (3, 4)})
    assert found["folded"].flops == 0
    assert found["project"].flops == 2 * 3 * 4 * 4
    assert found["project"].constants == {"square"}


def test_control_flow_is_not_known_if_it_computes() -> None:
    def body(kind: str) -> onnx.GraphProto:
        nodes = [helper.make_node(kind, ["x", "w"], [f"{kind}y"], name=f"inner_{kind}")]
        return helper.make_graph(nodes, kind, [], [value(f"{kind}y", "n", 4)])

    def chosen(*kinds: str) -> onnx.ModelProto:
        then, other = map(body, kinds)
        node = helper.make_node("If", ["c"], ["y"], name="if", then_branch=then, else_branch=other)
        inputs = [value("x", "n", 4), value("c", dtype=TensorProto.BOOL)]
        return tiny.model_of([node], inputs, [value("y", "n", 4)], [weight("w", 4, 4)])

    light = nodes_of(chosen("Add", "Sub"), {"x": (4, 4), "c": ()})
    assert {name: node.flops for name, node in light.items()} == {
        "if": 0,
        "inner_Add": 0,
        "inner_Sub": 0,
    }
    heavy = nodes_of(chosen("Add", "MatMul"), {"x": (4, 4), "c": ()})
    assert set(heavy) == {"if", "inner_Add", "inner_MatMul"}
    assert {node.flops for node in heavy.values()} == {None}
    assert total(heavy.values()) is None


def test_shapes_that_depend_on_data_are_not_known() -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["where"], name="find"),
        helper.make_node("Cast", ["where"], ["rows"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["w", "rows"], ["y"], name="project"),
    ]
    model = tiny.model_of(nodes, [value("x", "n", 4)], [value("y", 3, "m")], [weight("w", 3, 2)])
    assert nodes_of(model, {"x": (4, 4)})["project"].flops is None


def test_shapes_that_are_computed_are_known() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], name="shape"),
        helper.make_node("Gather", ["shape", "zero"], ["rows"], name="rows"),
        helper.make_node("Concat", ["rows", "rest"], ["wanted"], name="join", axis=0),
        helper.make_node("Reshape", ["x", "wanted"], ["flat"], name="flatten"),
        helper.make_node("MatMul", ["flat", "w"], ["y"], name="project"),
    ]
    constants = [
        numpy_helper.from_array(np.array([0]), "zero"),
        numpy_helper.from_array(np.array([12]), "rest"),
        weight("w", 12, 5),
    ]
    model = tiny.model_of(nodes, [value("x", "n", 3, 4)], [value("y", "n", 5)], constants)
    assert nodes_of(model, {"x": (7, 3, 4)})["project"].flops == 2 * 7 * 12 * 5


def test_nodes_without_a_name_get_that_of_their_output() -> None:
    model = tiny.dense(2, 8)
    model.graph.node[0].name = ""
    before = model.SerializeToString()
    assert set(nodes_of(model, {"x": (2, 8)})) == {"product", "clip"}
    assert model.SerializeToString() == before
