"""The arguments of ``infer``: which array is which tensor, and whether an engine can take it.

All engines share these functions, so the same call is right, or wrong, on each of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence, ValuesView
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeAlias, TypeVar

import numpy as np

from . import _core
from .errors import InputError

if TYPE_CHECKING:
    from .preprocess import Preprocess
    from .spec import Array, Inputs, Outputs, Shape, ShapeRange, TensorSpec

__all__ = [
    "Shapes",
    "alone",
    "arrange",
    "bind",
    "check_dtype",
    "check_profiles",
    "check_shape",
    "image_preprocess",
    "joined",
    "keep_stream",
    "largest_batch",
    "padded",
    "prepared",
    "sets_of",
    "shapes_of",
    "stream_handle",
    "unbind",
    "with_batch",
]

T = TypeVar("T")

Shapes: TypeAlias = "Sequence[int] | Mapping[str, Sequence[int]] | None"

_IMAGE_DTYPES = ("float32", "float16", "bfloat16", "uint8")


def bind(inputs: Inputs, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Match the host arrays given to ``infer`` with an engine's inputs, checked and converted.

    Parameters
    ----------
    inputs : array, sequence of arrays in the order of ``specs``, or mapping from name to array
    specs : sequence of TensorSpec

    Returns
    -------
    dict of str to array
        In the order of ``specs``; each array C-contiguous, aligned and of exactly the dtype of its
        spec. An array that already is all this is not copied.

    Raises
    ------
    InputError
        If a name or the number of arrays, or an array's type, dtype, rank or shape is wrong.
    """
    bound: dict[str, Array] = {}
    arrays = arrange(inputs, specs)
    for spec in specs:
        array = arrays[spec.name]
        if not isinstance(array, np.ndarray):
            raise InputError(
                f"input '{spec.name}' is {type(array).__name__}; expected a NumPy array: "
                f"convert with np.asarray(x, {_python_name(spec.dtype)})"
            )
        check_dtype(array.dtype, spec)
        check_shape(array.shape, spec)
        bound[spec.name] = np.require(array, spec.dtype, ("C", "ALIGNED"))
    check_profiles({name: array.shape for name, array in bound.items()}, specs)
    return bound


def prepared(inputs: Any, specs: Sequence[TensorSpec]) -> Any:
    """Return inputs as the core takes them, cast and copied, in the form they were given in.

    Raises
    ------
    InputError
        As :func:`bind` does.
    """
    bound = bind(inputs, specs)
    return bound if isinstance(inputs, Mapping) else tuple(bound.values())


def unbind(outputs: Mapping[str, Array], inputs: Inputs) -> Outputs:
    """Return an engine's outputs in the form in which its inputs were given.

    Parameters
    ----------
    outputs : mapping from name to array
        In the engine's order.
    inputs : array, sequence of arrays, or mapping
        What ``infer`` was given.

    Returns
    -------
    dict for a mapping; else the array of a single output, or the tuple of several
    """
    if isinstance(inputs, Mapping):
        return dict(outputs)
    arrays = tuple(outputs.values())
    return arrays[0] if len(arrays) == 1 else arrays


def arrange(inputs: T | Sequence[T] | Mapping[str, T], specs: Sequence[TensorSpec]) -> dict[str, T]:
    """Match what was given to ``infer`` with the inputs' names, in the order of ``specs``.

    The arrays themselves may be of any kind, on any device, and are not looked at.

    Raises
    ------
    InputError
        If a name is unknown or missing, or there are too few or too many arrays.
    """
    names = [spec.name for spec in specs]
    if isinstance(inputs, Mapping):
        unknown = sorted(map(repr, inputs.keys() - set(names)))
        missing = [repr(name) for name in names if name not in inputs]
        if unknown or missing:
            wrong = [
                f"{word} inputs {', '.join(which)}"
                for word, which in (("unknown", unknown), ("missing", missing))
                if which
            ]
            raise InputError(f"{' and '.join(wrong)}; {_takes(names)}: give each by its name, once")
        return {name: inputs[name] for name in names}
    arrays: Sequence[T] = inputs if isinstance(inputs, (list, tuple)) else (inputs,)
    if len(arrays) != len(names):
        raise InputError(
            f"got {len(arrays)} input arrays; {_takes(names)}: "
            "pass a tuple in this order, or a dict by name"
        )
    return dict(zip(names, arrays, strict=True))


