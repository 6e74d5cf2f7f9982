from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import helper, numpy_helper

import tiny
import trtfast
from casting import ops
from quantising import net, relative_error, run, samples
from trtfast.errors import InputError, PrecisionError
from trtfast.precision import check, rewrite
from trtfast.precision.quantise import LARGEST, quantise, scale_of
from trtfast.precision.ranges import Calibration, normalised

BOTH = pytest.mark.parametrize("precision", ["int8", "fp8"])
# Relative, in the 2-norm: int8 has 7 bits of the largest value, fp8 3 of each.
TOLERANCE = {"int8": 0.02, "fp8": 0.06}

magnitudes = hnp.arrays(
    np.float32, hnp.array_shapes(max_dims=2), elements=st.floats(0, 60000, width=32)
)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return trtfast.calibrate(net(), samples())


def stored(model: onnx.ModelProto) -> dict[str, np.ndarray[Any, Any]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    (found,) = (node for node in model.graph.node if node.name == name)
    return found


def source(model: onnx.ModelProto, value: str) -> onnx.NodeProto:
    (found,) = (node for node in model.graph.node if value in node.output)
    return found


@given(magnitudes)
def test_scales_are_what_float16_holds_and_the_largest_fits(largest: np.ndarray[Any, Any]) -> None:
    for precision, most in LARGEST.items():
        scale = scale_of(largest, precision)
        assert scale.dtype == np.float32
        assert (scale > 0).all()
        np.testing.assert_array_equal(scale, scale.astype(np.float16).astype(np.float32))
        assert (largest.astype(np.float64) <= scale.astype(np.float64) * most * (1 + 1e-6)).all()


@given(st.floats(2.0**-8, 60000, width=32), st.floats(-1, 1))
def test_error_of_int8_is_half_a_scale_at_most(largest: float, share: float) -> None:
    value = np.float32(largest) * np.float32(share)
    scale = float(scale_of(np.float32(largest), "int8"))
    there, back = (quantise_value(sign * value, scale, "int8") for sign in (1, -1))
    assert there == -back  # symmetric
    assert abs(there - float(value)) <= scale / 2 * (1 + 1e-5)


@given(st.floats(2.0**-4, 60000, width=32), st.floats(-1, 1))
def test_error_of_fp8_is_relative(largest: float, share: float) -> None:
    value = np.float32(largest) * np.float32(share)
    scale = float(scale_of(np.float32(largest), "fp8"))
    there, back = (quantise_value(sign * value, scale, "fp8") for sign in (1, -1))
    assert there == -back
    smallest = scale * 2.0**-10  # half the step of float8 around zero
    assert abs(there - float(value)) <= max(abs(float(value)) / 16, smallest) * (1 + 1e-5)


def quantise_value(value: float, scale: float, precision: str) -> float:
    """As the nodes in a graph do it, by ONNX's own reference."""
    element = {"int8": onnx.TensorProto.INT8, "fp8": onnx.TensorProto.FLOAT8E4M3FN}[precision]
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 19]> g (float[1] x) => (float[1] y) '
        "{q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)}"
    )
    model.graph.initializer.append(numpy_helper.from_array(np.float32(scale), "s"))
    model.graph.initializer.append(helper.make_tensor("z", element, [], [0]))
    evaluator = onnx.reference.ReferenceEvaluator(model)
    (result,) = evaluator.run(None, {"x": np.array([value], np.float32)})
    return float(result[0])


@BOTH
def test_quantised_model_is_near(precision: str, calibration: Calibration) -> None:
    model = net()
    before = model.SerializeToString(deterministic=True)
    wanted = run(model, samples(seed=1))
    result = rewrite(model, precision, calibration=calibration)
    assert model.SerializeToString(deterministic=True) == before
    onnx.checker.check_model(result.model, full_check=True)
    assert result.quantised == {"wide", "hidden", "head"}
    assert result.kept == set()
    error = relative_error(run(result.model, samples(seed=1)), wanted)
    print(f"{precision}: relative error {error:.2e}")
    assert 1e-4 < error < TOLERANCE[precision]


@BOTH
def test_inputs_and_weights_come_from_what_is_quantised(
    precision: str, calibration: Calibration
) -> None:
    model = rewrite(net(), precision, calibration=calibration).model
    dtype = {"int8": np.dtype(np.int8), "fp8": np.dtype(ml_dtypes.float8_e4m3fn)}[precision]
    values = stored(model)
    for name, channels, axis in (("wide", 32, 0), ("hidden", 24, 0), ("head", 10, 1)):
        back, weight = (source(model, value) for value in node(model, name).input[:2])
        assert (back.op_type, weight.op_type) == ("DequantizeLinear", "DequantizeLinear")
        assert source(model, back.input[0]).op_type == "QuantizeLinear"
        assert values[back.input[1]].shape == ()
        assert values[weight.input[1]].shape == (channels,)
        assert helper.get_node_attr_value(weight, "axis") == axis
        assert values[weight.input[0]].dtype == dtype
        for scale in (back, weight):
            assert values[scale.input[1]].dtype == np.float16
            assert values[scale.input[2]].dtype == dtype
            assert not values[scale.input[2]].astype(np.float32).any()
    assert "w0" not in values  # the float weight is gone
    assert values["b0"].dtype == np.float16  # and the bias is as it was


