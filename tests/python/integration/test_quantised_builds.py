"""Quantised and mixed engines are built, and the passport tells what they compute in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import trtfast
import zoo
from quantising import net, samples
from trtfast import backend, check
from trtfast.errors import PrecisionError

QUANTISED = {"fp8": "float8_e4m3fn", "int8": "int8"}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "model.engine"


def build(path: Path, source: onnx.ModelProto | Path, **options: Any) -> trtfast.Passport:
    known = trtfast.Passport.of(trtfast.build(source, path, **options))
    assert known is not None
    return known


def options_of(precision: str) -> dict[str, Any]:
    """Leave convolutions in float16 where TensorRT has none in int8."""
    library = backend.select()
    if library.generation == "rtx14":
        pytest.skip("TensorRT-RTX 1.4 builds quantised engines only where a GPU is")
    lacking = library.is_rtx and tuple(map(int, library.version.split(".")[:2])) < (1, 7)
    return {"keep_fp16": ["wide"]} if precision == "int8" and lacking else {}


@pytest.mark.parametrize("precision", QUANTISED)
def test_small_net(precision: str, target: Path) -> None:
    options = options_of(precision)
    known = build(target, net(), precision=precision, calibration=samples(), **options)
    kept = len(options.get("keep_fp16", ()))
    assert known.precision["asked"] == precision
    assert known.precision["computed"] == {QUANTISED[precision]: 3 - kept, "float16": 1 + kept}
    assert known.precision["layers"][QUANTISED[precision]] >= 2
    assert known.options["calibration"]["runs"] == 2
    assert set(known.options["calibration"]["ranges"]) == {"x", "f", "g"}


def test_calibration_once_for_several_builds(target: Path) -> None:
    found = trtfast.calibrate(net(), samples())
    for precision in ("mixed", "fp8"):
        known = build(target, net(), precision=precision, calibration=found, **options_of("fp8"))
        assert known.options["calibration"] == found.to_dict()


def test_what_float16_does_not_hold_stays_float32(target: Path) -> None:
    known = build(target, net(), precision="mixed", calibration=samples() * 1e5)
    assert known.options["calibration"]["beyond_fp16"][:3] == ["wide", "clip", "few"]
    assert known.precision["computed"]["float32"] >= 2
    plain = build(target, net(), precision="mixed", calibration=samples())
    assert plain.precision["computed"] == {"float16": 4}


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_torchvision_in_fp8(name: str, tmp_path: Path) -> None:
    import torch

    options_of("fp8")
    sample = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    path = tmp_path / f"{name}.onnx"
    trtfast.export(zoo.make_torch_model(name), sample, path, input_names=["image"])
    images = np.random.default_rng(0).standard_normal((4, 3, 64, 64), np.float32)
    computed = build(
        path.with_suffix(".engine"), path, precision="fp8", calibration=images
    ).precision["computed"]
    # All but the first convolution and those of few channels.
    expected = {"resnet18": {"float8_e4m3fn": 20, "float16": 1}}
    expected["mobilenet_v3_small"] = {"float8_e4m3fn": 41, "float16": 13}
    assert computed == expected[name]


def test_what_cannot_run_is_refused_before_the_build(target: Path) -> None:
    with pytest.raises(PrecisionError, match=r"8\.9 or newer"):
        trtfast.build(net(), target, precision="fp8", targets=[86], calibration=samples())
    assert not target.exists()


def test_float32_on_rtx_is_what_tensorrt_decides(target: Path) -> None:
    library = backend.select()
    known = build(target, net(), precision="fp32")
    assert known.precision["tf32"] is (None if library.is_rtx else False)
    if library.is_rtx:
        with pytest.raises(PrecisionError, match="decides by itself"):
            trtfast.build(net(), target, precision="tf32")


def test_cached_by_what_calibration_found(tmp_path: Path) -> None:
    from trtfast.build import cached

    onnx.save(net(), tmp_path / "net.onnx")
    options = {"backend": "auto", "device": 0, "precision": "mixed"}
    first = cached(tmp_path / "net.onnx", calibration=samples(), **options)
    assert cached(tmp_path / "net.onnx", calibration=samples() * 2, **options) != first
    assert cached(tmp_path / "net.onnx", calibration=samples(), **options) == first
    assert check(first).version


def test_built_again_from_its_passport(tmp_path: Path) -> None:
    from trtfast import rebuild

    onnx.save(net(), tmp_path / "net.onnx")
    known = build(
        tmp_path / "net.engine",
        tmp_path / "net.onnx",
        precision="fp8",
        calibration=samples(),
        **options_of("fp8"),
    )
    options = rebuild.options_of(known, backend.select(), None)
    again = build(tmp_path / "again.engine", tmp_path / "net.onnx", **options)
    assert again.precision == known.precision
    assert again.options == known.options