def shapes_of(shapes: Shapes, specs: Sequence[TensorSpec]) -> dict[str, Shape]:
    """Return a shape for each input: the one given, else the best one of the first profile.

    Raises
    ------
    InputError
        If a name is wrong, or a shape does not fit its input.
    """
    if isinstance(shapes, Mapping):
        unknown = sorted(set(shapes) - {spec.name for spec in specs})
        if unknown:
            raise InputError(f"unknown inputs {unknown}; {_takes([spec.name for spec in specs])}")
        given = {name: tuple(shape) for name, shape in shapes.items()}
    elif shapes is None:
        given = {}
    elif len(specs) == 1:
        given = {specs[0].name: tuple(shapes)}
    else:
        raise InputError(f"{_takes([spec.name for spec in specs])}: give shapes by name")
    wanted = {
        spec.name: given.get(spec.name) or (spec.profiles[0].opt if spec.profiles else spec.shape)
        for spec in specs
    }
    for spec in specs:
        check_shape(wanted[spec.name], spec)
    check_profiles(wanted, specs)
    return wanted


def sets_of(
    shapes: Shapes | Sequence[Shapes], specs: Sequence[TensorSpec]
) -> list[dict[str, Shape]]:
    """Return sets of shapes for all inputs: of one such set or a list of them; none for None."""
    if shapes is None:
        return []
    one = isinstance(shapes, Mapping) or all(isinstance(item, SupportsIndex) for item in shapes)
    sets: Sequence[Any] = [shapes] if one else list(shapes)
    return [shapes_of(given, specs) for given in sets]


def with_batch(specs: Sequence[TensorSpec], batch: int | None) -> dict[str, Shape] | None:
    """Return the shapes of all inputs with a dynamic batch, for so many rows; None for None.

    What else is dynamic is as in the best shapes of the first profile.

    Raises
    ------
    InputError
        If the batch is fixed, and another.
    """
    if batch is None:
        return None
    wanted = {
        spec.name: (batch, *(spec.profiles[0].opt if spec.profiles else spec.shape)[1:])
        for spec in specs
        if spec.shape[:1] == (-1,)
    }
    if not wanted and any(spec.shape[:1] != (batch,) for spec in specs):
        raise InputError(
            f"the batch is fixed, and not {batch}: the inputs are "
            f"{', '.join(f'{spec.name} {spec.shape}' for spec in specs)}"
        )
    return wanted


def alone(arrays: dict[str, T]) -> T | dict[str, T]:
    """Return the array of a single tensor, else the mapping."""
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays


def stream_handle(stream: Any) -> int:
    """Return the handle of a CUDA stream: an int, or an object of PyTorch, CuPy or cuda.core.

    Raises
    ------
    InputError
        If it is none of these.
    """
    if hasattr(stream, "__cuda_stream__"):
        return int(stream.__cuda_stream__()[1])
    for attribute in ("cuda_stream", "ptr"):  # PyTorch's name, and CuPy's
        if hasattr(stream, attribute):
            return int(getattr(stream, attribute))
    if isinstance(stream, int):
        return stream
    raise InputError(
        f"stream is {type(stream).__name__}; expected an int handle, or a stream of PyTorch or CuPy"
    )


def keep_stream(results: Any, stream: Any) -> None:
    """Have outputs that were made for the call keep the stream that fills them."""
    if isinstance(results, Mapping):
        results = results.values()
    for result in results if isinstance(results, (tuple, ValuesView)) else (results,):
        if isinstance(result, _core.DeviceArray):
            result.keep(stream)


def check_dtype(dtype: np.dtype[np.generic], spec: TensorSpec) -> None:
    """Raise InputError unless NumPy casts the dtype to that of the input without loss."""
    if not np.can_cast(dtype, spec.dtype, "safe"):
        raise InputError(
            f"input '{spec.name}' is {dtype}; expected {spec.dtype}: "
            f"convert with .astype({_python_name(spec.dtype)})"
        )


def check_shape(shape: Shape, spec: TensorSpec) -> None:
    """Raise InputError unless the shape has the input's rank and its static dimensions."""
    if len(shape) != len(spec.shape):
        raise InputError(
            f"input '{spec.name}' has rank {len(shape)}, shape {shape}; "
            f"expected rank {len(spec.shape)}, shape {spec.shape}: "
            "add a missing batch dimension with x[np.newaxis]"
        )
    wrong = [
        axis
        for axis, (got, expected) in enumerate(zip(shape, spec.shape, strict=True))
        if expected not in (-1, got)
    ]
    if wrong:
        raise InputError(
            f"input '{spec.name}' has shape {shape}; expected {spec.shape}, where -1 is any size: "
            f"change axis {', '.join(map(str, wrong))}, or build the engine with it dynamic"
        )


