from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING, Any, get_args

import albumentations as A  # noqa: N812
import cv2
import numpy as np
import pytest
import skimage.data
from albumentations.pytorch import ToTensorV2
from hypothesis import given, settings
from hypothesis import strategies as st

from trtfast.errors import Error, InputError
from trtfast.preprocess import Interpolation, Preprocess, read_image

if TYPE_CHECKING:
    from pathlib import Path

FLAGS = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "cubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}

sides = st.integers(1, 40)
sizes = st.tuples(sides, sides)
fraction = st.floats(0, 1)
positive = st.floats(0.01, 2)


def random_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def pipeline(size: tuple[int, int] = (4, 6), **normalize: Any) -> Any:
    return A.Compose([A.Resize(*size), A.Normalize(**normalize), ToTensorV2()])


def assert_bit_equal(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(got.view(np.uint32), expected.view(np.uint32))


# ---- the law: bit for bit what albumentations gives ---------------------------------------------


@settings(deadline=None, max_examples=150)
@given(
    source=sizes,
    size=sizes,
    name=st.sampled_from(list(FLAGS)),
    mean=st.tuples(fraction, fraction, fraction),
    std=st.tuples(positive, positive, positive),
    max_pixel_value=st.sampled_from([255.0, 1.0, 254.7, 65535.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_albumentations(
    source: tuple[int, int],
    size: tuple[int, int],
    name: Interpolation,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    max_pixel_value: float,
    seed: int,
) -> None:
    image = random_image(*source, seed)
    compose = A.Compose(
        [
            A.Resize(*size, interpolation=FLAGS[name]),
            A.Normalize(mean=mean, std=std, max_pixel_value=max_pixel_value),
            ToTensorV2(),
        ]
    )
    preprocess = Preprocess(size, mean, std, max_pixel_value, name)
    assert_bit_equal(preprocess(image)[0], compose(image=image)["image"].numpy())
    assert Preprocess.from_albumentations(compose) == preprocess


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("size", [(224, 224), (400, 600), (800, 301)])
def test_equals_albumentations_on_a_photograph(name: Interpolation, size: tuple[int, int]) -> None:
    image = skimage.data.coffee()
    compose = A.Compose([A.Resize(*size, interpolation=FLAGS[name]), A.Normalize(), ToTensorV2()])
    got = Preprocess(size, interpolation=name)(image)
    assert got.shape == (1, 3, *size)
    assert_bit_equal(got[0], compose(image=image)["image"].numpy())


def test_every_pixel_value_in_every_channel() -> None:
    image = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    expected = pipeline((16, 16))(image=image)["image"].numpy()
    assert_bit_equal(Preprocess((16, 16))(image)[0], expected)


def test_known_values() -> None:
    image = np.zeros((1, 1, 3), np.uint8)
    image[0, 0] = 0, 128, 255
    got = Preprocess((1, 1), (0.0, 0.5, 1.0), (1.0, 0.5, 0.25))(image)
    np.testing.assert_allclose(got.ravel(), [0, 0.5 / 127.5, 0], atol=1e-7)


def test_interpolations_are_those_of_opencv() -> None:
    assert set(get_args(Interpolation)) == set(FLAGS)


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
        {"max_pixel_value": 0.0},
        {"max_pixel_value": float("inf")},
        {"max_pixel_value": "255"},
        {"interpolation": "bilinear"},
    ],
)
def test_wrong_settings_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(arguments))):
        Preprocess(**arguments)


def test_without_opencv_the_pip_command_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(Error, match=r'pip install "trtfast\[preprocess\]"') as caught:
        Preprocess()(random_image(4, 4))
    assert not isinstance(caught.value, InputError)
    with pytest.raises(Error, match="pip install"):
        read_image("photo.jpg")


# ---- the spec as a value ------------------------------------------------------------------------


@given(
    size=sizes,
    mean=st.tuples(fraction, fraction, fraction),
    std=st.tuples(positive, positive, positive),
    name=st.sampled_from(list(FLAGS)),
)
def test_dictionary_round_trips_through_json(
    size: tuple[int, int],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    name: Interpolation,
) -> None:
    preprocess = Preprocess(size, mean, std, interpolation=name)
    again = Preprocess.from_dict(json.loads(json.dumps(preprocess.to_dict())))
    assert again == preprocess
    assert hash(again) == hash(preprocess)


def test_dictionary_is_plain() -> None:
    spec = Preprocess(np.array([4, 6]), np.float32([0, 0.5, 1]), [1, 1, 1], np.uint8(255))  # type: ignore[arg-type]
    assert json.loads(json.dumps(spec.to_dict())) == {
        "size": [4, 6],
        "mean": [0.0, 0.5, 1.0],
        "std": [1.0, 1.0, 1.0],
        "max_pixel_value": 255.0,
        "interpolation": "linear",
    }


def test_dictionary_defaults_and_unknown_keys() -> None:
    assert Preprocess.from_dict({"size": [4, 6]}) == Preprocess((4, 6))
    with pytest.raises(InputError, match="crop, pad"):
        Preprocess.from_dict({"pad": 1, "size": [4, 6], "crop": 2})


def test_pickle_round_trips() -> None:
    preprocess = Preprocess((4, 6), mean=(0.1, 0.2, 0.3))
    image = random_image(9, 9)
    again = pickle.loads(pickle.dumps(preprocess))
    assert again == preprocess
    assert_bit_equal(again(image), preprocess(image))


