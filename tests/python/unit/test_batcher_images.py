"""Images through the batcher, on the reference engine: decoded, prepared, and batched."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tiny
import trtfast
from imagery import encoded, random_image
from trtfast.errors import ClosedError, InputError, QueueFullError

SPEC = trtfast.Preprocess(size=(4, 6))


@pytest.fixture
def imaging() -> Iterator[trtfast.Batcher]:
    model = tiny.doubling("n", 3, 4, 6)
    with (
        trtfast.ReferenceEngine(model, preprocess=SPEC) as engine,
        trtfast.Batcher(engine, 4) as batcher,
    ):
        yield batcher


def test_images_are_prepared_and_batched(imaging: trtfast.Batcher, tmp_path: Path) -> None:
    images = [random_image(5 + n, 9, n) for n in range(6)]
    np.testing.assert_allclose(imaging.infer_images(images), 2 * SPEC(images))
    path = tmp_path / "image.png"
    path.write_bytes(encoded(".png", np.ascontiguousarray(images[0][..., ::-1])))
    for same in (images[0], path, path.read_bytes(), [images[0]]):
        np.testing.assert_allclose(imaging.infer_images(same), 2 * SPEC([images[0]]))
        future = imaging.infer_images_async(same)
        np.testing.assert_allclose(future.result(60), 2 * SPEC([images[0]]))


def test_a_broken_image_fails_alone(imaging: trtfast.Batcher) -> None:
    image = random_image(5, 9)
    good = imaging.infer_images_async(image)
    with pytest.raises(InputError):
        imaging.infer_images_async(b"no image").result(60)
    with pytest.raises(InputError, match="5 rows"):
        imaging.infer_images_async([image] * 5).result(60)
    np.testing.assert_allclose(good.result(60), 2 * SPEC([image]))
    rows, errors = imaging.infer_images([image, b"no image"], on_error="skip")
    assert rows.shape == (1, 3, 4, 6)
    assert list(errors) == [1]
    imaging.close()
    with pytest.raises(ClosedError):
        imaging.infer_images_async(image)


def test_images_that_wait_to_be_decoded_are_bounded() -> None:
    held = threading.Event()

    model = tiny.doubling("n", 3, 4, 6)
    with (
        trtfast.ReferenceEngine(model, preprocess=SPEC) as engine,
        trtfast.Batcher(engine, 4, max_queue=2) as batcher,
    ):
        for _ in range(batcher._decoders._max_workers):
            batcher._decoders.submit(held.wait, 60)
        image = random_image(5, 9)
        futures = [batcher.infer_images_async(image) for _ in range(2)]
        with pytest.raises(QueueFullError, match="wait to be decoded"):
            batcher.infer_images_async(image)
        held.set()
        for future in futures:
            np.testing.assert_allclose(future.result(60), 2 * SPEC([image]))
        np.testing.assert_allclose(batcher.infer_images_async(image).result(60), 2 * SPEC([image]))
