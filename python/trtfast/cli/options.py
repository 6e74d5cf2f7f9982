"""The vocabulary of the commands: options that mean the same wherever they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Backend",
    "Batch",
    "Calibration",
    "Device",
    "Json",
    "Model",
    "Output",
    "Precision",
    "PreferredSizes",
    "Preprocess",
    "QueueDelay",
    "RunBackend",
    "RunPrecision",
    "Samples",
    "Seconds",
    "Shapes",
    "precisions",
]


def precisions(incomplete: str) -> list[str]:
    """Complete the name of a precision."""
    from trtfast.precision import PRECISIONS

    return [name for name in (*PRECISIONS, "auto") if name.startswith(incomplete)]


def _backends(incomplete: str) -> list[str]:
    names = ("auto", "tensorrt", "tensorrt_rtx")
    return [name for name in names if name.startswith(incomplete)]


def _run_backends(incomplete: str) -> list[str]:
    own = ["reference"] if "reference".startswith(incomplete) else []
    return _backends(incomplete) + own


Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="An engine or an ONNX model.", show_default=False)
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="By default MODEL.engine."),
]
Precision = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="fp16 is fast, fp32 exact; tf32, bf16, mixed, int8, fp8, auto.",
        autocompletion=precisions,
    ),
]
RunPrecision = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Of an ONNX model, to run it in; by default fp16 on a GPU.",
        autocompletion=precisions,
    ),
]
Calibration = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="For mixed, int8, fp8: images or .npy files of its use."),
]
Preprocess = Annotated[
    Path | None, typer.Option(metavar="FILE", help="JSON that says how images become inputs.")
]
Samples = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="A folder of images or .npy files, or one such file."),
]
Backend = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Which TensorRT: tensorrt, tensorrt_rtx, or a version.",
        show_default=False,
        autocompletion=_backends,
    ),
]
RunBackend = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Which TensorRT: tensorrt, tensorrt_rtx, or a version; or reference, on the CPU.",
        show_default=False,
        autocompletion=_run_backends,
    ),
]
Shapes = Annotated[
    str, typer.Option(metavar="SHAPE", help="As input:1x3x224x224, with commas between inputs.")
]
Batch = Annotated[
    int | None, typer.Option(metavar="N", help="Rows in each call, as images.", min=1)
]
Seconds = Annotated[float, typer.Option(metavar="SEC", help="How long to measure.", min=0.01)]
QueueDelay = Annotated[
    float, typer.Option(metavar="SEC", help="How long a request may wait for others.", min=0)
]
PreferredSizes = Annotated[
    str,
    typer.Option(
        metavar="LIST", help="Rows at which a batch is run at once, as 8,16.", show_default=False
    ),
]
Device = Annotated[
    int, typer.Option(metavar="N", help="The GPU's index.", min=0, show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
