"""The arithmetic of the comparison of the GPU's preprocessing with its references."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import albumentations as A  # noqa: N812
import numpy as np
import pytest

from imagery import random_image
from trtfast.errors import EngineIncompatibleError, Error, InputError
from trtfast.preprocess import Preprocess
from trtfast.preprocess.parity import Difference, parity, picture_of, read_spec

IMAGE = random_image(30, 41)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A GPU that gives what the CPU does, plus what is put here for a dtype."""
    wrong: dict[str, Any] = {"uint8": 0, "float32": 0}

    def on_gpu(spec: Preprocess, image: np.ndarray, *, dtype: str, device: int) -> SimpleNamespace:
        result = spec(image)
        if dtype == "uint8":
            result = spec.pixels(image)
            result = result.transpose(0, 3, 1, 2) if spec.layout == "NCHW" else result
        return SimpleNamespace(copy_to_host=lambda: result + np.asarray(wrong[dtype], result.dtype))

    monkeypatch.setattr(Preprocess, "on_gpu", on_gpu)
    return wrong


def test_difference_of_unsigned_values_does_not_wrap() -> None:
    some, other = (np.array(values, np.uint8) for values in ([0, 255, 7, 9], [255, 0, 7, 8]))
    assert Difference.between(some, other) == Difference(255, 511 / 4, 0.25, 4)
    with pytest.raises(InputError, match=r"\(4,\) and \(3,\) differ"):
        Difference.between(some, other[:3])


def test_differences_are_summed_up_by_their_values() -> None:
    whole = Difference.over([Difference(1, 1, 0, 1), Difference(3, 0.2, 0.8, 9)])
    assert (whole.largest, whole.values) == (3, 10)
    assert (whole.mean, whole.equal) == (pytest.approx(0.28), pytest.approx(0.72))
    with pytest.raises(InputError, match="at least one image"):
        Difference.over([])


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_where_and_how_far_an_image_differs(layout: str, gpu: dict[str, Any]) -> None:
    spec = Preprocess((4, 5), normalization="none", layout=layout)
    at = (0, 2, 1, 3) if layout == "NCHW" else (0, 1, 3, 2)
    for dtype, amount in (("uint8", 1), ("float32", 0.5)):
        gpu[dtype] = np.zeros(spec.shape(1))
        gpu[dtype][at] = amount
    image = np.full((30, 41, 3), 9, np.uint8)
    found = parity(spec, image)
    assert found.size == (30, 41)
    assert found.pixels == Difference(1, 1 / 60, 59 / 60, 60)
    assert found.normalized == Difference(0.5, 0.5 / 60, 59 / 60, 60)
    assert np.argwhere(found.apart).tolist() == [[1, 3, 2]]


@pytest.mark.parametrize(
    ("reference", "spec"),
    [
        ("cpu", Preprocess((9, 8), channels="bgr", normalization="min_max")),
        ("albumentations", Preprocess((9, 8), resize="longest", pad="center", fill=(1, 2, 3))),
        (
            "albumentations",
            Preprocess((9, 8), (0.5,), (0.5,), channels="gray", interpolation="area"),
        ),
        ("albumentations", Preprocess((9, 8), normalization="min_max", layout="NHWC")),
        ("torchvision", Preprocess((9, 8), interpolation="pil_bicubic")),
        ("torchvision", Preprocess((9, 9), interpolation="pil_bilinear", resize="shortest")),
        (
            "torchvision",
            Preprocess((9, 8), interpolation="pil_lanczos", resize="longest", pad="center"),
        ),
        (
            "torchvision",
            Preprocess(
                *((9, 8), (0.5,) * 3, (0.5,) * 3),
                interpolation="pil_bilinear",
                resize="none",
                normalization="none",
                layout="NHWC",
            ),
        ),
    ],
)
def test_the_cpu_path_is_each_reference(
    reference: Any, spec: Preprocess, gpu: dict[str, Any]
) -> None:
    found = parity(spec, IMAGE, reference=reference)
    assert (found.pixels.largest, found.pixels.equal) == (0, 1)
    assert (found.normalized.largest, found.normalized.equal) == (0, 1)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"interpolation": "linear"}, "interpolation='linear'"),
        ({"resize": "shortest", "resize_to": (20, 30)}, "resize_to"),
        ({"resize": "longest", "pad": "top_left"}, "pad='top_left'"),
        ({"resize": "longest", "pad": "center", "fill": 9}, "fill=9"),
        ({"channels": "bgr"}, "channels='bgr'"),
        ({"normalization": "min_max"}, "normalization='min_max'"),
        ({"max_pixel_value": 1.0}, "max_pixel_value"),
    ],
)
def test_what_torchvision_cannot_do_is_named(
    settings: dict[str, Any], name: str, gpu: dict[str, Any]
) -> None:
    spec = Preprocess(**{"size": (9, 8), "interpolation": "pil_bilinear", **settings})
    with pytest.raises(InputError, match=f"torchvision has no transforms for {name}"):
        parity(spec, IMAGE, reference="torchvision")


