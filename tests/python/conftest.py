"""What all tests share: the GPU rule, the models, and engines built from them once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from filelock import FileLock

import recording
import trtfast
import zoo
from trtfast import _core

REQUIRE_GPU = os.environ.get("TRTFAST_REQUIRE_GPU") == "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    recording.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    recording.register(config)
    # How long an example takes is a matter of what else the machine does.
    hypothesis.settings.register_profile("trtfast", deadline=None)
    hypothesis.settings.load_profile("trtfast")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    devices, reason = _core.devices()
    if devices or REQUIRE_GPU:  # required and absent, the tests run and fail
        return
    skip = pytest.mark.skip(reason=f"no GPU: {reason}")
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(skip)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither use nor fill the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRTFAST_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def pytest_report_header() -> str:
    devices, reason = _core.devices()
    return f"trtfast {trtfast.__version__}, GPU: {devices[0].name if devices else reason}"


@pytest.fixture(scope="session")
def onnx_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The ONNX file of a model of the zoo, made once; in TRTFAST_TEST_MODELS it is kept."""
    kept = os.environ.get("TRTFAST_TEST_MODELS")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("onnx")
    folder.mkdir(parents=True, exist_ok=True)

    def make(name: str) -> Path:
        path = folder / f"{name}.onnx"
        with FileLock(f"{path}.lock"):  # of other workers
            return path if path.exists() else zoo.CASES[name].make(path)

    return make


@pytest.fixture(scope="session")
def engine_of(
    onnx_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The engine file of a model of the zoo, in half precision, built once."""
    built: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in built:
            path = tmp_path_factory.mktemp("engine") / f"{name}.engine"
            case = zoo.CASES[name]
            built[name] = trtfast.build(
                onnx_of(name), path, precision=case.precision, **case.shapes
            )
        return built[name]

    return make
