"""From a model to an engine: ``demo``, ``export`` and ``build``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..options import Backend, Calibration, Json, Output, Precision, Preprocess

__all__ = ["build", "demo", "export"]

_RARE = "Inputs of several sizes, and what is rarely needed"


def demo(
    model: Annotated[
        str, typer.Option(metavar="NAME", help="A torchvision model's name.")
    ] = "efficientnet_lite0",
    image: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A photograph of your own.")
    ] = None,
    precision: Precision = "fp16",
    calibration: Calibration = None,
    keep: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to keep the files.")
    ] = None,
    backend: Backend = "auto",
    as_json: Json = False,
) -> None:
    """Classify a photograph with PyTorch and with an engine; compare answers and times."""
    from ..demo import run_demo

    run_demo(model, image, precision, calibration, keep, backend, as_json)


def export(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="efficientnet_lite0, or a torchvision model's name.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="By default NAME.onnx.")
    ] = None,
    opset: Annotated[int | None, typer.Option(metavar="N", help="ONNX's operator set.")] = None,
    as_json: Json = False,
) -> None:
    """Export a PyTorch model to ONNX, with a dynamic batch, and compare the two.

    A model of your own is for Python: trtfast.export(model, sample, "model.onnx").
    """
    from ..export import run_export

    run_export(name, output, opset, as_json)


def build(
    onnx: Annotated[
        Path, typer.Argument(metavar="ONNX", help="A model in ONNX.", show_default=False)
    ],
    output: Output = None,
    precision: Precision = "fp16",
    calibration: Calibration = None,
    samples: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Likewise, to try it on, and for auto to measure."),
    ] = None,
    preprocess: Preprocess = None,
    classes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Names of classes, one a line, or JSON.")
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(metavar="N", help="Images in a call; give it once for each size."),
    ] = None,
    backend: Backend = "auto",
    as_json: Json = False,
    max_shapes: Annotated[
        str,
        typer.Option(
            metavar="SHAPE", help="The largest, as image:32x3x224x224.", rich_help_panel=_RARE
        ),
    ] = "",
    opt_shapes: Annotated[
        str,
        typer.Option(metavar="SHAPE", help="Those to be fastest at.", rich_help_panel=_RARE),
    ] = "",
    min_shapes: Annotated[
        str, typer.Option(metavar="SHAPE", help="The smallest.", rich_help_panel=_RARE)
    ] = "",
    keep_fp32: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Names of nodes in float32, one a line.",
            rich_help_panel=_RARE,
        ),
    ] = None,
    keep_fp16: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Names of nodes that int8 and fp8 spare.", rich_help_panel=_RARE
        ),
    ] = None,
    optimization_level: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="0 builds fastest, 5 the fastest engine.",
            min=0,
            max=5,
            rich_help_panel=_RARE,
        ),
    ] = None,
    device: Annotated[
        int, typer.Option(metavar="N", help="The GPU's index.", min=0, hidden=True)
    ] = 0,
    shapes: Annotated[str, typer.Option(metavar="SHAPE", help="The only ones.", hidden=True)] = "",
    timing_cache: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What TensorRT measures, kept here.", hidden=True),
    ] = None,
    workspace: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Memory for a layer, as 512M.", hidden=True),
    ] = None,
) -> None:
    """Build an engine from an ONNX model.

    It runs the model fast, on GPUs as this machine's. Beside it, MODEL.engine.json tells of it.
    """
    from ..build import Wanted, run_build

    wanted = Wanted(
        output=output,
        precision=precision,
        calibration=calibration,
        samples=samples,
        preprocess=preprocess,
        classes=classes,
        batches=batch or (),
        backend=backend,
        as_json=as_json,
        shapes=(shapes or min_shapes, shapes or opt_shapes, shapes or max_shapes),
        keep_fp32=keep_fp32,
        keep_fp16=keep_fp16,
        optimization_level=optimization_level,
        device=device,
        timing_cache=timing_cache,
        workspace=workspace,
    )
    run_build(onnx, wanted)
