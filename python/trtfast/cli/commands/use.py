"""With an engine: ``run``, ``bench``, ``profile``, ``inspect`` and ``view``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..options import Batch, Device, Json, Model, RunBackend, RunPrecision, Seconds, Shapes

__all__ = ["bench", "inspect", "profile", "run", "view"]


def run(
    model: Model,
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="INPUTS...",
            help="Images, folders of them, .npy or .npz files; by default random.",
            show_default=False,
        ),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An .npz file for the outputs.")
    ] = None,
    top: Annotated[int, typer.Option(metavar="N", help="How many classes to print.", min=1)] = 5,
    batch: Batch = None,
    shapes: Shapes = "",
    precision: RunPrecision = None,
    backend: RunBackend = "auto",
    device: Device = 0,
    as_json: Json = False,
) -> None:
    """Run a model on images, arrays or random input."""
    from ..run import Wanted, run_model

    wanted = Wanted(save, top, batch, shapes, precision, backend, device, as_json)
    run_model(model, inputs or [], wanted)


def bench(
    model: Model,
    inputs: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An .npy or .npz file; by default random.")
    ] = None,
    batch: Batch = None,
    shapes: Shapes = "",
    threads: Annotated[
        int, typer.Option(metavar="N", help="Callers at once, each with a lane.", min=1)
    ] = 1,
    seconds: Seconds = 3.0,
    iterations: Annotated[
        int, typer.Option(metavar="N", help="Calls of each caller, at least.", min=1)
    ] = 10,
    warm_up: Annotated[
        float, typer.Option(metavar="SEC", help="Calls before that, at least.", min=0)
    ] = 0.5,
    percentile: Annotated[
        str, typer.Option(metavar="LIST", help="Which to print, as 90,95,99.")
    ] = "90,99",
    pinned: Annotated[
        bool, typer.Option("--pinned", help="Reuse page-locked arrays, which need no copy.")
    ] = False,
    precision: RunPrecision = None,
    backend: RunBackend = "auto",
    device: Device = 0,
    as_json: Json = False,
    no_cuda_graph: Annotated[
        bool, typer.Option("--no-cuda-graph", help="Launch layer by layer.", hidden=True)
    ] = False,
    block: Annotated[
        bool, typer.Option("--block", help="Sleep until the GPU is done.", hidden=True)
    ] = False,
    dump_profile: Annotated[
        bool,
        typer.Option("--dump-profile", "--dumpProfile", help="Print layers' times.", hidden=True),
    ] = False,
    export_profile: Annotated[
        Path | None,
        typer.Option("--export-profile", "--exportProfile", metavar="FILE", hidden=True),
    ] = None,
    export_layer_info: Annotated[
        Path | None,
        typer.Option("--export-layer-info", "--exportLayerInfo", metavar="FILE", hidden=True),
    ] = None,
) -> None:
    """Measure how fast a model is: latency, throughput, and the parts of a call."""
    from ..bench import Wanted, run_bench

    wanted = Wanted(
        inputs=inputs,
        batch=batch,
        shapes=shapes,
        threads=threads,
        seconds=seconds,
        iterations=iterations,
        warm_up=warm_up,
        percentile=percentile,
        pinned=pinned,
        precision=precision,
        backend=backend,
        device=device,
        as_json=as_json,
        cuda_graph=not no_cuda_graph,
        wait="block" if block else "spin",
        dump_profile=dump_profile,
        export_profile=export_profile,
        export_layer_info=export_layer_info,
    )
    run_bench(model, wanted)


def profile(
    model: Model,
    inputs: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="An .npz or .npy file, or an image; else random."),
    ] = None,
    batch: Batch = None,
    shapes: Shapes = "",
    runs: Annotated[
        int, typer.Option(metavar="N", help="What the times are the mean of.", min=1)
    ] = 10,
    onnx: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What the engine was built from; else beside it."),
    ] = None,
    top: Annotated[int, typer.Option(metavar="N", help="How many layers to print.", min=1)] = 10,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A .json file for Perfetto or chrome://tracing."),
    ] = None,
    precision: RunPrecision = None,
    backend: RunBackend = "auto",
    device: Device = 0,
    as_json: Json = False,
) -> None:
    """Show where the time goes: the slowest layers, and how near to the roof they are."""
    from ..profile import Wanted, run_profile

    wanted = Wanted(
        inputs=inputs,
        batch=batch,
        shapes=shapes,
        runs=runs,
        onnx=onnx,
        top=top,
        trace=trace,
        as_json=as_json,
        precision=precision,
        backend=backend,
        device=device,
    )
    run_profile(model, wanted)


def inspect(
    model: Model,
    layers: Annotated[
        bool, typer.Option("--layers", help="List them all; those of an engine need its GPU.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what a model takes and gives, and what it is made of; needs no GPU."""
    from ..inspect import run_inspect

    run_inspect(model, layers, as_json)


def view(
    model: Model,
    port: Annotated[
        int, typer.Option(metavar="N", help="Of this machine; 0 for any.", min=0, max=65535)
    ] = 0,
    browser: Annotated[bool, typer.Option(help="Whether to open the page.")] = True,
) -> None:
    """Show a model's graph in the browser, with Netron, until Ctrl-C."""
    from ..view import run_view

    run_view(model, port, browser)
