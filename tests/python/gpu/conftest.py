"""The engines that the tests of a service share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import trtfast
import zoo


@pytest.fixture(scope="session")
def doubling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plan of a model that doubles (n, 8), n from 1 to 32, without rounding."""
    folder = tmp_path_factory.mktemp("doubling")
    return trtfast.build(zoo.make_doubling(folder / "doubling.onnx", ("n", 8)))


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
