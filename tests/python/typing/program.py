"""What a user writes, for mypy alone: it is never run.

``assert_type`` holds the types that calls have, and a ``type: ignore`` a call that must be refused:
mypy tells of one that is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.dlpack import from_dlpack
from typing_extensions import assert_type

import trtfast

Floats = npt.NDArray[np.float32]
Arrays = dict[str, npt.NDArray[np.generic]]


def make(model: torch.nn.Module, sample: torch.Tensor, folder: Path) -> Path:
    preprocess = trtfast.Preprocess((224, 224), resize="shortest", interpolation="pil_bilinear")
    onnx = trtfast.export(model, sample, folder / "m.onnx", dynamic={"x": {0: "batch"}})
    assert_type(onnx, Path)
    calibration = trtfast.calibrate(onnx, [np.zeros((1, 3, 224, 224), np.float32)])
    assert_type(calibration, trtfast.Calibration)
    shapes = {"x": (8, 3, 224, 224)}
    plan = trtfast.build(
        onnx,
        precision="int8",
        calibration=calibration,
        preprocess=preprocess,
        classes=("cat", "dog"),
        opt_shapes=shapes,
        progress=lambda phase, parent, step, steps: print(parent, phase, step / steps),
    )
    verdict = trtfast.check(plan, device=1)
    assert_type(verdict.loads, bool)
    assert_type(verdict.problems, tuple[str, ...])
    assert_type(trtfast.compile(model, (sample,), precision="bf16"), trtfast.Engine)
    trtfast.build(onnx, precison="fp16")  # type: ignore[call-arg]
    trtfast.export(model, "sample", onnx)  # type: ignore[arg-type]
    return plan


def run(
    engine: trtfast.Engine, x: Floats, named: Mapping[str, Floats], on_gpu: torch.Tensor
) -> None:
    assert_type(engine.inputs, tuple[trtfast.TensorSpec, ...])
    assert_type(engine.inputs[0].profiles, tuple[trtfast.ShapeRange, ...])
    assert_type(engine.infer(x), Any)
    assert_type(engine.infer((x, x)), Any)
    assert_type(engine.infer(named), Arrays)
    assert_type(engine.infer(named, deadline=0.1), Arrays)
    assert_type(engine.infer(named, out={"y": x}), Any)
    assert_type(engine.infer({"x": on_gpu}, stream=torch.cuda.current_stream()), Any)
    future = engine.infer_async(x, deadline=0.1)
    assert_type(future, trtfast.InferenceFuture)
    assert_type(future.result(timeout=1.0), Any)
    assert_type(future.cancel(), bool)
    assert_type(engine.infer_images(["a.jpg", Path("b.jpg"), b"bytes"]), Any)
    outputs, errors = engine.infer_images(["a.jpg"], on_error="skip")
    assert_type(outputs, Any)
    assert_type(errors, dict[int, trtfast.InputError])
    engine.warmup([(1, 3), (8, 3)])
    engine.warmup([{"x": (1, 3)}, {"x": (8, 3)}])
    assert_type(engine.stats().queue.p99, float)
    assert_type(engine.memory_report().device, int)
    assert_type([layer.milliseconds for layer in engine.profile(x)], list[float])
    assert_type(engine.passport, trtfast.Passport | None)
    assert_type(engine.metadata, dict[str, Any] | None)
    assert_type(engine.classes, tuple[str, ...] | None)
    assert_type(engine.preprocess, trtfast.Preprocess | None)
    engine.infer_images(["a.jpg"], on_error="ignore")  # type: ignore[call-overload]
    trtfast.Engine("m.engine", wait="sleep")  # type: ignore[arg-type]
    trtfast.Engine(3)  # type: ignore[arg-type]


async def serve(engine: trtfast.InferenceEngine, x: Floats) -> list[trtfast.Classification]:
    assert_type(await engine.infer_async(x), Any)
    logits = await engine.infer_async(x)
    found: list[trtfast.Classification] = trtfast.top_k(logits[0], k=3)
    return found


def any_engine(path: Path, x: Floats, named: dict[str, Floats]) -> None:
    with trtfast.load(path, lanes=4) as engine:
        assert_type(engine, trtfast.InferenceEngine)
        assert_type(engine.infer(x), Any)
        assert_type(engine.infer(named), Arrays)
        assert_type(engine.infer_images(path), Any)
        if isinstance(engine, trtfast.Engine):
            assert_type(engine.tensorrt, str)
    with trtfast.ReferenceEngine(path) as reference, trtfast.Engine(path) as plan:
        assert_type(reference, trtfast.ReferenceEngine)
        assert_type(reference.infer(named), Arrays)
        assert_type(reference.infer([x, x]), Any)
        engines: list[trtfast.InferenceEngine] = [reference, plan]
        report = trtfast.verify(plan, reference, [x], tolerance=trtfast.Tolerance.of("fp16"))
    assert_type(report, trtfast.VerifyReport)
    assert_type(report.passed, bool)
    assert_type(report.to_json(), str)
    print([engine.outputs[0].name for engine in engines])


def classify(image: npt.NDArray[np.uint8], one: torch.Tensor, on_gpu: trtfast.DeviceArray) -> None:
    preprocess = trtfast.Preprocess.from_dict(trtfast.Preprocess().to_dict())
    assert_type(preprocess, trtfast.Preprocess)
    assert_type(preprocess(image), Floats)
    assert_type(preprocess([image, trtfast.read_image("a.jpg")]), Floats)
    assert_type(preprocess.on_gpu([image], dtype="float16"), trtfast.DeviceArray)
    assert_type(trtfast.class_names({0: "cat", 1: "dog"}), tuple[str, ...])
    assert_type(trtfast.softmax(on_gpu), trtfast.DeviceArray)
    assert_type(trtfast.sigmoid(on_gpu, 0.5), trtfast.DeviceArray)
    assert_type(trtfast.softmax([0.5, 0.1]), npt.NDArray[Any])
    row = np.zeros(3, np.float32)
    assert_type(trtfast.top_k(row, k=2, classes=["a", "b", "c"]), list[trtfast.Classification])
    rows = np.zeros((2, 3), np.float32)
    assert_type(trtfast.top_k(rows), list[list[trtfast.Classification]])
    assert_type(trtfast.top_k(on_gpu, 1), list[Any])
    assert_type(trtfast.top_k(rows)[0][0].label, str | None)
    assert_type(from_dlpack(on_gpu), torch.Tensor)
    preprocess(one)  # type: ignore[arg-type]
    trtfast.Preprocess(resize="letterbox")  # type: ignore[arg-type]


def errors(path: Path) -> str:
    try:
        trtfast.build(path)
    except trtfast.BuildError as error:
        assert_type(error.node, str | None)
        return error.node or str(error)
    except trtfast.OutOfMemoryError as error:
        assert_type(error.requested, int | None)
    except (trtfast.InputError, MemoryError, trtfast.Error) as error:
        return str(error)
    return trtfast.__version__
