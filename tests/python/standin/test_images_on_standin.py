"""Preprocessing by the kernels' arithmetic, on the host: the CPU's values, bit for bit."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any, ClassVar

import albumentations as A  # noqa: N812
import numpy as np
import pytest
import skimage.data
from albumentations.pytorch import ToTensorV2
from hypothesis import given, settings
from hypothesis import strategies as st

import fake_gpu
import trtfast
from imagery import assert_bit_equal, encoded, random_image
from on_gpu import METHODS, assert_gpu_equals_cpu, batches, specs
from trtfast.errors import InputError
from trtfast.preprocess import Preprocess


@settings(deadline=None, max_examples=250)
@given(spec=specs(), images=batches())
def test_the_gpu_makes_what_the_cpu_makes(spec: Preprocess, images: list[Any]) -> None:
    assert_gpu_equals_cpu(spec, images)


@settings(deadline=None, max_examples=60)
@given(
    method=st.sampled_from(METHODS),
    source=st.tuples(st.integers(1, 700), st.integers(1, 700)),
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
)
def test_larger_images(method: Any, source: tuple[int, int], size: tuple[int, int]) -> None:
    assert_gpu_equals_cpu(Preprocess(size=size, interpolation=method), [random_image(*source)])


@pytest.mark.parametrize("method", ["linear", "area"])
@pytest.mark.parametrize("ratio", [1, 2, 3, 49])
def test_whole_ratios(method: Any, ratio: int) -> None:
    spec = Preprocess(size=(6, 9), interpolation=method)
    assert_gpu_equals_cpu(spec, [random_image(6 * ratio, 9 * ratio)])


def test_photographs_become_what_albumentations_makes_of_them() -> None:
    transform = A.Compose([A.Resize(224, 224), A.Normalize(), ToTensorV2()])
    photographs = [
        getattr(skimage.data, name)()
        for name in ("astronaut", "cat", "chelsea", "coffee", "rocket")
    ]
    images = [*photographs, *(random_image(90 + 7 * n, 400 - 3 * n, n) for n in range(100))]
    spec = Preprocess.from_albumentations(transform)
    wanted = np.stack([transform(image=image)["image"].numpy() for image in images])
    assert_bit_equal(spec.on_gpu(images).copy_to_host(), wanted)


IMAGE_MODEL = b"""input x float32 -1,3,4,6
output y float32 -1,3,4,6
op node y = affine 2 1 x
"""


@pytest.fixture
def engine(gpu: Any) -> Any:
    shapes = [(count, 3, 4, 6) for count in (1, 2, 4)]
    plan = fake_gpu.build(gpu.libraries["rtx1.5"], IMAGE_MODEL, tuple(shapes))
    with trtfast.Engine(plan, preprocess=Preprocess(size=(4, 6))) as engine:
        yield engine


def test_an_engine_gets_what_the_cpu_makes(engine: Any) -> None:
    preprocess = Preprocess(size=(4, 6))
    images = [random_image(5, 9), random_image(30, 20, 1), random_image(4, 6, 2)]
    for batch in (images, images[:1], images[::-1]):
        assert np.array_equal(engine.infer_images(batch), 2 * preprocess(batch) + 1)
    many = [random_image(side, 3 + side, side) for side in range(1, 12)]  # more than a batch
    assert np.array_equal(engine.infer_images(many), 2 * preprocess(many) + 1)
    assert np.array_equal(
        engine.infer_images(images[0][::-1, ::-1]), 2 * preprocess([images[0][::-1, ::-1]]) + 1
    )


def test_sizes_that_come_again(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [random_image(5, 9, seed) for seed in range(3)]
    wanted = 2 * Preprocess(size=(4, 6))(images) + 1
    assert np.array_equal(engine.infer_images(images), wanted)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("looked at each image again")

    with monkeypatch.context() as patched:
        patched.setattr("trtfast.preprocess.decode.sort_out", refuse)
        assert np.array_equal(engine.infer_images(images), wanted)
        assert np.array_equal(engine.infer_images(images[::-1]), wanted[::-1])
        for other in (
            [*images, random_image(7, 9)],  # of another size
            [images[0][:, ::-1]],  # not contiguous
            [images[0].astype(np.float32)],
            [images[0][..., 0]],
            [np.zeros((5, 9, 4), np.uint8)],
            images * 2,  # more than a batch
            [b"bytes"],
            [],
        ):
            with pytest.raises((AssertionError, InputError), match=r"looked at|no image"):
                engine.infer_images(other)
        with pytest.raises(AssertionError, match="looked at"):
            engine.infer_images(images, on_error="else")
    with pytest.raises(InputError, match="image 0 is float32"):
        engine.infer_images([images[0].astype(np.float32)])
    with pytest.raises(InputError, match="on_error is 'else'"):
        engine.infer_images(images, on_error="else")


def test_files_and_bytes(engine: Any, tmp_path: Path) -> None:
    images = [random_image(8, 5, seed) for seed in range(9)]
    (tmp_path / "one.png").write_bytes(encoded(".png", images[0][..., ::-1]))
    items = [tmp_path / "one.png", *(encoded(".png", image[..., ::-1]) for image in images[1:])]
    wanted = 2 * Preprocess(size=(4, 6))(images) + 1
    assert np.array_equal(engine.infer_images(items), wanted)
    assert np.array_equal(engine.infer_images(str(tmp_path / "one.png")), wanted[:1])


def test_a_broken_image_is_told_of_and_spoils_nothing(engine: Any) -> None:
    images = [random_image(8, 5, seed) for seed in range(9)]
    items: list[Any] = list(images)
    items[2] = b"no image"
    items[7] = encoded(".jpg", images[7])[:200]
    with pytest.raises(InputError, match="image 2"):
        engine.infer_images(items)
    rows, errors = engine.infer_images(items, on_error="skip")
    assert list(errors) == [2, 7]
    assert "image 7" in str(errors[7])
    good = [image for index, image in enumerate(images) if index not in errors]
    assert np.array_equal(rows, 2 * Preprocess(size=(4, 6))(good) + 1)
    none, errors = engine.infer_images([b"", b"x"], on_error="skip")
    assert none.shape == (0, 3, 4, 6)
    assert list(errors) == [0, 1]


def test_images_on_the_gpu_are_taken_where_they_are(gpu: Any, engine: Any) -> None:
    image = random_image(4, 6)
    spec = Preprocess(size=(4, 6), normalization="none", layout="NHWC")
    batch = spec.on_gpu(image, dtype="uint8")

    class Array:
        """A library's array on the GPU."""

        shape = (4, 6, 3)
        __cuda_array_interface__: ClassVar[dict[str, Any]] = {
            **batch.__cuda_array_interface__,
            "shape": (4, 6, 3),
        }

    other = random_image(9, 9, 1)
    given = engine.infer_images([Array(), other])
    assert np.array_equal(given, 2 * Preprocess(size=(4, 6))([image, other]) + 1)


def test_an_array_on_the_gpu_keeps_the_owner_of_its_stream() -> None:
    class Owner:
        pass

    owner = Owner()
    seen = weakref.ref(owner)
    array = Preprocess(size=(2, 2)).on_gpu(random_image(2, 2))
    array.keep(owner)
    array.keep(owner)
    del owner
    assert seen() is not None
    del array
    assert seen() is None