@BOTH
def test_weights_lose_what_rounding_takes(precision: str, calibration: Calibration) -> None:
    model, _ = quantise(normalised(net()), precision, calibration, ())
    values, floats = stored(model), stored(net())
    weight = source(model, node(model, "wide").input[1])
    scale = values[weight.input[1]].reshape(-1, 1, 1, 1)
    back = values[weight.input[0]].astype(np.float32) * scale
    error = np.abs(back - floats["w0"])
    limit = scale / 2 if precision == "int8" else np.maximum(np.abs(back) / 15, scale * 2**-10)
    assert (error <= limit * (1 + 1e-4)).all()


def test_depthwise_convolutions_stay_float16(calibration: Calibration) -> None:
    model = rewrite(net(), "int8", calibration=calibration).model
    assert stored(model)[node(model, "few").input[1]].dtype == np.float16


def test_what_is_kept_is_not_quantised(calibration: Calibration) -> None:
    result = rewrite(net(), "int8", calibration=calibration, keep_fp16=["wide"], keep_fp32=["head"])
    assert result.quantised == {"hidden"}
    assert result.kept == {"head"}
    values = stored(result.model)
    assert values[node(result.model, "wide").input[1]].dtype == np.float16
    assert values[node(result.model, "head").input[1]].dtype == np.float32


def test_one_pair_for_all_that_read_a_value() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"], name="left"),
        helper.make_node("MatMul", ["x", "w"], ["q"], name="right"),
        helper.make_node("Add", ["p", "q"], ["y"], name="join"),
    ]
    model = tiny.model_of(
        nodes, [tiny.value("x", 4, 16)], [tiny.value("y", 4, 8)], [tiny.weight("w", 16, 8)]
    )
    calibration = trtfast.calibrate(model, np.ones((4, 16), np.float32))
    result, names = quantise(normalised(model), "int8", calibration, ())
    assert names == {"left", "right"}
    assert sorted(ops(result)) == [
        *("Add", "DequantizeLinear", "DequantizeLinear", "MatMul", "MatMul", "QuantizeLinear"),
    ]
    # What is not quantised still has the float weight.
    partly, _ = quantise(normalised(model), "int8", calibration, {"right"})
    assert "w" in stored(partly)
    x = np.random.default_rng(0).uniform(-1, 1, (4, 16)).astype(np.float32)
    for each in (result, partly):
        assert relative_error(run(each, x), run(model, x)) < 0.02


def test_products_of_activations_stay_float16() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"], name="project"),
        helper.make_node("Transpose", ["p"], ["t"], name="turn", perm=[1, 0]),
        helper.make_node("MatMul", ["p", "t"], ["y"], name="attend"),
    ]
    model = tiny.model_of(
        nodes, [tiny.value("x", 4, 16)], [tiny.value("y", 4, 4)], [tiny.weight("w", 16, 8)]
    )
    calibration = trtfast.calibrate(model, np.ones((4, 16), np.float32))
    assert rewrite(model, "int8", calibration=calibration).quantised == {"project"}


def test_many_matrices_have_one_scale() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="many")]
    model = tiny.model_of(
        nodes, [tiny.value("x", 3, 4, 16)], [tiny.value("y", 3, 4, 8)], [tiny.weight("w", 3, 16, 8)]
    )
    x = np.random.default_rng(0).standard_normal((3, 4, 16), np.float32)
    result = rewrite(model, "int8", calibration=trtfast.calibrate(model, [x])).model
    weight = source(result, node(result, "many").input[1])
    assert stored(result)[weight.input[1]].shape == ()
    assert relative_error(run(result, x), run(model, x)) < 0.02


def test_nothing_to_quantise(calibration: Calibration) -> None:
    with pytest.raises(PrecisionError, match="nothing to compute in fp8"):
        rewrite(net(), "fp8", calibration=calibration, keep_fp16=["wide", "hidden", "head"])


def test_calibration_of_another_model(calibration: Calibration) -> None:
    model = tiny.convolutions(1, 16)
    model.graph.node[0].input[0] = model.graph.input[0].name = "x0"
    with pytest.raises(PrecisionError, match=r"says nothing of 'x0'.*Calibrate again"):
        rewrite(model, "int8", calibration=calibration)


@pytest.mark.parametrize("precision", ["mixed", "int8", "fp8"])
def test_samples_are_needed(precision: str) -> None:
    with pytest.raises(InputError, match=rf"'{precision}' needs samples.*calibration="):
        check(precision, is_calibrated=False, keep_fp16=())


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16"])
def test_samples_of_no_use(precision: str) -> None:
    with pytest.raises(InputError, match=rf"of no use to precision '{precision}'"):
        check(precision, is_calibrated=True, keep_fp16=())


@pytest.mark.parametrize(("precision", "is_calibrated"), [("fp16", False), ("mixed", True)])
def test_keep_fp16_of_no_use(precision: str, is_calibrated: bool) -> None:
    with pytest.raises(InputError, match="keep_fp16 is of no use"):
        check(precision, is_calibrated=is_calibrated, keep_fp16=["conv"])


def test_unknown_precision() -> None:
    with pytest.raises(PrecisionError, match="'int4' is unknown; use one of fp32, tf32, fp16"):
        check("int4", is_calibrated=False, keep_fp16=())


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_float32_is_the_model_itself(precision: str) -> None:
    model = net()
    assert rewrite(model, precision).model is model
