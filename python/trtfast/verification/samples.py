"""The inputs that an engine is verified on, one call after another."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..arrays import read_arrays
from ..binding import arrange, bind, largest_batch
from ..errors import InputError

if TYPE_CHECKING:
    from ..spec import Array, Inputs, TensorSpec

    Samples: TypeAlias = str | os.PathLike[str] | Array | Mapping[str, Array] | Iterable[Inputs]

__all__ = ["Samples", "samples_of"]

_ROWS = 32  # of a call, where the engine takes any number


def samples_of(samples: Samples, specs: Sequence[TensorSpec]) -> Iterator[dict[str, Array]]:
    """Give the inputs of each call by name, checked and cast, and keep none of them.

    Parameters
    ----------
    samples : path, array, mapping from input name to array, or iterable
        Of an iterable, each item is what ``infer`` takes. All else is rows, which are dealt out to
        as many calls as it takes: a ``.npy`` file or an array for a single input, a ``.npz`` file
        or a mapping by name.
    specs : sequence of TensorSpec
        The engine's inputs.

    Raises
    ------
    InputError
        If there are no samples, or one is not what the engine takes; the message has its index.
    """
    if isinstance(samples, (str, os.PathLike)):
        samples = read_arrays(samples)
    if isinstance(samples, (Mapping, np.ndarray)):
        samples = _dealt(arrange(samples, specs), specs)
    if not isinstance(samples, Iterable):
        raise InputError(
            f"samples is {type(samples).__name__}; expected an iterable of inputs, arrays of rows, "
            "or the path of a .npy or .npz file"
        )
    number = -1
    for number, inputs in enumerate(samples):
        try:
            bound = bind(inputs, specs)
        except InputError as error:
            raise InputError(f"sample {number}: {error}") from error
        yield bound
    if number < 0:
        raise InputError("there are no samples; expected at least one")


def _dealt(arrays: Mapping[str, Array], specs: Sequence[TensorSpec]) -> Iterator[dict[str, Array]]:
    counts = {np.shape(array)[:1] for array in arrays.values()}
    if len(counts) != 1 or counts == {()} or any(spec.shape == () for spec in specs):
        # There are no rows that the inputs have in common.
        yield dict(arrays)
        return
    ((count,),) = counts
    size = min(map(_largest, specs))
    if any(spec.shape[0] >= 0 for spec in specs) and count % size:
        raise InputError(
            f"samples have {count} rows, and the engine takes {size} in each call: give a multiple"
        )
    for start in range(0, count, size):
        yield {name: np.asarray(array[start : start + size]) for name, array in arrays.items()}


def _largest(spec: TensorSpec) -> int:
    if spec.shape[0] < 0 and not spec.profiles:
        return _ROWS
    return min(largest_batch(spec), _ROWS) if spec.shape[0] < 0 else spec.shape[0]
