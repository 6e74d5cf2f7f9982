"""In a server: ``serve`` and ``export-triton``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..options import (
    Device,
    Json,
    Model,
    PreferredSizes,
    Preprocess,
    QueueDelay,
    RunBackend,
    RunPrecision,
)
from ..sizes import numbers_of

__all__ = ["export_triton", "serve"]


def serve(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODELS...", help="Engines or ONNX models, as PATH or NAME=PATH."),
    ],
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="By default for this machine alone.")
    ] = "127.0.0.1",
    http_port: Annotated[
        int, typer.Option(metavar="N", help="0 for any.", min=0, max=65535)
    ] = 8000,
    grpc_port: Annotated[
        int, typer.Option(metavar="N", help="0 for any.", min=0, max=65535)
    ] = 8001,
    lanes: Annotated[int, typer.Option(metavar="N", help="Batches that run at once.", min=1)] = 2,
    max_batch_size: Annotated[
        int | None,
        typer.Option(metavar="N", help="Rows; by default all that the engine takes.", min=1),
    ] = None,
    max_queue_delay: QueueDelay = 0.0,
    preferred_batch_sizes: PreferredSizes = "",
    max_queue: Annotated[
        int, typer.Option(metavar="N", help="Requests that may wait.", min=1)
    ] = 1024,
    deadline: Annotated[
        float | None,
        typer.Option(metavar="SEC", help="For a request to begin; by default any.", min=0.001),
    ] = None,
    max_request_bytes: Annotated[
        str, typer.Option(metavar="SIZE", help="Of a request, as 64M.")
    ] = "64M",
    drain: Annotated[
        float, typer.Option(metavar="SEC", help="At the end, for requests under way.", min=0)
    ] = 30.0,
    preprocess: Preprocess = None,
    precision: RunPrecision = None,
    backend: RunBackend = "auto",
    device: Device = 0,
    as_json: Json = False,
) -> None:
    """Serve models over HTTP and gRPC, by the Open Inference Protocol, until Ctrl-C."""
    from ..serve import Wanted, run_serve

    wanted = Wanted(
        host=host,
        http_port=http_port,
        grpc_port=grpc_port,
        lanes=lanes,
        max_batch_size=max_batch_size,
        max_queue_delay=max_queue_delay,
        preferred_batch_sizes=preferred_batch_sizes,
        max_queue=max_queue,
        deadline=deadline,
        max_request_bytes=max_request_bytes,
        drain=drain,
        preprocess=preprocess,
        precision=precision,
        backend=backend,
        device=device,
        as_json=as_json,
    )
    run_serve(models, wanted)


def export_triton(
    model: Model,
    repository: Annotated[
        Path,
        typer.Argument(
            metavar="REPOSITORY", help="The folder of Triton's models.", show_default=False
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The model's in Triton; by default the file's."),
    ] = None,
    max_batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Of batches that Triton makes, 0 for none; by default the engine's largest.",
            min=0,
        ),
    ] = None,
    max_queue_delay: QueueDelay = 0.0,
    preferred_batch_sizes: PreferredSizes = "",
    max_queue: Annotated[
        int, typer.Option(metavar="N", help="Requests that may wait; 0 for any number.", min=0)
    ] = 1024,
    deadline: Annotated[
        float | None,
        typer.Option(metavar="SEC", help="After which a waiting request is refused.", min=0),
    ] = None,
    instances: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Calls at once on each GPU; by default 2, on the CPU 1.", min=1
        ),
    ] = None,
    no_cuda_graph: Annotated[
        bool, typer.Option("--no-cuda-graph", help="Launch layer by layer.")
    ] = False,
    classes: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Names of classes; by default the engine's own."),
    ] = None,
    version: Annotated[
        int | None, typer.Option(metavar="N", help="By default the next one.", min=1)
    ] = None,
    as_json: Json = False,
) -> None:
    """Write an engine or an ONNX model for NVIDIA's Triton Inference Server; needs no GPU."""
    from ..export_triton import run_export_triton

    run_export_triton(
        model,
        repository,
        as_json,
        name=name,
        version=version,
        max_batch_size=max_batch_size,
        max_queue_delay=max_queue_delay,
        preferred_batch_sizes=numbers_of(preferred_batch_sizes, "--preferred-batch-sizes"),
        max_queue=max_queue or None,
        deadline=deadline,
        instances=instances,
        cuda_graph=not no_cuda_graph,
        classes=classes,
    )
