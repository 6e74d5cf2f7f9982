"""``trtfast verify``: an engine against its reference, and where the error enters."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.table import Table

import trtfast
from trtfast import backend as backends
from trtfast import model
from trtfast.bisection import on_cpu
from trtfast.errors import InputError
from trtfast.passport import Passport
from trtfast.preprocess.parity import read_spec
from trtfast.rebuild import options_of
from trtfast.verification.run import precision_of

from .console import console
from .run import preprocess_of

if TYPE_CHECKING:
    from pathlib import Path

    from trtfast import BisectReport, Preprocess, Tolerance, VerifyReport
    from trtfast.spec import InferenceEngine

__all__ = ["Wanted", "run_verify"]

_GIVEN = ("keep_io", "precision", "preprocess")  # to a bisection, or of no use to it
_WORST = 10  # of the nodes that are printed


class Wanted(NamedTuple):
    """What ``trtfast verify`` was asked for, beside the model, its reference and the samples."""

    precision: str | None
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
    known = Passport.of(path)
    with _load(path, wanted) as engine:
        precision = wanted.precision or precision_of(engine)
        tolerance = _tolerance(precision, wanted)
        preprocess = _preprocess(engine, known, wanted)
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
            found = trtfast.bisect(
                reference,
                samples,
                precision=precision,
                tolerance=tolerance,
                preprocess=preprocess,
                candidate=on_cpu(precision) if wanted.backend == "reference" else None,
                **_options(known, wanted.backend),
            )
    report.record()
    keep_list = wanted.keep_list or path.with_suffix(".keep.txt")
    if found is not None and found.passed and found.keep_fp32:
        found.write_keep_list(keep_list)
    if wanted.as_json:
        # Not through the console, which would break long lines for the eye.
        bisected = {"bisect": found.to_dict()} if found is not None else {}
        print(json.dumps(report.to_dict() | bisected))
    elif found is not None:
        _print_bisection(found, keep_list)
    return report.passed


def _load(path: Path, wanted: Wanted) -> InferenceEngine:
    if wanted.precision is None or path.suffix != ".onnx":
        return trtfast.load(path, backend=wanted.backend)
    reason = "as asked" if wanted.backend == "reference" else backends.why_no_engine()
    if reason is not None:
        if not wanted.as_json:
            console.print(f"{wanted.precision} is emulated on the CPU: {reason}")
        return on_cpu(wanted.precision)(model.read(path)[0], ())
    return trtfast.load(path, backend=wanted.backend, precision=wanted.precision)


def _tolerance(precision: str, wanted: Wanted) -> Tolerance:
    given = {"relative": wanted.tolerance, "confidence": wanted.confidence}
    return dataclasses.replace(
        trtfast.Tolerance.of(precision),
        **{name: value for name, value in given.items() if value is not None},
    )


def _preprocess(
    engine: InferenceEngine, known: Passport | None, wanted: Wanted
) -> Preprocess | None:
    return read_spec(wanted.preprocess) if wanted.preprocess else preprocess_of(engine, known)


def _options(known: Passport | None, backend: str) -> dict[str, Any]:
    """Return what the engine was built with, as far as a bisection can use it."""
    if known is None:
        return {"backend": backend}
    gpu = backends.gpu()
    options = options_of(known, backends.select(backend, device=gpu), gpu) | {"backend": backend}
    return {name: value for name, value in options.items() if name not in _GIVEN}


def _print(path: Path, report: VerifyReport) -> None:
    console.print(
        f"{path} in {report.precision} ({report.engine}) against {report.reference}, "
        f"{report.samples} samples"
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


def _print_bisection(found: BisectReport, keep_list: Path) -> None:
    if not found.nodes:
        console.print("the outputs are within tolerance, so no layer is at fault")
        return
    table = Table("node", "operator", "error of its inputs", "of its outputs")
    for node in [node for node in found.nodes if node.growth > 0][:_WORST]:
        table.add_row(node.name, node.op, f"{node.entering:.2g}", f"{node.error:.2g}")
    console.print(table)
    if found.passed:
        console.print(
            f"within tolerance with {len(found.keep_fp32)} nodes in float32, after "
            f"{len(found.trials)} trials: {', '.join(found.keep_fp32)}"
        )
        console.print(f"{keep_list}: build again with --keep-fp32")
    else:
        console.print(f"no nodes that help were found in {len(found.trials)} trials")
