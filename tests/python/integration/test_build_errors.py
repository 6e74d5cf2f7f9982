"""What a build refuses, and what it leaves behind then: nothing."""

from __future__ import annotations

import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tiny
import trtfast
from trtfast import backend
from trtfast.errors import BuildError, InputError, PrecisionError

COMMAND = Path(sys.executable).with_name("trtfast")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "model.engine"


@pytest.fixture
def refused(target: Path) -> Callable[..., Any]:
    """Return a build that must fail, and is then checked to have left no file."""

    def build(kind: type[BaseException], match: str, source: Any = None, **options: Any) -> Any:
        with pytest.raises(kind, match=match) as caught:
            trtfast.build(tiny.dense() if source is None else source, target, **options)
        assert [path for path in target.parent.iterdir() if path.suffix != ".onnx"] == []
        return caught.value

    return build


def works(folder: Path) -> bool:
    return trtfast.build(tiny.dense(), folder / "after.engine").stat().st_size > 1000


def of_one_node(node: onnx.NodeProto, *domains: str) -> onnx.ModelProto:
    inputs, outputs = [tiny.value("x", 1, 4)], [tiny.value("y", 1, 4)]
    return tiny.model_of([node], inputs, outputs, (), *domains)


WHOLE = tiny.dense().SerializeToString()


@pytest.mark.parametrize(
    "data",
    [
        WHOLE[: len(WHOLE) // 2],
        WHOLE[:-1],
        b"",
        random.Random(0).randbytes(1000),
        b"\x89PNG\r\n" + WHOLE,
    ],
    ids=["half", "short", "empty", "random", "other"],
)
def test_damaged_file(data: bytes, refused: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "damaged.onnx"
    path.write_bytes(data)
    refused(BuildError, r"damaged\.onnx", path)
    assert works(tmp_path)


def test_missing_file(refused: Callable[..., Any], tmp_path: Path) -> None:
    refused(InputError, r"there is no ONNX file .*none\.onnx", tmp_path / "none.onnx")


@pytest.mark.parametrize("source", [3, b"bytes", [tiny.dense()]])
def test_what_is_no_model(source: Any, refused: Callable[..., Any]) -> None:
    refused(InputError, "expected a path or an onnx.ModelProto, not", source)


@pytest.mark.parametrize("domain", ["", "my.domain"])
def test_unknown_operator_is_named(
    domain: str, refused: Callable[..., Any], tmp_path: Path
) -> None:
    node = helper.make_node("Frobnicate", ["x"], ["y"], name="odd", domain=domain)
    source = of_one_node(node, *([domain] if domain else []))
    error = refused(BuildError, "'odd'.*Frobnicate", source)
    assert error.node == "odd"
    assert works(tmp_path)


def test_unknown_operator_without_a_name(refused: Callable[..., Any]) -> None:
    error = refused(BuildError, "Frobnicate", of_one_node(helper.make_node("Frobnicate", "x", "y")))
    assert error.node is None


def test_model_without_outputs(refused: Callable[..., Any]) -> None:
    source = tiny.dense()
    del source.graph.output[:]
    refused(BuildError, "at least one output", source)


@pytest.mark.parametrize("precision", ["int4", "half", "FP16", ""])
def test_unsupported_precision(precision: str, refused: Callable[..., Any]) -> None:
    refused(PrecisionError, rf"'{precision}'.*use one of fp32, tf32, fp16", precision=precision)


def test_precision_that_the_graph_contradicts(refused: Callable[..., Any]) -> None:
    """A model in float16 is not cast to bfloat16, and that is told."""
    source = tiny.dense(1, 8)
    for value in (*source.graph.input, *source.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    halves = onnx.numpy_helper.to_array(source.graph.initializer[0]).astype(np.float16)
    source.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(halves, "w"))
    refused(PrecisionError, "project in float16", source, precision="bf16")


def test_unknown_node_to_keep(refused: Callable[..., Any]) -> None:
    refused(PrecisionError, "'nope'", keep_fp32=["nope"])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"opt_shapes": {"x": (4, 9)}}, r"\(1, 9\) does not fit input 'x' of shape \(-1, 8\)"),
        ({"opt_shapes": {"x": (4,)}}, "does not fit"),
        ({"opt_shapes": {"x": (4, 8, 8)}}, "does not fit"),
        ({"opt_shapes": {"x": (-1, 8)}}, "does not fit"),
        ({"opt_shapes": {"x": "4x8"}}, "is not a shape"),
        ({"opt_shapes": {"z": (4, 8)}}, r"given for 'z', but the inputs are \['x'\]"),
        ({"min_shapes": {"x": (8, 8)}, "max_shapes": {"x": (4, 8)}}, "min <= opt <= max"),
        ({"profiles": []}, "dynamic shape"),
        ({"profiles": [{"z": trtfast.ShapeRange((1,), (1,), (1,))}]}, "no input 'z'"),
        ({"workspace": 0}, "workspace is 0"),
        ({"workspace": -1}, "workspace is -1"),
        ({"optimization_level": 6}, "use 0 to 5"),
        ({"optimization_level": -1}, "use 0 to 5"),
        ({"backend": "trt"}, "backend 'trt' is unknown"),
    ],
)
def test_options_that_do_not_fit(
    options: dict[str, Any], match: str, refused: Callable[..., Any]
) -> None:
    refused(InputError, match, **options)


