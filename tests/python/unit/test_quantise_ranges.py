"""What calibration finds on samples, and what "mixed" makes of it."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

import tiny
import trtfast
from casting import FLOAT, HALF, parse, types
from quantising import net, run, samples
from trtfast.errors import InputError, PrecisionError
from trtfast.precision import rewrite
from trtfast.precision.ranges import LARGEST, Calibration


def beyond(model: onnx.ModelProto, *arrays: np.ndarray) -> tuple[str, ...]:
    return trtfast.calibrate(model, list(arrays)).beyond_fp16


def named(text: str, names: str, **weights: object) -> onnx.ModelProto:
    model = parse(text, 19, **weights)  # type: ignore[arg-type]
    for node, name in zip(model.graph.node, names.split(), strict=True):
        node.name = name
    return model


@settings(deadline=None, max_examples=15)
@given(st.lists(st.floats(-3e4, 3e4, width=32), min_size=2, max_size=6))
def test_ranges_cover_the_samples(values: list[float]) -> None:
    model = tiny.dense("batch", 1, width=1)
    rows = np.array(values, np.float32)[:, None]
    found = trtfast.calibrate(model, [rows[:1], rows[1:]])
    assert found.ranges == {"x": float(np.abs(rows).max())}
    assert found.runs == 2


def test_ranges_are_those_of_float32() -> None:
    found = trtfast.calibrate(net(), samples())
    assert set(found.ranges) == {"x", "f", "g"}
    with trtfast.ReferenceEngine(_giving(net(), "f")) as engine:
        assert found.ranges["f"] == pytest.approx(np.abs(engine.infer(samples())[1]).max())
    assert found.ranges["x"] == np.abs(samples()).max()


def _giving(model: onnx.ModelProto, value: str) -> onnx.ModelProto:
    model.graph.output.append(helper.make_tensor_value_info(value, FLOAT, ["batch", 32]))
    return model


def test_calibration_is_kept_as_json() -> None:
    found = trtfast.calibrate(net(), samples())
    assert Calibration.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert trtfast.calibrate(net(), found) is found


LARGE = (
    "(float[B, 8] x) => (float[B, 4] y) "
    "{a = MatMul(x, w) r = Relu(a) s = Mul(r, k) y = MatMul(s, v)}"
)


def run_exactly(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """Run in float16 what is float16, which ONNX Runtime does not on a CPU."""
    (result,) = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})
    return result


def large(factor: float = 1000.0) -> onnx.ModelProto:
    """Make a net whose activations are larger than float16 holds, and its outputs not."""
    w = np.full((8, 6), factor, np.float32)
    v = np.random.default_rng(0).uniform(0.1, 1, (6, 4)).astype(np.float32)
    return named(LARGE, "grow relu shrink last", w=w, k=np.float32(1e-3), v=v)


def test_mixed_keeps_what_overflows_and_the_rest_is_half() -> None:
    model, x = large(), np.full((2, 8), 10.0, np.float32)
    calibration = trtfast.calibrate(model, x)
    assert calibration.beyond_fp16 == ("grow", "relu", "shrink")
    result = rewrite(model, "mixed", calibration=calibration)
    found = types(result.model)
    assert (found["w"], found["a"], found["r"]) == (FLOAT, FLOAT, FLOAT)
    assert found["v"] == HALF
    assert result.kept == {"grow", "relu", "shrink"}
    wanted = run(model, x)
    with np.errstate(over="ignore"):
        assert np.isinf(run_exactly(rewrite(model, "fp16").model, x)).all()  # what it is for
    np.testing.assert_allclose(run_exactly(result.model, x), wanted, rtol=2e-3)


def test_what_the_samples_do_not_reach_is_half() -> None:
    calibration = trtfast.calibrate(large(), np.full((2, 8), 1e-2, np.float32))
    assert calibration.beyond_fp16 == ()
    assert rewrite(large(), "mixed", calibration=calibration).kept == set()


@pytest.mark.parametrize(("factor", "found"), [(0.99, ()), (1.01, ("double",))])
def test_margin(factor: float, found: tuple[str, ...]) -> None:
    model = named("(float[B] x) => (float[B] y) {y = Relu(x)}", "double")
    assert beyond(model, np.array([LARGEST * factor], np.float32)) == found


def test_kept_in_float32_is_not_quantised() -> None:
    x = np.full((2, 8), 10.0, np.float32)
    result = rewrite(large(), "int8", calibration=trtfast.calibrate(large(), x))
    assert result.quantised == {"last"}
    np.testing.assert_allclose(run(result.model, x), run(large(), x), rtol=2e-2)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("y = ReduceMean<keepdims=1>(x, axes)", True),
        ("y = ReduceSum<keepdims=1>(x, axes)", True),
        ("y = ReduceMax<keepdims=1>(x, axes)", False),
        ("y = LayerNormalization(x, one)", True),
        ("y = ReduceL2<keepdims=1>(x, axes)", True),
        ("y = LpNormalization<axis=1>(x)", True),
        ("y = Softmax(x)", False),
    ],
)
def test_sums_on_the_way(text: str, found: bool) -> None:
    """A mean of 9 is what float16 holds; the sum of 4000 of them is not, nor that of squares."""
    model = named(
        f"(float[B, 4000] x) => (float[B, n] y) {{{text}}}",
        "add",
        axes=np.array([1]),
        one=np.ones(4000, np.float32),
    )
    x = np.full((2, 4000), 9.0, np.float32)
    x[:, ::2] = 8.0
    assert beyond(model, x) == (("add",) if found else ())


@pytest.mark.parametrize(("size", "found"), [(8, ()), (64, ("pool",))])
def test_sums_of_pooling(size: int, found: tuple[str, ...]) -> None:
    model = named(
        f"(float[1, 2, {size}, {size}] x) => (float[1, 2, 1, 1] y) {{y = GlobalAveragePool(x)}}",
        "pool",
    )
    assert beyond(model, np.full((1, 2, size, size), 9.0, np.float32)) == found
    model = named(
        f"(float[1, 2, {size}, {size}] x) => (float[1, 2, 1, 1] y) "
        f"{{y = AveragePool<kernel_shape=[{size}, {size}]>(x)}}",
        "pool",
    )
    assert beyond(model, np.full((1, 2, size, size), 9.0, np.float32)) == found


def test_values_too_small() -> None:
    model = named(
        "(float[B] x) => (float[B] y) {s = Mul(x, k) y = Mul(s, l)}",
        "shrink grow",
        k=np.float32(1e-3),
        l=np.float32(1e3),
    )
    assert beyond(model, np.array([1e-3], np.float32)) == ("shrink", "grow")
    assert beyond(model, np.array([1.0], np.float32)) == ()
    assert beyond(model, np.array([0.0], np.float32)) == ()  # zero is held


def test_constant_too_small_or_too_large() -> None:
    text = "(float[B] x) => (float[B] y) {y = Add(x, k)}"
    x = np.array([1.0], np.float32)
    assert beyond(named(text, "add", k=np.float32(1e-12)), x) == ("add",)
    assert beyond(named(text, "add", k=np.float32(-1e30)), x) == ("add",)
    assert beyond(named(text, "add", k=np.float32(-np.inf)), x) == ()  # as a mask has it


def test_small_bias_is_no_matter() -> None:
    model = net()
    for tensor in model.graph.initializer:
        if tensor.name == "b0":
            tensor.CopyFrom(tiny.weight("b0", 32, scale=1e-7))
    assert beyond(model, samples()) == ()


def test_control_flow_stays_float32() -> None:
    model = named(
        "(float[B] x, bool c) => (float[B] y) {y = If(c) <"
        "then_branch = a () => (float[B] t) {t = Relu(x)}, "
        "else_branch = b () => (float[B] e) {e = Neg(x)}>}",
        "branch",
    )
    sample = {"x": np.ones(3, np.float32), "c": np.array(True)}
    calibration = trtfast.calibrate(model, sample)
    assert set(calibration.beyond_fp16) == {"branch", "t", "e"}
    result = rewrite(model, "mixed", calibration=calibration).model
    with trtfast.ReferenceEngine(result) as engine:
        np.testing.assert_array_equal(engine.infer(sample)["y"], np.ones(3))


def test_unnamed_nodes_get_names() -> None:
    model = parse(
        LARGE,
        13,
        w=np.full((8, 6), 1e3, np.float32),
        k=np.float32(1e-3),
        v=np.ones((6, 4), np.float32),
    )
    x = np.full((2, 8), 10.0, np.float32)
    calibration = trtfast.calibrate(model, x)
    assert calibration.beyond_fp16 == ("a", "r", "s")
    result = rewrite(model, "mixed", calibration=calibration).model
    np.testing.assert_allclose(run(result, x), run(model, x), rtol=2e-3)
    assert result.opset_import[0].version == 19


def test_model_that_float32_does_not_hold() -> None:
    model = named("(float[B] x) => (float[B] y) {z = Log(x) y = Neg(z)}", "log minus")
    with pytest.raises(PrecisionError, match="'z' of the float32 model is NaN on sample 1"):
        trtfast.calibrate(model, [np.ones(2, np.float32), -np.ones(2, np.float32)])


def test_no_samples() -> None:
    with pytest.raises(InputError, match="there are no samples"):
        trtfast.calibrate(net(), [])


def test_sample_that_does_not_fit() -> None:
    with pytest.raises(InputError, match="shape"):
        trtfast.calibrate(net(), np.zeros((2, 3, 12, 12), np.float32))
