"""``trtfast.profile`` on the reference engine, and the inputs that it makes up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tiny
import trtfast
from trtfast.errors import ClosedError, InputError
from trtfast.profiling.inputs import arrays_of
from trtfast.reference import _layer_times
from trtfast.report import LayerTime
from trtfast.spec import ShapeRange, TensorSpec


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    path = tmp_path / "dense.onnx"
    onnx.save(tiny.dense(), path)
    return path


def test_each_node_is_a_layer(dense: Path) -> None:
    with trtfast.ReferenceEngine(dense) as engine:
        report = trtfast.profile(engine, np.ones((3, 8), np.float32), runs=4)
    assert report.engine == "ReferenceEngine"
    assert report.inputs == {"x": (3, 8)}
    assert report.runs == 4
    assert report.gpu is report.roof is None
    assert report.flops == 2 * 3 * 8 * 4
    project, clip = report.layers
    assert (project.name, project.nodes, project.kind) == ("project", ("project",), "MatMul")
    assert (clip.name, clip.nodes, clip.kind) == ("clip", ("clip",), "Relu")
    assert project.shapes == clip.shapes == ((3, 4),)
    assert project.dtype == clip.dtype == "float32"
    assert (project.flops, clip.flops) == (2 * 3 * 8 * 4, 0)
    assert project.bytes == 4 * (3 * 8 + 8 * 4 + 3 * 4)
    assert clip.bytes == 4 * 2 * 3 * 4
    assert project.position is None
    assert project.milliseconds > 0
    assert project.share + clip.share == pytest.approx(1)


@pytest.mark.parametrize("form", ["path", "bytes", "proto"])
def test_the_model_may_be_given_in_any_form(dense: Path, form: str) -> None:
    model = tiny.dense()
    sources: dict[str, Any] = {"path": dense, "bytes": model.SerializeToString(), "proto": model}
    with trtfast.ReferenceEngine(sources[form]) as engine:
        report = trtfast.profile(engine, runs=1)
    assert report.inputs == {"x": (1, 8)}  # made up
    assert [layer.flops for layer in report.layers] == [64, 0]


def test_nodes_without_a_name_are_known() -> None:
    model = tiny.dense()
    for node in model.graph.node:
        node.name = ""
    with trtfast.ReferenceEngine(model) as engine:
        report = trtfast.profile(engine, runs=1)
    assert [layer.nodes for layer in report.layers] == [("product",), ("y",)]
    assert [layer.flops for layer in report.layers] == [64, 0]


def test_what_onnx_runtime_adds_is_not_known() -> None:
    nodes = [helper.make_node("MatMul", ["x", "x"], ["y"], name="square")]
    half = TensorProto.FLOAT16
    model = tiny.model_of(
        nodes, [tiny.value("x", 4, 4, dtype=half)], [tiny.value("y", 4, 4, dtype=half)]
    )
    with trtfast.ReferenceEngine(model) as engine:
        report = trtfast.profile(engine, runs=1)
    by_name = {layer.name: layer for layer in report.layers}
    assert by_name["square"].flops == report.flops == 2 * 4 * 4 * 4
    added = [layer for name, layer in by_name.items() if name != "square"]
    assert added  # the CPU has no kernel for products of float16
    assert all(layer.bytes is None and layer.nodes == () for layer in added)


def test_control_flow_is_one_layer() -> None:
    body = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["z"], name="inner")],
        "body",
        [],
        [tiny.value("z", 4, 4)],
    )
    node = helper.make_node("If", ["c"], ["y"], name="if", then_branch=body, else_branch=body)
    inputs = [tiny.value("x", 4, 4), tiny.value("c", dtype=TensorProto.BOOL)]
    model = tiny.model_of([node], inputs, [tiny.value("y", 4, 4)], [tiny.weight("w", 4, 4)])
    with trtfast.ReferenceEngine(model) as engine:
        report = trtfast.profile(engine, runs=3)
    assert [layer.name for layer in report.layers] == ["if"]
    assert report.layers[0].flops is report.flops is None


def test_times_are_the_mean_of_the_runs() -> None:
    def node(name: str, start: int, duration: int) -> dict[str, Any]:
        return {"cat": "Node", "name": f"{name}_kernel_time", "ts": start, "dur": duration}

    def run(start: int, *durations: int) -> list[dict[str, Any]]:
        first, second = durations
        return [
            node("inner", start + 2, first - 2),  # written before the node around it
            node("a", start + 1, first),
            node("b", start + first + 1, second),
            {"cat": "Session", "name": "model_run", "ts": start, "dur": first + second + 2},
        ]

    events = [*run(0, 900, 900), *run(2000, 10, 30), *run(3000, 20, 50)]
    assert _layer_times(events, 2) == (
        LayerTime("a", pytest.approx(0.015)),
        LayerTime("b", pytest.approx(0.040)),
    )


def test_profiling_leaves_the_engine_and_the_folder_as_they_were(
    dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.arange(16, dtype=np.float32).reshape(2, 8)
    with trtfast.ReferenceEngine(dense) as engine:
        before = engine.infer(x)
        engine.profile(x, runs=1)
        assert np.array_equal(engine.infer(x), before)
    assert [path.name for path in tmp_path.iterdir()] == ["dense.onnx"]


def test_wrong_calls(dense: Path) -> None:
    with trtfast.ReferenceEngine(dense) as engine:
        with pytest.raises(InputError, match="expected rank 2"):
            trtfast.profile(engine, np.ones(8, np.float32))
        with pytest.raises(InputError, match="unknown inputs 'z'"):
            trtfast.profile(engine, {"z": np.ones((1, 8), np.float32)})
        with pytest.raises(InputError, match="runs must be 1 or more, not 0"):
            trtfast.profile(engine, runs=0)
        with pytest.raises(InputError, match="leave onnx= out"):
            trtfast.profile(engine, onnx=dense)
    with pytest.raises(ClosedError):
        trtfast.profile(engine)
    with pytest.raises(InputError, match=r"engine is PosixPath; expected a trtfast\.Engine"):
        trtfast.profile(dense)  # type: ignore[arg-type]


# ---- inputs -------------------------------------------------------------------------------------


def spec(name: str, dtype: Any, *shape: int) -> TensorSpec:
    return TensorSpec(name, np.dtype(dtype), shape)


def test_inputs_are_made_up_and_always_the_same() -> None:
    specs = [
        spec("image", np.float32, -1, 3, 32),
        spec("half", np.float16, 2, 5),
        spec("brain", ml_dtypes.bfloat16, 2, 5),
        spec("pixels", np.uint8, 4, 100),
        spec("signed", np.int8, 4, 100),
        spec("tokens", np.int64, -1, 7),
        spec("mask", np.bool_, -1, 7),
    ]
    made = arrays_of(specs)
    assert {name: array.dtype for name, array in made.items()} == {s.name: s.dtype for s in specs}
    assert made["image"].shape == (1, 3, 32)
    assert 0.5 < made["image"].std() < 1.5
    assert made["half"].any()
    assert made["brain"].any()
    assert made["pixels"].max() > 200
    assert made["signed"].min() < -100
    assert not made["tokens"].any()
    assert made["mask"].all()
    again = arrays_of(specs)
    assert all(np.array_equal(array, again[name]) for name, array in made.items())


def test_inputs_have_the_best_shapes_or_those_given() -> None:
    ranges = (ShapeRange((1, 3), (8, 3), (9, 3)), ShapeRange((20, 3), (20, 3), (20, 3)))
    ranged = TensorSpec("x", np.dtype(np.float32), (-1, 3), ranges)
    assert arrays_of([ranged])["x"].shape == (8, 3)
    assert arrays_of([ranged], {"x": (20, 3)})["x"].shape == (20, 3)
    assert arrays_of([ranged], (9, 3))["x"].shape == (9, 3)
    with pytest.raises(InputError, match="no optimisation profile"):
        arrays_of([ranged], (15, 3))
    with pytest.raises(InputError, match="unknown inputs"):
        arrays_of([ranged], {"y": (8, 3)})


def test_inputs_that_cannot_be_made_up() -> None:
    with pytest.raises(InputError, match="'x' has dynamic dimensions"):
        arrays_of([spec("x", np.float32, -1, -1)])
    assert arrays_of([spec("x", np.float32, -1, -1)], (2, 3))["x"].shape == (2, 3)
    values = TensorSpec("size", np.dtype(np.int64), (2,), (ShapeRange((1, 6), (5, 6), (8, 6)),))
    with pytest.raises(InputError, match=r"values of \['size'\] make shapes"):
        arrays_of([values])
