"""From the shapes that an engine inspector tells to those that ran."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING

from .nodes import nodes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import onnx

    from ..inspector import InspectedLayer, InspectedTensor
    from ..spec import Shape, TensorSpec
    from .nodes import Node

    Nodes = Mapping[str, Node]

__all__ = ["best_shapes", "profile_of", "with_shapes"]

_PROFILE = re.compile(r"\[profile (\d+)\]")


def profile_of(layers: Sequence[InspectedLayer]) -> int:
    """Return the optimisation profile that layers are of, as TensorRT writes it into names."""
    names = (
        name
        for layer in layers
        for name in (layer.name, *(tensor.name for tensor in (*layer.inputs, *layer.outputs)))
    )
    return max((int(number) for name in names for number in _PROFILE.findall(name)), default=0)


def best_shapes(specs: Sequence[TensorSpec], profile: int) -> dict[str, Shape] | None:
    """Return the inputs' shapes that an inspector's are of.

    None where TensorRT computes shapes from the values of an input, whose profile has values.
    """
    if any(spec.profiles and -1 not in spec.shape for spec in specs):
        return None
    return {
        spec.name: spec.profiles[profile].opt if spec.profiles else spec.shape for spec in specs
    }


def with_shapes(
    layers: Sequence[InspectedLayer],
    best: Mapping[str, Shape] | None,
    shapes: Mapping[str, Shape],
    model: onnx.ModelProto | None,
) -> tuple[InspectedLayer, ...]:
    """Return layers with the shapes that ran, where they can be known, and else with none.

    What TensorRT calls its tensors says little of what they are in the model. Known is the shape of
    one that is like a value of the layer's ONNX nodes with the best shapes: it is like that value
    with the others, too. And where from the best shapes to the others all values of the model grow
    by one factor, as with the batch, then so does all that is computed from them.

    Parameters
    ----------
    layers : sequence of InspectedLayer
    best, shapes : mapping from input name to shape
        Those that the inspector's shapes are of, if they are known, and those that ran.
    model : onnx.ModelProto, optional
        What the engine was built from.
    """
    if best == shapes:
        return tuple(layers)
    if best is None or model is None:
        return tuple(_mapped(layer, _forgotten) for layer in layers)
    before, after = nodes_of(model, best), nodes_of(model, shapes)
    growth = _growth(before, after)
    return tuple(
        _mapped(layer, partial(_changed, _changes(before, after, layer.nodes), growth))
        for layer in layers
    )


def _changed(
    changes: Mapping[Shape, Shape], growth: Fraction | None, tensor: InspectedTensor
) -> InspectedTensor:
    if tensor.shape is not None and tensor.shape in changes:
        return replace(tensor, shape=changes[tensor.shape])
    if growth is None or tensor.elements is None:
        return _forgotten(tensor)
    size = tensor.elements * growth
    return replace(tensor, shape=None, size=int(size) if size.denominator == 1 else None)


def _forgotten(tensor: InspectedTensor) -> InspectedTensor:
    return replace(tensor, shape=None)


def _mapped(
    layer: InspectedLayer, change: Callable[[InspectedTensor], InspectedTensor]
) -> InspectedLayer:
    """Change what depends on the shapes, which constants do not."""
    return replace(
        layer, inputs=tuple(map(change, layer.inputs)), outputs=tuple(map(change, layer.outputs))
    )


def _pairs(
    before: Nodes, after: Nodes, names: Sequence[str]
) -> Iterator[tuple[InspectedTensor, InspectedTensor]]:
    """Give the values of some nodes that depend on the model's inputs, with both shapes."""
    for name in names:
        if name in before:
            old, new = before[name], after[name]
            for tensor, other in zip(
                (*old.inputs, *old.outputs), (*new.inputs, *new.outputs), strict=True
            ):
                if tensor.name not in old.constants:
                    yield tensor, other


def _changes(before: Nodes, after: Nodes, names: Sequence[str]) -> dict[Shape, Shape]:
    found: dict[Shape, set[Shape | None]] = {}
    for old, new in _pairs(before, after, names):
        if old.shape is not None:
            found.setdefault(old.shape, set()).add(new.shape)
    return {
        old: shape
        for old, news in found.items()
        for shape in news
        if len(news) == 1 and shape is not None
    }


def _growth(before: Nodes, after: Nodes) -> Fraction | None:
    """Return the factor by which all values grow; None if there is no such one."""
    factors: set[Fraction] = set()
    for old, new in _pairs(before, after, tuple(before)):
        if old.dtype.startswith("int") and old.shape is not None and len(old.shape) < 2:
            continue  # a shape, or what makes one
        if not old.elements or new.elements is None:
            return None
        factors.add(Fraction(new.elements, old.elements))
    return factors.pop() if len(factors) == 1 else None
