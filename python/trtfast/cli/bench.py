"""``trtfast bench``: how fast a model is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.table import Table

import trtfast
from trtfast.arrays import read_arrays
from trtfast.errors import InputError
from trtfast.profiling.inputs import arrays_of
from trtfast.shapes import parse

from .console import console, print_json, working
from .loading import load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trtfast import BenchmarkReport, LayerTime
    from trtfast.report import Times

__all__ = ["Wanted", "run_bench"]

_SLOWEST = 20  # layers that are printed
_RUNS = 10  # that their times are the mean of


class Wanted(NamedTuple):
    """What ``trtfast bench`` was asked for, beside the model."""

    inputs: Path | None
    batch: int | None
    shapes: str
    threads: int
    seconds: float
    iterations: int
    warm_up: float
    percentile: str
    pinned: bool
    precision: str | None
    backend: str
    device: int
    as_json: bool
    cuda_graph: bool
    wait: str
    dump_profile: bool
    export_profile: Path | None
    export_layer_info: Path | None


def run_bench(path: Path, wanted: Wanted) -> None:
    """Print how fast a model answers."""
    percentiles = _percentiles(wanted.percentile)
    inputs = None if wanted.inputs is None else read_arrays(wanted.inputs)
    options = {"lanes": wanted.threads, "cuda_graph": wanted.cuda_graph, "wait": wanted.wait}
    with load(path, wanted.precision, wanted.backend, wanted.device, **options) as engine:
        of_layers = wanted.dump_profile or wanted.export_profile or wanted.export_layer_info
        if of_layers and not isinstance(engine, trtfast.Engine):
            raise InputError("layers' times are those of an engine, and this runs on the CPU")
        with working(f"measuring {path.name}"):
            report = trtfast.benchmark(
                engine,
                inputs,
                batch=wanted.batch,
                shapes=parse(wanted.shapes) or None,
                threads=wanted.threads,
                memory="pinned" if wanted.pinned else "pageable",
                percentiles=percentiles,
                seconds=wanted.seconds,
                warm_up=wanted.warm_up,
                iterations=wanted.iterations,
            )
        layers: Sequence[LayerTime] = ()
        if isinstance(engine, trtfast.Engine):
            if wanted.dump_profile or wanted.export_profile is not None:
                given = inputs if inputs is not None else arrays_of(engine.inputs, report.shapes)
                layers = engine.profile(given, runs=_RUNS)
            if wanted.export_layer_info is not None:
                wanted.export_layer_info.write_text(engine.inspect())
    if wanted.export_profile is not None:
        wanted.export_profile.write_text(json.dumps(_as_trtexec_has_it(layers), indent=2) + "\n")
    if wanted.as_json:
        print_json({"model": str(path), **report.to_dict()})
        return
    _print(path, report)
    if wanted.dump_profile:
        _print_layers(layers)


def _percentiles(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise InputError(f"--percentile is {text!r}; expected numbers, as 90,95,99") from None


def _print(path: Path, report: BenchmarkReport) -> None:
    inputs = ", ".join(f"{n}:{'x'.join(map(str, s))}" for n, s in report.shapes.items())
    callers = "one caller" if report.threads == 1 else f"{report.threads} callers at once"
    console.print(f"{path} on {report.engine}, {inputs}, {callers}, {report.memory} memory")
    table = Table("latency", "ms", "96 % interval")
    table.add_row("median", _ms(report.median), f"{_ms(report.low)} to {_ms(report.high)}")
    rest = {f"p{percent:g}": seconds for percent, seconds in report.percentiles.items()}
    rest |= {"mean": report.mean, "least": report.least, "most": report.most}
    for name, seconds in rest.items():
        table.add_row(name, _ms(seconds))
    console.print(table)
    console.print(
        f"throughput: {report.throughput:.1f} rows/s ({report.throughput_low:.1f} to "
        f"{report.throughput_high:.1f}), {report.calls} calls of {report.batch} in "
        f"{report.elapsed:.1f} s"
    )
    counted = report.parts
    if counted is None:
        return
    parts: dict[str, Times] = {
        "waiting for a lane": counted.queue,
        "input to page-locked memory": counted.compute_input,
        "transfers and layers": counted.infer,
        "output to the caller": counted.output,
    }
    table = Table("part of a call, ms", "mean", "p50", "p90", "p99", "most")
    for name, times in parts.items():
        table.add_row(name, *map(_ms, (times.mean, times.p50, times.p90, times.p99, times.max)))
    console.print(table)
    runs = counted.graph_hits + counted.graph_misses
    console.print(f"runs that were one launch of a graph: {counted.graph_hits} of {runs}")


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3f}"


def _print_layers(layers: Sequence[LayerTime]) -> None:
    total = sum(layer.milliseconds for layer in layers)
    table = Table("layer, one by one", "ms", "share")
    for layer in sorted(layers, key=lambda layer: -layer.milliseconds)[:_SLOWEST]:
        share = layer.milliseconds / total if total else 0
        table.add_row(layer.name, f"{layer.milliseconds:.4f}", f"{share:.1%}")
    console.print(table)
    console.print(f"{len(layers)} layers, {total:.3f} ms; `trtfast profile` tells more")


def _as_trtexec_has_it(layers: Sequence[LayerTime]) -> list[dict[str, Any]]:
    """Return layers' times in the form of ``trtexec --exportProfile``."""
    total = sum(layer.milliseconds for layer in layers)
    return [
        {"count": _RUNS},
        *(
            {
                "name": layer.name,
                "timeMs": layer.milliseconds * _RUNS,
                "averageMs": layer.milliseconds,
                "percentage": 100 * layer.milliseconds / total if total else 0.0,
            }
            for layer in layers
        ),
    ]