def test_a_wrong_reference_or_image_is_named(gpu: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="reference is 'opencv'; expected one of cpu"):
        parity(Preprocess(), IMAGE, reference="opencv")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="albumentations has no transform for channels='bgr'"):
        parity(Preprocess(channels="bgr"), IMAGE, reference="albumentations")


def test_without_torchvision(gpu: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(Error, match="torchvision or Pillow is not installed"):
        parity(Preprocess(interpolation="pil_bilinear"), IMAGE, reference="torchvision")


@pytest.mark.parametrize(
    ("values", "picture", "factor"),
    [
        ([0, 1], [0, 255], 255),
        ([0, 0], [0, 0], 255),
        ([2, 100], [4, 200], 2),
        ([9, 255], [9, 255], 1),
    ],
)
def test_pictures_are_amplified_without_overflow(
    values: list[int], picture: list[int], factor: int
) -> None:
    made, by = picture_of(np.array(values, np.uint8).reshape(1, 2, 1))
    assert (made.dtype, made.ravel().tolist(), by) == (np.uint8, picture, factor)


SPEC = Preprocess((9, 8), interpolation="area")


def test_spec_from_json_of_either_kind(tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(SPEC.to_dict()))
    assert read_spec(file) == SPEC
    pipeline = A.to_dict(A.Compose([A.Resize(9, 8, interpolation=3), A.Normalize()]))
    file.write_text(json.dumps(pipeline))
    assert read_spec(file) == SPEC


def passport(preprocess: dict[str, Any] | None) -> str:
    texts = ("plan_sha256", "onnx_sha256", "product", "version", "generation", "trtfast")
    values: dict[str, Any] = dict.fromkeys(texts, "")
    values |= {"gpu": None, "compute_capability": None, "options": {}, "inputs": []}
    values |= {"outputs": [], "precision": {}, "preprocess": preprocess, "format": 1}
    return json.dumps(values)


def test_spec_from_a_passport_or_its_plan(tmp_path: Path) -> None:
    plan = tmp_path / "model.engine"
    plan.write_bytes(b"\xff\xfe no JSON")
    beside = tmp_path / "model.engine.json"
    with pytest.raises(InputError, match=r"neither JSON .* model\.engine\.json beside it"):
        read_spec(plan)
    beside.write_text(passport(SPEC.to_dict()))
    assert read_spec(plan) == read_spec(beside) == SPEC
    beside.write_text(passport(None))
    for path in (plan, beside):
        with pytest.raises(InputError, match=r"engine\.json says nothing of preprocessing"):
            read_spec(path)
    beside.write_text("{")
    with pytest.raises(EngineIncompatibleError, match="damaged"):
        read_spec(plan)


def test_what_is_no_spec_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        read_spec(tmp_path / "none.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(InputError, match="holds list; expected a JSON object"):
        read_spec(tmp_path / "list.json")
