"""Half precision on a CPU: what is rounded, what overflows, and what stays as it is."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto

import lossy
from casting import LIGHT, normal, parse, run, types
from trtfast.emulation import emulated
from trtfast.precision import cast

HALVES = {"fp16": np.float16, "bf16": ml_dtypes.bfloat16}


def emulate(model: onnx.ModelProto, precision: str, **options: object) -> onnx.ModelProto:
    half = cast(model, precision, **options)
    before = half.SerializeToString(deterministic=True)
    made = emulated(half)
    assert half.SerializeToString(deterministic=True) == before
    onnx.checker.check_model(made, full_check=True)
    return made


def rounded(array: np.ndarray, precision: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        return array.astype(HALVES[precision]).astype(np.float32)


@pytest.mark.parametrize("precision", HALVES)
def test_each_result_is_rounded(precision: str) -> None:
    model = parse(
        "(float[B, 4] x) => (float[B, 4] y) {a = MatMul(x, w) b = Add(a, c) y = Mul(b, b)}",
        w=normal(4, 4),
        c=np.float32(0.1),
    )
    x = normal(3, 4)
    (y,) = run(emulate(model, precision), {"x": x})
    # Products of halves are exact in float32, but their sums depend on the order.
    a = rounded(rounded(x, precision) @ rounded(normal(4, 4), precision), precision)
    b = rounded(a + rounded(np.float32(0.1), precision), precision)
    expected = rounded(b * b, precision)
    assert y.dtype == np.float32
    assert np.mean(y == expected) > 0.8
    np.testing.assert_allclose(y, expected, rtol=3 * float(ml_dtypes.finfo(HALVES[precision]).eps))
    assert np.array_equal(y, rounded(y, precision))


def test_float16_overflows_where_onnx_runtime_hides_it() -> None:
    """The reason for emulation: ONNX Runtime itself computes a float16 graph in float32."""
    model, x = lossy.overflowing(), lossy.images()
    exact = run(model, {"x": x})[0]
    typed = run(cast(model, "fp16"), {"x": x})[0]
    np.testing.assert_allclose(typed, exact, atol=0.02 * np.abs(exact).max())
    assert not np.any(run(emulate(model, "fp16"), {"x": x})[0])  # divided by infinity
    brain = run(emulate(model, "bf16"), {"x": x})[0]
    np.testing.assert_allclose(brain, exact, atol=0.05 * np.abs(exact).max())


def test_nodes_kept_in_float32_are_not_rounded() -> None:
    model, x = lossy.overflowing(), lossy.images()
    keep = [f"make_{name}" for name in ("squares", "mean", "safe", "root")]
    (y,) = run(emulate(model, "fp16", keep_fp32=keep), {"x": x})
    exact = run(model, {"x": x})[0]
    np.testing.assert_allclose(y, exact, atol=0.01 * np.abs(exact).max())


def test_float32_stays_as_it_is() -> None:
    model = lossy.classifier()
    assert run(emulated(model), {"x": lossy.images()})[0].tobytes() == (
        run(model, {"x": lossy.images()})[0].tobytes()
    )


@pytest.mark.parametrize("precision", HALVES)
def test_bodies_of_control_flow(precision: str) -> None:
    model = parse(
        "(float[2, 4] x) => (float[2, 4] y) {s = ReduceSum<keepdims = 0>(x) c = Greater(s, z)"
        "b = If(c) <then_branch = t () => (float[2, 4] o) {k = Mul(x, w) o = Add(k, w)},"
        "else_branch = e () => (float[2, 4] o) {k = Sub(x, w) o = Mul(k, k)}> y = Relu(b)}",
        w=normal(4),
        z=np.float32(0),
    )
    x = np.abs(normal(2, 4))
    (y,) = run(emulate(model, precision), {"x": x})
    exact = run(model, {"x": x})[0]
    assert np.array_equal(y, rounded(y, precision))
    assert not np.array_equal(y, exact)
    np.testing.assert_allclose(y, exact, atol=0.03)


def test_types_that_a_node_sets_itself() -> None:
    model = parse(
        "(float[2, 4] x) => (float[2, 4] y) {s = Shape(x)"
        "f = ConstantOfShape<value = float[1] {0.1}>(s) i = Cast<to = 7>(x) g = Cast<to = 1>(i)"
        "h = Add(f, g) y = Add(h, x)}",
    )
    made = emulate(model, "fp16")
    assert TensorProto.FLOAT16 not in [
        element for name, element in types(made).items() if not name.endswith("rounded")
    ]
    x = normal(2, 4) * 3
    (y,) = run(made, {"x": x})
    np.testing.assert_allclose(y, run(model, {"x": x})[0], atol=0.01)


def test_inputs_and_outputs_in_half_precision_become_float32() -> None:
    made = emulate(lossy.classifier(), "fp16", keep_io=False)
    io = [*made.graph.input, *made.graph.output]
    assert {value.type.tensor_type.elem_type for value in io} == {TensorProto.FLOAT}
    (y,) = run(made, {"x": lossy.images()})
    assert np.array_equal(y, rounded(y, "fp16"))


@pytest.mark.parametrize("path", LIGHT[:2], ids=lambda path: path.stem)
def test_whole_networks(path: object) -> None:
    model = onnx.load(str(path))
    weights = {weight.name for weight in model.graph.initializer}
    (image,) = [value for value in model.graph.input if value.name not in weights]
    shape = [dim.dim_value for dim in image.type.tensor_type.shape.dim]
    (y,) = run(emulate(model, "bf16"), {image.name: normal(*shape)})
    assert np.array_equal(y, rounded(y, "bf16"), equal_nan=True)
