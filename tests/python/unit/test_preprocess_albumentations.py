"""The law of the CPU path: bit for bit what albumentations gives; and the translation both ways."""

from __future__ import annotations

import json
from typing import Any

import albumentations as A  # noqa: N812
import cv2
import numpy as np
import pytest
import skimage.data
from albumentations.pytorch import ToTensorV2
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from imagery import (
    CV2_FLAGS,
    assert_bit_equal,
    fractions,
    positives,
    random_image,
    sides,
    sizes,
    sources,
)
from trtfast.errors import InputError
from trtfast.preprocess import Preprocess

POSITIONS = ("center", "top_left", "top_right", "bottom_left", "bottom_right")


def result_of(compose: Any, image: np.ndarray) -> np.ndarray:
    """What albumentations gives, as a batch of one in float32."""
    return compose(image=image)["image"].numpy()[np.newaxis].astype(np.float32)


def ending(kind: str, channels: str) -> list[Any]:
    gray = [A.ToGray(num_output_channels=1, p=1)] if channels == "gray" else []
    normalize = {
        "standard": [A.Normalize((0.4,), (0.3,)) if gray else A.Normalize()],
        "min_max": [A.Normalize(normalization="min_max")],
        "none": [],
    }[kind]
    return [*gray, *normalize, ToTensorV2()]


# ---- what is stretched --------------------------------------------------------------------------


