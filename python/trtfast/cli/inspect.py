"""``trtfast inspect``: what an engine file or an ONNX model takes and gives, with no GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from trtfast import model, passport, ultralytics
from trtfast.errors import EngineIncompatibleError, InputError
from trtfast.passport import Header, Passport

from .console import console

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["run_inspect"]

_SOME = 3


def run_inspect(path: Path) -> None:
    """Print what is known of a file without loading it onto a GPU."""
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    if path.suffix == ".onnx":
        _inspect_onnx(path)
    else:
        _inspect_plan(path)


def _inspect_onnx(path: Path) -> None:
    onnx, _ = model.read(path)
    opset = ", ".join(f"{entry.domain or 'ai.onnx'} {entry.version}" for entry in onnx.opset_import)
    console.print(
        f"{path}: ONNX model, opset {opset}, {len(onnx.graph.node)} nodes, "
        f"{len(onnx.graph.initializer)} weights"
    )
    inputs, outputs = model.specs(onnx)
    _print_tensors(
        [passport.describe(spec) for spec in inputs], [passport.describe(spec) for spec in outputs]
    )


def _inspect_plan(path: Path) -> None:
    plan, metadata = ultralytics.opened(path)
    header = Header.of(plan)
    if header is None:
        raise EngineIncompatibleError(f"{path} is not a TensorRT plan: build the engine again")
    known = Passport.of(path)
    console.print(f"{path}: plan of {header.product} {header.version}, {len(plan) / 1e6:.1f} MB")
    if metadata is not None:
        _print_metadata(metadata)
    if known is None:
        console.print("It has no passport: what it takes and gives shows once it is loaded.")
        return
    built_on = f"on {known.gpu}" if known.gpu else "without a GPU"
    layers = ", ".join(f"{count} {dtype}" for dtype, count in known.precision["layers"].items())
    console.print(
        f"built {built_on} by trtfast {known.trtfast}, {known.precision['asked']}: {layers}"
    )
    if computed := known.precision.get("computed"):
        shares = ", ".join(f"{count} in {dtype}" for dtype, count in computed.items())
        console.print(f"convolutions and matrix products: {shares}")
    if time := known.precision.get("time"):
        shares = ", ".join(f"{share:.0%} in {dtype}" for dtype, share in time.items())
        console.print(f"time of the layers: {shares}")
    if not known.describes(plan):
        console.print("The passport describes other bytes: the file is damaged or was replaced.")
    _print_tensors(known.inputs, known.outputs)


def _print_metadata(metadata: dict[str, Any]) -> None:
    console.print(f"exported by Ultralytics: {metadata.get('description', 'no description')}")
    told = [f"task {metadata['task']}"] if "task" in metadata else []
    if "batch" in metadata:
        told.append(f"batch {metadata['batch']}")
    if "imgsz" in metadata:
        told.append("images of {}x{}".format(*metadata["imgsz"]))
    if (classes := ultralytics.classes_of(metadata)) is not None:
        more = ", …" if len(classes) > _SOME else ""
        told.append(f"{len(classes)} classes ({', '.join(classes[:_SOME])}{more})")
    if told:
        console.print(", ".join(told))


def _print_tensors(inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
    table = Table("", "name", "dtype", "shape", "profiles (min, opt, max)")
    for kind, tensors in (("input", inputs), ("output", outputs)):
        for tensor in tensors:
            ranges = (f"{r['min']} {r['opt']} {r['max']}" for r in tensor.get("profiles", ()))
            table.add_row(
                kind, tensor["name"], tensor["dtype"], str(tensor["shape"]), "\n".join(ranges)
            )
    console.print(table)
