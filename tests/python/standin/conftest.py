"""Serving from Python on a machine with no GPU: the bindings on a fake CUDA runtime.

    cmake --build --preset tidy --target standin_python
    export TRTFAST_STANDIN=$PWD/build/tidy/tests/standin
    PYTHONPATH=$TRTFAST_STANDIN/python pytest tests/python/standin

They need a process of their own, in which ``trtfast`` is the one that is linked with the fake.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import fake_gpu
import trtfast
from trtfast import _core

GIVEN = os.environ.get("TRTFAST_STANDIN")
FOLDER = Path(GIVEN or "")


@pytest.fixture(scope="session")
def fake() -> fake_gpu.FakeGpu:
    if GIVEN is None:
        pytest.skip("TRTFAST_STANDIN is not set: see tests/python/standin/conftest.py")
    wanted = (FOLDER / "python" / "trtfast").absolute()
    if Path(_core.__file__).parent != wanted:
        pytest.fail(f"trtfast is that of {_core.__file__}: set PYTHONPATH={wanted.parent}")
    return fake_gpu.FakeGpu(FOLDER)


@pytest.fixture(autouse=True)
def gpu(fake: fake_gpu.FakeGpu, monkeypatch: pytest.MonkeyPatch) -> Iterator[fake_gpu.FakeGpu]:
    """A GPU that has broken no rule, nor does during the test."""
    folders = (str(path.parent) for path in fake.libraries.values())
    monkeypatch.setenv("TRTFAST_TENSORRT_PATH", os.pathsep.join(folders))
    fake.begin()
    yield fake
    assert fake.broken_rules() == ""


@pytest.fixture(scope="session")
def plan(fake: fake_gpu.FakeGpu) -> bytes:
    """The plan of y = 2 x + 1, for 1 to 200 rows of 2."""
    return fake_gpu.build(fake.libraries["11.1"])


@pytest.fixture
def engine(plan: bytes) -> Iterator[trtfast.Engine]:
    with trtfast.Engine(plan) as engine:
        yield engine


@pytest.fixture
def narrow(plan: bytes) -> Iterator[trtfast.Engine]:
    """An engine of one lane, for which two calls may wait."""
    with trtfast.Engine(plan, lanes=1, max_queue=2) as engine:
        yield engine
