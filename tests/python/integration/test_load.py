"""``load`` and ``Engine`` where there is no GPU; with one, tests/python/gpu takes over."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest

import tiny
import trtfast
from trtfast import _core
from trtfast.errors import EngineIncompatibleError, InputError, UnsupportedDeviceError
from trtfast.spec import InferenceEngine

without_gpu = pytest.mark.skipif(bool(_core.devices()[0]), reason="there is a GPU")


@pytest.fixture(scope="module")
def onnx_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("load") / "dense.onnx"
    onnx.save(tiny.dense(), path)
    return path


@pytest.fixture(scope="module")
def plan_path(onnx_path: Path) -> Path:
    return trtfast.build(onnx_path)


def expected(x: np.ndarray) -> np.ndarray:
    weights = onnx.numpy_helper.to_array(tiny.weight("w", 8, 4))
    return np.maximum(x @ weights, 0)


@without_gpu
def test_onnx_falls_back_with_one_line(onnx_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "trtfast"), trtfast.load(onnx_path) as engine:
        assert isinstance(engine, trtfast.ReferenceEngine)
        assert isinstance(engine, InferenceEngine)
        x = np.linspace(-1, 1, 16, dtype=np.float32).reshape(2, 8)
        np.testing.assert_allclose(engine.infer(x), expected(x), rtol=1e-5, atol=1e-6)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("trtfast", "WARNING")
    assert str(onnx_path) in record.getMessage()
    assert "runs on the CPU" in record.getMessage()
    assert "no GPU" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_reference_is_had_without_a_word(onnx_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with trtfast.load(str(onnx_path), backend="reference") as engine:
        assert isinstance(engine, trtfast.ReferenceEngine)
        assert [spec.name for spec in engine.inputs] == ["x"]
    assert caplog.records == []


@without_gpu
@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt_rtx"])
def test_no_fallback_where_tensorrt_is_asked_for(backend: str, onnx_path: Path) -> None:
    with pytest.raises(UnsupportedDeviceError, match="no GPU can be used here"):
        trtfast.load(onnx_path, backend=backend)


@without_gpu
def test_plan_never_falls_back(plan_path: Path) -> None:
    with pytest.raises(UnsupportedDeviceError, match=r"no GPU.*trtfast doctor"):
        trtfast.load(plan_path)


@without_gpu
@pytest.mark.parametrize("allow", [None, True])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_engine_needs_a_gpu(allow: bool | None, as_bytes: bool, plan_path: Path) -> None:
    source = plan_path.read_bytes() if as_bytes else plan_path
    with pytest.raises(UnsupportedDeviceError, match="no GPU can be used here"):
        trtfast.Engine(source, allow_unsupported_gpu=allow)


@without_gpu
def test_compile_needs_a_gpu_before_it_exports() -> None:
    import torch

    with pytest.raises(UnsupportedDeviceError, match="no GPU can be used here"):
        trtfast.compile(torch.nn.Identity(), torch.zeros(1, 4))


@pytest.mark.parametrize("name", ["model.txt", "model", "model.pt", "model.ENGINE"])
def test_other_endings(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=r"must be \.onnx or one of \.engine, \.plan, \.trt"):
        trtfast.load(tmp_path / name)


@pytest.mark.parametrize("name", ["no.onnx", "no.engine", "no.plan", "no.trt"])
def test_missing_file(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InputError, match=rf"there is no .* file .*{name}"):
        trtfast.load(tmp_path / name)
    assert caplog.records == []


def test_missing_file_for_the_reference(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.onnx: there is no such file"):
        trtfast.load(tmp_path / "no.onnx", backend="reference")


def test_engine_of_an_onnx_file(onnx_path: Path) -> None:
    with pytest.raises(InputError, match=r"is an ONNX model: build it first.*'dense\.onnx'"):
        trtfast.Engine(onnx_path)


def test_reference_of_a_plan(plan_path: Path) -> None:
    with pytest.raises(InputError, match=r"dense\.engine: ONNX Runtime cannot load it"):
        trtfast.load(plan_path, backend="reference")


def test_damaged_onnx_is_told(tmp_path: Path) -> None:
    path = tmp_path / "half.onnx"
    data = tiny.dense().SerializeToString()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(trtfast.Error, match=r"half\.onnx"):
        trtfast.load(path)


@pytest.mark.parametrize("damage", ["cut", "replaced"])
def test_plan_that_its_passport_does_not_know(damage: str, plan_path: Path, tmp_path: Path) -> None:
    """Told before anything is loaded, so without a GPU too."""
    plan = tmp_path / "model.engine"
    data = plan_path.read_bytes()
    plan.write_bytes(data[: len(data) // 2] if damage == "cut" else data + b"\0")
    (tmp_path / "model.engine.json").write_bytes(
        (plan_path.parent / f"{plan_path.name}.json").read_bytes()
    )
    with pytest.raises(EngineIncompatibleError, match="is damaged or was replaced"):
        trtfast.Engine(plan)
