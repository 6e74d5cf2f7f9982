"""``trtfast inspect``: what an engine file or an ONNX model takes, gives and is made of."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.table import Table

from trtfast import _core, _onnx, inspector, model, passport, ultralytics
from trtfast import backend as backends
from trtfast.errors import InputError
from trtfast.passport import Header, Passport, header_of

from .console import console, note, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trtfast._plan import Plan

__all__ = ["run_inspect"]

_SOME = 3  # names of classes that are printed


def run_inspect(path: Path, layers: bool, as_json: bool) -> None:
    """Print what is known of a file; it is not loaded onto a GPU, but for an engine's layers."""
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    found = _of_onnx(path) if path.suffix == ".onnx" else _of_plan(path, layers)
    if as_json:
        print_json(found if layers else {k: v for k, v in found.items() if k != "layers"})
        return
    if found["kind"] == "onnx":
        _print_onnx(found)
    else:
        _print_plan(found)
    if layers and found["layers"] is not None:
        _print_layers(found["layers"])


def _of_onnx(path: Path) -> dict[str, Any]:
    onnx, _ = model.read(path)
    from onnx.helper import tensor_dtype_to_np_dtype

    inputs, outputs = model.specs(onnx)
    graph = _onnx.typed_skeleton(onnx, 0).graph
    types = {
        value.name: value.type.tensor_type
        for value in (*graph.value_info, *graph.output)
        if value.type.tensor_type.elem_type
    }
    layers = []
    for node in graph.node:
        known = types.get(node.output[0]) if node.output else None
        dtype = tensor_dtype_to_np_dtype(known.elem_type).name if known is not None else None
        layers.append({"name": node.name, "kind": node.op_type, "dtype": dtype})
    return {
        "kind": "onnx",
        "path": str(path),
        "bytes": path.stat().st_size,
        "opset": {entry.domain or "ai.onnx": entry.version for entry in onnx.opset_import},
        "producer": f"{onnx.producer_name} {onnx.producer_version}".strip() or None,
        "nodes": len(onnx.graph.node),
        "weights": len(onnx.graph.initializer),
        "sha256": model.sha256(onnx),
        "inputs": [passport.describe(spec) for spec in inputs],
        "outputs": [passport.describe(spec) for spec in outputs],
        "operators": dict(Counter(layer["kind"] for layer in layers).most_common()),
        "dtypes": dict(Counter(layer["dtype"] or "unknown" for layer in layers).most_common()),
        "layers": layers,
    }


def _of_plan(path: Path, layers: bool) -> dict[str, Any]:
    plan, metadata = ultralytics.opened(path)
    header = header_of(plan, path)
    known = Passport.of(path)
    return {
        "kind": "plan",
        "path": str(path),
        "bytes": len(plan),
        "product": header.product,
        "version": header.version,
        "whole": header.size is None or len(plan) >= header.size,
        "described": None if known is None else known.describes(plan),
        "passport": None if known is None else vars(known),
        "ultralytics": metadata,
        "layers": _layers(plan, header) if layers else None,
    }


def _layers(plan: Plan, header: Header) -> list[dict[str, Any]] | None:
    """Ask TensorRT for an engine's layers, which it tells where it can load it."""
    gpu = backends.gpu()
    same = [
        library
        for library in backends.libraries()
        if (library.product, library.version) == (header.product, header.version)
    ]
    if gpu is None or not same or not backends.can_run(same[0], gpu):
        note("an engine's layers show where it can be loaded: `trtfast check` says what it needs")
        return None
    return [
        {"name": layer.name, "kind": layer.kind, "dtype": layer.dtype, "nodes": layer.nodes}
        for layer in inspector.layers(_core.inspect(same[0], plan, gpu.index))
    ]


def _print_onnx(found: dict[str, Any]) -> None:
    opset = ", ".join(f"{domain} {version}" for domain, version in found["opset"].items())
    console.print(
        f"{found['path']}: ONNX model, opset {opset}, {found['nodes']} nodes, "
        f"{found['weights']} weights, {found['bytes'] / 1e6:.1f} MB"
        + (f", by {found['producer']}" if found["producer"] else "")
    )
    _print_tensors(found["inputs"], found["outputs"])
    console.print(f"operators: {_counts(found['operators'])}")
    console.print(f"what nodes give: {_counts(found['dtypes'])}")


