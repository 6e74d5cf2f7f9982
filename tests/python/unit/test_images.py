"""Images into an engine: which engines take them, and what reaches the model."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

import trtfast
from trtfast.binding import image_preprocess


def identity_model(
    dtype: int = TensorProto.FLOAT, shape: tuple[object, ...] = ("n", 3, 8, 6)
) -> bytes:
    value = helper.make_tensor_value_info
    node = helper.make_node("Identity", ["image"], ["output"])
    graph = helper.make_graph(
        [node], "identity", [value("image", dtype, shape)], [value("output", dtype, shape)]
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


@pytest.mark.parametrize(
    ("element", "dtype"), [(TensorProto.FLOAT, np.float32), (TensorProto.FLOAT16, np.float16)]
)
def test_reference_engine_preprocesses_images(element: int, dtype: type) -> None:
    preprocess = trtfast.Preprocess(size=(8, 6))
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((8, 6), (30, 20), (5, 50))]
    with trtfast.ReferenceEngine(identity_model(element), preprocess=preprocess) as engine:
        given = engine.infer_images(images)
    assert np.array_equal(given, preprocess(images).astype(dtype))


def test_resize_and_table_are_the_whole_preprocessing() -> None:
    preprocess = trtfast.Preprocess(size=(8, 6), mean=(0.1, 0.5, 0.9), std=(0.2, 0.3, 0.4))
    images = np.random.default_rng(1).integers(0, 256, (4, 20, 10, 3), np.uint8)
    resized = preprocess.resize(images)
    assert resized.shape == (4, 8, 6, 3)
    by_table = np.stack([preprocess.table[c][resized[..., c]] for c in range(3)], axis=1)
    assert np.array_equal(preprocess(images), by_table)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (identity_model(TensorProto.INT32), "int32"),
        (identity_model(shape=("n", 3, 48)), "does not take images"),
        (identity_model(shape=("n", 1, 8, 6)), "shape"),
        (identity_model(shape=("n", 3, 16, 16)), "shape"),
    ],
)
def test_engine_that_takes_no_images_says_so(model: bytes, message: str) -> None:
    engine = trtfast.ReferenceEngine(model, preprocess=trtfast.Preprocess(size=(8, 6)))
    with engine, pytest.raises(trtfast.InputError, match=message):
        engine.infer_images(np.zeros((8, 6, 3), np.uint8))


def test_engine_without_preprocessing_says_how_to_give_it() -> None:
    with pytest.raises(trtfast.InputError, match="preprocess="):
        image_preprocess(None, ())
