"""On a GPU, ``compare`` holds engines against PyTorch: answers, times and where they go."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import trtfast
import zoo

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.* does not list .* as supported"),
]

PREPROCESS = trtfast.Preprocess((224, 224))


@pytest.fixture(scope="module")
def report(
    onnx_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> trtfast.CompareReport:
    plan = trtfast.build(
        onnx_of("resnet50"),
        tmp_path_factory.mktemp("compare") / "resnet50.engine",
        buckets=(1, 8),
        preprocess=PREPROCESS,
    )
    photograph = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    with trtfast.Engine(plan) as engine:
        return trtfast.compare(
            zoo.make_torch_model("resnet50"),
            {"fp16": engine},
            [zoo.images(8)],
            images=[photograph],
            batches=(1, 8),
            compiled=False,
            seconds=0.5,
        )


def test_engine_is_right_and_fast(report: trtfast.CompareReport) -> None:
    assert [each.name for each in report.contenders] == ["PyTorch fp32", "PyTorch fp16", "fp16"]
    assert report["fp16"].failures == ()
    assert report["fp16"].outputs[0].max_relative < 1e-2
    # In full float32 PyTorch's own convolutions differ, as they are in TF32 by default.
    assert report["PyTorch fp32"].outputs[0].max_relative < 1e-2
    for batch in (1, 8):
        assert report.speedup("fp16", batch) > 1
        assert report["fp16"].at(batch).calls > 100
    assert report.environment["gpu"]
    assert all("clocks.sm" in told for told in report.clocks)


def test_where_the_time_goes(report: trtfast.CompareReport) -> None:
    for name in ("fp16", "PyTorch fp16"):
        for split in report[name].split:
            parts = (split.copy_in, split.compute, split.copy_out)
            whole = sum(part or 0 for part in parts)
            assert split.compute is not None
            assert split.compute > 0
            assert split.preprocess is not None
            assert split.postprocess is not None
            # Parts are measured apart from the whole: PyTorch's with a wait after each.
            assert math.isclose(whole, report[name].at(split.batch).median, rel_tol=0.5)
    layers = report["fp16"].layers
    assert len(layers) > 50
    assert sum(layer.share for layer in layers) == pytest.approx(1)
    assert any(layer.nodes for layer in layers)


def test_costs(report: trtfast.CompareReport) -> None:
    ours, theirs = report["fp16"], report["PyTorch fp32"]
    assert ours.build_seconds is not None
    assert ours.build_seconds > 0.1
    assert ours.plan_bytes is not None
    assert ours.device_bytes is not None
    assert theirs.device_bytes is not None
    assert ours.device_bytes > ours.plan_bytes > 25e6
    assert theirs.device_bytes > 100e6  # 25 million weights of float32


def test_page(report: trtfast.CompareReport, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report.write_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().count("<svg") == 7


def test_what_is_measured_is_kept(report: trtfast.CompareReport) -> None:
    report.record()
    path = Path(report["fp16"].path or "")
    known = trtfast.Passport.of(path)
    assert known is not None
    assert known.measured["compare"]["gpu"] == report.environment["gpu"]
    assert known.measured["compare"]["passed"]


@pytest.mark.filterwarnings("ignore")  # of PyTorch's compiler, about itself
def test_compiled_takes_part(
    onnx_of: Callable[[str], Path], engine_of: Callable[[str], Path]
) -> None:
    with trtfast.Engine(engine_of("mobilenet_v3_large")) as engine:
        report = trtfast.compare(
            zoo.make_torch_model("mobilenet_v3_large"),
            engine,
            [zoo.images(1)],
            batches=(1,),
            seconds=0.2,
            repeats=0,
        )
    compiled = report["PyTorch fp16 compiled"]
    assert compiled.outputs[0].max_relative < 5e-2
    assert compiled.at(1).median < report["PyTorch fp16"].at(1).median
