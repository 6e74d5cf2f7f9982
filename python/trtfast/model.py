"""ONNX models as a build sees them: read, described, hashed and serialised."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from . import passport
from ._onnx import skeleton
from .errors import BuildError, Error, InputError
from .spec import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

__all__ = ["read", "serialised", "sha256", "specs"]

# Protocol buffers allow a message of 2 GiB; what is larger keeps its weights beside it.
_LARGEST = 2**31 - 1
_WEIGHTS = "weights"


def read(
    source: str | os.PathLike[str] | onnx.ModelProto,
) -> tuple[onnx.ModelProto, Path | None]:
    """Read a model with its external weights.

    Returns
    -------
    The model, and the path that it came from, if it did.

    Raises
    ------
    InputError
        If there is no such file, or the source is neither a path nor a model.
    BuildError
        If the file is no ONNX model, or its weights are missing.
    """
    if not isinstance(source, (str, os.PathLike)):
        if not hasattr(source, "graph"):  # onnx may not be installed to ask for its class
            raise InputError(f"expected a path or an onnx.ModelProto, not {type(source).__name__}")
        _check_names(source.graph, "the model")
        return source, None
    path = Path(source)
    if not path.is_file():
        raise InputError(f"there is no ONNX file {path}")
    try:
        import onnx
    except ImportError as error:
        raise Error('an ONNX model needs the package onnx: pip install "trtfast[torch]"') from error
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path)
    except (DecodeError, OSError, ValueError, onnx.checker.ValidationError) as error:
        if path.suffix != ".onnx":
            raise BuildError(
                f"{path} is no ONNX model: an engine is built of a file as export writes it, "
                "model.onnx"
            ) from error
        raise BuildError(
            f"{path} cannot be read as an ONNX model ({error}): it may be cut short, or its "
            "external weights missing. Export it again."
        ) from error
    if not (model.graph.output and model.opset_import):
        raise BuildError(
            f"{path} is not a whole ONNX model: it has no outputs, or no operator set. Export it "
            "again."
        )
    _check_names(model.graph, str(path))
    return model, path


def _check_names(graph: onnx.GraphProto, source: str) -> None:
    """Raise BuildError unless all names are text: protobuf gives bytes where they are no UTF-8."""
    for node in graph.node:
        for name in (node.name, node.op_type, node.domain, *node.input, *node.output):
            _check_name(name, source)
        for attribute in node.attribute:
            _check_name(attribute.name, source)
            for inner in (attribute.g, *attribute.graphs):
                _check_names(inner, source)
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        _check_name(value.name, source)


def _check_name(name: str | bytes, source: str) -> None:
    if isinstance(name, bytes):
        raise BuildError(
            f"{source} has the name {name!r}, which is not UTF-8: it is damaged. Export it again."
        )


def specs(model: onnx.ModelProto) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return a model's inputs and outputs; -1 for each dynamic dimension."""
    constants = {initializer.name for initializer in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    return tuple(map(_spec, inputs)), tuple(map(_spec, model.graph.output))


def sha256(model: onnx.ModelProto) -> str:
    """Return the hash of a model and its weights."""
    if _fits(model):
        return passport.sha256(model.SerializePartialToString(deterministic=True))
    digest = hashlib.sha256(skeleton(model).SerializePartialToString(deterministic=True))
    for tensor in model.graph.initializer:
        digest.update(tensor.SerializePartialToString(deterministic=True))
    return digest.hexdigest()


@contextmanager
def serialised(model: onnx.ModelProto) -> Iterator[tuple[bytes, str]]:
    """Give a model's bytes, and the path beside which its weights lie if they are not inside."""
    if _fits(model):
        yield model.SerializeToString(), ""
        return
    with tempfile.TemporaryDirectory(prefix="trtfast-") as folder:
        with (Path(folder) / _WEIGHTS).open("wb") as file:
            light = _move_weights(model, file)
        # TensorRT looks for weights beside this path; the model itself it has as bytes.
        yield light.SerializeToString(), str(Path(folder) / "model.onnx")


def _move_weights(model: onnx.ModelProto, file: BinaryIO) -> onnx.ModelProto:
    """Write large weights to a file, and return a copy of the model that refers to it.

    ``onnx.save`` would take them out of the caller's model.
    """
    from onnx import TensorProto, numpy_helper

    light = skeleton(model)
    for tensor, whole in zip(light.graph.initializer, model.graph.initializer, strict=True):
        if tensor.ByteSize() == whole.ByteSize():
            continue
        start = file.tell()
        file.write(whole.raw_data or numpy_helper.to_array(whole).tobytes())
        tensor.data_location = TensorProto.EXTERNAL
        place = {"location": _WEIGHTS, "offset": start, "length": file.tell() - start}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
    return light


def _fits(model: onnx.ModelProto) -> bool:
    return int(model.ByteSize()) <= _LARGEST


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    from onnx.helper import tensor_dtype_to_np_dtype

    tensor = value.type.tensor_type
    if not tensor.elem_type:
        raise BuildError(f"{value.name!r} is not a tensor: TensorRT takes and gives tensors only")
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
    return TensorSpec(value.name, tensor_dtype_to_np_dtype(tensor.elem_type), shape)
