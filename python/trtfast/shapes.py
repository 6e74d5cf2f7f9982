"""Shapes as text, and the optimisation profiles that a build gets from them."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .errors import InputError
from .spec import ShapeRange

if TYPE_CHECKING:
    from .spec import Shape, TensorSpec

__all__ = ["Shapes", "buckets_for", "parse", "profiles_for"]

Shapes = Mapping[str, Sequence[int]]

# Where only the batch is dynamic and nothing is said: a single request, and a large batch.
_BATCHES = (1, 8, 32)

# A name may hold colons. What follows the sizes is the end, or a comma and another item.
_SIZE = "[0-9]{1,18}"
_ITEM = re.compile(
    r"(?P<name>[^,]+?):"
    rf"(?P<sizes>\[\s*(?:{_SIZE}(?:\s*,\s*{_SIZE})*)?\s*\]|{_SIZE}(?:x{_SIZE})*)"
    r"(?:,(?!\Z)|\Z)"
)


def parse(text: str) -> dict[str, Shape]:
    """Read ``input:1x3x224x224,mask:1x77``, or the same with ``[1,3,224,224]``.

    Raises
    ------
    InputError
        If the text is of neither form.
    """
    shapes: dict[str, Shape] = {}
    position = 0
    while position < len(text):
        match = _ITEM.match(text, position)
        if match is None or match["name"] in shapes:
            raise InputError(
                f"{text!r} is not a list of shapes: write input:1x3x224x224 or "
                "input:[1,3,224,224], with commas between inputs, each of them once"
            )
        shapes[match["name"]] = tuple(map(int, re.findall(r"\d+", match["sizes"])))
        position = match.end()
    return shapes


def profiles_for(
    inputs: Sequence[TensorSpec],
    min_shapes: Shapes | None = None,
    opt_shapes: Shapes | None = None,
    max_shapes: Shapes | None = None,
) -> list[dict[str, ShapeRange]]:
    """Make the one optimisation profile that min, opt and max shapes describe.

    A bound that is not given follows from those that are: max is opt, opt is max, min is opt with
    1 in each dynamic dimension. An input whose batch alone is dynamic needs none: 1, 8 and 32.
    Of a shape tensor, an input whose values TensorRT reads to compute shapes, the "shape" to give
    here is the range of its values.

    Parameters
    ----------
    inputs : sequence of TensorSpec
        The model's; -1 is dynamic.
    min_shapes, opt_shapes, max_shapes : mapping from input name to shape, optional

    Returns
    -------
    list of dict from input name to ShapeRange
        Empty if no input is dynamic and no shape is given.

    Raises
    ------
    InputError
        If a name is unknown, a dynamic input has no shape, or a shape no name.
    """
    asked: tuple[Any, ...] = (min_shapes, opt_shapes, max_shapes)
    for shapes in asked:
        if shapes is not None and not isinstance(shapes, Mapping):
            example = {spec.name: tuple(8 if n == -1 else n for n in spec.shape) for spec in inputs}
            raise InputError(f"{shapes!r} is given as shapes; expected them by name, as {example}")
    given = [
        {name: _checked(name, shape) for name, shape in (shapes or {}).items()} for shapes in asked
    ]
    names = {spec.name for spec in inputs}
    for name in {name for shapes in given for name in shapes} - names:
        raise InputError(f"shapes are given for {name!r}, but the inputs are {sorted(names)}")
    profile = {
        spec.name: _range(spec, *(shapes.get(spec.name) for shapes in given))
        for spec in inputs
        if -1 in spec.shape or any(spec.name in shapes for shapes in given)
    }
    return [profile] if profile else []


def buckets_for(
    inputs: Sequence[TensorSpec], buckets: Sequence[int | Sequence[int] | Shapes]
) -> list[dict[str, ShapeRange]]:
    """Make an optimisation profile for each bucket, of just its shapes.

    TensorRT chooses better kernels for one shape than for a range: on an H100, TensorRT-RTX 1.5 ran
    ResNet-50 in float16 with one image in 0.41 ms, and in 0.70 ms within a range of 1 to 32.

    Parameters
    ----------
    inputs : sequence of TensorSpec
        The model's; -1 is dynamic.
    buckets : sequence of int, of shapes, or of mappings from input name to shape
        A batch size, where the batch alone is dynamic; or the shape of the one dynamic input; or
        those of all.

    Raises
    ------
    InputError
        If a bucket does not say the shape of each dynamic input.
    """
    dynamic = [spec for spec in inputs if -1 in spec.shape]
    return [
        {name: ShapeRange(shape, shape, shape) for name, shape in _bucket(dynamic, bucket).items()}
        for bucket in buckets
    ]


def _bucket(
    dynamic: Sequence[TensorSpec], bucket: int | Sequence[int] | Shapes
) -> dict[str, Shape]:
    names = [spec.name for spec in dynamic]
    if isinstance(bucket, Mapping):
        if sorted(bucket) == sorted(names):
            return {name: _checked(name, shape) for name, shape in bucket.items()}
    elif isinstance(bucket, int):
        if all(spec.shape[0] == -1 and -1 not in spec.shape[1:] for spec in dynamic):
            return {spec.name: (bucket, *spec.shape[1:]) for spec in dynamic}
    elif len(names) == 1:
        return {names[0]: _checked(names[0], bucket)}
    raise InputError(
        f"bucket {bucket!r} does not say the shapes of the dynamic inputs {names}: give a batch "
        "size where the batch alone is dynamic, a shape where one input is dynamic, or a dict"
    )


def _checked(name: str, shape: Sequence[int]) -> Shape:
    try:
        return tuple(map(operator.index, shape))
    except TypeError:
        raise InputError(
            f"input {name!r}: {shape!r} is not a shape; expected integers, as in (1, 3, 224, 224)"
        ) from None


def _range(
    spec: TensorSpec,
    low: Shape | None,
    best: Shape | None,
    high: Shape | None,
) -> ShapeRange:
    best = best or high or low
    if best is None:
        if spec.shape[0] != -1 or -1 in spec.shape[1:]:
            raise InputError(
                f"input {spec.name!r} has dynamic dimensions, {spec.shape}: give opt_shapes, and "
                "min_shapes and max_shapes where they differ, for example "
                f"opt_shapes={{{spec.name!r}: {tuple(8 if n == -1 else n for n in spec.shape)}}}"
            )
        return ShapeRange(*((batch, *spec.shape[1:]) for batch in _BATCHES))
    if low is None and -1 not in spec.shape:
        low = best  # the values of a shape tensor have no lowest size to fall back on
    elif low is None:
        low = tuple(1 if n == -1 else size for n, size in zip(spec.shape, best, strict=False))
    return ShapeRange(low, best, high or best)
