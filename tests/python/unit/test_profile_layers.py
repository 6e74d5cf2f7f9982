"""Which layer computes what, and with which shapes it ran."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
import pytest
from onnx import helper

import recorded
import tiny
from trtfast.inspector import InspectedLayer, InspectedTensor
from trtfast.profiling.attribution import attribute, is_product
from trtfast.profiling.nodes import Node, nodes_of, total
from trtfast.profiling.shapes import best_shapes, profile_of, with_shapes
from trtfast.spec import ShapeRange, TensorSpec

RECORDINGS = pytest.mark.parametrize(
    ("name", "precision"),
    [(name, precision) for name in recorded.MODELS for precision in recorded.PRECISIONS],
)


@RECORDINGS
def test_each_operation_counts_once(name: str, precision: str) -> None:
    layers, _ = recorded.profile(name, precision)
    nodes = nodes_of(recorded.model(name), recorded.INPUTS)
    flops = attribute(layers, nodes)
    assert None not in flops
    assert sum(filter(None, flops)) == total(nodes.values())
    # Exactly those that TensorRT calls convolutions and products have some.
    assert [bool(each) for each in flops] == [is_product(layer) for layer in layers]


def test_a_convolution_counts_where_it_is_computed() -> None:
    layers, _ = recorded.profile("resnet50", "fp8")
    nodes = nodes_of(recorded.model("resnet50"), recorded.INPUTS)
    for kind, node in (("correlation", "node_Conv_754"), ("correlation", "node_Conv_756")):
        naming = [
            (layer, flops)
            for layer, flops in zip(layers, attribute(layers, nodes), strict=True)
            if node in layer.nodes
        ]
        assert len(naming) == 2  # one that pads for it, or adds its bias
        assert {(layer.kind, flops) for layer, flops in naming} == {
            (kind, nodes[node].flops),
            ("kgen", 0),
        }


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("CaskConvolution", "conv", True),
        ("CaskGemmConvolution", "conv", True),
        ("CaskDeconvolutionV2", "deconv", True),
        ("FusedConvActConvolution", "conv", True),
        ("CaskGemmMatrixMultiply", "a", True),
        ("MatrixMultiply", "a", True),
        ("correlation", "node_Conv_1_myl0_1", True),
        ("gemm", "node_MatMul_1_myl0_1", True),
        ("kgen", "_gemm_mha_v2_myl1_8", True),
        ("runtime_fusion", "__myl_FcAddRelu_myl1_26", True),
        ("kgen", "__myl_CastConc_myl1_0", False),
        ("kgen", "__myl_ReshTranConcAddCast_myl1_2", False),
        ("kgen", "node_Conv_1_myl1_2", False),
        ("Reformat", "Reformatting CopyNode for Input Tensor 0 to /conv/Conv", False),
        ("CaskPooling", "pool", False),
        ("maxpool", "node_max_pool2d_myl1_2", False),
        ("signal", "signal", False),
        (None, "conv", False),
    ],
)
def test_what_tensorrt_calls_a_product(kind: str | None, name: str, expected: bool) -> None:
    assert is_product(InspectedLayer(name, kind)) is expected


def product(name: str, flops: int | None = 100) -> Node:
    return Node(name, "MatMul", (), (), frozenset(), flops)


def layer(name: str, kind: str | None, *nodes: str) -> InspectedLayer:
    return InspectedLayer(name, kind, nodes=nodes)


def attributed(layers: Sequence[InspectedLayer], *nodes: Node) -> list[int | None]:
    return attribute(layers, {node.name: node for node in nodes})


def test_of_two_products_the_one_with_the_nodes_name_computes_it() -> None:
    layers = [layer("other", "gemm", "a"), layer("a [profile 1]_myl1_3", "gemm", "a", "b")]
    assert attributed(layers, product("a")) == [0, 100]
    layers = [layer("a_1", "gemm", "a"), layer("a.b", "gemm", "a"), layer("x + a", "gemm", "a")]
    assert attributed(layers, product("a")) == [0, 0, 100]
    layers = [layer("a_1_myl0_2", "gemm", "a"), layer("a_myl0_3", "gemm", "a")]
    assert attributed(layers, product("a")) == [0, 100]


def test_else_the_only_layer_that_names_it() -> None:
    assert attributed([layer("big", "Myelin", "a", "b")], product("a"), product("b", 7)) == [107]


def test_where_it_could_be_either_it_is_not_known() -> None:
    layers = [layer("one", "kgen", "a"), layer("two", "kgen", "a"), layer("three", "kgen", "b")]
    assert attributed(layers, product("a"), Node("b", "Add", (), (), frozenset(), 0)) == [
        None,
        None,
        0,
    ]


def test_what_no_layer_names_may_be_in_any_that_names_none() -> None:
    layers = [layer("bare", None), layer("relu", "kgen", "relu"), layer("mm", "gemm", "x")]
    relu = Node("relu", "Relu", (), (), frozenset(), 0)
    assert attributed(layers, product("lost"), relu) == [None, 0, None]
    assert attributed(layers[:2], relu) == [0, 0]


def test_an_unknown_number_makes_its_layer_unknown() -> None:
    layers = [layer("one", "gemm", "a", "b"), layer("two", "gemm", "c")]
    assert attributed(layers, product("a"), product("b", None), product("c")) == [None, 100]
    assert attributed(layers, product("b", None), product("a"), product("c")) == [None, 100]


def test_without_a_model_nothing_is_known() -> None:
    assert attribute([layer("one", "gemm", "a")], None) == [None]


# ---- shapes -------------------------------------------------------------------------------------


def test_the_profile_that_ran_is_in_the_names() -> None:
    layers, _ = recorded.profile("resnet50", "fp16")
    assert profile_of(layers) == 1
    assert profile_of([InspectedLayer("conv")]) == 0


def spec(*shape: int, ranges: Sequence[Sequence[tuple[int, ...]]] = ()) -> TensorSpec:
    import numpy as np

    profiles = tuple(ShapeRange(*bounds) for bounds in ranges)
    return TensorSpec("x", np.dtype(np.float32), shape, profiles)


def test_best_shapes() -> None:
    dynamic = spec(-1, 3, ranges=[[(1, 3), (2, 3), (4, 3)], [(5, 3), (6, 3), (7, 3)]])
    assert best_shapes([dynamic], 0) == {"x": (2, 3)}
    assert best_shapes([dynamic], 1) == {"x": (6, 3)}
    assert best_shapes([spec(5, 3)], 0) == {"x": (5, 3)}
    assert best_shapes([spec(2, ranges=[[(1, 6), (5, 6), (8, 6)]])], 0) is None


def tensors(name: str, *shapes: tuple[int, ...]) -> tuple[InspectedTensor, ...]:
    return tuple(InspectedTensor(f"{name}{i}", "float16", shape) for i, shape in enumerate(shapes))


def dense_layer(*more: tuple[int, ...]) -> InspectedLayer:
    """The layer of ``tiny.dense()`` with a batch of 8."""
    return InspectedLayer(
        name="project",
        kind="gemm",
        inputs=tensors("x", (8, 8)),
        constants=tensors("w", (8, 4)),
        outputs=tensors("y", (8, 4), *more),
        nodes=("project",),
    )


def at(
    layer: InspectedLayer, batch: int, model: onnx.ModelProto | None
) -> tuple[list[Any], list[Any], InspectedLayer]:
    (found,) = with_shapes([layer], {"x": (8, 8)}, {"x": (batch, 8)}, model)
    return (
        [tensor.shape for tensor in (*found.inputs, *found.outputs)],
        [tensor.elements for tensor in (*found.inputs, *found.outputs)],
        found,
    )


def test_the_best_shapes_are_those_that_ran() -> None:
    assert at(dense_layer(), 8, None)[2] == dense_layer()


def test_other_shapes_follow_from_the_model() -> None:
    shapes, _, found = at(dense_layer(), 3, tiny.dense())
    assert shapes == [(3, 8), (3, 4)]
    assert found.constants == dense_layer().constants
    assert found.nbytes == 2 * (3 * 8 + 8 * 4 + 3 * 4)


def test_of_what_is_like_no_value_the_size_is_known_if_all_grow_alike() -> None:
    shapes, sizes, _ = at(dense_layer((2, 16), (1,)), 3, tiny.dense())
    assert shapes == [(3, 8), (3, 4), None, None]
    assert sizes == [24, 12, 12, None]  # 1 value would become 3/8


def test_without_a_model_other_shapes_are_not_known() -> None:
    shapes, sizes, found = at(dense_layer(), 3, None)
    assert shapes == sizes == [None, None]
    assert found.nbytes is None


def test_what_grows_by_several_factors_is_not_known() -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"], name="turn", perm=[1, 0]),
        helper.make_node("MatMul", ["x", "turned"], ["y"], name="project"),
    ]
    model = tiny.model_of(nodes, [tiny.value("x", "n", 8)], [tiny.value("y", "n", "n")])
    made = InspectedLayer(
        "project", "gemm", tensors("x", (4, 16)), (), tensors("y", (8, 8)), ("project",)
    )
    shapes, sizes, _ = at(made, 3, model)
    assert shapes == [None, None]  # (8, 8) is like x, and like its square
    assert sizes == [None, None]