def check_profiles(shapes: Mapping[str, Shape], specs: Sequence[TensorSpec]) -> None:
    """Raise InputError unless one optimisation profile allows the shapes of all inputs together."""
    dynamic = [spec for spec in specs if spec.profiles]
    profiles = list(zip(*(spec.profiles for spec in dynamic), strict=True))
    got = [shapes[spec.name] for spec in dynamic]
    if not profiles or any(all(map(_within, got, ranges)) for ranges in profiles):
        return
    lines = [
        f"profile {number}: "
        + ", ".join(
            f"'{spec.name}' {allowed.min} to {allowed.max}"
            for spec, allowed in zip(dynamic, ranges, strict=True)
        )
        for number, ranges in enumerate(profiles)
    ]
    inputs = ", ".join(f"'{spec.name}' {shape}" for spec, shape in zip(dynamic, got, strict=True))
    raise InputError(
        f"input shapes {inputs} lie in no optimisation profile; expected one of "
        f"{'; '.join(lines)}: split or pad the batch, or build the engine with wider shapes"
    )


def image_preprocess(preprocess: Preprocess | None, specs: Sequence[TensorSpec]) -> Preprocess:
    """Return the preprocessing, if there is one and the engine takes images of its kind.

    Raises
    ------
    InputError
        If not; the message says what is missing.
    """
    if preprocess is None:
        raise InputError(
            "this engine does not know how it takes images: give preprocess=trtfast.Preprocess(…) "
            "to the engine, or to the build, which keeps it in the passport"
        )
    spec = specs[0]
    if len(specs) != 1 or len(spec.shape) != 4 or spec.dtype.name not in _IMAGE_DTYPES:
        raise InputError(
            f"this engine does not take images: its inputs are "
            f"{', '.join(f'{s.name} {s.dtype} {s.shape}' for s in specs)}; expected one, of "
            "a floating dtype or uint8, and shape (N, channels, height, width) or (N, height, "
            "width, channels)"
        )
    if spec.dtype.name == "uint8" and preprocess.normalization != "none":
        raise InputError(
            f"input '{spec.name}' is uint8, and normalization={preprocess.normalization!r} gives "
            "fractions: the model takes pixels as they are, so give Preprocess "
            "normalization='none'"
        )
    given = preprocess.shape(max(spec.shape[0], 1))
    if any(size not in (-1, made) for size, made in zip(spec.shape, given, strict=True)):
        raise InputError(
            f"the preprocessing gives {preprocess.layout} of shape {given}, and input "
            f"'{spec.name}' has shape {spec.shape}, where -1 is any size: change size=, channels= "
            "or layout= of the Preprocess, or build the engine with dynamic dimensions"
        )
    return preprocess


def largest_batch(spec: TensorSpec) -> int:
    """Return how many rows an input may have at most."""
    if spec.shape[0] >= 0:
        return spec.shape[0]
    return max(allowed.max[0] for allowed in spec.profiles)


def padded(spec: TensorSpec) -> TensorSpec:
    """Return an input's specification where rows are added to what is given: any number fits."""
    if not spec.profiles or spec.shape[0] >= 0:
        return spec
    ranges = (dataclasses.replace(r, min=(0, *r.min[1:])) for r in spec.profiles)
    return dataclasses.replace(spec, profiles=tuple(ranges))


def joined(parts: Sequence[Outputs], specs: Sequence[TensorSpec]) -> Outputs:
    """Join the outputs of several runs along their rows; of none, there are none."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        empty = [np.empty((0, *(max(size, 0) for size in s.shape[1:])), s.dtype) for s in specs]
        return empty[0] if len(empty) == 1 else tuple(empty)
    rows = [part if isinstance(part, tuple) else (part,) for part in parts]
    arrays: tuple[Array, ...] = tuple(map(np.concatenate, zip(*rows, strict=True)))
    return arrays[0] if len(arrays) == 1 else arrays


def _takes(names: Sequence[str]) -> str:
    return f"the engine takes {len(names)} ({', '.join(map(repr, names))})"


def _within(shape: Shape, allowed: ShapeRange) -> bool:
    return all(
        low <= size <= high for low, size, high in zip(allowed.min, shape, allowed.max, strict=True)
    )


def _python_name(dtype: np.dtype[np.generic]) -> str:
    return f"{'np' if dtype.isbuiltin == 1 else 'ml_dtypes'}.{dtype}"
