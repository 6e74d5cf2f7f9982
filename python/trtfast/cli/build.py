"""``trtfast build``: an engine from an ONNX model."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import trtfast
from trtfast.bisection import read_keep_list
from trtfast.errors import InputError
from trtfast.preprocess.parity import read_spec
from trtfast.shapes import parse

from .console import build_progress, console, print_json
from .sizes import bytes_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Wanted", "run_build"]


class Wanted(NamedTuple):
    """What ``trtfast build`` was asked for, beside the model.

    ``shapes`` are the smallest, those to be fastest at, and the largest, as text.
    """

    output: Path | None
    precision: str
    calibration: Path | None
    samples: Path | None
    preprocess: Path | None
    classes: Path | None
    batches: Sequence[int]
    backend: str
    as_json: bool
    shapes: tuple[str, str, str]
    keep_fp32: Path | None
    keep_fp16: Path | None
    optimization_level: int | None
    device: int
    timing_cache: Path | None
    workspace: str | None


def run_build(onnx: Path, wanted: Wanted) -> None:
    """Build an engine, and say where it lies."""
    low, best, high = map(parse, wanted.shapes)
    with build_progress() as progress:
        path = trtfast.build(
            onnx,
            wanted.output,
            precision=wanted.precision,
            keep_fp32=read_keep_list(wanted.keep_fp32) if wanted.keep_fp32 else (),
            keep_fp16=read_keep_list(wanted.keep_fp16) if wanted.keep_fp16 else (),
            calibration=wanted.calibration,
            samples=wanted.samples,
            preprocess=read_spec(wanted.preprocess) if wanted.preprocess else None,
            classes=wanted.classes,
            min_shapes=low,
            opt_shapes=best,
            max_shapes=high,
            buckets=wanted.batches,
            workspace=_workspace(wanted.workspace),
            optimization_level=wanted.optimization_level,
            timing_cache=wanted.timing_cache,
            backend=wanted.backend,
            device=wanted.device,
            progress=progress,
        )
    if wanted.as_json:
        known = trtfast.Passport.of(path)
        assert known is not None
        print_json(
            {
                "path": str(path),
                "bytes": path.stat().st_size,
                "seconds": known.build_seconds,
                "tensorrt": f"{known.product} {known.version}",
                "precision": known.precision,
                "inputs": known.inputs,
                "outputs": known.outputs,
            }
        )
        return
    console.print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def _workspace(text: str | None) -> int | None:
    try:
        return None if text is None else bytes_of(text)
    except ValueError as error:
        raise InputError(f"--workspace: {error}") from error
