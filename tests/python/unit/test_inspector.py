"""What engine inspectors write, of all releases."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trtfast import inspector
from trtfast.inspector import InspectedLayer, InspectedTensor


def read(*layers: Any) -> tuple[InspectedLayer, ...]:
    return inspector.layers(json.dumps({"Layers": layers}))


def tensor(name: str, *shape: int, dtype: str = "Half") -> dict[str, Any]:
    return {"Name": name, "Dimensions": shape, "Datatype": dtype, "Format": "Row major linear"}


def test_a_layer_of_a_modern_inspector() -> None:
    (layer,) = read(
        {
            "Name": "conv [profile 1]_myl1_4",
            "LayerType": "correlation",
            "Inputs": [tensor("x", 8, 3, 4, 4)],
            "Constants": [tensor("w", 5, 3, 1, 1), tensor("scale", 1, dtype="Float")],
            "Outputs": [tensor("y", 8, 5, 4, 4, dtype="FP8")],
            "Metadata": "[ONNX Layer: conv]\x1f[ONNX Layer: a [b]]\x1f[ONNX Layer: relu]__gemm_1x1",
        }
    )
    assert layer == InspectedLayer(
        "conv [profile 1]_myl1_4",
        "correlation",
        (InspectedTensor("x", "float16", (8, 3, 4, 4)),),
        (InspectedTensor("w", "float16", (5, 3, 1, 1)), InspectedTensor("scale", "float32", (1,))),
        (InspectedTensor("y", "float8_e4m3fn", (8, 5, 4, 4)),),
        ("conv", "a [b]", "relu"),
    )
    assert layer.nbytes == 2 * 8 * 3 * 16 + 2 * 15 + 4 + 8 * 5 * 16


def test_a_layer_of_an_older_inspector() -> None:
    (layer,) = read(
        {
            "Name": "/conv/Conv + /relu/Relu",
            "LayerType": "CaskConvolution",
            "Inputs": [
                {
                    "Name": "x",
                    "Dimensions": [1, 4, 2, 2],
                    "Format/Datatype": "Four wide channel vectorized row major Int8 format",
                }
            ],
            "Outputs": [
                {
                    "Name": "y",
                    "Dimensions": [1, 8, 2, 2],
                    "Format/Datatype": "Channel major FP16 format where channel % 8 == 0",
                }
            ],
            "Weights": {"Type": "Int8", "Count": 32},
            "Bias": {"Type": "Float", "Count": 8},
            "Metadata": "[ONNX Layer: /conv/Conv]\x1e[ONNX Layer: /relu/Relu]",
        }
    )
    assert layer.nodes == ("/conv/Conv", "/relu/Relu")
    assert [each.dtype for each in layer.constants] == ["int8", "float32"]
    assert layer.dtype == "int8"
    assert layer.nbytes == 16 + 2 * 32 + 32 + 4 * 8


def test_a_name_is_all_that_some_plans_tell() -> None:
    (layer,) = read("conv + relu")
    assert layer == InspectedLayer("conv + relu")
    assert layer.nbytes is None
    assert layer.dtype is None


@pytest.mark.parametrize(
    ("told", "dtype", "nbytes"),
    [
        ("Float", "float32", 28),
        ("Half", "float16", 14),
        ("BFloat16", "bfloat16", 14),
        ("FP8", "float8_e4m3fn", 7),
        ("FP4", "float4_e2m1fn", 4),
        ("Int64", "int64", 56),
        ("Int32", "int32", 28),
        ("Int8", "int8", 7),
        ("UInt8", "uint8", 7),
        ("Int4", "int4", 4),
        ("Bool", "bool", 7),
        ("Another", "another", None),
    ],
)
def test_dtypes(told: str, dtype: str, nbytes: int | None) -> None:
    (layer,) = read({"Name": "a", "LayerType": "kgen", "Outputs": [tensor("y", 7, dtype=told)]})
    assert layer.dtype == dtype
    assert layer.nbytes == nbytes


def test_each_tensor_is_moved_once() -> None:
    one = tensor("one", 2, 2)
    (layer,) = read({"Name": "a", "LayerType": "kgen", "Inputs": [one, one], "Outputs": [one]})
    assert layer.nbytes == 8


def test_unknown_dimensions_are_unknown_bytes() -> None:
    dynamic, scalar = tensor("x", -1, 3), tensor("y")
    both, alone = read(
        {"Name": "a", "LayerType": "kgen", "Inputs": [dynamic], "Outputs": [scalar]},
        {"Name": "b", "LayerType": "kgen", "Outputs": [scalar]},
    )
    assert both.nbytes is None
    assert alone.nbytes == 2
