from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from casting import FLOAT, HALF, LIGHT, check, normal, ops, parse, types
from trtfast.errors import PrecisionError
from trtfast.precision import cast


def test_two_inputs_two_outputs_one_reused() -> None:
    half = check(
        parse(
            "(float[B, 4] a, float[B, 4] b) => (float[B, 4] s, float[B, 4] t)"
            "{p = MatMul(a, w) s = Add(p, b) t = Mul(p, s)}",
            w=normal(4, 4),
        ),
        a=normal(2, 4),
        b=normal(2, 4) + 1,
    )
    # t is computed from s before s is cast to float32 for the output.
    assert types(half)[half.graph.node[4].input[1]] == HALF


def test_output_of_unknown_type_that_nothing_reads() -> None:
    """Of an operator that ONNX does not know, nothing tells what it gives."""
    model = parse("(float[2, 4] x) => (float[2, 4] y) {y = Relu(x)}")
    model.graph.node.append(helper.make_node("Unknown", ["x"], ["unread"], name="odd"))
    half = cast(model, "fp16")
    assert ops(half) == ["Cast", "Relu", "Unknown", "Cast"]
    assert half.graph.node[2].input == ["x"]


def test_embedding() -> None:
    half = check(
        parse(
            "(int64[B, 5] ids) => (float[B, 5, 3] y) {e = Gather(table, ids) y = MatMul(e, w)}",
            table=normal(10, 4),
            w=normal(4, 3),
        ),
        ids=np.array([[0, 1, 2, 3, 9]]),
    )
    assert types(half)["ids"] == TensorProto.INT64
    assert ops(half) == ["Gather", "MatMul", "Cast"]


