"""Where the time of an engine goes, on a GPU."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner

import trtfast
import zoo
from trtfast import backend, inspector
from trtfast.cli.app import app
from trtfast.profiling.nodes import nodes_of, total

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.* does not list .* as supported"),
]


@pytest.fixture(scope="module")
def bucketed(onnx_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ResNet-50 in float16 for exactly 1 and 8 images, so that all shapes are those that ran."""
    path = tmp_path_factory.mktemp("bucketed") / "resnet50.engine"
    return trtfast.build(onnx_of("resnet50"), path, precision="fp16", buckets=(1, 8))


def known_flops(path: Path, batch: int) -> int:
    model = onnx.load(path, load_external_data=False)
    flops = total(nodes_of(model, {"image": (batch, 3, 224, 224)}).values())
    assert flops == pytest.approx(batch * 2 * 4.09e9, rel=1e-3)
    return flops


def test_resnet50(bucketed: Path, onnx_of: Callable[[str], Path], tmp_path: Path) -> None:
    path = onnx_of("resnet50")
    inputs = zoo.images(8)
    with trtfast.Engine(bucketed, lanes=1) as engine:
        report = trtfast.profile(engine, inputs, onnx=path)
        known = {layer.name for layer in inspector.layers(engine.inspect())}
        gpu = backend.require_gpu(engine.device)
    assert report.gpu == gpu.name
    assert report.inputs == {"image": (8, 3, 224, 224)}
    assert known.issuperset(layer.name for layer in report.layers)
    assert sum(layer.share for layer in report.layers) == pytest.approx(1)
    assert report.by_dtype["float16"] > 0.9

    assert report.flops == known_flops(path, 8)
    assert all(layer.flops is not None for layer in report.layers)
    assert sum(layer.flops or 0 for layer in report.layers) == report.flops

    assert report.roof is not None
    assert report.roof.bandwidth is not None
    assert report.roof.bandwidth > 1e11
    for layer in report.layers:
        assert layer.bytes, layer
        if report.roof.compute:  # of a compute capability that is known
            assert layer.position is not None, layer
        if layer.position is not None:
            assert layer.position.share < 1.05, layer

    report.write_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    spent = sum(event["dur"] for event in events if event["ph"] == "X")
    assert spent == pytest.approx(report.milliseconds * 1e3)


def test_another_batch_of_a_range(
    engine_of: Callable[[str], Path], onnx_of: Callable[[str], Path]
) -> None:
    path = onnx_of("resnet50")
    with trtfast.Engine(engine_of("resnet50"), lanes=1) as engine:
        best = trtfast.profile(engine, onnx=path, runs=2)
        other = trtfast.profile(engine, zoo.images(2), onnx=path, runs=2)
    assert best.inputs["image"][0] == 8
    assert best.flops == known_flops(path, 8)
    assert other.flops == known_flops(path, 2)
    for report in (best, other):
        assert sum(layer.flops or 0 for layer in report.layers) == report.flops
    more = {layer.name: layer.bytes for layer in best.layers}
    for layer in other.layers:  # where an inspector tells no shapes, bytes are not known
        if layer.bytes is not None and (of_best := more.get(layer.name)) is not None:
            assert layer.bytes < of_best or layer.bytes == of_best == 0


def test_a_model_of_another_engine_is_refused(
    bucketed: Path, onnx_of: Callable[[str], Path]
) -> None:
    with (
        trtfast.Engine(bucketed, lanes=1) as engine,
        pytest.raises(trtfast.InputError, match="is not the model that the engine was built from"),
    ):
        trtfast.profile(engine, onnx=onnx_of("mobilenet_v3_large"))


def test_command(bucketed: Path, onnx_of: Callable[[str], Path]) -> None:
    arguments = ["profile", str(bucketed), "--onnx", str(onnx_of("resnet50")), "--top", "3"]
    shapes = ["--shapes", "image:8x3x224x224", "--runs", "2"]
    done = CliRunner().invoke(app, [*arguments, *shapes], catch_exceptions=False)
    assert done.exit_code == 0
    assert "image:8x3x224x224" in done.stdout
    assert "65.43 GFLOP" in done.stdout
    assert "in float16" in done.stdout
