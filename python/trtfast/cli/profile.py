"""``trtfast profile``: where the time of a model goes, layer by layer."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.table import Table

import trtfast
from trtfast.binding import with_batch
from trtfast.errors import InputError
from trtfast.passport import Passport
from trtfast.profiling.inputs import arrays_of
from trtfast.shapes import parse

from .console import console, print_json, working
from .loading import load
from .run import read_inputs

if TYPE_CHECKING:
    from pathlib import Path

    from trtfast.profiling import LayerProfile, ProfileReport
    from trtfast.spec import InferenceEngine

__all__ = ["Wanted", "run_profile"]

_NODES = 2  # of a layer that are printed
_LONGEST = 32  # letters of a node's name


class Wanted(NamedTuple):
    """What ``trtfast profile`` was asked for, beside the model."""

    inputs: Path | None
    batch: int | None
    shapes: str
    runs: int
    onnx: Path | None
    top: int
    trace: Path | None
    as_json: bool
    precision: str | None
    backend: str
    device: int


def run_profile(path: Path, wanted: Wanted) -> None:
    """Print the layers of a model that take longest."""
    if sum(map(bool, (wanted.inputs, wanted.shapes, wanted.batch))) > 1:
        raise InputError("--inputs, --shapes and --batch each say the shapes: give one of them")
    with load(path, wanted.precision, wanted.backend, wanted.device) as engine:
        onnx = wanted.onnx
        if onnx is None and path.suffix == ".onnx" and isinstance(engine, trtfast.Engine):
            onnx = path  # the engine is in the cache
        with working(f"profiling {path.name}"):
            report = trtfast.profile(
                engine,  # type: ignore[arg-type]
                _inputs(path, wanted, engine),
                runs=wanted.runs,
                onnx=onnx,
            )
    if wanted.trace is not None:
        report.write_trace(wanted.trace)
    if wanted.as_json:
        print_json(report.to_dict())
        return
    _print(path, report, wanted.top)
    if wanted.trace is not None:
        console.print(f"{wanted.trace}: open it in https://ui.perfetto.dev")


def _inputs(path: Path, wanted: Wanted, engine: InferenceEngine) -> dict[str, Any] | None:
    if wanted.inputs is not None:
        return read_inputs(wanted.inputs, engine, Passport.of(path))
    shapes = parse(wanted.shapes) or with_batch(engine.inputs, wanted.batch)
    return arrays_of(engine.inputs, shapes) if shapes else None


def _print(path: Path, report: ProfileReport, top: int) -> None:
    inputs = ", ".join(f"{name}:{_text(shape)}" for name, shape in report.inputs.items())
    console.print(f"{path} on {report.gpu or 'the CPU'} ({report.engine}), {inputs}")
    table = Table(show_lines=True)
    table.add_column("ONNX nodes; kind, dtype, output", overflow="fold")
    for column in ("ms", "share", "TFLOP/s", "GB/s", "of the roof"):
        table.add_column(column, justify="right", min_width=len(column.split()[-1]))
    for layer in report.top(top):
        position = layer.position
        facts = (layer.kind, layer.dtype, *map(_text, layer.shapes))
        table.add_row(
            f"{_name(layer)}\n{' '.join(fact or '?' for fact in facts)}",
            f"{layer.milliseconds:.4f}",
            f"{layer.share:.1%}",
            _number(layer.tflops) if layer.flops != 0 else "",
            _number(layer.bandwidth),
            f"{position.share:.0%} {position.bound}" if position else "?",
        )
    if report.roof is None:
        table.columns.pop()
    console.print(table)
    shares = ", ".join(f"{share:.1%} in {dtype}" for dtype, share in report.by_dtype.items())
    console.print(f"time by dtype: {shares}")
    flops = "" if report.flops is None else f", {report.flops / 1e9:.2f} GFLOP"
    console.print(
        f"total: {report.milliseconds:.3f} ms in {len(report.layers)} layers, one by one, "
        f"mean of {report.runs} runs{flops}"
    )


def _name(layer: LayerProfile) -> str:
    """Return the ONNX nodes of a layer, without those that only quantise for the others."""
    names = [name for name in layer.nodes if not name.endswith("QuantizeLinear")]
    names = [name for name in names if not name.endswith("DequantizeLinear")] or list(layer.nodes)
    if not names:
        return layer.name
    more = f" + {len(names) - _NODES} more" if len(names) > _NODES else ""
    return " + ".join(map(_shortened, names[:_NODES])) + more


def _shortened(name: str) -> str:
    """Keep the end of a long name, from one of its slashes on, as it tells most."""
    if len(name) <= _LONGEST:
        return name
    end = PurePosixPath(name).name
    for part in reversed(PurePosixPath(name).parts[:-1]):
        if len(end) + len(part) + 3 > _LONGEST:
            break
        end = f"{part}/{end}"
    return f"…{'/' if '/' in name else ''}{end[-_LONGEST:]}"


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _text(shape: tuple[int, ...] | None) -> str:
    return "?" if shape is None else "x".join(map(str, shape)) or "scalar"