@pytest.mark.parametrize("targets", [[10], [0], [-5], [999], [86, 10]])
def test_target_that_there_is_not(targets: list[int], refused: Callable[..., Any]) -> None:
    match = "builds for: 75, 80" if backend.select().is_rtx else "TensorRT-RTX takes targets"
    refused(InputError, match, targets=targets)


def test_too_little_workspace(refused: Callable[..., Any]) -> None:
    if not backend.select().is_rtx:
        pytest.skip("TensorRT finds a tactic that needs no memory")
    refused(BuildError, "workspace", workspace=1)


def test_model_in_memory_needs_a_path() -> None:
    with pytest.raises(InputError, match=r"build\(model, 'model.engine'\)"):
        trtfast.build(tiny.dense())


def test_progress_cancels(refused: Callable[..., Any], tmp_path: Path) -> None:
    refused(BuildError, "cancelled", progress=lambda *_: False)
    assert works(tmp_path)


def test_progress_cancels_in_the_middle(refused: Callable[..., Any]) -> None:
    steps: list[str] = []

    def progress(phase: str, parent: str, step: int, count: int) -> bool | None:
        steps.append(phase)
        return False if len(steps) == 5 else None

    refused(BuildError, "cancelled", progress=progress)
    assert len(steps) >= 5


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt, BuildError])
def test_error_of_progress_is_raised_as_it_is(
    kind: type[BaseException], refused: Callable[..., Any], tmp_path: Path
) -> None:
    raised = kind("enough")

    def progress(*_: object) -> None:
        raise raised

    assert refused(kind, "enough", progress=progress) is raised
    assert works(tmp_path)


def test_disk_that_is_full(refused: Callable[..., Any], tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        refused(BuildError, r"cannot be written to .*model\.engine.*free space")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert works(tmp_path)


def test_failed_build_leaves_the_older_engine(target: Path) -> None:
    trtfast.build(tiny.dense(), target)
    before = {path.name: path.read_bytes() for path in target.parent.iterdir()}
    with pytest.raises(BuildError, match="cancelled"):
        trtfast.build(tiny.dense(seed=1), target, progress=lambda *_: False)
    assert {path.name: path.read_bytes() for path in target.parent.iterdir()} == before


def _parser_is_loaded(process: subprocess.Popen[str]) -> bool:
    maps = Path(f"/proc/{process.pid}/maps")
    return "onnxparser" in maps.read_text()


def test_interrupt_from_the_keyboard(tmp_path: Path) -> None:
    model = tmp_path / "deep.onnx"
    onnx.save(tiny.convolutions(500, 8), model)  # some seconds, most of which are cut off
    output = tmp_path / "out" / "deep.engine"
    with subprocess.Popen(
        [COMMAND, "build", model, "--output", output],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        deadline = time.monotonic() + 60
        while not _parser_is_loaded(process):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.3)  # into the build, which lasts several times as long
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130, printed
    assert "Traceback" not in printed
    assert list(output.parent.iterdir()) == []
