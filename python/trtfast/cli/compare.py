"""``trtfast compare``: a model in PyTorch and in engines, side by side."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rich.table import Table

import trtfast
from trtfast import backend as backends
from trtfast.errors import InputError
from trtfast.preprocess.decode import IMAGE_ENDINGS

from .console import build_progress, console, note, print_json, working
from .models import Model, load_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from trtfast import CompareReport
    from trtfast.spec import InferenceEngine

    Image = npt.NDArray[np.uint8]

__all__ = ["Wanted", "run_compare"]

_ROWS = 32  # of random samples


class Wanted(NamedTuple):
    """What ``trtfast compare`` was asked for, beside the model."""

    engines: Sequence[Path]
    precisions: Sequence[str]
    samples: Path | None
    batches: Sequence[int] | None
    compiled: bool
    seconds: float
    html: Path | None
    as_json: bool
    backend: str


def run_compare(name: str, wanted: Wanted) -> bool:
    """Print a comparison, and write it where asked; return whether all engines are right."""
    path = Path(name)
    model = None if path.suffix == ".onnx" else load_model(name)
    with ExitStack() as stack:
        onnx = path
        if model is not None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trtfast-")))
            onnx = trtfast.export(
                model.module, model.sample, folder / f"{name}.onnx", input_names=["image"]
            )
        engines = _engines(onnx, model, wanted, stack)
        images = _images(wanted.samples)
        classes = model.classes if model is not None else None  # else those of a passport
        samples = _samples(next(iter(engines.values())), wanted.samples)
        with working("comparing"):
            report = trtfast.compare(
                model.module if model else path,
                engines,
                samples,
                images=images,
                batches=wanted.batches,
                compiled=wanted.compiled,
                classes=classes,
                seconds=wanted.seconds,
            )
    if wanted.html is not None:
        report.write_html(wanted.html)
    report.record()
    if wanted.as_json:
        print_json(report.to_dict())
    else:
        _print(report)
    if wanted.html is not None:
        note(f"written: {wanted.html}")
    return report.passed


def _engines(
    onnx: Path, model: Model | None, wanted: Wanted, stack: ExitStack
) -> dict[str, InferenceEngine]:
    """Open the engines that are given, else build one in each precision that was asked for."""
    if wanted.engines:
        return {
            path.stem: stack.enter_context(trtfast.load(path, backend=wanted.backend))
            for path in wanted.engines
        }
    reason = "as asked" if wanted.backend == "reference" else backends.why_no_engine()
    preprocess = model.preprocess if model else None
    if reason is not None:
        note(f"no engine can run here, so the ONNX model does, on the CPU: {reason}")
        reference = trtfast.ReferenceEngine(onnx, preprocess=preprocess)
        return {"reference fp32": stack.enter_context(reference)}
    engines: dict[str, InferenceEngine] = {}
    for precision in wanted.precisions:
        with build_progress() as progress:
            plan = trtfast.build(
                onnx,
                onnx.with_suffix(f".{precision}.engine"),
                precision=precision,
                buckets=wanted.batches or (),
                backend=wanted.backend,
                preprocess=preprocess,
                progress=progress,
            )
        engines[f"engine {precision}"] = stack.enter_context(trtfast.Engine(plan))
    return engines


def _images(samples: Path | None) -> list[Image]:
    if samples is None or not samples.is_dir():
        return []
    files = sorted(each for each in samples.iterdir() if each.suffix.lower() in IMAGE_ENDINGS)
    return [trtfast.read_image(file) for file in files]


def _samples(engine: InferenceEngine, samples: Path | None) -> Any:
    if samples is None:
        note("the samples are random: give --samples for the errors to mean something")
        return _random(engine)
    return samples


def _random(engine: InferenceEngine) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    found = {}
    for spec in engine.inputs:
        if spec.dtype.kind in "iub" or any(size < 0 for size in spec.shape[1:]):
            raise InputError(f"random values are of no use to input '{spec.name}': give --samples")
        rows = _ROWS if spec.shape[:1] == (-1,) else spec.shape[0]
        shape = (rows, *spec.shape[1:])
        found[spec.name] = generator.standard_normal(shape).astype(spec.dtype)
    return found


def _print(report: CompareReport) -> None:
    first = report.contenders[0]
    told = report.environment
    console.print(f"{report.model} on {told['gpu'] or told['cpu']}, {told['date']}")
    table = Table("batch", "contender", "median", "96 % interval", "p99", "rows/s", "times as fast")
    for at in first.latency:
        for each in report.contenders:
            own = each.at(at.batch)
            table.add_row(
                str(at.batch),
                each.name,
                f"{own.median * 1e3:.3f} ms",
                f"{own.low * 1e3:.3f} to {own.high * 1e3:.3f}",
                f"{own.p99 * 1e3:.3f} ms",
                f"{own.throughput:.0f}",
                f"{report.speedup(each.name, at.batch):.1f}",
            )
    console.print(table)
    for each in report.contenders:
        for output in each.outputs:
            classes = output.classes
            more = "" if classes is None else f", top-1 equal in {classes.top1:.2%}"
            more += "" if classes is None else f", confidences within {classes.confidence:.2g}"
            console.print(
                f"{each.name}, {output.name}: largest error {output.max_relative:.2g} of the "
                f"largest value{more}"
            )
    for number in range(len(first.predictions)):
        for each in report.contenders:
            guesses = each.predictions[number] if each.predictions else ()
            shown = ", ".join(f"{g.label or g.index} {g.confidence:.2%}" for g in guesses)
            console.print(f"row {number}, {each.name}: {shown or 'NaN'}")
    for each in report.contenders:
        for failure in each.failures:
            console.print(f"FAILED: {each.name}: {failure}")
