from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from casting import BF16, FLOAT, HALF, check, mlp, normal, ops, parse, run, types
from trtfast.errors import PrecisionError
from trtfast.precision import cast


def test_fp32_is_the_model_itself() -> None:
    model = mlp()
    assert cast(model, "fp32") is model


def test_weights_and_activations_are_half() -> None:
    half = check(mlp(), x=normal(2, 8))
    assert ops(half) == ["Cast", "MatMul", "Relu", "MatMul", "Cast"]
    found = types(half)
    assert {name for name, element in found.items() if element == FLOAT} == {"x", "y"}
    assert found["w"] == found["v"] == found["r"] == HALF
    np.testing.assert_array_equal(
        numpy_helper.to_array(half.graph.initializer[0]), normal(8, 6).astype(np.float16)
    )


def test_bf16_values_and_opset() -> None:
    brain = cast(mlp(), "bf16")
    assert brain.opset_import[0].version >= 22
    np.testing.assert_array_equal(
        numpy_helper.to_array(brain.graph.initializer[0]), normal(8, 6).astype(ml_dtypes.bfloat16)
    )
    assert {element for name, element in types(brain).items() if name not in "xy"} == {BF16}


@pytest.mark.parametrize(("precision", "element"), [("fp16", HALF), ("bf16", BF16)])
def test_io_in_half(precision: str, element: int) -> None:
    result = cast(mlp(), precision, keep_io=False)
    assert ops(result) == ["MatMul", "Relu", "MatMul"]
    assert set(types(result).values()) == {element}


def test_kept_node_is_float32() -> None:
    half = cast(mlp(), "fp16", keep_fp32=["second"])
    assert ops(half) == ["Cast", "MatMul", "Relu", "Cast", "MatMul"]
    found = types(half)
    assert found["w"] == found["r"] == HALF
    assert found["v"] == found["y"] == FLOAT
    x = normal(2, 8)
    np.testing.assert_allclose(run(half, {"x": x})[0], run(mlp(), {"x": x})[0], atol=0.05)
    everything = cast(mlp(), "fp16", keep_fp32={"first", "relu", "second"})
    assert set(types(everything).values()) == {FLOAT}
    assert "Cast" not in ops(everything)


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_kept_name_must_exist(precision: str) -> None:
    with pytest.raises(PrecisionError, match=r"'frist'.*no node for"):
        cast(mlp(), precision, keep_fp32=["frist", "first"])


@pytest.mark.parametrize("precision", ["half", "int8"])
def test_unknown_precision_lists_the_known(precision: str) -> None:
    with pytest.raises(PrecisionError, match=f"'{precision}' is unknown; use one of fp32, fp16"):
        cast(mlp(), precision)


def test_weight_beyond_the_range() -> None:
    weight = normal(6, 4)
    weight[2, 1] = -70000.0
    with pytest.raises(PrecisionError, match=r"'v' of node 'second' .*-70000, which fp16.*bf16 or"):
        cast(mlp(v=weight), "fp16")
    assert types(cast(mlp(v=weight), "fp16", keep_fp32=["second"]))["v"] == FLOAT
    assert np.isfinite(
        numpy_helper.to_array(cast(mlp(v=weight), "bf16").graph.initializer[1]).astype(np.float32)
    ).all()
    weight[2, 1] = LOWEST
    with pytest.raises(PrecisionError, match=r"-3\.40282e\+38, which bf16"):
        cast(mlp(v=weight), "bf16")


LOWEST = np.finfo(np.float32).min


@pytest.mark.parametrize(
    ("precision", "lowest"), [("fp16", -65504.0), ("bf16", -3.3895313892515355e38)]
)
def test_masks_keep_their_meaning(precision: str, lowest: float) -> None:
    """Float32's lowest value becomes that of the new type, as torch.finfo has it there."""
    text = "(float[2,3] x) => (float[2,3] y) {z = Add(x, m) y = Softmax<axis = 1>(z)}"
    model = cast(parse(text, m=np.array([LOWEST, 0, -LOWEST], np.float32)), precision)
    mask = next(tensor for tensor in model.graph.initializer if tensor.dims == [3])
    values = numpy_helper.to_array(mask).astype(np.float64)
    np.testing.assert_array_equal(values, [lowest, 0, -lowest])

    fill = parse(
        "(float[n] x) => (float[n] y) {s = Shape(x) m = ConstantOfShape"
        f"<value = float[1] {{{LOWEST:.9g}}}>(s) y = Min(x, m)}}"
    )
    (node,) = [n for n in cast(fill, precision).graph.node if n.op_type == "ConstantOfShape"]
    assert numpy_helper.to_array(node.attribute[0].t).astype(np.float64) == [lowest]


def test_attention_to_nothing_masked_in_fp16() -> None:
    text = "(float[2,3] x) => (float[2,3] y) {z = Add(x, m) y = Softmax<axis = 1>(z)}"
    model = parse(text, m=np.array([0, 0, LOWEST], np.float32))
    x = normal(2, 3) * 10
    wanted, found = run(model, {"x": x})[0], run(cast(model, "fp16"), {"x": x})[0]
    np.testing.assert_allclose(found, wanted, atol=5e-3)
    assert (found[:, 2] == 0).all()


@pytest.mark.parametrize("other", [1.0, -3.4e38, np.nextafter(LOWEST, np.float32(0))])
def test_what_is_no_mask_is_refused(other: float) -> None:
    text = "(float[2,2] x) => (float[2,2] y) {y = Add(x, m)}"
    with pytest.raises(PrecisionError, match=r"'m' of .*Add.* holds -3\.40?\d*e\+38, which fp16"):
        cast(parse(text, m=np.array([LOWEST, other], np.float32)), "fp16")


def test_tiny_and_infinite_weights() -> None:
    weight = np.array([1e-12, -np.inf, np.inf, 65504.0], np.float32)
    model = parse("(float[4] x) => (float[4] y) {y = Add(x, w)}", w=weight)
    (tensor,) = cast(model, "fp16").graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(tensor), [0, -np.inf, np.inf, 65504])


def test_fill_value_beyond_the_range() -> None:
    model = parse(
        "(float[n] x) => (float[n] y) {s = Shape(x) m = ConstantOfShape"
        "<value = float[1] {-3.4e38}>(s) y = Add(x, m)}"
    )
    with pytest.raises(PrecisionError, match=r"ConstantOfShape node holds -3.4e\+38"):
        cast(model, "fp16")


def test_external_weights() -> None:
    model = mlp()
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(PrecisionError, match=r"'w' are in another file.*onnx\.load"):
        cast(model, "fp16")


def test_external_weights_loaded(tmp_path: Path) -> None:
    onnx.save(mlp(), tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    assert (tmp_path / "m.onnx").stat().st_size < 600
    check(onnx.load(tmp_path / "m.onnx"), x=normal(2, 8))
