"""The law of preprocessing on the GPU, real or not: it makes the CPU's values."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
from hypothesis import strategies as st

from imagery import fractions, positives, sources
from trtfast.errors import InputError
from trtfast.preprocess import Preprocess
from trtfast.preprocess.spec import (
    Channels,
    Interpolation,
    Layout,
    Normalization,
    Pad,
    Resize,
)

# For these OpenCV has other arithmetics, chosen by how it was built and by the processor, which
# differ in the last bit, if at all.
INEXACT = ("cubic", "lanczos")
METHODS = get_args(Interpolation)


@st.composite
def specs(draw: st.DrawFn, largest: int = 40) -> Preprocess:
    """Any Preprocess, of a small size."""
    channels = draw(st.sampled_from(get_args(Channels)))
    count = 1 if channels == "gray" else 3
    side = st.integers(1, largest)
    try:
        return Preprocess(
            size=draw(st.tuples(side, side)),
            mean=draw(st.tuples(*[fractions] * count)),
            std=draw(st.tuples(*[positives] * count)),
            interpolation=draw(st.sampled_from(METHODS)),
            resize=draw(st.sampled_from(get_args(Resize))),
            resize_to=draw(st.one_of(st.none(), side)) if draw(st.booleans()) else None,
            pad=draw(st.sampled_from(get_args(Pad))),
            fill=draw(st.tuples(*[st.integers(0, 255)] * 3)),
            channels=channels,
            normalization=draw(st.sampled_from(get_args(Normalization))),
            layout=draw(st.sampled_from(get_args(Layout))),
        )
    except InputError:  # what fits no image, or a length where two sides are asked for
        return Preprocess(size=(3, 5), channels="rgb", pad="center")


@st.composite
def batches(draw: st.DrawFn) -> list[np.ndarray]:
    """A few images, of sizes and contents of their own."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    images = []
    for height, width in draw(st.lists(sources, min_size=1, max_size=3)):
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        # Black and white bring out what overshoots.
        images.append(image // 255 * 255 if draw(st.booleans()) else image)
    return images


def poison(spec: Preprocess, count: int, dtype: str) -> None:
    """Fill the memory that the next result is likely to get with what is none of its values."""
    image = np.full((1, 1, 3), 201, np.uint8)
    filler = Preprocess(
        size=spec.size, channels=spec.channels, layout=spec.layout, normalization="none"
    )
    filler.on_gpu([image] * count, dtype=dtype)


def assert_gpu_equals_cpu(spec: Preprocess, images: list[Any]) -> None:
    """The GPU's pixels and values are the CPU's, bit for bit, or nearly so."""
    wanted = spec.pixels(images)
    if spec.layout == "NCHW":
        wanted = wanted.transpose(0, 3, 1, 2)
    poison(spec, len(images), "uint8")
    given = spec.on_gpu(images, dtype="uint8").copy_to_host()
    assert given.shape == wanted.shape == spec.shape(len(images))
    differences = np.abs(given.astype(np.int16) - wanted)
    if spec.interpolation in INEXACT:
        assert differences.max(initial=0) <= 1
    else:
        assert not differences.any(), (
            f"up to {differences.max()}, in {np.mean(differences > 0):.2%}"
        )
    poison(spec, len(images), "float32")
    values = spec.on_gpu(images).copy_to_host()
    assert values.dtype == np.float32
    if spec.table is None:  # by its own extremes
        for pixels, row in zip(given, values, strict=True):
            least, most = int(pixels.min()), int(pixels.max())
            expected = (pixels.astype(np.float64) - least) / (most - least + 1e-4)
            assert np.array_equal(row, expected.astype(np.float32))
    else:
        axis = 1 if spec.layout == "NCHW" else 3
        for channel, entries in enumerate(spec.table):
            pixels = np.take(given, channel, axis)
            assert np.array_equal(np.take(values, channel, axis), entries[pixels])
    if spec.interpolation not in INEXACT:
        assert np.array_equal(values, spec(images))