@settings(deadline=None, max_examples=300)
@given(
    source=sources,
    size=sizes,
    name=st.sampled_from(list(CV2_FLAGS)),
    mean=st.tuples(fractions, fractions, fractions),
    std=st.tuples(positives, positives, positives),
    max_pixel_value=st.sampled_from([255.0, 1.0, 254.7, 65535.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_resize_and_normalize(
    source: tuple[int, int],
    size: tuple[int, int],
    name: Any,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    max_pixel_value: float,
    seed: int,
) -> None:
    image = random_image(*source, seed)
    compose = A.Compose(
        [
            A.Resize(*size, interpolation=CV2_FLAGS[name]),
            A.Normalize(mean=mean, std=std, max_pixel_value=max_pixel_value),
            ToTensorV2(),
        ]
    )
    preprocess = Preprocess(size, mean, std, max_pixel_value, name)
    assert_bit_equal(preprocess(image), result_of(compose, image))
    assert Preprocess.from_albumentations(compose) == preprocess


@pytest.mark.parametrize("name", CV2_FLAGS)
@pytest.mark.parametrize("size", [(224, 224), (400, 600), (800, 301)])
def test_photograph(name: Any, size: tuple[int, int]) -> None:
    image = skimage.data.coffee()
    compose = A.Compose(
        [A.Resize(*size, interpolation=CV2_FLAGS[name]), A.Normalize(), ToTensorV2()]
    )
    assert_bit_equal(Preprocess(size, interpolation=name)(image), result_of(compose, image))


@pytest.mark.parametrize("name", CV2_FLAGS)
@pytest.mark.parametrize("resize", ["stretch", "shortest", "longest"])
def test_large_photograph(name: Any, resize: Any) -> None:
    image = np.tile(skimage.data.coffee(), (8, 7, 1))[:3000, :4000]
    assert image.shape == (3000, 4000, 3)
    preprocess = Preprocess((224, 197), interpolation=name, resize=resize, pad="top_right")
    assert_bit_equal(preprocess(image), result_of(preprocess.to_albumentations(), image))


def test_every_pixel_value_in_every_channel() -> None:
    image = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    compose = A.Compose([A.Normalize(), ToTensorV2()])
    assert_bit_equal(Preprocess((16, 16))(image), result_of(compose, image))


# ---- what keeps its ratio, is cropped, padded, grey ---------------------------------------------


@settings(deadline=None, max_examples=500)
@given(
    source=sources,
    size=sizes,
    name=st.sampled_from(list(CV2_FLAGS)),
    resize=st.sampled_from(["shortest", "longest"]),
    target=st.one_of(sides, sizes),
    pad=st.sampled_from(POSITIONS),
    fill=st.one_of(st.integers(0, 255), st.tuples(*[st.integers(0, 255)] * 3)),
    kind=st.sampled_from(["standard", "min_max", "none"]),
    channels=st.sampled_from(["rgb", "gray"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_sides_then_crop_and_pad(
    source: tuple[int, int],
    size: tuple[int, int],
    name: Any,
    resize: Any,
    target: Any,
    pad: Any,
    fill: Any,
    kind: Any,
    channels: Any,
    seed: int,
) -> None:
    image = random_image(*source, seed)
    resizer = A.SmallestMaxSize if resize == "shortest" else A.LongestMaxSize
    to = {"max_size": target} if isinstance(target, int) else {"max_size_hw": target}
    compose = A.Compose(
        [
            resizer(**to, interpolation=CV2_FLAGS[name]),
            A.PadIfNeeded(*size, position=pad, fill=fill),
            A.CenterCrop(*size),
            *ending(kind, channels),
        ]
    )
    preprocess = Preprocess.from_albumentations(compose)
    assert_bit_equal(preprocess(image), result_of(compose, image))
    back = preprocess.to_albumentations()
    assert_bit_equal(preprocess(image), result_of(back, image))
    assert Preprocess.from_albumentations(back) == preprocess


@settings(deadline=None, max_examples=150)
@given(
    source=sizes,
    size=sizes,
    target=sizes,
    padded=st.booleans(),
    pad=st.sampled_from(POSITIONS),
    seed=st.integers(0, 2**32 - 1),
)
def test_stretch_or_nothing_then_crop(
    source: tuple[int, int],
    size: tuple[int, int],
    target: tuple[int, int],
    padded: bool,
    pad: Any,
    seed: int,
) -> None:
    image = random_image(*source, seed)
    crop = A.CenterCrop(*size, pad_if_needed=padded, pad_position=pad, fill=9)
    for first, before in (([A.Resize(*target)], target), ([], source)):
        if not padded and (size[0] > before[0] or size[1] > before[1]):
            continue
        compose = A.Compose([*first, crop, A.Normalize(), ToTensorV2()])
        preprocess = Preprocess.from_albumentations(compose)
        assert_bit_equal(preprocess(image), result_of(compose, image))
        assert_bit_equal(preprocess(image), result_of(preprocess.to_albumentations(), image))


@settings(deadline=None, max_examples=150)
@given(source=sources, size=sizes, smaller=sizes, pad=st.sampled_from(POSITIONS))
@example(source=(5, 3), size=(4, 4), smaller=(9, 2), pad="bottom_left")
def test_pad_without_crop(
    source: tuple[int, int], size: tuple[int, int], smaller: tuple[int, int], pad: Any
) -> None:
    image = random_image(*source)
    resizers = [A.Resize(*smaller), A.LongestMaxSize(min(size)), A.LongestMaxSize(max_size_hw=size)]
    for resizer in resizers:
        compose = A.Compose([resizer, A.PadIfNeeded(*size, position=pad, fill=77), ToTensorV2()])
        preprocess = Preprocess.from_albumentations(compose)
        assert_bit_equal(preprocess(image), result_of(compose, image))


@settings(deadline=None, max_examples=200)
@given(
    source=st.tuples(st.integers(1, 3000), st.integers(1, 4000)),
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    name=st.sampled_from(list(CV2_FLAGS)),
    resize=st.sampled_from(["stretch", "shortest", "longest", "none"]),
    pad=st.sampled_from(POSITIONS),
)
def test_large_images(
    source: tuple[int, int], size: tuple[int, int], name: Any, resize: Any, pad: Any
) -> None:
    preprocess = Preprocess(size, interpolation=name, resize=resize, pad=pad, fill=(5, 6, 7))
    height, width = preprocess.geometry(*source).resized
    assume(height * width < 20_000_000)
    image = np.resize(random_image(97, 101), (*source, 3))
    assert_bit_equal(preprocess(image), result_of(preprocess.to_albumentations(), image))


@pytest.mark.parametrize("value", [0, 7, 255])
@pytest.mark.parametrize("channels", ["rgb", "gray"])
def test_min_max_of_one_value(value: int, channels: Any) -> None:
    image = np.full((3, 4, 3), value, np.uint8)
    compose = A.Compose([A.Resize(3, 4), *ending("min_max", channels)])
    preprocess = Preprocess((3, 4), channels=channels, normalization="min_max")
    assert preprocess.table is None
    assert_bit_equal(preprocess(image), result_of(compose, image))


def test_bgr_is_rgb_of_reversed_images() -> None:
    image = random_image(9, 7)
    numbers = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    rgb = Preprocess((5, 6), **numbers, resize="longest", pad="center", fill=(3, 2, 1))
    bgr = Preprocess(
        (5, 6), **numbers, resize="longest", pad="center", fill=(1, 2, 3), channels="bgr"
    )
    assert_bit_equal(bgr(image), result_of(rgb.to_albumentations(), image[..., ::-1].copy()))


# ---- translation --------------------------------------------------------------------------------


def test_scalar_mean_and_std_and_no_tensor() -> None:
    compose = A.Compose([A.Resize(4, 6), A.Normalize(mean=0.45, std=0.3, max_pixel_value=254.0)])
    preprocess = Preprocess.from_albumentations(compose)
    assert preprocess == Preprocess((4, 6), (0.45,) * 3, (0.3,) * 3, 254.0)
    image = random_image(9, 9)
    assert_bit_equal(preprocess(image)[0], compose(image=image)["image"].transpose(2, 0, 1))


def test_grey_takes_the_first_of_several_means() -> None:
    compose = A.Compose([A.Resize(4, 6), A.ToGray(1, p=1), A.Normalize(), ToTensorV2()])
    preprocess = Preprocess.from_albumentations(compose)
    assert (preprocess.mean, preprocess.std) == ((0.485,), (0.229,))
    image = random_image(9, 9)
    assert_bit_equal(preprocess(image), result_of(compose, image))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_layout_is_that_of_the_pipeline_made(layout: Any) -> None:
    preprocess = Preprocess((4, 6), layout=layout)
    image = random_image(9, 9)
    made = np.asarray(preprocess.to_albumentations()(image=image)["image"])
    assert_bit_equal(preprocess(image)[0], made)


@pytest.mark.parametrize("through_json", [False, True])
def test_serialised_form(through_json: bool) -> None:
    compose = A.Compose(
        [
            A.LongestMaxSize(20, interpolation=cv2.INTER_AREA),
            A.PadIfNeeded(20, 24, position="top_left", fill=(1, 2, 3)),
            A.Normalize(mean=(0.1, 0.2, 0.3)),
            ToTensorV2(),
        ]
    )
    serialised = A.to_dict(compose)
    if through_json:
        serialised = json.loads(json.dumps(serialised))
    expected = Preprocess(
        (20, 24),
        mean=(0.1, 0.2, 0.3),
        interpolation="area",
        resize="longest",
        resize_to=20,
        pad="top_left",
        fill=(1, 2, 3),
    )
    assert Preprocess.from_albumentations(compose) == expected
    assert Preprocess.from_albumentations(serialised) == expected
    assert Preprocess.from_dict(serialised) == expected


def test_letterbox_of_newer_versions_is_longest_and_pad() -> None:
    letterbox = {"__class_fullname__": "LetterBox", "size": [20, 24], "interpolation": 1}
    letterbox |= {"fill": 114.0, "position": "center", "p": 1.0}
    compose = {"__class_fullname__": "Compose", "transforms": [letterbox], "p": 1.0}
    expected = A.Compose(
        [A.LongestMaxSize(max_size_hw=(20, 24)), A.PadIfNeeded(20, 24, fill=114), ToTensorV2()]
    )
    assert Preprocess.from_albumentations({"transform": compose}) == Preprocess.from_albumentations(
        expected
    )


class Resize(A.Resize):
    """Somebody's own, that may do anything."""


@pytest.mark.parametrize(
    ("make", "message"),
    [
        # at random
        (lambda: A.Compose([A.Resize(4, 4), A.HorizontalFlip(), A.Normalize()]), "HorizontalFlip"),
        (lambda: A.Compose([A.Resize(4, 4), A.HorizontalFlip()]), "no meaning at inference"),
        (lambda: A.Compose([A.RandomCrop(4, 4)]), "RandomCrop has no meaning at inference"),
        (lambda: A.Compose([A.OneOf([A.Resize(4, 4)]), A.Normalize()]), "OneOf has no meaning"),
        (lambda: A.Compose([A.Resize(4, 4, p=0.5), A.Normalize()]), "Resize has p=0.5"),
        (lambda: A.Compose([A.Resize(4, 4), A.Normalize()], p=0.5), "Compose has p=0.5"),
        (
            lambda: A.Compose([A.SmallestMaxSize([4, 5]), A.CenterCrop(4, 4)]),
            r"max_size=\[4, 5\].*no meaning at inference",
        ),
        (
            lambda: A.Compose([A.LongestMaxSize(4), A.PadIfNeeded(4, 4, position="random")]),
            "position='random'.*no meaning at inference",
        ),
        # not supported
        (lambda: A.Compose([A.Resize(4, 4), A.Equalize(p=1)]), "Equalize is not supported"),
        (lambda: A.Compose([A.Resize(4, 4), A.VerticalFlip(p=1)]), "VerticalFlip is not supported"),
        (lambda: A.Compose([A.Resize(4, 4), A.Lambda(p=1)]), "Lambda"),
        (lambda: A.Compose([Resize(4, 4)]), r"\.Resize is not supported"),
        (lambda: A.to_dict(A.Compose([Resize(4, 4)])), r"\.Resize is not supported"),
        (lambda: A.Sequential([A.Resize(4, 4), A.Normalize()]), "Sequential"),
        (lambda: A.Resize(4, 4), "Resize is not supported; expected Compose"),
        (lambda: None, "NoneType"),
        (lambda: {"transform": 3}, "to_dict"),
        # arguments
        (lambda: A.Compose([A.Resize(4, 4, interpolation=5), A.Normalize()]), "interpolation=5"),
        (
            lambda: A.Compose([A.Resize(4, 4, area_for_downscale="image"), A.Normalize()]),
            "area_for_downscale='image'",
        ),
        (
            lambda: A.Compose([A.Resize(4, 4), A.Normalize(normalization="image")]),
            "normalization='image'",
        ),
        (lambda: A.Compose([A.Resize(4, 4), A.Normalize(mean=(0.5, 0.5), std=(1, 1))]), "mean"),
        (lambda: A.Compose([A.Resize(4, 4), A.ToGray(p=1)]), "num_output_channels=3"),
        (lambda: A.Compose([A.Resize(4, 4), A.ToGray(1, "max", p=1)]), "method='max'"),
        (
            lambda: A.Compose([A.LongestMaxSize(4), A.PadIfNeeded(4, 4, border_mode=1)]),
            "border_mode=1",
        ),
        (
            lambda: A.Compose([A.LongestMaxSize(4), A.PadIfNeeded(4, 4, fill=0.5)]),
            "fill=0.5",
        ),
        (
            lambda: A.Compose([A.LongestMaxSize(4), A.PadIfNeeded(4, None, None, 32)]),
            "pad_width_divisor=32",
        ),
        (
            lambda: A.Compose([A.LongestMaxSize(max_size_hw=(4, None)), A.CenterCrop(4, 4)]),
            r"max_size_hw=\(4, None\)",
        ),
        # orders and sizes
        (lambda: A.Compose([A.Normalize(), A.Resize(4, 4)]), "pipeline is Normalize, Resize"),
        (lambda: A.Compose([A.CenterCrop(4, 4), A.Resize(4, 4)]), "CenterCrop, Resize"),
        (lambda: A.Compose([A.Resize(4, 4), A.Resize(2, 2), A.Normalize()]), "Resize, Resize"),
        (lambda: A.Compose([A.CenterCrop(4, 4), A.PadIfNeeded(8, 8)]), "CenterCrop, PadIfNeeded"),
        (lambda: A.Compose([]), "empty"),
        (lambda: A.Compose([A.Normalize()]), "different sizes"),
        (lambda: A.Compose([A.SmallestMaxSize(4)]), "different sizes"),
        (lambda: A.Compose([A.PadIfNeeded(4, 4)]), "stay larger"),
        (lambda: A.Compose([A.LongestMaxSize(5), A.PadIfNeeded(4, 4)]), "stay larger"),
        (
            lambda: A.Compose([A.LongestMaxSize(5), A.PadIfNeeded(5, 5), A.CenterCrop(4, 4)]),
            "one size for both",
        ),
        (lambda: A.Compose([A.Resize(4, 4), A.CenterCrop(5, 5)]), "always gives less"),
    ],
)
def test_what_cannot_be_translated_is_named(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Preprocess.from_albumentations(make())


@pytest.mark.parametrize(
    ("preprocess", "message"),
    [
        (Preprocess((4, 6), channels="bgr"), "bgr"),
        (Preprocess((4, 6), interpolation="pil_bicubic"), "pil_bicubic"),
    ],
)
def test_what_albumentations_lacks_is_named(preprocess: Preprocess, message: str) -> None:
    with pytest.raises(InputError, match=message):
        preprocess.to_albumentations()


def test_torchvision_pipeline_is_not_taken_for_albumentations() -> None:
    from torchvision import transforms

    with pytest.raises(InputError, match="torchvision"):
        Preprocess.from_albumentations(transforms.Compose([transforms.Resize(4)]))