def test_data_dependent_shape() -> None:
    check(
        parse(
            "(float[3, 4] x) => (int64[n, 2] i, float[n] v)"
            "{r = Relu(x) z = NonZero(r) i = Transpose<perm = [1, 0]>(z) v = GatherND(x, i)}"
        ),
        x=normal(3, 4),
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_if(sign: int) -> None:
    half = check(
        parse(
            "(float[2, 4] x) => (float[2, 4] y) {s = ReduceSum<keepdims = 0>(x) c = Greater(s, z)"
            "b = If(c) <then_branch = t () => (float[2, 4] o) {k = Mul(x, w) o = Add(k, w)},"
            "else_branch = e () => (float[2, 4] o) {k = Sub(x, w) o = Mul(k, k)}> y = Relu(b)}",
            w=normal(4),
            z=np.float32(0),
        ),
        x=sign * np.abs(normal(2, 4)),
    )
    (branch,) = [node for node in half.graph.node if node.op_type == "If"]
    for attribute in branch.attribute:
        assert attribute.g.output[0].type.tensor_type.elem_type == HALF
        assert attribute.g.node[0].op_type in ("Mul", "Sub")


def test_loop() -> None:
    half = check(
        parse(
            "(float[2, 4] x) => (float[2, 4] y, float[n, 2, 4] ys) {y, ys = Loop(m, c, x)"
            "<body = b (int64 i, bool ci, float[2, 4] h) =>"
            "(bool co, float[2, 4] hn, float[2, 4] sc)"
            "{co = Identity(ci) p = MatMul(h, w) sc = Tanh(p) hn = Add(sc, x)}>}",
            m=np.int64(3),
            c=np.bool_(True),
            w=normal(4, 4),
        ),
        x=normal(2, 4),
    )
    (loop,) = [node for node in half.graph.node if node.op_type == "Loop"]
    body = loop.attribute[0].g
    assert [value.type.tensor_type.elem_type for value in body.input][2] == HALF
    assert [node.op_type for node in body.node] == ["Identity", "MatMul", "Tanh", "Add"]


def test_weight_shared_by_both_precisions() -> None:
    half = check(
        parse(
            "(float[B, 4] x) => (float[B, 4] y) {r = Range(zero, four, one) a = Add(x, r)"
            "b = Mul(a, one) y = Mul(b, one)}",
            zero=np.float32(0),
            four=np.float32(4),
            one=np.float32(1),
        ),
        x=normal(2, 4),
    )
    found = types(half)
    assert found["r"] == FLOAT
    assert sorted(v for k, v in found.items() if k.startswith("one")) == [FLOAT, HALF]
    assert ops(half).count("Cast") == 3  # x, r, y


def test_float16_model_with_a_float32_part() -> None:
    half = check(
        parse(
            "(float16[B, 4] x) => (float16[B, 4] y) {f = Cast<to = 1>(x) s = Softmax(f)"
            "m = MatMul(s, w) h = Cast<to = 10>(m) y = Add(h, x)}",
            w=normal(4, 4),
        ),
        x=normal(2, 4).astype(np.float16),
    )
    assert FLOAT not in types(half).values()


def test_float64_is_left() -> None:
    half = check(
        parse(
            "(float[B, 4] x) => (float[B, 4] y) {d = Cast<to = 11>(x) e = Mul(d, k)"
            "f = Cast<to = 1>(e) y = Relu(f)}",
            k=np.float64(2),
        ),
        x=normal(2, 4),
    )
    found = types(half)
    assert found["d"] == found["e"] == found["k"] == TensorProto.DOUBLE
    assert found["f"] == HALF


def test_cast_from_bool() -> None:
    check(
        parse(
            "(float[B, 4] x) => (float[B, 4] y) {g = Greater(x, z) f = Cast<to = 1>(g)"
            "y = Mul(x, f)}",
            z=np.float32(0),
        ),
        x=normal(2, 4),
    )


def test_constant_nodes() -> None:
    check(
        parse(
            "(float[B, 2] x) => (float[B, 2] y) {k = Constant<value_float = 2.5>()"
            "l = Constant<value_floats = [1.0, 2.0]>()"
            "m = Constant<value = float[2] {3.0, 4.0}>() s = Constant<value_ints = [-1, 2]>()"
            "a = Mul(x, k) b = Add(a, l) c = Add(b, m) y = Reshape(c, s)}"
        ),
        x=normal(2, 2),
    )


def test_resize_scales_stay_float32() -> None:
    half = check(
        parse(
            "(float[B, 3, 4, 4] x) => (float[B, 3, 8, 8] y) {c = Conv(x, w) r = Resize"
            '<mode = "linear">(c, , s) k = ReduceMax<keepdims = 0>(s) y = Mul(r, k)}',
            w=normal(3, 3, 1, 1),
            s=np.array([1, 1, 2, 2], np.float32),
        ),
        x=normal(2, 3, 4, 4),
    )
    found = types(half)
    assert found["s"] == FLOAT
    assert found["r"] == HALF


def test_upsample_of_opset_9() -> None:
    half = check(
        parse(
            "(float[1, 3, 4, 4] x) => (float[1, 3, 8, 8] y) {u = Upsample(x, s) y = Relu(u)}",
            opset=9,
            s=np.array([1, 1, 2, 2], np.float32),
        ),
        x=normal(1, 3, 4, 4),
    )
    assert types(half)["u"] == HALF


def test_layer_normalization_statistics_stay_float32() -> None:
    half = check(
        parse(
            "(float[B, 6, 8] x) => (float[B, 6, 8] y, float[B, 6, 1] mean)"
            "{y, mean = LayerNormalization<axis = -1>(x, g, b)}",
            g=normal(8),
            b=normal(8),
        ),
        x=normal(2, 6, 8),
    )
    assert types(half)["mean"] == FLOAT
    assert ops(half) == ["Cast", "LayerNormalization", "Cast"]


def test_shape_arithmetic_is_exact() -> None:
    half = check(
        parse(
            "(float[1, L] x) => (float[M] y) {s = Shape<start = 1>(x) f = Cast<to = 1>(s)"
            "g = Mul(f, half) h = Floor(g) i = Cast<to = 7>(h) r = Relu(x)"
            "z = Constant<value_ints = [0]>() o = Constant<value_ints = [1]>()"
            "t = Slice(r, z, i, o) q = Constant<value_ints = [-1]>() y = Reshape(t, q)}",
            half=np.array([0.5], np.float32),
        ),
        x=normal(1, 4099),  # 2049 is no float16
    )
    found = types(half)
    assert found["f"] == found["g"] == found["h"] == FLOAT
    assert found["t"] == HALF


def test_shape_of_an_activation_needs_no_cast() -> None:
    half = check(
        parse(
            "(float[B, 4] x) => (int64[2] s, float[B, 4] y) {r = Relu(x) s = Shape(r) y = Exp(r)}"
        ),
        x=normal(2, 4),
    )
    assert ops(half) == ["Cast", "Relu", "Shape", "Exp", "Cast"]


def test_positions_and_fills() -> None:
    half = check(
        parse(
            "(float[B, L] x) => (float[B, L] y) {s = Shape(x) n = Gather(s, one)"
            "p = Range(zero, n, one) f = Cast<to = 1>(p) a = Mul(f, k) e = Sin(a)"
            "c = ConstantOfShape<value = float[1] {0.5}>(s) u = Add(x, e) y = Add(u, c)}",
            zero=np.int64(0),
            one=np.int64(1),
            k=np.float32(0.1),
        ),
        x=normal(2, 6),
    )
    found = types(half)
    assert found["e"] == FLOAT
    assert found["c"] == HALF


def test_mixed_operators() -> None:
    check(
        parse(
            "(float[B, 8] x) => (float[B, 3] y, int64[B, 3] i) {v, i = TopK(x, k)"
            "c = CumSum(v, axis) m = Max(c, v) y = Clip(m, low, high)}",
            k=np.array([3]),
            axis=np.int64(1),
            low=np.float32(-1),
            high=np.float32(1),
        ),
        x=np.random.default_rng(0).permutation(16).reshape(2, 8).astype(np.float32),
    )


def test_float32_only_operators_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    model = parse("(float[B, 4] x) => (float[B, 4] y) {h = HardSwish(x) y = Relu(h)}")
    model.graph.node[0].name = "swish"
    with caplog.at_level(logging.INFO, "trtfast"):
        assert types(cast(model, "fp16"))["h"] == HALF
        assert caplog.text == ""
        brain = cast(model, "bf16")
    assert "left in float32 by the cast to bf16: node 'swish' (HardSwish)" in caplog.text
    assert types(brain)["h"] == FLOAT


def plugin(*, typed: bool) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Magic", ["a"], ["b"], name="magic", domain="acme"),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    x, b, y = (helper.make_tensor_value_info(name, FLOAT, [4]) for name in "xby")
    graph = helper.make_graph(nodes, "g", [x], [y], value_info=[b] if typed else [])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("acme", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def test_plugin_stays_float32() -> None:
    half = cast(plugin(typed=True), "fp16")
    assert ops(half) == ["Cast", "Relu", "Cast", "Magic", "Cast", "Relu", "Cast"]
    with pytest.raises(PrecisionError, match="type of 'b', an output of node 'magic'"):
        cast(plugin(typed=False), "fp16")


def test_local_functions_are_inlined() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18, "mine" : 1]>'
        "g (float[B, 4] x) => (float[B, 4] y) {t = mine.twice(x) y = Relu(t)}"
        '<opset_import: ["" : 18], domain: "mine"> twice (a) => (b) {b = Add(a, a)}'
    )
    half = check(model, x=normal(2, 4))
    assert ops(half) == ["Cast", "Add", "Relu", "Cast"]


