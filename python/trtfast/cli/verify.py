"""``trtfast verify``: an engine against its reference, and where the error enters."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.table import Table

import trtfast
from trtfast import backend as backends
from trtfast import model as models
from trtfast.bisection import on_cpu
from trtfast.errors import InputError
from trtfast.preprocess.parity import read_spec
from trtfast.rebuild import options_of
from trtfast.verification.run import precision_of

from .console import console, print_json, working
from .loading import known_of, load
from .run import preprocess_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trtfast import BisectReport, Calibration, Preprocess, Tolerance, VerifyReport
    from trtfast.passport import Passport
    from trtfast.spec import InferenceEngine, TensorSpec

__all__ = ["Wanted", "run_verify"]

_ITS_OWN = ("calibration", "keep_fp16", "keep_fp32")  # what an engine's precision alone has
_WORST = 10  # of the nodes that are printed


class Wanted(NamedTuple):
    """What ``trtfast verify`` was asked for, beside the model, its reference and the samples."""

    precision: str | None
    calibration: Path | None
    preprocess: Path | None
    tolerance: float | None
    confidence: float | None
    repeats: int
    as_json: bool
    bisect: bool
    keep_list: Path | None
    backend: str


def run_verify(path: Path, reference: Path, samples: Path, wanted: Wanted) -> bool:
    """Print how far a model is from its reference; return whether it passed."""
    if wanted.bisect and reference.suffix != ".onnx":
        raise InputError(
            f"--bisect needs the float32 model as --reference, an .onnx file, not {reference}"
        )
    known = known_of(path)
    calibration = _calibration(path, known, wanted)
    with _load(path, calibration, wanted) as engine:
        precision = wanted.precision or precision_of(engine)
        tolerance = _tolerance(precision, wanted)
        preprocess = _preprocess(engine.inputs, known, wanted)
        with working("verifying"):
            report = trtfast.verify(
                engine,
                reference,
                samples,
                precision=precision,
                tolerance=tolerance,
                repeats=wanted.repeats,
                preprocess=preprocess,
            )
        if not wanted.as_json:
            _print(path, report)
        found = None
        if wanted.bisect and not report.passed:
            options = _options(known, precision, wanted.backend)
            if calibration is not None:
                options["calibration"] = calibration
            with working("looking for the nodes"):
                found = trtfast.bisect(
                    reference,
                    samples,
                    precision=precision,
                    tolerance=tolerance,
                    preprocess=preprocess,
                    **options,
                )
    report.record()
    lists = _write_lists(found, wanted.keep_list or path.with_suffix(".keep.txt"))
    if wanted.as_json:
        bisected = {"bisect": found.to_dict()} if found is not None else {}
        print_json(report.to_dict() | bisected)
    elif found is not None:
        _print_bisection(found, lists)
    return report.passed


def _calibration(path: Path, known: Passport | None, wanted: Wanted) -> Calibration | None:
    if wanted.calibration is None:
        return None
    if path.suffix != ".onnx":
        raise InputError(
            f"--calibration is for an ONNX model; {path} was calibrated when it was built, as its "
            "passport tells"
        )
    model, _ = models.read(path)
    preprocess = _preprocess(models.specs(model)[0], known, wanted)
    return trtfast.calibrate(model, wanted.calibration, preprocess=preprocess)


def _load(path: Path, calibration: Calibration | None, wanted: Wanted) -> InferenceEngine:
    if wanted.precision is None or path.suffix != ".onnx":
        return load(path, None, wanted.backend, 0)
    reason = "as asked" if wanted.backend == "reference" else backends.why_no_engine()
    if reason is not None:
        if not wanted.as_json:
            console.print(f"{wanted.precision} is emulated on the CPU: {reason}")
        return on_cpu(wanted.precision, calibration)(models.read(path)[0], ())
    given: dict[str, Any] = {} if calibration is None else {"calibration": calibration}
    return trtfast.load(path, backend=wanted.backend, precision=wanted.precision, **given)


def _tolerance(precision: str, wanted: Wanted) -> Tolerance:
    given = {"relative": wanted.tolerance, "confidence": wanted.confidence}
    return dataclasses.replace(
        trtfast.Tolerance.of(precision),
        **{name: value for name, value in given.items() if value is not None},
    )


def _preprocess(
    inputs: Sequence[TensorSpec], known: Passport | None, wanted: Wanted
) -> Preprocess | None:
    return read_spec(wanted.preprocess) if wanted.preprocess else preprocess_of(inputs, known)


def _options(known: Passport | None, precision: str, backend: str) -> dict[str, Any]:
    """Return what the engine was built with, as far as a bisection can use it."""
    options: dict[str, Any] = {"backend": backend}
    if known is not None:
        gpu = backends.gpu()
        options = options_of(known, backends.select(backend, device=gpu), gpu) | options
        for name in ("keep_io", "precision", "preprocess"):
            options.pop(name, None)
        if precision != known.options["precision"]:
            options = {name: options[name] for name in options if name not in _ITS_OWN}
    return options


def _write_lists(found: BisectReport | None, path: Path) -> dict[str, Path]:
    """Write what a bisection found to keep; return the files by the options that take them."""
    if found is None or not found.passed:
        return {}
    lists: dict[str, Path] = {}
    if found.keep_fp32:
        lists["--keep-fp32"] = found.write_keep_list(path)
    if found.keep_fp16:
        spared = path.with_name(f"{path.stem}_fp16{path.suffix}")
        lists["--keep-fp16"] = found.write_keep_list(spared, "fp16")
    return lists


def _print(path: Path, report: VerifyReport) -> None:
    console.print(
        f"{path} in {report.precision} ({report.engine}) against {report.reference}, "
        f"on {report.samples} {'call' if report.samples == 1 else 'calls'}"
    )
    table = Table(
        *("output", "largest error", "mean", "of largest value", "cosine", "SNR", "NaN, inf")
    )
    for found in report.outputs:
        table.add_row(
            found.name,
            f"{found.max_absolute:.3g}",
            f"{found.mean_absolute:.3g}",
            f"{found.max_relative:.2g}",
            f"{found.cosine:.7f}",
            f"{found.snr:.1f} dB",
            f"{found.nan}, {found.inf}",
        )
    console.print(table)
    for found in report.outputs:
        if (classes := found.classes) is not None:
            top5 = "" if classes.top5 is None else f", first five in {classes.top5:.2%}"
            console.print(
                f"{found.name}: same first class in {classes.top1:.2%} of {classes.rows} rows{top5}"
                f"; confidences differ by up to {classes.confidence:.2g}"
            )
    if (same := report.determinism) is not None:
        runs = ", ".join(f"{count} {kind}" for kind, count in same.runs.items())
        lanes = "" if same.lanes is None else f" on {same.lanes} lanes"
        word = "one result" if same.results == 1 else f"{same.results} different results"
        console.print(f"determinism: {word} of {sum(same.runs.values())} runs{lanes} ({runs})")
    batch = report.batch
    if batch.reason is not None:
        console.print(f"batch: not checked, {batch.reason}")
    else:
        worst = max(batch.largest.values())
        console.print(f"batch: {batch.rows} rows, each alone within {worst:.2g} of itself in it")
    for failure in report.failures:
        console.print(f"FAILED: {failure}")
    if report.passed:
        console.print("passed")


def _print_bisection(found: BisectReport, lists: dict[str, Path]) -> None:
    if not found.nodes:
        console.print("the outputs are within tolerance, so no layer is at fault")
        return
    table = Table("node", "operator", "error of its inputs", "of its outputs")
    for node in [node for node in found.nodes if node.growth > 0][:_WORST]:
        table.add_row(node.name, node.op, f"{node.entering:.2g}", f"{node.error:.2g}")
    console.print(table)
    if not found.passed:
        console.print(f"no nodes that help were found in {len(found.trials)} trials")
        return
    kept = {"float32": found.keep_fp32, "float16": found.keep_fp16}
    counts = [f"{len(names)} nodes in {dtype}" for dtype, names in kept.items() if names]
    console.print(
        f"within tolerance with {' and '.join(counts)}, after {len(found.trials)} trials: "
        f"{', '.join((*found.keep_fp32, *found.keep_fp16))}"
    )
    for option, path in lists.items():
        console.print(f"{path}: build again with {option}")
