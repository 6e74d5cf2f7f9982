"""``trtfast compare``: a model in PyTorch and in engines, side by side."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table

import trtfast
from trtfast import backend as backends
from trtfast import model as models
from trtfast.binding import image_preprocess, with_batch
from trtfast.errors import InputError
from trtfast.preprocess.decode import IMAGE_ENDINGS
from trtfast.profiling.inputs import arrays_of
from trtfast.samples import files_of

from .console import build_progress, console, note, print_json, working
from .loading import known_of, load
from .models import Model, load_model
from .run import preprocess_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from trtfast import CompareReport, Preprocess
    from trtfast.samples import Samples
    from trtfast.spec import Array, InferenceEngine, TensorSpec

    Image = npt.NDArray[np.uint8]

__all__ = ["Wanted", "random_inputs", "run_compare", "samples_for"]

_ROWS = 32  # of random samples
_REPEATS = 10  # of engines' runs that have to give the same bits


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
        known = model or known_of(path)
        classes = known.classes if known is not None else None
        samples, images = samples_for(next(iter(engines.values())), wanted.samples)
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
                # ONNX Runtime against itself would only take its time.
                repeats=_REPEATS if _is_any_real(engines) else 0,
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


def _is_any_real(engines: dict[str, InferenceEngine]) -> bool:
    return any(isinstance(engine, trtfast.Engine) for engine in engines.values())


def _engines(
    onnx: Path, model: Model | None, wanted: Wanted, stack: ExitStack
) -> dict[str, InferenceEngine]:
    """Open the engines that are given, else build one in each precision that was asked for."""
    if wanted.engines:
        return {
            path.stem: stack.enter_context(load(path, None, wanted.backend, 0))
            for path in wanted.engines
        }
    reason = "as asked" if wanted.backend == "reference" else backends.why_no_engine()
    preprocess = model.preprocess if model else _preprocess_of(onnx)
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


def _preprocess_of(onnx: Path) -> Preprocess | None:
    return preprocess_of(models.specs(models.read(onnx)[0])[0], known_of(onnx))


def samples_for(engine: InferenceEngine, samples: Path | None) -> tuple[Samples, list[Image]]:
    """Return the samples, and the images that they are made of if that is known."""
    if samples is None:
        note("the samples are random: give --samples for the errors to mean something")
        return random_inputs(engine.inputs), []
    preprocess = getattr(engine, "preprocess", None)
    files = files_of(samples)
    if preprocess is None or any(file.suffix.lower() not in IMAGE_ENDINGS for file in files):
        return samples, []
    images = [trtfast.read_image(file) for file in files]
    made = image_preprocess(preprocess, engine.inputs)(images)
    return made.astype(engine.inputs[0].dtype, copy=False), images


def random_inputs(specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Return random samples, with as many rows as a profile takes.

    Raises
    ------
    InputError
        If an input is of integers, or has shapes that nothing tells.
    """
    for spec in specs:
        if spec.dtype.kind in "iub":
            raise InputError(f"random values are of no use to input '{spec.name}': give --samples")
    ranges = [(each.min[0], each.max[0]) for spec in specs for each in spec.profiles]
    least = min((low for low, _ in ranges), default=1)
    rows = max((high for _, high in ranges if high <= _ROWS), default=max(least, _ROWS))
    is_dynamic = any(spec.shape[:1] == (-1,) for spec in specs)
    return arrays_of(specs, with_batch(specs, rows) if is_dynamic else None)


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
