"""What the options of a build do, as the passport tells it and TensorRT read it back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import plans
import tiny
import trtfast
from trtfast import backend, passport


def build(path: Path, source: onnx.ModelProto | None = None, **options: Any) -> trtfast.Passport:
    plan = trtfast.build(tiny.dense() if source is None else source, path, **options)
    assert plan == path
    known = trtfast.Passport.of(plan)
    assert known is not None
    assert known.plan_sha256 == passport.sha256(plan.read_bytes())
    return known


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "model.engine"


def test_passport_of_a_plain_build(target: Path) -> None:
    known = build(target)
    library = backend.select()
    assert (known.product, known.version) == (library.product, library.version)
    assert (known.generation, known.trtfast) == (library.generation, trtfast.__version__)
    assert known.inputs == [
        {
            "name": "x",
            "dtype": "float32",
            "shape": [-1, 8],
            "profiles": [{"min": [1, 8], "opt": [8, 8], "max": [32, 8]}],
        }
    ]
    assert known.outputs == [{"name": "y", "dtype": "float32", "shape": [-1, 4]}]
    assert known.precision["asked"] == "fp16"
    assert known.precision["layers"]["float16"] >= 2
    assert (known.preprocess, known.classes) == (None, None)


@pytest.mark.skipif(backend.gpu() is not None, reason="there is a GPU")
def test_samples_without_a_gpu_are_not_run_and_the_log_says_so(
    target: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def samples() -> Iterator[np.ndarray]:
        pytest.fail("they were read")
        yield

    with caplog.at_level(logging.WARNING, "trtfast"):
        known = build(target, samples=samples())
    (line,) = [r.getMessage() for r in caplog.records if r.name == "trtfast"]
    assert line.startswith(f"{target} is not run on the samples: no GPU can be used here: ")
    assert (known.precision["engine"], known.precision["time"]) == (None, None)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", "float32"), ("fp16", "float16"), ("bf16", "bfloat16")]
)
def test_precision_comes_true(precision: str, dtype: str, target: Path) -> None:
    layers = build(target, precision=precision).precision["layers"]
    assert layers[dtype] >= 2
    half = {"float16", "bfloat16"} & set(layers)
    assert half == {dtype} - {"float32"}


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", "float16"), ("bf16", "bfloat16")])
def test_half_precision_inputs_and_outputs(precision: str, dtype: str, target: Path) -> None:
    known = build(target, precision=precision, keep_io=False)
    assert known.options["keep_io"] is False
    assert [spec["dtype"] for spec in (*known.inputs, *known.outputs)] == [dtype, dtype]
    assert "float32" not in known.precision["layers"]


def test_node_that_stays_in_float32(target: Path) -> None:
    plain = build(target).precision["layers"]
    known = build(target, keep_fp32={"project"})
    assert known.options["keep_fp32"] == ["project"]
    assert known.precision["layers"]["float32"] > plain["float32"]
    assert known.precision["layers"]["float16"] < plain["float16"]


@pytest.mark.parametrize(
    ("name", "value"), [("optimization_level", 0), ("optimization_level", 5), ("workspace", 2**28)]
)
def test_options_are_recorded(name: str, value: int, target: Path) -> None:
    assert build(target, **{name: value}).options[name] == value


def test_targets(target: Path) -> None:
    if not backend.select().is_rtx:
        pytest.skip("TensorRT builds for the GPU at hand only")
    one = build(target, targets=[89]).options["targets"]
    size = target.stat().st_size
    two = build(target, targets=(86, 89)).options["targets"]
    assert (one, two) == ([89], [86, 89])
    assert target.stat().st_size > size  # kernels for both


def test_several_profiles(target: Path) -> None:
    ranges = [
        trtfast.ShapeRange((1, 8), (1, 8), (1, 8)),
        trtfast.ShapeRange((2, 8), (16, 8), (64, 8)),
    ]
    known = build(target, profiles=[{"x": each} for each in ranges])
    assert known.inputs[0]["profiles"] == [
        {"min": [1, 8], "opt": [1, 8], "max": [1, 8]},
        {"min": [2, 8], "opt": [16, 8], "max": [64, 8]},
    ]


def test_fixed_shapes_need_no_profile(target: Path) -> None:
    known = build(target, tiny.dense(2, 8))
    assert known.inputs == [{"name": "x", "dtype": "float32", "shape": [2, 8]}]


def test_preprocess_and_classes_are_kept(target: Path) -> None:
    preprocess = trtfast.Preprocess((16, 16))
    known = build(target, preprocess=preprocess, classes=("a", "b"))
    assert known.classes == ["a", "b"]
    names = target.with_name("names.txt")
    names.write_text("c\nd\n")
    assert build(target, classes=names).classes == ["c", "d"]
    assert known.preprocess is not None
    assert trtfast.Preprocess.from_dict(known.preprocess) == preprocess


def test_path_is_beside_the_model_by_default(tmp_path: Path) -> None:
    model = tmp_path / "some.model.onnx"
    onnx.save(tiny.dense(), model)
    assert trtfast.build(str(model)) == tmp_path / "some.model.engine"
    assert {path.name for path in tmp_path.iterdir()} == {
        "some.model.onnx",
        "some.model.engine",
        "some.model.engine.json",
    }


def test_folder_is_made(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "down" / "model.plan"
    build(target)
    assert {path.name for path in target.parent.iterdir()} == {"model.plan", "model.plan.json"}


def test_external_weights_are_found_beside_the_model(tmp_path: Path, target: Path) -> None:
    model = tmp_path / "model.onnx"
    split = tiny.dense("batch", 64, width=32)
    onnx.save(split, model, save_as_external_data=True, location="w.bin", size_threshold=0)
    outside = build(target, model)
    inside = build(target, tiny.dense("batch", 64, width=32))
    assert outside.precision == inside.precision


def test_integer_input(target: Path) -> None:
    """An int64 input stays one, and only what computes is cast."""
    source = tiny.model_of(
        [helper.make_node("Gather", ["w", "tokens"], ["y"], name="look_up")],
        [tiny.value("tokens", "batch", 3, dtype=TensorProto.INT64)],
        [tiny.value("y", "batch", 3, 8)],
        [tiny.weight("w", 10, 8)],
    )
    known = build(target, source)
    assert known.inputs[0]["dtype"] == "int64"
    assert known.precision["layers"]["float16"] >= 1


def test_progress_tells_phases_and_steps(target: Path) -> None:
    seen: list[tuple[str, str, int, int]] = []
    build(target, progress=lambda *step: seen.append(step))
    assert seen
    assert all(phase for phase, *_ in seen)
    assert all(-1 <= step <= count for *_, step, count in seen)
    names = {phase for phase, *_ in seen}
    assert {parent for _, parent, *_ in seen} <= names | {""}


def test_tensorrt_rtx_keeps_no_timings(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It measures nothing: what it is given changes no byte of a plan."""
    library = backend.select()
    if not library.is_rtx:
        pytest.skip("TensorRT keeps timings")
    assert not library.keeps_timings
    monkeypatch.setenv("TRTFAST_CACHE_DIR", str(tmp_path / "cache"))
    build(target)
    assert not (tmp_path / "cache").exists()

    data = tiny.dense(2, 8).SerializeToString()
    without, plan = plans.build(data)
    with_some, same = plans.build(data, timings=b"what no build gave")
    assert (without.timings, with_some.timings) == (b"", b"")
    assert plan == same


def test_two_builds_at_once(tmp_path: Path) -> None:
    """Each thread's build waits in its progress for the other's, so that both are under way."""
    barrier = threading.Barrier(2, timeout=60)

    def run(index: int) -> list[str]:
        met = False

        def progress(*_: object) -> None:
            nonlocal met
            if not met:
                met = True
                barrier.wait()

        source = tiny.dense(index + 1, 8 * (index + 1))
        known = build(tmp_path / f"{index}.engine", source, progress=progress)
        assert met
        return known.inputs[0]["shape"]  # type: ignore[no-any-return]

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(run, range(2))) == [[1, 8], [2, 16]]
