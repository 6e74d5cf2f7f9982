"""From the metadata of an ONNX model."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Error, InputError

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

__all__ = ["KEY", "settings_of"]

KEY = "trtfast.preprocess"

# ONNX compares its keys and values without regard to case.
_CHANNELS = {"rgb8": "rgb", "bgr8": "bgr", "gray8": "gray"}
_RANGES: dict[str, dict[str, Any]] = {
    "nominalrange_0_255": {"normalization": "none"},
    "normalized_0_1": {"mean": 0.0, "std": 1.0},
    "normalized_1_1": {"mean": 0.5, "std": 0.5},
}
_GAMMAS = {"srgb": "sRGB"}


def settings_of(model: str | os.PathLike[str] | ModelProto) -> dict[str, Any]:
    """Return the arguments of :class:`Preprocess`; see its from_onnx_metadata."""
    if isinstance(model, (str, os.PathLike)):
        model = _load(Path(model))
    properties = {entry.key: entry.value for entry in model.metadata_props}
    if KEY in properties:
        try:
            settings = json.loads(properties[KEY])
        except ValueError as error:
            raise InputError(f"the metadata {KEY!r} is no JSON: {error}") from error
        if not isinstance(settings, dict):
            raise InputError(f"the metadata {KEY!r} is {settings!r}; expected a JSON object")
        return settings
    lower = {key.lower(): value for key, value in properties.items()}
    channels = _choice(lower, "Image.BitmapPixelFormat", _CHANNELS)
    normalization = _choice(lower, "Image.NominalPixelRange", _RANGES)
    if "image.colorspacegamma" in lower:
        _choice(lower, "Image.ColorSpaceGamma", _GAMMAS)
    count = 1 if channels == "gray" else 3
    settings = {
        name: (value,) * count if isinstance(value, float) else value
        for name, value in normalization.items()
    }
    return settings | {"channels": channels} | _shape(_input(model), count)


def _load(path: Path) -> ModelProto:
    try:
        import onnx
    except ImportError as error:
        raise Error(
            'reading ONNX metadata needs the package onnx: pip install "trtfast[torch]"'
        ) from error
    from google.protobuf.message import DecodeError

    if not path.is_file():
        raise InputError(f"{path}: there is no such file; expected an ONNX model")
    try:
        return onnx.load(path, load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as an ONNX model: {error}") from error


def _choice(properties: dict[str, str], key: str, known: dict[str, Any]) -> Any:
    value = properties.get(key.lower())
    if value is None:
        raise InputError(
            f"the model's metadata has neither {KEY!r} nor {key!r}; expected one of them: make the "
            "Preprocess(…) by hand"
        )
    if value.lower() not in known:
        raise InputError(
            f"the metadata {key!r} is {value!r}, which is not supported; expected "
            f"{' or '.join(known)}"
        )
    return known[value.lower()]


def _input(model: ModelProto) -> ValueInfoProto:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs: list[ValueInfoProto] = [
        value for value in model.graph.input if value.name not in weights
    ]
    images = [value for value in inputs if value.type.denotation == "IMAGE"] or inputs
    if len(images) != 1:
        raise InputError(
            f"the model has the inputs {', '.join(value.name for value in images)}; expected one, "
            "or one with the denotation IMAGE"
        )
    return images[0]


def _shape(value: ValueInfoProto, count: int) -> dict[str, Any]:
    """Return the size and layout of an input, by its dimensions' denotations or sizes."""
    dims = value.type.tensor_type.shape.dim
    sizes = [dim.dim_value for dim in dims]  # 0 where it is dynamic
    named = [axis for axis, dim in enumerate(dims) if dim.denotation == "DATA_CHANNEL"]
    axes = named or [axis for axis in (1, 3) if len(sizes) == 4 and sizes[axis] == count]
    layout = {1: "NCHW", 3: "NHWC"}.get(axes[0]) if axes else None
    size = sizes[2:] if layout == "NCHW" else sizes[1:3]
    if len(sizes) != 4 or layout is None or 0 in size:
        shape = ", ".join(dim.dim_param or str(dim.dim_value or "?") for dim in dims)
        raise InputError(
            f"the input {value.name!r} has shape ({shape}); expected (N, {count}, height, width) "
            f"or (N, height, width, {count}), with its height and width known"
        )
    return {"size": size, "layout": layout}