def test_names_that_are_taken() -> None:
    half = check(
        parse(
            "(float[4] x) => (float[4] y) {x_fp16 = Relu(x) y_fp16 = Exp(x_fp16)y = Add(y_fp16, x)}"
        ),
        x=normal(4),
    )
    outputs = [name for node in half.graph.node for name in node.output]
    assert len(set(outputs)) == len(outputs)


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_onnx_light_models(path: Path) -> None:
    model = onnx.load(path)
    weights = {tensor.name for tensor in model.graph.initializer}
    (image,) = [value for value in model.graph.input if value.name not in weights]
    shape = [d.dim_value for d in image.type.tensor_type.shape.dim]
    feed = np.random.default_rng(0).random(shape, np.float32)
    half = check(model, 1e-2, **{image.name: feed})
    outputs = {value.name for value in half.graph.output}
    floats = {name for name, element in types(half).items() if element == FLOAT}
    assert floats == {image.name} | outputs


def test_torchvision_model(tmp_path: Path) -> None:
    import torch
    from torchvision.models import resnet18

    from trtfast.export import export

    torch.manual_seed(0)
    x = torch.rand(1, 3, 64, 64)
    model = onnx.load(export(resnet18(), x, tmp_path / "m.onnx"))
    half = check(model, x=x.numpy())
    floats = {name for name, element in types(half).items() if element == FLOAT}
    assert floats == {"x", "output"}
