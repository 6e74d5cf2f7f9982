"""The engines that the tests of a service share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import trtfast
import zoo


@pytest.fixture(scope="session")
def doubling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plan of a model that doubles (n, 8), n from 1 to 32, without rounding.

    Of some n it has buckets, whose runs are captured on every TensorRT.
    """
    folder = tmp_path_factory.mktemp("doubling")
    onnx = zoo.make_doubling(folder / "doubling.onnx", ("n", 8))
    shapes = {"min_shapes": (1, 8), "opt_shapes": (8, 8), "max_shapes": (32, 8)}
    ranges = {bound: {"image": shape} for bound, shape in shapes.items()}
    return trtfast.build(onnx, buckets=(5, 6, 8, 32), **ranges)


@pytest.fixture
def engine(doubling: Path) -> Iterator[trtfast.Engine]:
    with trtfast.Engine(doubling) as engine:
        yield engine


@pytest.fixture
def busy(engine_of: Callable[[str], Path]) -> Iterator[trtfast.Engine]:
    """An engine of one lane, whose calls take long."""
    with trtfast.Engine(engine_of("vit_b_16"), lanes=1) as engine:
        engine.warmup((32, 3, 224, 224))
        yield engine
