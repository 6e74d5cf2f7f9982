"""What TensorRT's engine inspector tells of a plan's layers, read from its JSON."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .spec import Shape

__all__ = ["BITS", "QUANTISED", "InspectedLayer", "InspectedTensor", "layers"]

QUANTISED = ("int8", "float8_e4m3fn")

BITS = {
    "float64": 64,
    "float32": 32,
    "float16": 16,
    "bfloat16": 16,
    "float8_e4m3fn": 8,
    "float4_e2m1fn": 4,
    "int64": 64,
    "int32": 32,
    "int8": 8,
    "uint8": 8,
    "int4": 4,
    "bool": 8,
}
"""How many bits a value of each dtype has."""

# What inspectors call them, in "Datatype" or, before TensorRT 11, in "Format/Datatype", as in "Two
# wide channel vectorized row major Int8 format".
_DTYPES = {
    r"Int8|INT8": "int8",
    r"FP8\w*|Float8\w*": "float8_e4m3fn",
    r"FP4\w*|Float4\w*": "float4_e2m1fn",
    r"Float|FP32": "float32",
    r"Half|FP16": "float16",
    r"BFloat16|BF16": "bfloat16",
    r"Int64|INT64": "int64",
    r"Int32|INT32": "int32",
    r"UInt8|UINT8": "uint8",
    r"Int4|INT4": "int4",
    r"Bool|BOOL": "bool",
}
_SEPARATORS = re.compile("[\x1e\x1f]")
_NODE = re.compile(r"\[ONNX Layer: (.*)\]")  # a kernel's name may follow


@dataclass(frozen=True)
class InspectedTensor:
    """What a layer takes or gives.

    Attributes
    ----------
    name, dtype : str
    shape : tuple of int or None
        As inspectors tell it, with the best shapes of a profile. None where it is not known.
    size : int or None
        How many values it has, where that is known though the shape is not.
    """

    name: str
    dtype: str
    shape: Shape | None
    size: int | None = None

    @property
    def elements(self) -> int | None:
        """How many values it has; None if that is not known."""
        if self.shape is None or min(self.shape, default=0) < 0:
            return self.size
        return prod(self.shape)

    @property
    def nbytes(self) -> int | None:
        """How many bytes its values have; None if that is not known."""
        if self.elements is None or self.dtype not in BITS:
            return None
        return (self.elements * BITS[self.dtype] + 7) // 8


@dataclass(frozen=True)
class InspectedLayer:
    """A layer of a plan.

    Attributes
    ----------
    name : str
        That of the layer's times, too.
    kind : str or None
        TensorRT's word for what it is; None where the plan tells names only.
    inputs, constants, outputs : tuple of InspectedTensor
    nodes : tuple of str
        The ONNX nodes that it was made of, in part or whole.
    """

    name: str
    kind: str | None = None
    inputs: tuple[InspectedTensor, ...] = ()
    constants: tuple[InspectedTensor, ...] = ()
    outputs: tuple[InspectedTensor, ...] = ()
    nodes: tuple[str, ...] = ()

    @property
    def dtype(self) -> str | None:
        """What it gives, or the quantised dtype it takes: such a convolution may give float16."""
        if not self.outputs:
            return None
        quantised = (tensor.dtype for tensor in self.inputs if tensor.dtype in QUANTISED)
        return next(quantised, self.outputs[0].dtype)

    @property
    def nbytes(self) -> int | None:
        """The bytes of all that it takes and gives, each tensor once; None if not all are known."""
        tensors = {tensor.name: tensor for tensor in (*self.inputs, *self.constants, *self.outputs)}
        sizes = [tensor.nbytes for tensor in tensors.values()]
        known = [size for size in sizes if size is not None]
        return sum(known) if self.kind is not None and len(known) == len(sizes) else None


def layers(told: str) -> tuple[InspectedLayer, ...]:
    """Read the layers of all optimisation profiles.

    Parameters
    ----------
    told : str
        The engine inspector's JSON.
    """
    return tuple(map(_layer, json.loads(told)["Layers"]))


def _layer(entry: dict[str, Any] | str) -> InspectedLayer:
    if isinstance(entry, str):  # of a plan without detailed profiling verbosity
        return InspectedLayer(entry)
    weights = [
        InspectedTensor(name, _dtype({"Datatype": entry[name]["Type"]}), (entry[name]["Count"],))
        for name in ("Weights", "Bias")  # as TensorRT's own convolutions have them
        if isinstance(entry.get(name), dict)
    ]
    named = map(_NODE.match, _SEPARATORS.split(entry.get("Metadata") or ""))
    return InspectedLayer(
        name=entry.get("Name", ""),
        kind=entry.get("LayerType"),
        inputs=_tensors(entry, "Inputs"),
        constants=_tensors(entry, "Constants") or tuple(weights),
        outputs=_tensors(entry, "Outputs"),
        nodes=tuple(dict.fromkeys(match[1] for match in named if match is not None)),
    )


def _tensors(entry: dict[str, Any], key: str) -> tuple[InspectedTensor, ...]:
    return tuple(
        InspectedTensor(
            tensor.get("Name", ""),
            _dtype(tensor),
            tuple(tensor["Dimensions"]) if "Dimensions" in tensor else None,
        )
        for tensor in entry.get(key, ())
    )


def _dtype(entry: dict[str, Any]) -> str:
    text: str = entry.get("Datatype") or entry.get("Format/Datatype", "")
    for pattern, name in _DTYPES.items():
        if re.search(rf"\b({pattern})\b", text):
            return name
    return text.lower()
