"""The preprocessing in an ONNX model's metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from trtfast.errors import InputError
from trtfast.preprocess import Preprocess

IMAGE = {
    "Image.BitmapPixelFormat": "Rgb8",
    "Image.NominalPixelRange": "Normalized_0_1",
    "Image.ColorSpaceGamma": "SRGB",
}


def model(
    metadata: dict[str, str], *shapes: tuple[object, ...], channel: int | None = None
) -> onnx.ModelProto:
    """A model of inputs of these shapes; the first has a denotation where `channel` is given."""
    inputs = [
        helper.make_tensor_value_info(f"x{index}", TensorProto.FLOAT, shape)
        for index, shape in enumerate(shapes or [("n", 3, 8, 6)])
    ]
    if channel is not None:
        inputs[0].type.denotation = "IMAGE"
        inputs[0].type.tensor_type.shape.dim[channel].denotation = "DATA_CHANNEL"
    nodes = [helper.make_node("Identity", [value.name], ["y"]) for value in inputs[:1]]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    made = helper.make_model(helper.make_graph(nodes, "g", inputs, [output]))
    helper.set_model_props(made, metadata)
    return made


@pytest.mark.parametrize(
    ("pixels", "values", "shape", "expected"),
    [
        ("Rgb8", "Normalized_0_1", ("n", 3, 8, 6), {"mean": (0.0,) * 3, "std": (1.0,) * 3}),
        (
            "BGR8",
            "normalized_1_1",
            (1, 3, 8, 6),
            {"mean": (0.5,) * 3, "std": (0.5,) * 3, "channels": "bgr"},
        ),
        (
            "Gray8",
            "Normalized_1_1",
            ("n", 8, 6, 1),
            {"mean": (0.5,), "std": (0.5,), "channels": "gray", "layout": "NHWC"},
        ),
        (
            "Rgb8",
            "NominalRange_0_255",
            ("n", 8, 6, 3),
            {"normalization": "none", "layout": "NHWC"},
        ),
    ],
)
def test_metadata_of_onnx(
    pixels: str, values: str, shape: tuple[object, ...], expected: dict[str, Any]
) -> None:
    metadata = {"image.bitmappixelformat": pixels, "Image.NominalPixelRange": values}
    got = Preprocess.from_onnx_metadata(model(metadata, shape))
    assert got == Preprocess((8, 6), **expected)


def test_denotations_choose_the_input_and_the_layout() -> None:
    made = model(IMAGE, ("n", 3, 6, 3), ("n", 10), channel=3)
    got = Preprocess.from_onnx_metadata(made)
    assert (got.layout, got.size) == ("NHWC", (3, 6))


def test_weights_among_the_inputs_are_none() -> None:
    made = model(IMAGE, ("n", 3, 8, 6), (2,))
    made.graph.initializer.add(name="x1", data_type=TensorProto.FLOAT, dims=[2], float_data=[0, 0])
    assert Preprocess.from_onnx_metadata(made).size == (8, 6)


@pytest.mark.parametrize("as_file", [False, True])
def test_own_metadata_wins(tmp_path: Path, as_file: bool) -> None:
    preprocess = Preprocess((5, 4), resize="longest", pad="center", interpolation="area")
    made = model(IMAGE | {"trtfast.preprocess": json.dumps(preprocess.to_dict())})
    source: Any = made
    if as_file:
        source = tmp_path / "model.onnx"
        onnx.save(made, source)
    assert Preprocess.from_onnx_metadata(source) == preprocess


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (model({}), "neither 'trtfast.preprocess' nor 'Image.BitmapPixelFormat'"),
        (model({"Image.BitmapPixelFormat": "Rgb8"}), "Image.NominalPixelRange"),
        (model(IMAGE | {"Image.BitmapPixelFormat": "Rgba8"}), "'Rgba8', which is not supported"),
        (model(IMAGE | {"Image.NominalPixelRange": "NominalRange_16_235"}), "16_235"),
        (model(IMAGE | {"Image.ColorSpaceGamma": "Linear"}), "'Linear', which is not supported"),
        (model(IMAGE, ("n", 3, 8, 6), ("n", 3, 8, 6)), "inputs x0, x1; expected one"),
        (model(IMAGE, ("n", 3, "h", "w")), r"\(n, 3, h, w\); expected"),
        (model(IMAGE, ("n", 1, 8, 6)), r"expected \(N, 3, height, width\)"),
        (model(IMAGE, (3, 8, 6)), "expected"),
        (model({"trtfast.preprocess": "{"}), "no JSON"),
        (model({"trtfast.preprocess": "[1]"}), "JSON object"),
        (model({"trtfast.preprocess": '{"flip": 1}'}), "flip"),
    ],
)
def test_metadata_that_does_not_do_is_refused(made: onnx.ModelProto, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Preprocess.from_onnx_metadata(made)


def test_files_that_are_no_model_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(InputError, match="no such file"):
        Preprocess.from_onnx_metadata(path)
    path.write_bytes(b"not a model")
    with pytest.raises(InputError, match="cannot be read"):
        Preprocess.from_onnx_metadata(str(path))
