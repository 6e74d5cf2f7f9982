"""Is it right: ``verify``, ``compare``, ``check`` and ``preprocess-check``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ..options import (
    Calibration,
    Json,
    Model,
    Preprocess,
    RunBackend,
    RunPrecision,
    Samples,
    Seconds,
    precisions,
)

__all__ = ["check", "compare", "preprocess_check", "verify"]


class Yardstick(str, Enum):
    """What ``trtfast preprocess-check`` compares with."""

    cpu = "cpu"
    albumentations = "albumentations"
    torchvision = "torchvision"


def verify(
    model: Model,
    reference: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="The float32 ONNX model, or outputs in an .npz or .npy file."
        ),
    ],
    samples: Annotated[
        Path,
        typer.Option(metavar="PATH", help="A folder of images or .npy files, or one such file."),
    ],
    precision: RunPrecision = None,
    calibration: Calibration = None,
    preprocess: Preprocess = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="Allowed error, as a share of the largest value.", min=0
        ),
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Allowed difference of a confidence, 0 to 1.", min=0),
    ] = None,
    repeats: Annotated[
        int,
        typer.Option(
            metavar="N", help="Runs that must give the same bits, each way; 0 for none.", min=0
        ),
    ] = 10,
    bisect: Annotated[
        bool, typer.Option("--bisect", help="If it fails, find the nodes to keep from a precision.")
    ] = False,
    keep_list: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where --bisect writes them; by default MODEL.keep.txt."),
    ] = None,
    as_json: Json = False,
    backend: RunBackend = "auto",
) -> None:
    """Compare a model with its reference and with itself; status 1 beyond the tolerance."""
    from ..verify import Wanted, run_verify

    wanted = Wanted(
        precision=precision,
        calibration=calibration,
        preprocess=preprocess,
        tolerance=tolerance,
        confidence=confidence,
        repeats=repeats,
        as_json=as_json,
        bisect=bisect,
        keep_list=keep_list,
        backend=backend,
    )
    raise typer.Exit(0 if run_verify(model, reference, samples, wanted) else 1)


def compare(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="efficientnet_lite0, a torchvision model's name, or an ONNX model.",
            show_default=False,
        ),
    ],
    engine: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="An engine of it; by default they are built."),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="To build in, as --precision fp16 --precision bf16.",
            autocompletion=precisions,
        ),
    ] = None,
    samples: Samples = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(metavar="N", help="Rows in each call; by default 1, 8 and 32.", min=1),
    ] = None,
    compiled: Annotated[
        bool, typer.Option(help="Whether torch.compile takes part, on a GPU.")
    ] = True,
    seconds: Seconds = 2.0,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A page to write, with plots.")
    ] = None,
    as_json: Json = False,
    backend: RunBackend = "auto",
) -> None:
    """Compare PyTorch and engines: answers, times, memory; status 1 if an engine is wrong."""
    from ..compare import Wanted, run_compare

    wanted = Wanted(
        engines=engine or (),
        precisions=precision or ("fp16",),
        samples=samples,
        batches=batch,
        compiled=compiled,
        seconds=seconds,
        html=html,
        as_json=as_json,
        backend=backend,
    )
    raise typer.Exit(0 if run_compare(model, wanted) else 1)


def check(
    engine: Annotated[
        Path, typer.Argument(metavar="ENGINE", help="An engine.", show_default=False)
    ],
    device: Annotated[
        int, typer.Option(metavar="N", help="The GPU that it is to run on.", min=0)
    ] = 0,
    as_json: Json = False,
) -> None:
    """Say whether an engine can be loaded here, and what to do if not; needs no GPU."""
    from ..check import run_check

    raise typer.Exit(0 if run_check(engine, device, as_json) else 1)


def preprocess_check(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGES...", help="Image files.", show_default=False)
    ],
    spec: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="JSON of a Preprocess or of albumentations, a passport or a plan.",
        ),
    ],
    reference: Annotated[
        Yardstick, typer.Option(help="What to compare with; cpu is trtfast's own CPU path.")
    ] = Yardstick.cpu,
    difference: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="For pictures of the differences, amplified."),
    ] = None,
    tolerance: Annotated[
        int,
        typer.Option(
            metavar="N", help="Allowed of each pixel value, in 1/255; beyond it, status 1.", min=0
        ),
    ] = 1,
    as_json: Json = False,
) -> None:
    """Compare the GPU's preprocessing of images with the CPU's."""
    from ..preprocess_check import run_preprocess_check

    is_within = run_preprocess_check(spec, images, reference.value, difference, tolerance, as_json)
    raise typer.Exit(0 if is_within else 1)
