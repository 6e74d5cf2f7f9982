"""The law for Pillow's interpolations: bit for bit what torchvision gives on Pillow's images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms as v1
from torchvision.models import ResNet50_Weights, ViT_H_14_Weights
from torchvision.transforms import InterpolationMode, v2

from imagery import assert_bit_equal, fractions, positives, random_image, sides, sizes, sources
from trtfast.errors import InputError
from trtfast.preprocess import Preprocess

MODES = {
    "pil_bilinear": InterpolationMode.BILINEAR,
    "pil_bicubic": InterpolationMode.BICUBIC,
    "pil_lanczos": InterpolationMode.LANCZOS,
}
modes = st.sampled_from(list(MODES.values()))
FLOAT = v2.ToDtype(torch.float32, scale=True)


def result_of(transforms: Any, image: np.ndarray) -> np.ndarray:
    result: np.ndarray = transforms(Image.fromarray(image)).numpy()
    return result[np.newaxis]


@settings(deadline=None, max_examples=300)
@given(
    source=sources,
    size=sizes,
    target=st.one_of(sides, sizes),
    mode=modes,
    mean=st.tuples(fractions, fractions, fractions),
    std=st.tuples(positives, positives, positives),
    seed=st.integers(0, 2**32 - 1),
)
@example((7, 8), (4, 4), 7, InterpolationMode.BILINEAR, (0, 0, 0), (1, 1, 1), 0)
def test_resize_crop_and_normalize(
    source: tuple[int, int],
    size: tuple[int, int],
    target: Any,
    mode: InterpolationMode,
    mean: Any,
    std: Any,
    seed: int,
) -> None:
    image = random_image(*source, seed)
    compose = v1.Compose(
        [
            v1.Resize(target, mode),
            v1.CenterCrop(size),
            v1.ToTensor(),
            v1.Normalize(mean, std),
        ]
    )
    preprocess = Preprocess.from_torchvision(compose)
    assert_bit_equal(preprocess(image), result_of(compose, image))


@settings(deadline=None, max_examples=150)
@given(source=sizes, size=sizes, target=st.integers(1, 50), seed=st.integers(0, 2**32 - 1))
def test_longest_side_or_no_resize_then_crop(
    source: tuple[int, int], size: tuple[int, int], target: int, seed: int
) -> None:
    image = random_image(*source, seed)
    for first in ([], [v2.Resize(None, max_size=target)]):
        compose = v2.Compose([*first, v2.CenterCrop(size), v2.PILToTensor()])
        preprocess = Preprocess.from_torchvision(compose)
        assert preprocess.normalization == "none"
        if first and target * min(source) < max(source):
            continue  # torchvision fails for a side of 0, and trtfast makes it 1
        assert_bit_equal(preprocess(image), result_of(compose, image).astype(np.float32))


@pytest.mark.parametrize("name", MODES)
def test_large_photograph(name: Any) -> None:
    image = np.tile(skimage.data.coffee(), (8, 7, 1))[:3000, :4000]
    compose = v1.Compose([v1.Resize(256, MODES[name]), v1.CenterCrop(224), v1.ToTensor()])
    preprocess = Preprocess.from_torchvision(compose)
    assert preprocess.interpolation == name
    assert_bit_equal(preprocess(image), result_of(compose, image))


@settings(deadline=None, max_examples=40)
@given(
    source=st.tuples(st.integers(1, 3000), st.integers(1, 4000)),
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    target=st.one_of(st.integers(1, 300), st.tuples(*[st.integers(1, 300)] * 2)),
    mode=modes,
)
def test_large_images(
    source: tuple[int, int], size: tuple[int, int], target: Any, mode: InterpolationMode
) -> None:
    compose = v1.Compose([v1.Resize(target, mode), v1.CenterCrop(size), v1.ToTensor()])
    preprocess = Preprocess.from_torchvision(compose)
    height, width = preprocess.geometry(*source).resized
    assume(height * width < 20_000_000)
    image = np.resize(random_image(97, 101), (*source, 3))
    assert_bit_equal(preprocess(image), result_of(compose, image))


@pytest.mark.parametrize("weights", [ResNet50_Weights.IMAGENET1K_V2, ViT_H_14_Weights.DEFAULT])
def test_transforms_of_weights(weights: Any) -> None:
    transforms = weights.transforms()
    preprocess = Preprocess.from_torchvision(transforms)
    for image in (skimage.data.coffee(), random_image(30, 700)):
        assert_bit_equal(preprocess(image), result_of(transforms, image))
    with pytest.raises(InputError, match="call it"):
        Preprocess.from_torchvision(weights.transforms)


def test_transforms_of_weights_as_a_spec() -> None:
    assert Preprocess.from_torchvision(ResNet50_Weights.IMAGENET1K_V2.transforms()) == Preprocess(
        (224, 224), interpolation="pil_bilinear", resize="shortest", resize_to=232
    )


@pytest.mark.parametrize(
    "steps",
    [
        [v1.PILToTensor(), v1.ConvertImageDtype(torch.float32)],
        [v1.ToTensor(), v1.Normalize((0.5,), (0.5,))],
    ],
)
def test_ways_to_a_tensor(steps: list[Any]) -> None:
    compose = v1.Compose([v1.Resize((6, 7)), *steps])
    image = random_image(9, 9)
    assert_bit_equal(Preprocess.from_torchvision(compose)(image), result_of(compose, image))


@pytest.mark.parametrize(
    "steps",
    [
        [v2.ToImage(), FLOAT],
        [v2.PILToTensor(), FLOAT],
        [v2.ToImage(), v2.ConvertImageDtype(torch.float32)],
    ],
)
def test_version_2_differs_in_the_last_bit_of_a_fraction(steps: list[Any]) -> None:
    compose = v2.Compose([v2.Resize((16, 16)), *steps])
    image = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    got = Preprocess.from_torchvision(compose)(image)
    np.testing.assert_array_max_ulp(got, result_of(compose, image), 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: v1.Compose([v1.Resize(8), v1.RandomCrop(4)]), "RandomCrop has no meaning"),
        (lambda: v2.Compose([v2.ColorJitter(), v2.ToImage()]), "ColorJitter has no meaning"),
        (lambda: v1.Compose([v1.Grayscale(), v1.ToTensor()]), "Grayscale is not supported"),
        (lambda: v1.Compose([v1.Resize(8), v1.FiveCrop(4)]), "FiveCrop is not supported"),
        (lambda: v1.Compose([v1.Resize((8, 8), InterpolationMode.NEAREST)]), "nearest"),
        (lambda: v1.Compose([v1.Resize(8, max_size=9), v1.CenterCrop(4)]), "max_size=9"),
        (lambda: v1.Compose([v1.Resize(8), v1.ToTensor()]), "different sizes"),
        (lambda: v1.Compose([v1.Resize((8, 8))]), "pipeline is Resize; expected"),
        (lambda: v1.Compose([v1.ToTensor(), v1.Resize((8, 8))]), "different sizes"),
        (lambda: v1.Compose([v1.CenterCrop(8), v1.Resize((8, 8))]), "CenterCrop, Resize"),
        (
            lambda: v2.Compose([v2.Resize((8, 8)), v2.ToImage(), v2.Normalize([0], [1])]),
            "ToImage, Normalize",
        ),
        (
            lambda: v2.Compose([v2.Resize((8, 8)), v2.ToImage(), v2.ToDtype(torch.float32)]),
            "scale=False",
        ),
        (
            lambda: v2.Compose([v2.Resize((8, 8)), v2.ToImage(), v2.ToDtype(torch.float16)]),
            "float16",
        ),
        (lambda: v1.Resize((8, 8)), "Resize is not supported; expected Compose"),
        (lambda: torch.nn.Identity(), "Identity is not supported"),
        (lambda: v1.Compose([v1.Resize((8, 8)), np.asarray]), "builtin_function"),
    ],
)
def test_what_cannot_be_translated_is_named(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Preprocess.from_torchvision(make())


# ---- timm: its rules for evaluation, written with torchvision -----------------------------------


def data_config(**more: Any) -> dict[str, Any]:
    return {
        "input_size": (3, 20, 20),
        "interpolation": "bicubic",
        "mean": (0.5, 0.4, 0.3),
        "std": (0.2, 0.3, 0.4),
        "crop_pct": 0.9,
        "crop_mode": "center",
    } | more


def end(size: tuple[int, int]) -> list[Any]:
    numbers = data_config()
    return [
        v1.CenterCrop(size),
        v1.ToTensor(),
        v1.Normalize(torch.tensor(numbers["mean"]), torch.tensor(numbers["std"])),
    ]


@settings(deadline=None, max_examples=120)
@given(source=sources, side=sides, crop=st.floats(0.5, 1.5), name=st.sampled_from(list(MODES)))
def test_timm_center_and_squash(source: tuple[int, int], side: int, crop: float, name: str) -> None:
    image = random_image(*source)
    scaled = int(side / crop)
    if scaled == 0:
        return
    config = data_config(
        input_size=(3, side, side), crop_pct=crop, interpolation=name.removeprefix("pil_")
    )
    for crop_mode, target in (("center", scaled), ("squash", (scaled, scaled))):
        expected = v1.Compose([v1.Resize(target, MODES[name]), *end((side, side))])
        preprocess = Preprocess.from_timm(config | {"crop_mode": crop_mode})
        assert_bit_equal(preprocess(image), result_of(expected, image))


@settings(deadline=None, max_examples=120)
@given(source=sources, size=sizes)
def test_timm_border_and_oblong(source: tuple[int, int], size: tuple[int, int]) -> None:
    image = Image.fromarray(random_image(*source))
    (height, width), (wide, high) = size, image.size
    for crop_mode in ("border", "center"):
        preprocess = Preprocess.from_timm(
            data_config(input_size=(3, *size), crop_pct=1.0, crop_mode=crop_mode)
        )
        if crop_mode == "center" and height == width:
            continue
        ratios = high / height, wide / width
        ratio = max(ratios) if crop_mode == "border" else min(ratios)
        sides = round(high / ratio), round(wide / ratio)
        if 0 in sides:
            continue
        mode = MODES["pil_bicubic" if crop_mode == "border" else "pil_bilinear"]
        resized = v1.Resize(sides, mode)(image)
        spare = max(0, width - sides[1]), max(0, height - sides[0])
        padded = v1.functional.pad(
            resized,
            [*(pixels // 2 for pixels in spare), *((pixels + 1) // 2 for pixels in spare)],
            fill=tuple(round(255 * value) for value in (0.5, 0.4, 0.3)),
        )
        expected = result_of(v1.Compose(end(size)), np.asarray(padded))
        assert_bit_equal(preprocess(np.asarray(image)), expected)


def test_timm_defaults() -> None:
    assert Preprocess.from_timm({}) == Preprocess(
        (224, 224), interpolation="pil_bicubic", resize="shortest", resize_to=256
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"input_size": (1, 8, 8)}, "input_size"),
        ({"interpolation": "random"}, "interpolation is 'random'"),
        ({"crop_mode": "five"}, "crop_mode is 'five'"),
        ({"num_classes": 3}, "num_classes.*resolve_model_data_config"),
    ],
)
def test_wrong_data_configs_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Preprocess.from_timm(data_config(**config))
