"""Preprocessing by the kernels: the CPU's values, bit for bit, and in an engine's dtype."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trtfast
import zoo
from imagery import random_image
from on_gpu import METHODS, assert_gpu_equals_cpu, batches, specs
from trtfast.preprocess import Preprocess

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.* does not list .* as supported"),
]

SIZE = (60, 44)


@settings(deadline=None, max_examples=300)
@given(spec=specs(largest=90), images=batches())
def test_the_gpu_makes_what_the_cpu_makes(spec: Preprocess, images: list[Any]) -> None:
    assert_gpu_equals_cpu(spec, images)


@settings(deadline=None, max_examples=60)
@given(
    method=st.sampled_from(METHODS),
    source=st.tuples(st.integers(1, 4000), st.integers(1, 3000)),
    size=st.tuples(st.integers(1, 600), st.integers(1, 600)),
    seed=st.integers(0, 2**32 - 1),
)
def test_large_images(
    method: Any, source: tuple[int, int], size: tuple[int, int], seed: int
) -> None:
    spec = Preprocess(size=size, interpolation=method)
    assert_gpu_equals_cpu(spec, [random_image(*source, seed)])


@pytest.mark.parametrize("method", METHODS)
def test_rows_too_long_to_be_staged(method: Any) -> None:
    spec = Preprocess(size=(7, 30), interpolation=method)
    assert_gpu_equals_cpu(spec, [random_image(9, 20_000), random_image(3, 11_000, 1)])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("normalization", ["standard", "min_max"])
def test_half_precision_is_the_rounded_value(dtype: str, normalization: Any) -> None:
    import ml_dtypes

    spec = Preprocess(size=SIZE, normalization=normalization)
    images = [random_image(*size) for size in ((60, 44), (200, 100), (9, 7))]
    given = spec.on_gpu(images, dtype=dtype).copy_to_host()
    wanted = spec(images).astype(getattr(ml_dtypes, dtype, dtype))
    assert given.dtype == wanted.dtype
    assert given.tobytes() == wanted.tobytes()


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plan of a model that doubles images, one to eight of them."""
    onnx = zoo.make_doubling(tmp_path_factory.mktemp("images") / "doubling.onnx", ("n", 3, *SIZE))
    shapes = {
        f"{bound}_shapes": {"image": (n, 3, *SIZE)}
        for bound, n in (("min", 1), ("opt", 4), ("max", 8))
    }
    return trtfast.build(onnx, preprocess=Preprocess(size=SIZE), **shapes)


@pytest.fixture
def engine(plan: Path) -> Iterator[trtfast.Engine]:
    with trtfast.Engine(plan) as engine:
        yield engine


def test_torch_and_numpy_images_mix(engine: trtfast.Engine) -> None:
    import torch

    images = [random_image(side, 3 * side, side) for side in range(5, 25)]
    wanted = engine.infer_images(images)
    mixed = [
        torch.from_numpy(image).cuda() if index % 2 else image for index, image in enumerate(images)
    ]
    assert np.array_equal(engine.infer_images(mixed), wanted)
    batch = torch.from_numpy(np.stack([random_image(30, 20, seed) for seed in range(3)])).cuda()
    assert np.array_equal(engine.infer_images(batch), engine.infer_images(batch.cpu().numpy()))


def test_images_from_many_threads_get_their_own_answers(engine: trtfast.Engine) -> None:
    from concurrent.futures import ThreadPoolExecutor

    batches = [
        [random_image(20 + seed, 90 - seed, seed + part) for part in range(1 + seed % 7)]
        for seed in range(60)
    ]
    wanted = [engine.infer_images(batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(engine.infer_images, batches))
    for got, want in zip(given, wanted, strict=True):
        assert np.array_equal(got, want)
