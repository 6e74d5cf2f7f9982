"""On a GPU, ``verify`` lets the right engine pass and catches each kind of wrong one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import lossy
import trtfast
import zoo
from hopper import is_hopper_on_rtx
from trtfast import Passport, Tolerance

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.* does not list .* as supported"),
]

X = lossy.images(20)
SHAPES = {"min_shapes": {"x": (1, 8)}, "max_shapes": {"x": (32, 8)}}


def built(model: onnx.ModelProto, folder: Path, precision: str = "fp16", **options: object) -> Path:
    return trtfast.build(model, folder / "m.engine", precision=precision, **SHAPES, **options)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_small_engine_passes(precision: str, tmp_path: Path) -> None:
    with trtfast.Engine(built(lossy.classifier(), tmp_path, precision)) as engine:
        report = trtfast.verify(engine, lossy.classifier(), X)
    assert report.failures == ()
    assert report.precision == precision
    assert report.outputs[0].classes is not None
    same = report.determinism
    assert same is not None
    assert same.runs == {"repeated": 10, "threads": 40, "no graphs": 10}
    assert report.batch.rows == 8


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v3_large", "vit_b_16"])
def test_whole_networks_pass_against_pytorch(name: str, engine_of: Callable[[str], Path]) -> None:
    inputs = zoo.images(8)
    # Noise, and weights of noise, give close contests, where a logit's rounding shows most.
    tolerance = Tolerance(relative=1e-2, confidence=2e-2)
    with trtfast.Engine(engine_of(name), lanes=3) as engine:
        report = trtfast.verify(engine, zoo.make_torch_model(name), [inputs], tolerance=tolerance)
    assert report.failures == ()
    assert report.determinism is not None
    assert report.determinism.lanes == 3


@pytest.mark.skipif(not is_hopper_on_rtx(), reason="float32 varies on Hopper with TensorRT-RTX")
def test_float32_convolutions_that_vary_are_caught(
    onnx_of: Callable[[str], Path], tmp_path: Path
) -> None:
    onnx_path = onnx_of("resnet50")
    plan = trtfast.build(onnx_path, tmp_path / "resnet50.engine", precision="fp32")
    with trtfast.Engine(plan) as engine:
        report = trtfast.verify(engine, onnx_path, [zoo.images(2)], repeats=30)
    same = report.determinism
    assert same is not None
    print(f"{same.results} results of {sum(same.runs.values())} runs, {same.largest:.2g} apart")
    assert same.results > 1
    assert any(f"gave {same.results} different results" in text for text in report.failures)


def test_other_weights_are_caught(tmp_path: Path) -> None:
    with trtfast.Engine(built(lossy.classifier(seed=1), tmp_path)) as engine:
        report = trtfast.verify(engine, lossy.classifier(), X, repeats=1)
    assert any("the largest error" in failure for failure in report.failures)


def test_swapped_channels_are_caught(onnx_of: Callable[[str], Path], tmp_path: Path) -> None:
    model = onnx.load(onnx_of("resnet50"))
    for node in model.graph.node:
        node.input[:] = ["swapped" if name == "image" else name for name in node.input]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 1, 0]), "order"))
    swap = onnx.helper.make_node("Gather", ["image", "order"], ["swapped"], name="swap", axis=1)
    model.graph.node.insert(0, swap)
    plan = trtfast.build(model, tmp_path / "m.engine")
    with trtfast.Engine(plan) as engine:
        report = trtfast.verify(engine, onnx_of("resnet50"), [zoo.images(2)], repeats=1)
    assert any("the largest error" in failure for failure in report.failures)


def test_nan_of_float16_is_caught(tmp_path: Path) -> None:
    model = lossy.overflowing_to_nan()
    with trtfast.Engine(built(model, tmp_path)) as engine:
        report = trtfast.verify(engine, model, X, repeats=1, scores=())
    assert report.outputs[0].nan > 0
    assert any("NaN among 240 values" in failure for failure in report.failures)


def test_a_batch_dependent_engine_is_caught(tmp_path: Path) -> None:
    with trtfast.Engine(built(lossy.centring(), tmp_path)) as engine:
        report = trtfast.verify(engine, lossy.centring(), X, repeats=1, scores=())
    (failure,) = report.failures
    assert "a row alone differs from the same row in a batch of 8" in failure


def test_an_overflow_is_bisected_and_mended(tmp_path: Path) -> None:
    model = lossy.overflowing_to_nan()
    with trtfast.Engine(built(model, tmp_path)) as engine:
        assert not trtfast.verify(engine, model, X, repeats=1).passed
    report = trtfast.bisect(model, X, **SHAPES)
    assert report.passed
    assert report.nodes[0].name == "make_wide"
    # Either helps: TensorRT may fuse a cast, and so keep the product before it in float32 too.
    assert {"make_wide", "make_y"} & set(report.keep_fp32)
    mended = built(model, tmp_path, keep_fp32=report.keep_fp32)
    with trtfast.Engine(mended) as engine:
        assert trtfast.verify(engine, model, X, repeats=1).passed


def test_what_quantisation_costs_is_bisected_and_mended(tmp_path: Path) -> None:
    model, calibration = lossy.outlying(), trtfast.calibrate(lossy.outlying(), X)
    report = trtfast.bisect(model, X, precision="int8", calibration=calibration, **SHAPES)
    assert report.passed
    assert "make_second" in report.keep_fp16
    mended = built(
        model,
        tmp_path,
        "int8",
        calibration=calibration,
        keep_fp16=report.keep_fp16,
        keep_fp32=report.keep_fp32,
    )
    with trtfast.Engine(mended) as engine:
        assert trtfast.verify(engine, model, X, repeats=1).passed


def test_auto_takes_what_is_right(tmp_path: Path) -> None:
    plan = built(
        lossy.overflowing_to_nan(), tmp_path, "auto", samples=X, tolerance=Tolerance(0.05, 0.05)
    )
    known = Passport.of(plan)
    assert known is not None
    found = known.precision["search"]
    right = [each for each in found if not each["failures"]]
    fastest = min(right, key=lambda each: each["milliseconds"])
    assert known.options["precision"] == fastest["precision"]
    assert known.options["keep_fp32"] == sorted(fastest["keep_fp32"])
    (plain, *_) = [each for each in found if each["precision"] == "fp16"]
    assert plain["failures"]
    with trtfast.Engine(plan) as engine:
        report = trtfast.verify(
            engine, lossy.overflowing_to_nan(), X, tolerance=Tolerance(0.05, 0.05), repeats=1
        )
    assert report.passed
