"""In a server: ``export-triton``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..options import Json, Model

__all__ = ["export_triton"]


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
    max_queue_delay: Annotated[
        float,
        typer.Option(metavar="SEC", help="How long a request may wait to fill a batch.", min=0),
    ] = 0.0,
    preferred_batch_size: Annotated[
        list[int] | None,
        typer.Option(metavar="N", help="A size at which a batch is run at once.", min=1),
    ] = None,
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
        preferred_batch_sizes=preferred_batch_size or (),
        max_queue=max_queue or None,
        deadline=deadline,
        instances=instances,
        cuda_graph=not no_cuda_graph,
        classes=classes,
    )
