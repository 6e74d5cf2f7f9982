"""Nodes that lose the answer by being quantised are found by name, and mended in float16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import lossy
import quantising
import tiny
import trtfast
from lossy import images
from trtfast import Tolerance, bisect
from trtfast.bisection import on_cpu, read_keep_list
from trtfast.errors import InputError, PrecisionError
from trtfast.precision import rewrite

X = images(32)
LOST_IN_FLOAT16 = {"make_shifted", "make_kept", "make_back"}


def passes(model: onnx.ModelProto, precision: str, report: trtfast.BisectReport) -> bool:
    candidate = on_cpu(precision, trtfast.calibrate(model, X))
    with candidate(model, report.keep_fp32, report.keep_fp16) as engine:
        return trtfast.verify(engine, model, X, precision=precision, repeats=0).passed


@pytest.mark.parametrize("precision", ["mixed", "int8", "fp8"])
def test_the_graph_runs_as_it_is_built(precision: str) -> None:
    """Rounded where ONNX Runtime would not, and quantised where it says."""
    model, seen = quantising.net(), quantising.samples()
    calibration = trtfast.calibrate(model, seen)
    wanted = quantising.run(model, quantising.samples(8, 1))
    graph = rewrite(model, precision, calibration=calibration).model
    with on_cpu(precision, calibration)(model, ()) as engine:
        given = engine.infer(quantising.samples(8, 1))
    error = quantising.relative_error(given, wanted)
    least, most = {"mixed": (1e-4, 1e-3), "int8": (5e-3, 0.02), "fp8": (0.02, 0.06)}[precision]
    assert least < error < most
    as_is = quantising.run(graph, quantising.samples(8, 1))
    assert 0 < quantising.relative_error(given, as_is) < error


def test_what_quantisation_costs_is_mended_in_float16() -> None:
    model = lossy.outlying()
    report = bisect(model, X, precision="int8", calibration=X)
    assert report.passed
    worst = report.nodes[0]
    assert worst.name == "make_second"
    assert worst.entering < 0.01
    assert worst.error > 0.9
    assert (report.keep_fp32, report.keep_fp16) == ((), ("make_second",))
    assert [(trial.keep_fp16, bool(trial.failures)) for trial in report.trials] == [
        ((), True),
        (("make_second",), False),
    ]
    assert passes(model, "int8", report)


@pytest.mark.parametrize("precision", ["mixed", "int8", "fp8"])
def test_what_float16_costs_is_mended_in_float32(precision: str) -> None:
    """These values float16 holds, and not their differences: no calibration tells."""
    model = lossy.swallowing()
    report = bisect(model, X, precision=precision, calibration=X)
    assert report.passed
    assert (set(report.keep_fp32), report.keep_fp16) == (LOST_IN_FLOAT16, ())
    assert passes(model, precision, report)


def test_what_calibration_keeps_is_not_looked_for() -> None:
    model = lossy.overflowing()
    calibration = trtfast.calibrate(model, X)
    assert "make_squares" in calibration.beyond_fp16
    report = bisect(model, X, precision="mixed", calibration=calibration)
    assert (report.passed, report.keep_fp32, report.nodes) == (True, (), ())
    assert bisect(model, X, precision="fp16").trials[0].failures


def test_what_is_kept_already_stays_kept() -> None:
    report = bisect(
        lossy.outlying(),
        X,
        precision="int8",
        calibration=X,
        keep_fp16=["make_first"],
        keep_fp32=["make_clipped"],
    )
    assert report.passed
    assert report.keep_fp32 == ("make_clipped",)
    assert report.keep_fp16 == ("make_first", "make_second")
    assert all(trial.keep_fp16[:1] == ("make_first",) for trial in report.trials)


def test_something_stays_quantised() -> None:
    model = lossy.outlying()
    narrow = Tolerance(1e-4, 1e-4)
    report = bisect(model, X, precision="int8", calibration=X, tolerance=narrow)
    assert not report.passed
    assert (report.keep_fp32, report.keep_fp16) == ((), ())
    quantised = {"make_first", "make_second", "make_y"}
    for trial in report.trials:
        assert quantised - {*trial.keep_fp16, *trial.keep_fp32}
        assert not set(trial.keep_fp16) & set(trial.keep_fp32)


def test_nodes_without_names_can_be_kept() -> None:
    """Quantisation names them, and a build does so alike."""
    model = lossy.outlying()
    for node in model.graph.node:
        node.name = ""
    report = bisect(model, X, precision="int8", calibration=X)
    assert report.passed
    assert report.keep_fp16 == ("second",)
    calibration = trtfast.calibrate(model, X)
    options = {"keep_fp16": report.keep_fp16, "calibration": calibration}
    assert rewrite(model, "int8", **options).quantised == {"first", "y"}


def test_the_candidate_may_be_another() -> None:
    made: list[tuple[Any, Any]] = []
    run = on_cpu("int8", trtfast.calibrate(lossy.outlying(), X))

    def candidate(model: onnx.ModelProto, full: Any, half: Any = (), /) -> Any:
        if len(model.graph.output) == 1:
            made.append((full, half))
        return run(model, full, half)

    report = bisect(lossy.outlying(), X, precision="int8", calibration=X, candidate=candidate)
    assert made == [(trial.keep_fp32, trial.keep_fp16) for trial in report.trials]


@quantising.builds
def test_the_lists_are_what_build_takes(tmp_path: Path) -> None:
    report = bisect(lossy.outlying(), X, precision="int8", calibration=X)
    assert report.to_dict()["keep_fp16"] == ["make_second"]
    assert read_keep_list(report.write_keep_list(tmp_path / "half.txt", "fp16")) == ("make_second",)
    assert read_keep_list(report.write_keep_list(tmp_path / "full.txt")) == ()
    known = trtfast.Passport.of(
        trtfast.build(
            lossy.outlying(),
            tmp_path / "m.engine",
            precision="int8",
            calibration=X,
            keep_fp32=report.keep_fp32,
            keep_fp16=read_keep_list(tmp_path / "half.txt"),
        )
    )
    assert known is not None
    assert known.precision["computed"] == {"int8": 2, "float16": 1}


def test_images_to_calibrate_and_to_judge() -> None:
    preprocess = trtfast.Preprocess((12, 12))
    nodes = [
        onnx.helper.make_node("GlobalAveragePool", ["image"], ["mean"], name="pool"),
        onnx.helper.make_node("Flatten", ["mean"], ["flat"], name="flatten"),
        onnx.helper.make_node("MatMul", ["flat", "w"], ["y"], name="head"),
    ]
    model = tiny.model_of(
        nodes,
        [tiny.value("image", "batch", 3, 12, 12)],
        [tiny.value("y", "batch", 5)],
        [tiny.weight("w", 3, 5)],
    )
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (20, 30, 3), np.uint8) for _ in range(4)]
    report = bisect(model, photos, precision="int8", calibration=photos, preprocess=preprocess)
    assert report.passed
    assert report.trials[0].error > 0


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"precision": "int8"}, InputError, "'int8' needs samples of what the model will see"),
        ({"precision": "fp16", "calibration": X}, InputError, "of no use to precision 'fp16'"),
        ({"precision": "mixed", "calibration": X, "keep_fp16": ["a"]}, InputError, "of no use to"),
        (
            {"precision": "int8", "calibration": X, "keep_fp16": ["none"]},
            PrecisionError,
            "keep_fp16 names 'none', which the model has no node for",
        ),
    ],
)
def test_wrong_arguments(options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        bisect(lossy.outlying(), X, **options)