def _print_plan(found: dict[str, Any]) -> None:
    size = f"{found['bytes'] / 1e6:.1f} MB"
    console.print(f"{found['path']}: plan of {found['product']} {found['version']}, {size}")
    if not found["whole"]:
        console.print("It is cut short: copy it again, or build it again.")
    if found["ultralytics"] is not None:
        _print_metadata(found["ultralytics"])
    known = found["passport"]
    if known is None:
        console.print("It has no passport: what it takes and gives shows once it is loaded.")
        return
    precision = known["precision"]
    built_on = f"on {known['gpu']}" if known["gpu"] else "without a GPU"
    console.print(
        f"built {built_on} by trtfast {known['trtfast']}, {precision['asked']}: "
        f"{_counts(precision['layers'])}"
    )
    if computed := precision.get("computed"):
        shares = ", ".join(f"{count} in {dtype}" for dtype, count in computed.items())
        console.print(f"convolutions and matrix products: {shares}")
    if engine := precision.get("engine"):
        console.print(f"layers of the engine: {_counts(engine)}")
    if time := precision.get("time"):
        shares = ", ".join(f"{share:.0%} in {dtype}" for dtype, share in time.items())
        console.print(f"time of the layers: {shares}")
    if not found["described"]:
        console.print("The passport describes other bytes: the file is damaged or was replaced.")
    _print_tensors(known["inputs"], known["outputs"])
    for name, told in _rest(known).items():
        console.print(f"{name}: {told}")


def _rest(known: dict[str, Any]) -> dict[str, str]:
    """Return what else a passport tells, in words."""
    left = {
        name: value
        for name, value in known["options"].items()
        if name != "precision" and value not in (None, []) and value is not True
    }
    if left.get("calibration") is not None:
        left["calibration"] = f"{left['calibration'].get('runs')} runs"
    told = {"built from": f"the ONNX model of sha256 {known['onnx_sha256'][:12]}…"}
    if known["build_seconds"] is not None:
        told["built in"] = f"{known['build_seconds']:.1f} s"
    if left:
        told["options"] = ", ".join(f"{name} {value}" for name, value in left.items())
    if images := known["preprocess"]:
        size = "x".join(map(str, images["size"]))
        how = ", ".join(str(images[name]) for name in ("resize", "interpolation", "layout"))
        told["images"] = f"to {size}, {how}"
    if known["classes"]:
        told["classes"] = f"{len(known['classes'])}, {_some(known['classes'])}"
    for command, figures in known["measured"].items():
        told[f"measured by {command}"] = (
            f"{figures['date']}, on {figures['gpu']} with {figures['tensorrt']}"
        )
    return told


def _print_metadata(metadata: dict[str, Any]) -> None:
    console.print(f"exported by Ultralytics: {metadata.get('description', 'no description')}")
    told = [f"task {metadata['task']}"] if "task" in metadata else []
    if "batch" in metadata:
        told.append(f"batch {metadata['batch']}")
    if "imgsz" in metadata:
        told.append("images of {}x{}".format(*metadata["imgsz"]))
    if (classes := ultralytics.classes_of(metadata)) is not None:
        told.append(f"{len(classes)} classes ({_some(classes)})")
    if told:
        console.print(", ".join(told))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SOME]) + (", …" if len(names) > _SOME else "")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _written(shape: Sequence[int]) -> str:
    """Return a shape as the options take it."""
    return "x".join(map(str, shape))


def _print_tensors(inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
    table = Table("", "name", "dtype", "shape", "profiles (min, opt, max)")
    for kind, tensors in (("input", inputs), ("output", outputs)):
        for tensor in tensors:
            told = _written if -1 in tensor["shape"] else str  # else ranges of values
            ranges = (
                " ".join(told(r[name]) for name in ("min", "opt", "max"))
                for r in tensor.get("profiles", ())
            )
            table.add_row(
                kind, tensor["name"], tensor["dtype"], str(tensor["shape"]), "\n".join(ranges)
            )
    console.print(table)


def _print_layers(layers: list[dict[str, Any]]) -> None:
    table = Table("layer", "kind", "dtype", "ONNX nodes")
    if "nodes" not in layers[0]:
        table.columns.pop()
    for layer in layers:
        nodes = [", ".join(layer["nodes"])] if "nodes" in layer else []
        table.add_row(layer["name"], layer["kind"], layer["dtype"], *nodes)
    console.print(table)
