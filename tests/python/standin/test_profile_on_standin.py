"""``trtfast.profile`` of engines whose plans tell names only."""

from __future__ import annotations

import pytest
from onnx import helper

import fake_gpu
import tiny
import trtfast
from trtfast import backend


def test_layers_of_names_only(engine: trtfast.Engine) -> None:
    report = trtfast.profile(engine, fake_gpu.rows(3), runs=2)
    assert report.engine == engine.tensorrt
    assert report.gpu == backend.require_gpu(engine.device).name
    assert report.inputs == {"x": (3, 2)}
    assert report.roof is not None
    assert report.flops is None
    (layer,) = report.layers
    assert layer.name == "twice"
    assert layer.share == 1
    assert layer.milliseconds == report.milliseconds >= 10
    assert layer.nodes == ()
    assert (layer.kind, layer.dtype, layer.bytes, layer.flops, layer.position) == (None,) * 5


def test_inputs_are_made_up_of_the_best_shapes(engine: trtfast.Engine) -> None:
    assert trtfast.profile(engine, runs=1).inputs == {"x": (4, 2)}


def test_a_model_is_checked_before_the_engine_runs(engine: trtfast.Engine) -> None:
    node = helper.make_node("Add", ["x", "z"], ["y"], name="add")
    inputs = [tiny.value("x", "n", 2), tiny.value("z", "n", 2)]
    model = tiny.model_of([node], inputs, [tiny.value("y", "n", 2)])
    with pytest.raises(trtfast.InputError, match=r"it takes \['x', 'z'\]"):
        trtfast.profile(engine, onnx=model)


def test_what_names_no_node_may_hold_any_operation(engine: trtfast.Engine) -> None:
    report = trtfast.profile(engine, onnx=tiny.dense("n", 2, width=2), runs=1)
    assert report.flops == 2 * 4 * 2 * 2
    assert report.layers[0].flops is None
