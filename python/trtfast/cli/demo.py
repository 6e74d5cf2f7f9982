"""``trtfast demo``: from a PyTorch model to a classified photograph."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

import trtfast
from trtfast import backend as backends
from trtfast.errors import Error, UnsupportedDeviceError
from trtfast.timing import Timing, measure

from .console import build_progress, console, note, print_json, working
from .models import Model, load_model

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from trtfast.postprocess import Classification
    from trtfast.spec import InferenceEngine

    Batch = npt.NDArray[np.float32]
    Say = Callable[[str], None]

__all__ = ["run_demo"]

_THRESHOLD = 0.005


def run_demo(
    model_name: str,
    image_path: Path | None,
    precision: str,
    calibration: Path | None,
    keep: Path | None,
    backend: str,
    as_json: bool,
) -> None:
    """Classify a photograph with PyTorch and with an engine, and compare answers and times."""
    say = note if as_json else console.print
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trtfast-")))
        folder.mkdir(parents=True, exist_ok=True)

        model = load_model(model_name)
        say(f"1. PyTorch: {model.name}, {model.note}")
        photograph = _photograph(image_path)
        batch = model.preprocess(photograph)
        expected = _run_pytorch(model, batch)
        theirs = _classes(expected, model)
        _print_classes(say, theirs)

        with working("exporting"):
            onnx = trtfast.export(
                model.module, model.sample, folder / f"{model.name}.onnx", input_names=["image"]
            )
        say(f"2. ONNX: {onnx.name}, {onnx.stat().st_size / 1e6:.1f} MB, equal to PyTorch")

        plan = _build(say, onnx, model, precision, calibration, backend)
        engine = stack.enter_context(_load(say, plan, onnx, model))
        outputs = cast("Batch", engine.infer_images(photograph))
        ours = _classes(outputs, model)
        _print_side_by_side(say, theirs, ours)
        difference = np.abs(trtfast.softmax(outputs) - trtfast.softmax(expected)).max()
        say(f"   largest difference of a confidence: {difference:.1e}")

        times = _print_times(say, model, engine, batch)
        if keep:
            say(f"kept in {folder}: {', '.join(sorted(p.name for p in folder.iterdir()))}")
        else:
            say("The model and the engine were temporary: --keep FOLDER keeps them.")
    if as_json:
        print_json(
            {
                "model": model.name,
                "weights": model.note,
                "classes": {
                    "pytorch": [asdict(found) for found in theirs],
                    "engine": [asdict(found) for found in ours],
                },
                "largest_difference": float(difference),
                "runs_on": getattr(engine, "tensorrt", type(engine).__name__),
                "seconds": {name: asdict(timing) for name, timing in times.items()},
            }
        )


def _photograph(path: Path | None) -> npt.NDArray[np.uint8]:
    if path is not None:
        return trtfast.read_image(path)
    try:
        from skimage.data import coffee
    except ImportError as error:
        raise Error(
            'the demo\'s photograph is not installed: pip install "trtfast[demo]", or give --image'
        ) from error
    return cast("npt.NDArray[np.uint8]", coffee())  # type: ignore[no-untyped-call]


def _run_pytorch(model: Model, batch: Batch) -> Batch:
    import torch

    with torch.inference_mode():
        return cast("Batch", model.module(torch.from_numpy(batch)).numpy())


def _classes(logits: Batch, model: Model) -> list[Classification]:
    (row,) = trtfast.top_k(logits, k=None, threshold=_THRESHOLD, classes=model.classes)
    return cast("list[Classification]", row)


def _print_classes(say: Say, classes: list[Classification]) -> None:
    for found in classes:
        say(f"   {found}")
    if not classes:
        say(f"   no class above {_THRESHOLD:.1%}")


def _print_side_by_side(say: Say, theirs: list[Classification], ours: list[Classification]) -> None:
    pytorch = {found.index: found.confidence for found in theirs}
    for found in ours:
        beside = f"{pytorch[found.index]:.2%}" if found.index in pytorch else "below the threshold"
        say(f"   {found} (PyTorch: {beside})")
    if not ours:
        say(f"   no class above {_THRESHOLD:.1%}")


def _build(
    say: Say, onnx: Path, model: Model, precision: str, calibration: Path | None, backend: str
) -> Path:
    start = time.perf_counter()
    with build_progress() as progress:
        plan = trtfast.build(
            onnx,
            precision=precision,
            calibration=calibration,
            backend=backend,
            preprocess=model.preprocess,
            classes=model.classes,
            progress=progress,
        )
    known = trtfast.Passport.of(plan)
    assert known is not None
    say(
        f"3. TensorRT: {plan.name}, {plan.stat().st_size / 1e6:.1f} MB, {precision}, built by "
        f"{known.product} {known.version} in {time.perf_counter() - start:.1f} s"
    )
    return plan


def _load(say: Say, plan: Path, onnx: Path, model: Model) -> InferenceEngine:
    start = time.perf_counter()
    try:
        gpu = backends.require_gpu()
        engine = trtfast.Engine(plan)
    except UnsupportedDeviceError as error:
        reason = str(error).partition(". ")[0]
        say(f"4. Reference: the ONNX model runs on the CPU, since {reason}")
        return trtfast.ReferenceEngine(onnx, preprocess=model.preprocess)
    seconds = time.perf_counter() - start
    say(f"4. Engine: on {gpu.name} with {engine.tensorrt}, loaded in {seconds:.1f} s")
    return engine


def _print_times(
    say: Say, model: Model, engine: InferenceEngine, batch: Batch
) -> dict[str, Timing]:
    say("5. Time of one image, from NumPy array to NumPy array, after warm-up:")
    call, name = _pytorch_call(model, batch)
    theirs = measure(call)
    _print_timing(say, name, theirs, "")
    ours = measure(lambda: engine.infer(batch))
    name = "engine" if isinstance(engine, trtfast.Engine) else "reference, cpu"
    _print_timing(say, name, ours, f", {theirs.median / ours.median:.1f} times as fast")
    return {"pytorch": theirs, "engine": ours}


def _pytorch_call(model: Model, batch: Batch) -> tuple[Callable[[], object], str]:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = model.module.to(device)

    def call() -> Any:
        with torch.inference_mode():
            return module(torch.from_numpy(batch).to(device)).cpu().numpy()

    return call, f"PyTorch fp32, {device}"


def _print_timing(say: Say, name: str, timing: Timing, comment: str) -> None:
    say(
        f"   {name:<20} median {timing.median * 1e3:8.3f} ms, p99 {timing.p99 * 1e3:8.3f} ms"
        f"{comment}"
    )
