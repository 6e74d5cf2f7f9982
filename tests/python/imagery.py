"""Images and comparisons that the tests of preprocessing share."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import strategies as st

CV2_FLAGS = {
    "nearest": cv2.INTER_NEAREST,
    "nearest_exact": cv2.INTER_NEAREST_EXACT,
    "linear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "cubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}

sides = st.integers(1, 40)
sizes = st.tuples(sides, sides)
# Also the narrow ones, where a rounding that is wrong shows.
sources = st.one_of(
    sizes,
    st.tuples(st.integers(1, 3), st.integers(1, 900)),
    st.tuples(st.integers(1, 900), st.integers(1, 3)),
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
)
fractions = st.floats(0, 1)
positives = st.floats(0.01, 2)


def random_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(extension: str, image: np.ndarray) -> bytes:
    ok, data = cv2.imencode(extension, image)
    assert ok
    return data.tobytes()


def assert_bit_equal(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.dtype == expected.dtype == np.float32
    assert got.shape == expected.shape
    same = got.view(np.uint32) == np.ascontiguousarray(expected).view(np.uint32)
    assert same.all(), f"{(~same).sum()} of {same.size} values differ"
