"""A real plan behind a description of Ultralytics: what says something of it without a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import plans
import trtfast
from trtfast import _core, passport, rebuild
from trtfast.errors import EngineIncompatibleError, UnsupportedDeviceError

METADATA = {
    "description": "Ultralytics YOLO11n-cls model",
    "task": "classify",
    "batch": 1,
    "imgsz": [224, 224],
    "names": {"0": "cat", "1": "dog", "2": "bird", "3": "fish"},
}
without_gpu = pytest.mark.skipif(bool(_core.devices()[0]), reason="there is a GPU")


@pytest.fixture
def source(engine_of: Callable[[str], Path]) -> Path:
    return engine_of("two_in_two_out")


@pytest.fixture
def path(source: Path, tmp_path: Path) -> Path:
    path = tmp_path / "yolo.engine"
    path.write_bytes(plans.of_ultralytics(source.read_bytes(), METADATA))
    return path


def trt(*arguments: str | Path, status: int = 0) -> str:
    command = Path(sys.executable).with_name("trtfast")
    done = subprocess.run(
        [command, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"COLUMNS": "200"},
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_verdict_is_that_of_the_plan(source: Path, path: Path) -> None:
    known = trtfast.Passport.of(source)
    assert known is not None
    verdict = trtfast.check(path)
    assert (verdict.product, verdict.version) == (known.product, known.version)
    assert verdict.problems == trtfast.check(source).problems
    assert verdict.gpu is None


def test_a_plan_that_is_cut_short_is_told(source: Path, path: Path) -> None:
    whole = source.stat().st_size
    path.write_bytes(path.read_bytes()[:-7])
    assert trtfast.check(path).problems == (f"it is cut short: {whole - 7} of {whole} bytes",)


def test_a_plan_of_another_version_is_told(source: Path, path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.engine"
    other.write_bytes(source.read_bytes())
    passport.path_of(other).write_text(passport.path_of(source).read_text())
    plans.of_other(other)
    path.write_bytes(plans.of_ultralytics(other.read_bytes(), METADATA))
    assert plans.OTHER in trtfast.check(path).problems[0]
    for load in (trtfast.Engine, trtfast.load):
        with pytest.raises(EngineIncompatibleError, match=f"built by version {plans.OTHER}"):
            load(path)
    with pytest.raises(EngineIncompatibleError, match=r"yolo\.engine cannot be.*has no passport"):
        rebuild.resolve(path, allow_unsupported_gpu=True)


def test_a_damaged_description_is_told_of_first(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"batch": 1', b'"batch": 0'))
    for load in (trtfast.Engine, trtfast.load, trtfast.check):
        with pytest.raises(EngineIncompatibleError, match=r"yolo\.engine.*batch is 0"):
            load(path)
    with pytest.raises(EngineIncompatibleError, match=r"the engine begins.*20 bytes, and 1 follow"):
        trtfast.Engine(b"\x14\0\0\0{")
    assert "trtfast: EngineIncompatibleError: " in trt("inspect", path, status=1)


@without_gpu
def test_only_a_gpu_is_missing(path: Path) -> None:
    for load in (trtfast.Engine, trtfast.load):
        with pytest.raises(UnsupportedDeviceError, match="no GPU"):
            load(path)
    with pytest.raises(UnsupportedDeviceError, match="no GPU"):
        trtfast.Engine(path.read_bytes())


def test_inspect_prints_the_description(source: Path, path: Path) -> None:
    known = trtfast.Passport.of(source)
    assert known is not None
    size = f"{source.stat().st_size / 1e6:.1f} MB"
    assert trt("inspect", path).splitlines() == [
        f"{path}: plan of {known.product} {known.version}, {size}",
        "exported by Ultralytics: Ultralytics YOLO11n-cls model",
        "task classify, batch 1, images of 224x224, 4 classes (cat, dog, bird, …)",
        "It has no passport: what it takes and gives shows once it is loaded.",
    ]
    path.write_bytes(plans.of_ultralytics(source.read_bytes(), {}))
    assert trt("inspect", path).splitlines()[1:] == [
        "exported by Ultralytics: no description",
        "It has no passport: what it takes and gives shows once it is loaded.",
    ]
