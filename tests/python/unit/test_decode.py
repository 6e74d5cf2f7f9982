"""Image files and bytes: what is read, and what a broken one says."""

from __future__ import annotations

import multiprocessing
import os
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagery import encoded, random_image
from trtfast.errors import InputError
from trtfast.preprocess import Preprocess, read_image, read_images
from trtfast.preprocess.decode import decode


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
    assert np.array_equal(got, decode(path.read_bytes()))
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
    with pytest.raises(InputError, match=r"^this one: OpenCV cannot decode"):
        decode(data, "this one")


def test_whole_jpeg_with_bytes_after_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(".jpg", random_image(64, 48)) + b"trailing")
    assert read_image(path).shape == (64, 48, 3)


def test_missing_files_and_folders_are_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.png", tmp_path):
        with pytest.raises(InputError, match=path.name):
            read_image(path)


# ---- several ------------------------------------------------------------------------------------


def three(tmp_path: Path) -> tuple[list[Any], list[np.ndarray]]:
    """A path, an array and bytes, and what they hold."""
    images = [random_image(5, 7, seed) for seed in range(3)]
    path = tmp_path / "0.png"
    path.write_bytes(encoded(".png", images[0][..., ::-1]))
    return [path, images[1], encoded(".png", images[2][..., ::-1])], images


@pytest.mark.parametrize("workers", [None, 1, 2])
@pytest.mark.parametrize("times", [1, 20])
def test_paths_arrays_and_bytes_are_read_in_order(
    tmp_path: Path, workers: int | None, times: int
) -> None:
    items, images = three(tmp_path)
    got = read_images(items * times, workers)
    assert len(got) == 3 * times
    for read, image in zip(got, images * times, strict=True):
        np.testing.assert_array_equal(read, image)
    assert got[1] is items[1]


def test_kinds_of_bytes_and_lone_items(tmp_path: Path) -> None:
    items, images = three(tmp_path)
    data = items[2]
    for lone in (data, bytearray(data), memoryview(data)):
        np.testing.assert_array_equal(read_images(lone)[0], images[2])
    for lone in (items[0], os.fspath(items[0])):
        np.testing.assert_array_equal(read_images(lone)[0], images[0])
    np.testing.assert_array_equal(read_images(np.stack(images)), np.stack(images))


WRONG = [
    (b"not an image", "^image 1: OpenCV cannot decode its 12 bytes"),
    (b"", "^image 1: "),
    ("absent.jpg", "^image 1: absent.jpg: there is no such file"),
    (Path("/"), "^image 1: /: there is no such file"),
    ("nul\0", "^image 1: "),
    (None, "^image 1 is NoneType"),
    (np.zeros((4, 4), np.uint8), r"^image 1 has shape \(4, 4\)"),
    (np.zeros((4, 4, 3), np.float32), "^image 1 is float32"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_a_wrong_one_is_named_by_its_index(tmp_path: Path, wrong: Any, message: str) -> None:
    items, images = three(tmp_path)
    items[1] = wrong
    with pytest.raises(InputError, match=message):
        read_images(items)
    got, errors = read_images(items, on_error="skip")
    np.testing.assert_array_equal(got, [images[0], images[2]])
    assert list(errors) == [1]
    with pytest.raises(InputError, match=message):
        raise errors[1]


def test_the_first_wrong_one_raises() -> None:
    items = [random_image(2, 2), b"second", b"third"]
    with pytest.raises(InputError, match=r"^image 1: "):
        read_images(items)
    got, errors = read_images(items, on_error="skip")
    assert (len(got), list(errors)) == (1, [1, 2])


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="on_error is 'ignore'; expected"):
        read_images([random_image(2, 2)], on_error="ignore")  # type: ignore[call-overload]
    with pytest.raises(InputError, match="workers is 0; expected"):
        read_images([random_image(2, 2)], 0)
    for nothing in ([], (), np.zeros((0, 4, 4, 3), np.uint8)):
        with pytest.raises(InputError, match="no image"):
            read_images(nothing, on_error="skip")
    with pytest.raises(InputError, match="got int"):
        read_images(3)  # type: ignore[call-overload]


def test_threads_are_shared_and_few() -> None:
    data = encoded(".jpg", random_image(40, 40))

    def count() -> int:
        return sum(thread.name.startswith("trtfast-decode") for thread in threading.enumerate())

    read_images([data] * 50)
    before = count()
    callers = [threading.Thread(target=read_images, args=([data] * 50,)) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert before <= count() <= 8 + 3  # of this test's default, and of the tests above


def read_in_child(data: bytes, results: Any) -> None:
    results.put(len(read_images([data] * 4)))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_reads_too() -> None:
    data = encoded(".png", random_image(4, 4))
    read_images([data] * 4)
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=read_in_child, args=(data, results))
    child.start()
    child.join(30)
    alive = child.is_alive()
    child.kill()
    assert not alive
    assert results.get() == 4


# ---- and fit a spec -----------------------------------------------------------------------------


def test_images_that_do_not_fit_the_spec_are_wrong() -> None:
    preprocess = Preprocess((8, 6), resize="none")
    items = [random_image(8, 6), random_image(7, 6), encoded(".png", random_image(9, 9))]
    message = "^image 1 of 7x6 becomes 7x6, smaller than the size 8x6"
    with pytest.raises(InputError, match=message):
        preprocess.read(items)
    images, errors = preprocess.read(items, on_error="skip")
    assert [image.shape for image in images] == [(8, 6, 3), (9, 9, 3)]
    with pytest.raises(InputError, match=message):
        raise errors[1]
    assert preprocess.read(items[:1]) == ([items[0]], {})
