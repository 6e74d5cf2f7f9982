from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import onnx
import pytest
from onnx import helper

import plans
import tiny
from trtfast import _core, readback
from trtfast.errors import PrecisionError
from trtfast.precision import Rewritten
from trtfast.report import LayerTime


@dataclass
class Layer:
    """What is read of ``_core.LayerInfo``, which only a build can make."""

    name: str
    outputs: list[str]
    inputs: list[str] = field(default_factory=list)
    type: int = 0


def mixed(count: int = 1) -> onnx.ModelProto:
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], name=f"conv{i}") for i in range(count)]
    nodes.append(helper.make_node("Softmax", ["c"], ["y"], name="soft"))
    return tiny.model_of(nodes, [tiny.value("x", 1, 3, 8, 8)], [tiny.value("y", 1, 3, 8, 8)])


def written(
    model: onnx.ModelProto, kept: set[str] | None = None, quantised: set[str] | None = None
) -> Rewritten:
    return Rewritten(model, frozenset(kept or ()), frozenset(quantised or ()))


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("fp32", "float32"),
        ("tf32", "float32"),
        ("fp16", "float16"),
        ("mixed", "float16"),
        ("bf16", "bfloat16"),
    ],
)
def test_layers_in_the_right_dtype_are_counted(precision: str, dtype: str) -> None:
    layers = [
        Layer("cast", [dtype]),
        Layer("conv0", [dtype]),
        Layer("soft", ["float32"]),
        Layer("shape", ["int64", "bool"]),
        Layer("nothing", []),
    ]
    counts = readback.check(layers, written(mixed()), precision)
    assert sum(counts.values()) == 4
    assert counts["int64"] == 1
    assert counts[dtype] == (3 if dtype == "float32" else 2)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", "float16"), ("fp16", "float32"), ("bf16", "float16")]
)
def test_convolution_in_another_dtype_is_named(precision: str, dtype: str) -> None:
    with pytest.raises(PrecisionError, match=rf"asked for {precision}.*conv0 in {dtype}"):
        readback.check([Layer("conv0", [dtype])], written(mixed()), precision)


def test_what_was_to_stay_in_float32_may() -> None:
    counts = readback.check([Layer("conv0", ["float32"])], written(mixed(), {"conv0"}), "fp16")
    assert counts == {"float32": 1}


def test_only_layers_that_compute_are_held_to_it() -> None:
    counts = readback.check([Layer("soft", ["float32"])], written(mixed()), "fp16")
    assert counts == {"float32": 1}


def test_many_are_named_in_part() -> None:
    layers = [Layer(f"conv{i}", ["float32"]) for i in range(7)]
    with pytest.raises(PrecisionError, match="7 layers") as caught:
        readback.check(layers, written(mixed(7)), "fp16")
    assert "conv4 in float32, …" in str(caught.value)
    assert "conv5" not in str(caught.value)


def _real_layers(model: onnx.ModelProto) -> Sequence[_core.LayerInfo]:
    data = model.SerializeToString()
    return plans.build(data)[0].layers


def test_layers_of_a_real_network() -> None:
    model = tiny.dense(2, 8)  # float32, as nothing was cast
    layers = _real_layers(model)
    assert "project" in [layer.name for layer in layers]
    assert set(readback.check(layers, written(model), "fp32")) == {"float32"}
    with pytest.raises(PrecisionError, match="project in float32"):
        readback.check(layers, written(model), "fp16")


def test_dtypes_of_an_engine() -> None:
    def layer(*outputs: dict[str, str]) -> dict[str, object]:
        return {"Name": "layer", "Outputs": list(outputs)}

    told = {
        "Layers": [
            layer({"Datatype": "Half"}, {"Datatype": "Float"}),
            layer({"Format/Datatype": "Row major linear FP16 format"}),
            layer({"Datatype": "Float"}),
            layer({"Format/Datatype": "Row major linear FP32"}),
            layer({"Datatype": "BFloat16"}),
            layer({"Format/Datatype": "Channel major BF16 format"}),
            layer({"Datatype": "Int64"}),
            layer(),
            "a name only",
        ],
        "Bindings": [],
    }
    counts = readback.engine_dtypes(json.dumps(told))
    assert counts == {"float16": 2, "float32": 2, "bfloat16": 2, "int64": 1}
    assert readback.engine_dtypes('{"Layers": []}') == {}


def quantised(weight: str = "weight_back") -> onnx.ModelProto:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s"], ["q"], name="quantise"),
        helper.make_node("DequantizeLinear", ["q", "s"], ["x_back"], name="dequantise"),
        helper.make_node("DequantizeLinear", ["w", "s"], ["weight_back"], name="weight"),
        helper.make_node("Conv", ["x_back", weight], ["y"], name="conv"),
    ]
    return tiny.model_of(nodes, [tiny.value("x", 1, 3, 8, 8)], [tiny.value("y", 1, 3, 8, 8)])


def quantised_layers(taken: str = "int8") -> list[Layer]:
    return [
        Layer("quantise", ["int8"], ["float16", "float32"]),
        Layer("dequantise", ["float16"], ["int8", "float32"]),
        Layer("weight", ["float16"], [taken, "float32"]),
        Layer("conv", ["float16"], ["float16", "float16"]),
    ]


def test_quantised_convolution_takes_int8() -> None:
    asked = written(quantised(), quantised={"conv"})
    assert readback.check(quantised_layers(), asked, "int8") == {"float16": 3, "int8": 1}
    assert readback.computed(quantised_layers(), asked) == {"int8": 1}
    assert readback.computed(quantised_layers(), written(quantised())) == {"float16": 1}


def test_convolution_that_takes_another_dtype_is_named() -> None:
    asked = written(quantised(), quantised={"conv"})
    with pytest.raises(PrecisionError, match="conv takes float8_e4m3fn"):
        readback.check(quantised_layers("float8_e4m3fn"), asked, "int8")
    with pytest.raises(PrecisionError, match=r"asked for fp8.* conv takes int8"):
        readback.check(quantised_layers(), asked, "fp8")


def test_convolution_whose_weight_is_not_quantised_is_named() -> None:
    asked = written(quantised("w"), quantised={"conv"})
    with pytest.raises(PrecisionError, match="conv takes what is not quantised"):
        readback.check(quantised_layers(), asked, "int8")


def test_convolution_whose_layers_tensorrt_does_not_tell_of_is_named() -> None:
    layers = [layer for layer in quantised_layers() if layer.name != "weight"]
    with pytest.raises(PrecisionError, match="conv takes what no layer dequantises"):
        readback.check(layers, written(quantised(), quantised={"conv"}), "int8")


def engine_layer(name: str, takes: str, gives: str) -> dict[str, object]:
    return {"Name": name, "Inputs": [{"Datatype": takes}], "Outputs": [{"Datatype": gives}]}


def test_time_is_shared_among_dtypes() -> None:
    told = json.dumps(
        {
            "Layers": [
                engine_layer("conv", "Int8", "Half"),
                engine_layer("soft", "Half", "Float"),
                engine_layer("add", "Half", "Half"),
                {"Name": "wide", "Outputs": [{"Format/Datatype": "Row major FP8 format"}]},
            ]
        }
    )
    assert readback.engine_dtypes(told) == {
        "int8": 1,
        "float32": 1,
        "float16": 1,
        "float8_e4m3fn": 1,
    }
    times = [LayerTime("conv", 3.0), LayerTime("soft", 0.5), LayerTime("other", 0.5)]
    shares = readback.time_shares(told, times)
    assert shares == {"int8": 0.75, "float32": 0.125, "unknown": 0.125}
    assert readback.time_shares(told, []) == {}
