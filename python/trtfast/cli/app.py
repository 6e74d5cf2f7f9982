"""The commands and their options."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from .console import console

__all__ = ["app"]

app = typer.Typer(
    help="Take a trained PyTorch model to production latency: PyTorch, ONNX, TensorRT, infer.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


class CacheAction(str, Enum):
    """What ``trtfast cache`` can do."""

    list = "list"
    clear = "clear"


class Yardstick(str, Enum):
    """What ``trtfast preprocess-check`` compares with."""

    cpu = "cpu"
    albumentations = "albumentations"
    torchvision = "torchvision"


Precision = Annotated[
    str, typer.Option(help="fp32, tf32, fp16, bf16; with --calibration mixed, int8 or fp8.")
]
Calibration = Annotated[
    Path | None,
    typer.Option(help="A folder of images or .npy files, or one such file: what the model sees."),
]
Preprocess = Annotated[
    Path | None,
    typer.Option(help="How images become inputs: JSON of a Preprocess, or a passport."),
]
Backend = Annotated[str, typer.Option(help="auto, tensorrt or tensorrt_rtx.")]
ModelName = Annotated[
    str, typer.Argument(help="efficientnet_lite0, or a torchvision model's name.")
]
Shapes = Annotated[str, typer.Option(help="As input:1x3x224x224, with commas between inputs.")]


@app.command()
def demo(
    model: Annotated[str, typer.Option(help="A torchvision model's name.")] = "efficientnet_lite0",
    image: Annotated[Path | None, typer.Option(help="A photograph of your own.")] = None,
    precision: Precision = "fp16",
    calibration: Calibration = None,
    keep: Annotated[Path | None, typer.Option(help="A folder to keep the files in.")] = None,
    backend: Backend = "auto",
) -> None:
    """Classify a photograph with PyTorch and with an engine; compare answers and times."""
    from .demo import run_demo

    run_demo(model, image, precision, calibration, keep, backend)


@app.command()
def doctor() -> None:
    """Show what this machine has, and what to install."""
    from .doctor import run_doctor

    raise typer.Exit(0 if run_doctor() else 1)


@app.command()
def export(
    model: ModelName,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="MODEL.onnx")] = None,
    opset: Annotated[int | None, typer.Option(help="ONNX's operator set.")] = None,
) -> None:
    """Export a PyTorch model to ONNX, with a dynamic batch, and compare the two."""
    import trtfast

    from .models import load_model

    loaded = load_model(model)
    path = trtfast.export(
        loaded.module,
        loaded.sample,
        output or Path(f"{model}.onnx"),
        input_names=["image"],
        opset=opset,
    )
    console.print(f"{path}: {loaded.note}, equal to PyTorch")


@app.command()
def build(
    onnx: Annotated[Path, typer.Argument(help="An ONNX model.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="MODEL.engine")] = None,
    precision: Precision = "fp16",
    calibration: Calibration = None,
    samples: Annotated[
        Path | None,
        typer.Option(
            help="As for --calibration: the engine is run on them, and refused where it gives NaN "
            "or infinite values and the model does not."
        ),
    ] = None,
    preprocess: Preprocess = None,
    min_shapes: Shapes = "",
    opt_shapes: Shapes = "",
    max_shapes: Shapes = "",
    workspace: Annotated[int | None, typer.Option(help="Bytes of memory for a layer.")] = None,
    optimization_level: Annotated[int | None, typer.Option(help="0 to 5.", min=0, max=5)] = None,
    keep_fp32: Annotated[
        Path | None,
        typer.Option(help="A file of nodes to keep in float32, one a line, as verify writes it."),
    ] = None,
    keep_fp16: Annotated[
        Path | None, typer.Option(help="The same, of nodes that are not to be quantised.")
    ] = None,
    backend: Backend = "auto",
) -> None:
    """Build an engine from an ONNX model."""
    import trtfast
    from trtfast.bisection import read_keep_list
    from trtfast.preprocess.parity import read_spec
    from trtfast.shapes import parse

    from .console import build_progress

    with build_progress() as progress:
        path = trtfast.build(
            onnx,
            output,
            precision=precision,
            keep_fp32=read_keep_list(keep_fp32) if keep_fp32 else (),
            keep_fp16=read_keep_list(keep_fp16) if keep_fp16 else (),
            calibration=calibration,
            samples=samples,
            preprocess=read_spec(preprocess) if preprocess is not None else None,
            min_shapes=parse(min_shapes),
            opt_shapes=parse(opt_shapes),
            max_shapes=parse(max_shapes),
            workspace=workspace,
            optimization_level=optimization_level,
            backend=backend,
            progress=progress,
        )
    console.print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


@app.command()
def run(
    model: Annotated[Path, typer.Argument(help="An engine or an ONNX model.")],
    inputs: Annotated[list[Path], typer.Argument(help="Images, .npy or .npz files.")],
    save: Annotated[Path | None, typer.Option(help="An .npz file for the outputs.")] = None,
    top: Annotated[int, typer.Option(help="How many classes to print.", min=1)] = 5,
    backend: Annotated[str, typer.Option(help="As for build, or reference.")] = "auto",
) -> None:
    """Run a model on images or arrays."""
    from .run import run_model

    run_model(model, inputs, save, top, backend)


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="An engine or an ONNX model.")],
) -> None:
    """Show what a model takes and gives; needs no GPU."""
    from .inspect import run_inspect

    run_inspect(path)


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="An engine.")],
) -> None:
    """Say whether an engine can be loaded here, and what to do if not; needs no GPU."""
    import trtfast

    verdict = trtfast.check(path)
    console.print(f"{path}: plan of {verdict.product} {verdict.version}")
    if verdict.gpu:
        console.print(f"built on {verdict.gpu}")
    for problem in verdict.problems:
        console.print(f"  {problem}")
    console.print(f"Next: {verdict.advice}" if verdict.advice else "It can be loaded here.")
    raise typer.Exit(0 if verdict.loads else 1)


@app.command()
def verify(
    model: Annotated[Path, typer.Argument(help="An engine or an ONNX model.")],
    reference: Annotated[
        Path, typer.Option(help="The float32 ONNX model, or outputs in an .npz or .npy file.")
    ],
    samples: Annotated[
        Path, typer.Option(help="A folder of images or .npy files, or one such file.")
    ],
    precision: Annotated[
        str | None, typer.Option(help="Of an ONNX model, to run it in; by default as run does.")
    ] = None,
    calibration: Calibration = None,
    preprocess: Preprocess = None,
    tolerance: Annotated[
        float | None, typer.Option(help="Allowed error, as a share of the largest value.", min=0)
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(help="Allowed difference of a confidence, 0 to 1.", min=0)
    ] = None,
    repeats: Annotated[
        int, typer.Option(help="Runs that must give the same bits, each way; 0 for none.", min=0)
    ] = 10,
    bisect: Annotated[
        bool, typer.Option("--bisect", help="If it fails, find the nodes to keep from a precision.")
    ] = False,
    keep_list: Annotated[
        Path | None,
        typer.Option(
            help="Where --bisect writes those to keep in float32, by default MODEL.keep.txt; those "
            "not to quantise come beside it, in MODEL.keep_fp16.txt."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    backend: Annotated[str, typer.Option(help="As for build, or reference.")] = "auto",
) -> None:
    """Compare a model with its reference and with itself; status 1 beyond the tolerance."""
    from .verify import Wanted, run_verify

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


@app.command()
def compare(
    model: Annotated[
        str,
        typer.Argument(help="efficientnet_lite0, a torchvision model's name, or an ONNX model."),
    ],
    engine: Annotated[
        list[Path] | None, typer.Option(help="An engine of it; by default they are built.")
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option(help="To build in, as --precision fp16 --precision bf16.")
    ] = None,
    samples: Annotated[
        Path | None, typer.Option(help="A folder of images, or inputs in an .npz or .npy file.")
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option(help="Rows in each call; by default 1, 8 and 32.", min=1)
    ] = None,
    compiled: Annotated[
        bool, typer.Option(help="Whether torch.compile takes part, on a GPU.")
    ] = True,
    seconds: Annotated[
        float, typer.Option(help="How long each is timed at each batch size.", min=0.01)
    ] = 2.0,
    html: Annotated[Path | None, typer.Option(help="A page to write, with plots.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="JSON to write.")] = None,
    backend: Annotated[str, typer.Option(help="As for build, or reference.")] = "auto",
) -> None:
    """Compare PyTorch and engines: answers, times, memory; status 1 if an engine is wrong."""
    from .compare import Wanted, run_compare

    wanted = Wanted(
        engines=engine or (),
        precisions=precision or ("fp16",),
        samples=samples,
        batches=batch,
        compiled=compiled,
        seconds=seconds,
        html=html,
        json=json_file,
        backend=backend,
    )
    raise typer.Exit(0 if run_compare(model, wanted) else 1)


@app.command()
def profile(
    model: Annotated[Path, typer.Argument(help="An engine or an ONNX model.")],
    inputs: Annotated[
        Path | None, typer.Option(help="An .npz or .npy file, or an image; by default made up.")
    ] = None,
    shapes: Shapes = "",
    runs: Annotated[int, typer.Option(help="What the times are the mean of.", min=1)] = 10,
    onnx: Annotated[
        Path | None, typer.Option(help="What the engine was built from; by default beside it.")
    ] = None,
    top: Annotated[int, typer.Option(help="How many layers to print.", min=1)] = 10,
    trace: Annotated[
        Path | None, typer.Option(help="A .json file for Perfetto or chrome://tracing.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    backend: Annotated[str, typer.Option(help="As for build, or reference.")] = "auto",
) -> None:
    """Show where the time goes: the slowest layers, and how near to the roof they are."""
    from .profile import Wanted, run_profile

    run_profile(model, Wanted(inputs, shapes, runs, onnx, top, trace, as_json, backend))


@app.command()
def preprocess_check(
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    spec: Annotated[
        Path, typer.Option(help="JSON of a Preprocess or of albumentations, a passport or a plan.")
    ],
    reference: Annotated[
        Yardstick, typer.Option(help="What to compare with; cpu is trtfast's own CPU path.")
    ] = Yardstick.cpu,
    difference: Annotated[
        Path | None, typer.Option(help="A folder for pictures of the differences, amplified.")
    ] = None,
    tolerance: Annotated[
        int, typer.Option(help="Allowed of each pixel value, in 1/255; beyond it, status 1.", min=0)
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare the GPU's preprocessing of images with the CPU's."""
    from .preprocess_check import run_preprocess_check

    is_within = run_preprocess_check(spec, images, reference.value, difference, tolerance, as_json)
    raise typer.Exit(0 if is_within else 1)


@app.command()
def cache(
    action: Annotated[CacheAction, typer.Argument(help="What to do.")],
) -> None:
    """List or clear the engines that trtfast keeps."""
    from trtfast import cache

    if action is CacheAction.clear:
        console.print(f"freed {cache.clear() / 1e6:.1f} MB in {cache.cache_dir()}")
        return
    for entry in cache.entries():
        used = datetime.fromtimestamp(entry.used).isoformat(" ", "seconds")
        console.print(f"{entry.path.name}  {entry.size / 1e6:9.1f} MB  last used {used}")
    total = sum(entry.size for entry in cache.entries())
    console.print(f"{cache.cache_dir()}: {total / 1e6:.1f} of at most {cache.limit() / 1e6:.0f} MB")
