"""Images into an engine: which engines take them, and what reaches the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

import trtfast
from imagery import encoded, random_image
from trtfast.binding import image_preprocess
from trtfast.errors import InputError
from trtfast.preprocess import Preprocess

SPEC = Preprocess(size=(8, 6))


def identity_model(
    dtype: int = TensorProto.FLOAT, shape: tuple[object, ...] = ("n", 3, 8, 6), outputs: int = 1
) -> bytes:
    value = helper.make_tensor_value_info
    names = [f"output{index}" for index in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["image"], [name]) for name in names],
        "identity",
        [value("image", dtype, shape)],
        [value(name, dtype, shape) for name in names],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


@pytest.mark.parametrize(
    ("element", "dtype"),
    [
        (TensorProto.FLOAT, np.float32),
        (TensorProto.FLOAT16, np.float16),
        (TensorProto.BFLOAT16, ml_dtypes.bfloat16),
    ],
)
def test_reference_engine_preprocesses_images(element: int, dtype: Any) -> None:
    images = [random_image(*size) for size in ((8, 6), (30, 20), (5, 50))]
    with trtfast.ReferenceEngine(identity_model(element), preprocess=SPEC) as engine:
        given = engine.infer_images(images)
    assert given.dtype == dtype
    assert np.array_equal(given, SPEC(images).astype(dtype))


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({"layout": "NHWC"}, ("n", 8, 6, 3)),
        ({"channels": "gray", "mean": (0.5,), "std": (0.5,)}, ("n", 1, 8, 6)),
        ({"channels": "gray", "normalization": "min_max", "layout": "NHWC"}, ("n", 8, 6, 1)),
        ({"resize": "longest", "pad": "center", "channels": "bgr"}, ("n", "c", "h", "w")),
    ],
)
def test_all_of_the_spec_reaches_the_model(settings: Any, shape: tuple[object, ...]) -> None:
    preprocess = Preprocess((8, 6), **settings)
    image = random_image(30, 20)
    with trtfast.ReferenceEngine(identity_model(shape=shape), preprocess=preprocess) as engine:
        assert np.array_equal(engine.infer_images(image), preprocess(image))


def test_pixels_as_they_are_for_an_engine_of_uint8() -> None:
    preprocess = Preprocess((8, 6), normalization="none")
    image = random_image(30, 20)
    model = identity_model(TensorProto.UINT8)
    with trtfast.ReferenceEngine(model, preprocess=preprocess) as engine:
        given = engine.infer_images(image)
    assert given.dtype == np.uint8
    assert np.array_equal(given[0].transpose(1, 2, 0), preprocess.pixels(image)[0])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (identity_model(TensorProto.INT32), "int32"),
        (identity_model(TensorProto.UINT8), "normalization='none'"),
        (identity_model(shape=("n", 3, 48)), "does not take images"),
        (identity_model(shape=("n", 1, 8, 6)), r"shape \(1, 3, 8, 6\).*channels="),
        (identity_model(shape=("n", 8, 6, 3)), "layout="),
        (identity_model(shape=("n", 3, 16, 16)), "size="),
    ],
)
def test_engine_that_takes_no_such_images_says_so(model: bytes, message: str) -> None:
    engine = trtfast.ReferenceEngine(model, preprocess=SPEC)
    with engine, pytest.raises(InputError, match=message):
        engine.infer_images(np.zeros((8, 6, 3), np.uint8))


def test_engine_without_preprocessing_says_how_to_give_it() -> None:
    with pytest.raises(InputError, match="preprocess="):
        image_preprocess(None, ())


# ---- files, bytes, and what is wrong with them --------------------------------------------------


def mixed(tmp_path: Path) -> tuple[list[Any], list[np.ndarray]]:
    """Three images as a path, an array and bytes; and as arrays."""
    images = [random_image(30, 20, seed) for seed in range(3)]
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(".png", images[0][..., ::-1]))
    return [path, images[1], encoded(".png", images[2][..., ::-1])], images


def test_files_and_bytes_are_images_too(tmp_path: Path) -> None:
    items, images = mixed(tmp_path)
    with trtfast.ReferenceEngine(identity_model(), preprocess=SPEC) as engine:
        assert np.array_equal(engine.infer_images(items), SPEC(images))
        assert np.array_equal(engine.infer_images(items[0]), SPEC(images[0]))
        assert np.array_equal(engine.infer_images(str(items[0])), SPEC(images[0]))
        assert np.array_equal(engine.infer_images(items[2]), SPEC(images[2]))
        outputs, errors = engine.infer_images(items, on_error="skip")
        assert np.array_equal(outputs, SPEC(images))
        assert errors == {}


def test_wrong_images_raise_or_are_skipped(tmp_path: Path) -> None:
    preprocess = Preprocess((8, 6), resize="none")
    good, images = mixed(tmp_path)
    items = [b"broken", *good[:2], "absent.jpg", random_image(3, 3), good[2]]
    with trtfast.ReferenceEngine(identity_model(), preprocess=preprocess) as engine:
        with pytest.raises(InputError, match=r"^image 0: OpenCV cannot decode"):
            engine.infer_images(items)
        outputs, errors = engine.infer_images(items, on_error="skip")
        with pytest.raises(InputError, match="on_error"):
            engine.infer_images(items, on_error="ignore")  # type: ignore[call-overload]
    assert np.array_equal(outputs, preprocess(images))
    assert list(errors) == [0, 3, 4]
    for index, message in ((0, "6 bytes"), (3, "no such file"), (4, "3x3")):
        assert str(errors[index]).startswith(f"image {index}")
        assert message in str(errors[index])


@pytest.mark.parametrize("outputs", [1, 2])
def test_no_good_image_gives_no_rows(outputs: int) -> None:
    model = identity_model(TensorProto.FLOAT16, outputs=outputs)
    with trtfast.ReferenceEngine(model, preprocess=SPEC) as engine:
        given, errors = engine.infer_images([b"broken"], on_error="skip")
    assert list(errors) == [0]
    arrays = given if outputs > 1 else (given,)
    assert [(array.shape, array.dtype) for array in arrays] == [((0, 3, 8, 6), "f2")] * outputs
