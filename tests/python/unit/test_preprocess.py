"""The spec as a value, where pixels go, and what may be passed; see test_preprocess_albumentations
and test_preprocess_torch for the numbers.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
import subprocess
import sys
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagery import CV2_FLAGS, assert_bit_equal, fractions, positives, random_image, sizes
from trtfast.errors import Error, InputError
from trtfast.preprocess import Geometry, Interpolation, Pad, Preprocess, read_image

LETTERBOX = Preprocess((8, 6), resize="longest", pad="center", fill=(1, 2, 3))


def test_known_values() -> None:
    image = np.zeros((1, 1, 3), np.uint8)
    image[0, 0] = 0, 128, 255
    got = Preprocess((1, 1), (0.0, 0.5, 1.0), (1.0, 0.5, 0.25))(image)
    np.testing.assert_allclose(got.ravel(), [0, 0.5 / 127.5, 0], atol=1e-7)


def test_channels_layouts_and_normalizations_of_a_known_image() -> None:
    image = np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8)
    rgb = Preprocess((1, 2), normalization="none")
    change = dataclasses.replace
    assert rgb(image).tolist() == [[[[10, 40]], [[20, 50]], [[30, 60]]]]
    assert change(rgb, channels="bgr")(image).tolist() == [[[[30, 60]], [[20, 50]], [[10, 40]]]]
    assert change(rgb, channels="gray")(image).tolist() == [[[[18, 48]]]]
    assert change(rgb, layout="NHWC")(image).tolist() == [image.tolist()]
    gray = change(rgb, channels="gray", layout="NHWC")
    assert gray(image).tolist() == [[[[18], [48]]]]
    stretched = change(rgb, normalization="min_max")(image)
    np.testing.assert_allclose(stretched.ravel(), [0, 0.6, 0.2, 0.8, 0.4, 1], atol=1e-5)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("channels", ["rgb", "bgr", "gray"])
@pytest.mark.parametrize("normalization", ["standard", "none", "min_max"])
@pytest.mark.parametrize("interpolation", ["area", "pil_bicubic"])
def test_pixels_and_table_are_the_whole_preprocessing(
    layout: Any, channels: Any, normalization: Any, interpolation: Any
) -> None:
    numbers = (0.1,) if channels == "gray" else (0.1, 0.2, 0.3)
    preprocess = Preprocess(
        (8, 6), numbers, numbers, 200, interpolation, "longest", None, "top_right", (9, 8, 7),
        channels, normalization, layout,
    )  # fmt: skip
    images = [random_image(30, 20), random_image(5, 50)]
    pixels = preprocess.pixels(images)
    count = 1 if channels == "gray" else 3
    assert (pixels.shape, pixels.dtype) == ((2, 8, 6, count), np.uint8)
    assert pixels.flags.c_contiguous
    got = preprocess(images)
    assert got.shape == preprocess.shape(2)
    assert got.flags.c_contiguous
    if normalization == "min_max":
        assert preprocess.table is None
        assert [(one.min(), one.max() > 0.999) for one in got] == [(0, True)] * 2
        return
    table = preprocess.table
    assert table is not None
    assert (table.shape, table.dtype) == ((count, 256), np.float32)
    values = np.stack([table[c][pixels[..., c]] for c in range(count)], axis=-1)
    assert_bit_equal(got, values.transpose(0, 3, 1, 2) if layout == "NCHW" else values)


# ---- geometry -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "image", "resized", "offset"),
    [
        ({}, (5, 7), (8, 6), (0, 0)),
        ({"resize_to": (11, 9)}, (5, 7), (11, 9), (1, 1)),
        ({"resize": "none"}, (11, 9), (11, 9), (1, 1)),
        ({"resize": "shortest"}, (20, 10), (12, 6), (2, 0)),
        ({"resize": "shortest", "resize_to": 9}, (10, 20), (9, 18), (0, 6)),
        ({"resize": "longest", "pad": "center"}, (20, 10), (8, 4), (0, -1)),
        ({"resize": "longest", "pad": "top_left"}, (20, 10), (8, 4), (0, 0)),
        ({"resize": "longest", "pad": "bottom_right"}, (20, 10), (8, 4), (0, -2)),
        ({"resize": "longest", "pad": "bottom_left"}, (10, 20), (4, 8), (-4, 1)),
        ({"resize": "longest", "resize_to": (8, 6), "pad": "center"}, (9, 20), (3, 6), (-2, 0)),
        ({"resize": "shortest", "resize_to": (8, 6)}, (9, 20), (8, 18), (0, 6)),
        # To even, as Python and so albumentations; torchvision cuts sides and rounds offsets.
        ({"resize": "shortest", "resize_to": 9}, (6, 9), (9, 14), (0, 4)),
        ({"resize": "shortest", "resize_to": 9}, (6, 11), (9, 16), (0, 5)),
        (
            {"resize": "shortest", "resize_to": 9, "interpolation": "pil_bicubic"},
            (6, 9),
            (9, 13),
            (0, 4),
        ),
        ({"resize_to": (11, 9), "interpolation": "pil_bicubic"}, (5, 7), (11, 9), (2, 2)),
        ({"resize": "shortest"}, (1, 4000), (6, 24000), (-1, 11997)),
        ({"resize": "longest", "pad": "center"}, (1, 4000), (1, 8), (-3, 1)),
        (
            {"resize": "longest", "pad": "center", "interpolation": "pil_lanczos"},
            (1, 4000),
            (1, 8),
            (-3, 1),
        ),
    ],
)
def test_geometry(settings: Any, image: Any, resized: Any, offset: Any) -> None:
    settings.setdefault("pad", "center" if settings.get("resize") == "shortest" else None)
    assert Preprocess((8, 6), **settings).geometry(*image) == Geometry(resized, offset)


def test_image_that_is_too_small_is_named() -> None:
    preprocess = Preprocess((8, 6), resize="longest")
    message = r"^image 1 of 9x2 becomes 8x2, smaller than the size 8x6.*pad='center'"
    with pytest.raises(InputError, match=message):
        preprocess([random_image(8, 6), random_image(9, 2)])
    with pytest.raises(InputError, match=r"^the image of 9x2"):
        preprocess.pixels(random_image(9, 2))
    with pytest.raises(InputError, match=r"^9x2"):
        preprocess.geometry(9, 2)


@pytest.mark.parametrize(("name", "library"), [("area", "OpenCV"), ("pil_lanczos", "Pillow")])
def test_what_cannot_be_resized_is_named(name: Any, library: str) -> None:
    preprocess = Preprocess((8, 6), interpolation=name, resize="shortest", resize_to=60_000)
    with pytest.raises(InputError, match=f"{library} cannot resize 1x40000 to 60000x2400000000"):
        preprocess(np.zeros((1, 40_000, 3), np.uint8))


def test_shape_follows_layout_and_channels() -> None:
    assert LETTERBOX.shape(5) == (5, 3, 8, 6)
    assert dataclasses.replace(LETTERBOX, layout="NHWC").shape(5) == (5, 8, 6, 3)
    gray = dataclasses.replace(LETTERBOX, channels="gray", normalization="none")
    assert gray.shape(0) == (0, 1, 8, 6)


def test_names_are_those_of_opencv_and_pillow() -> None:
    assert set(get_args(Interpolation)) == {
        *CV2_FLAGS,
        *("pil_bilinear", "pil_bicubic", "pil_lanczos"),
    }


# ---- what may be passed -------------------------------------------------------------------------


def test_sequence_of_sizes_and_batch_equal_one_by_one() -> None:
    preprocess = Preprocess((8, 9))
    images = [random_image(5, 7, 1), random_image(8, 9, 2), random_image(20, 3, 3)]
    expected = np.concatenate([preprocess(image) for image in images])
    assert expected.shape == (3, 3, 8, 9)
    assert_bit_equal(preprocess(images), expected)
    assert_bit_equal(preprocess(tuple(images)), expected)

    batch = np.stack([random_image(5, 7, seed) for seed in range(2)])
    assert_bit_equal(preprocess(batch), preprocess(list(batch)))


@pytest.mark.parametrize("size", [(6, 10), (4, 4)])
def test_layout_in_memory_does_not_matter(size: tuple[int, int]) -> None:
    preprocess = Preprocess(size)
    big = random_image(12, 20)
    chw = np.ascontiguousarray(random_image(6, 10).transpose(2, 0, 1))
    for view in (
        big[::2, ::2],
        big[5::-1, 9::-1],
        big[:6, :10, ::-1],
        chw.transpose(1, 2, 0),
        np.asfortranarray(random_image(6, 10)),
        np.broadcast_to(big[:1, :1], (6, 10, 3)),
    ):
        assert_bit_equal(preprocess(view), preprocess(view.copy(order="C")))


def test_input_stays_and_result_is_new() -> None:
    image = random_image(4, 4)
    image.flags.writeable = False
    before = image.copy()
    preprocess = Preprocess((4, 4))
    first, second = preprocess(image), preprocess(image)
    np.testing.assert_array_equal(image, before)
    assert not np.shares_memory(first, second)
    assert first.flags.c_contiguous
    assert first.flags.writeable


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((4, 4, 3), np.int64), "int64"),
        (np.zeros((4, 4), np.uint8), r"shape \(4, 4\)"),
        (np.zeros((4, 4, 1), np.uint8), r"shape \(4, 4, 1\)"),
        (np.zeros((4, 4, 4), np.uint8), "drop alpha"),
        (np.zeros((3, 4, 4), np.uint8), "transpose"),
        (np.zeros((0, 4, 3), np.uint8), "no pixel"),
        (np.zeros((4, 0, 3), np.uint8), "no pixel"),
        (np.zeros((0, 4, 4, 3), np.uint8), "no image"),
        ([], "no image"),
        (np.zeros((1, 1, 4, 4, 3), np.uint8), r"shape \(1, 1, 4, 4, 3\)"),
        (np.array([None, None], object), "object array"),
        ([np.zeros((4, 4, 3), np.uint8), None], "image 1 is NoneType"),
        ([np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4, 3), np.uint8)], "image 1 has shape"),
        ("photo.jpg", "got str"),
        (None, "got NoneType"),
    ],
)
def test_wrong_images_are_refused(images: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Preprocess()(images)
    assert "expected" in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"size": (0, 4)},
        {"size": (4, -1)},
        {"size": (4.0, 4.0)},
        {"size": 224},
        {"size": (1, 2, 3)},
        {"mean": (0.5, 0.5)},
        {"mean": 0.5},
        {"mean": "abc"},
        {"mean": (0.5, 0.5, float("nan"))},
        {"std": (0.5, 0.0, 0.5)},
        {"std": (0.5, 0.5, -0.1)},
        {"std": (1e-42, 0.5, 0.5)},
        {"std": (1e-42, 0.5, 0.5), "interpolation": "pil_bicubic"},
        {"std": ()},
        {"max_pixel_value": 0.0},
        {"max_pixel_value": float("inf")},
        {"max_pixel_value": "255"},
        {"interpolation": "bilinear"},
        {"interpolation": 1},
        {"resize": "fit"},
        {"resize": None},
        {"resize_to": 224},
        {"resize_to": (4, 0)},
        {"resize_to": 0, "resize": "longest"},
        {"resize_to": 1.5, "resize": "longest"},
        {"resize_to": "12", "resize": "longest"},
        {"resize_to": (4, 4, 4), "resize": "shortest"},
        {"resize_to": 4, "resize": "none"},
        {"resize_to": (224, 223)},
        {"resize_to": 223, "resize": "longest"},
        {"resize_to": 223, "resize": "shortest"},
        {"resize_to": (223, 223), "resize": "shortest"},
        {"pad": "middle"},
        {"fill": 256},
        {"fill": -1},
        {"fill": 0.5},
        {"fill": (0, 0)},
        {"fill": "123"},
        {"channels": "rgba"},
        {"mean": (0.4, 0.4, 0.4), "channels": "gray"},
        {"normalization": "image"},
        {"layout": "CHW"},
    ],
)
def test_wrong_settings_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(arguments))) as caught:
        Preprocess(**arguments)
    assert "expected" in str(caught.value)


def test_without_opencv_or_pillow_the_pip_command_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(Error, match=r'pip install "trtfast\[preprocess\]"') as caught:
        Preprocess((2, 2), interpolation="pil_bicubic")(random_image(4, 4))
    assert not isinstance(caught.value, InputError)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(Error, match=r'pip install "trtfast\[preprocess\]"') as caught:
        Preprocess()(random_image(4, 4))
    assert not isinstance(caught.value, InputError)
    with pytest.raises(Error, match="pip install"):
        read_image("photo.jpg")


# ---- the spec as a value ------------------------------------------------------------------------


@given(
    size=sizes,
    resize_to=st.one_of(st.none(), sizes),
    mean=st.tuples(fractions, fractions, fractions),
    std=st.tuples(positives, positives, positives),
    name=st.sampled_from(get_args(Interpolation)),
    pad=st.sampled_from(get_args(Pad)),
    fill=st.one_of(st.integers(0, 255), st.tuples(*[st.integers(0, 255)] * 3)),
    resize=st.sampled_from(["stretch", "shortest", "longest"]),
    layout=st.sampled_from(["NCHW", "NHWC"]),
    channels=st.sampled_from(["rgb", "bgr"]),
)
def test_dictionary_round_trips_through_json(name: Any, **settings: Any) -> None:
    preprocess = Preprocess(interpolation=name, **settings)
    again = Preprocess.from_dict(json.loads(json.dumps(preprocess.to_dict())))
    assert again == preprocess
    assert hash(again) == hash(preprocess)


def test_dictionary_is_plain_and_whole() -> None:
    spec = Preprocess(
        np.array([4, 6]),  # type: ignore[arg-type]
        np.float32([0, 0.5, 1]),  # type: ignore[arg-type]
        [1, 1, 1],  # type: ignore[arg-type]
        np.uint8(255),  # type: ignore[arg-type]
        resize="shortest",
        resize_to=np.int64(5),  # type: ignore[arg-type]
        fill=np.array([1, 2, 3]),  # type: ignore[arg-type]
    )
    assert json.loads(json.dumps(spec.to_dict())) == {
        "size": [4, 6],
        "mean": [0.0, 0.5, 1.0],
        "std": [1.0, 1.0, 1.0],
        "max_pixel_value": 255.0,
        "interpolation": "linear",
        "resize": "shortest",
        "resize_to": 5,
        "pad": None,
        "fill": [1, 2, 3],
        "channels": "rgb",
        "normalization": "standard",
        "layout": "NCHW",
    }


def test_dictionary_of_the_first_version_is_read() -> None:
    first = {
        "size": [4, 6],
        "mean": [0.0, 0.5, 1.0],
        "std": [1.0, 1.0, 1.0],
        "max_pixel_value": 254.0,
        "interpolation": "cubic",
    }
    expected = Preprocess((4, 6), (0.0, 0.5, 1.0), (1.0, 1.0, 1.0), 254.0, "cubic")
    assert Preprocess.from_dict(first) == expected


def test_dictionary_defaults_and_unknown_keys() -> None:
    assert Preprocess.from_dict({"size": [4, 6]}) == Preprocess((4, 6))
    with pytest.raises(InputError, match=r"crop, flip.*a newer trtfast"):
        Preprocess.from_dict({"flip": 1, "size": [4, 6], "crop": 2})


def test_equal_meaning_is_equal() -> None:
    assert Preprocess((4, 6), resize_to=(4, 6)) == Preprocess((4, 6))
    assert Preprocess((4, 6), resize="shortest", resize_to=4) == Preprocess(
        (4, 6), resize="shortest"
    )


def test_spec_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        LETTERBOX.size = (3, 3)  # type: ignore[misc]


def test_pickle_round_trips() -> None:
    image = random_image(9, 9)
    again = pickle.loads(pickle.dumps(LETTERBOX))
    assert again == LETTERBOX
    assert_bit_equal(again(image), LETTERBOX(image))


def test_import_is_light() -> None:
    heavy = "cv2", "torch", "onnx", "onnxruntime", "albumentations", "ml_dtypes", "PIL"
    modules = "preprocess", "postprocess", "binding", "reference"
    imports = "; ".join(f"import trtfast.{name}" for name in modules)
    script = f"import sys; {imports}; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