# ---- from albumentations ------------------------------------------------------------------------


def test_scalar_mean_and_std_and_no_tensor() -> None:
    compose = A.Compose([A.Resize(4, 6), A.Normalize(mean=0.45, std=0.3, max_pixel_value=254.0)])
    preprocess = Preprocess.from_albumentations(compose)
    assert preprocess == Preprocess((4, 6), (0.45,) * 3, (0.3,) * 3, 254.0)
    image = random_image(9, 9)
    expected = compose(image=image)["image"].transpose(2, 0, 1)
    assert_bit_equal(preprocess(image)[0], np.ascontiguousarray(expected))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: A.Compose([A.Resize(4, 4), A.HorizontalFlip(), A.Normalize()]), "HorizontalFlip"),
        (lambda: A.Compose([A.Resize(4, 4), A.CenterCrop(2, 2), A.Normalize()]), "CenterCrop"),
        (lambda: A.Compose([A.OneOf([A.Resize(4, 4)]), A.Normalize()]), "OneOf"),
        (lambda: A.Sequential([A.Resize(4, 4), A.Normalize()]), "Sequential"),
        (lambda: A.Compose([A.Normalize(), A.Resize(4, 4)]), "Normalize, Resize"),
        (lambda: A.Compose([A.Resize(4, 4)]), "pipeline is Resize"),
        (lambda: A.Compose([]), "empty"),
        (lambda: A.Compose([A.Resize(4, 4), A.Resize(2, 2), A.Normalize()]), "Resize, Resize"),
        (lambda: A.Compose([A.Resize(4, 4, interpolation=6), A.Normalize()]), "interpolation=6"),
        (
            lambda: A.Compose([A.Resize(4, 4, area_for_downscale="image"), A.Normalize()]),
            "area_for_downscale='image'",
        ),
        (
            lambda: A.Compose([A.Resize(4, 4), A.Normalize(normalization="min_max")]),
            "normalization='min_max'",
        ),
        (lambda: A.Compose([A.Resize(4, 4, p=0.5), A.Normalize()]), "Resize has p=0.5"),
        (lambda: A.Compose([A.Resize(4, 4), A.Normalize()], p=0.5), "Compose has p=0.5"),
        (lambda: A.Compose([A.Resize(4, 4), A.Normalize(mean=(0.5, 0.5), std=(1, 1))]), "mean"),
        (lambda: A.Resize(4, 4), "Resize"),
        (lambda: None, "NoneType"),
    ],
)
def test_what_cannot_be_translated_is_named(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Preprocess.from_albumentations(make())


def test_torchvision_pipeline_is_not_taken_for_albumentations() -> None:
    from torchvision import transforms

    with pytest.raises(InputError, match="torchvision"):
        Preprocess.from_albumentations(transforms.Compose([transforms.Resize(4)]))


# ---- files --------------------------------------------------------------------------------------


def encoded(extension: str, image: np.ndarray) -> bytes:
    ok, data = cv2.imencode(extension, image)
    assert ok
    return data.tobytes()


def test_read_image_gives_rgb(tmp_path: Path) -> None:
    image = random_image(5, 7)
    path = tmp_path / "grün.png"
    path.write_bytes(encoded(".png", image[..., ::-1]))
    got = read_image(path)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, image)
    np.testing.assert_array_equal(read_image(os.fspath(path)), image)


def test_read_image_of_grey_and_alpha_has_three_channels(tmp_path: Path) -> None:
    grey = random_image(5, 7)[..., 0]
    (tmp_path / "grey.png").write_bytes(encoded(".png", grey))
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.dstack([grey] * 3))
    bgra = np.dstack([random_image(5, 7), grey])
    (tmp_path / "alpha.png").write_bytes(encoded(".png", bgra))
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png"), bgra[..., 2::-1])


def test_read_image_honours_exif_orientation(tmp_path: Path) -> None:
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, :16] = 255
    jpeg = encoded(".jpg", image)
    # One IFD entry: orientation (0x0112), SHORT, 1 value, 6 = turn clockwise by 90 degrees.
    tiff = struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b"Exif\0\0" + tiff
    path = tmp_path / "turned.jpg"
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    got = read_image(path)
    assert got.shape == (32, 16, 3)
    assert got[:12].min() > 200
    assert got[20:].max() < 50


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not an image",
        encoded(".png", random_image(64, 64))[:2000],
        encoded(".jpg", random_image(64, 64))[:2000],
        encoded(".jpg", random_image(64, 64))[:-2],
        encoded(".jpg", random_image(64, 64))[:100],
        png_header(60_000, 60_000),
    ],
    ids=["empty", "text", "half-png", "half-jpeg", "unclosed-jpeg", "jpeg-header", "too-large"],
)
def test_damaged_files_are_refused_by_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"photo\.jpg"):
        read_image(path)


def test_whole_jpeg_with_bytes_after_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(".jpg", random_image(64, 48)) + b"trailing")
    assert read_image(path).shape == (64, 48, 3)


def test_missing_files_and_folders_are_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.png", tmp_path):
        with pytest.raises(InputError, match=path.name):
            read_image(path)


def test_import_is_light() -> None:
    heavy = "cv2", "torch", "onnx", "onnxruntime", "albumentations", "ml_dtypes"
    modules = "preprocess", "postprocess", "binding", "reference"
    imports = "; ".join(f"import trtfast.{name}" for name in modules)
    script = f"import sys; {imports}; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
