"""Inputs for a profile, where none are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..binding import shapes_of
from ..errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..binding import Shapes
    from ..spec import Array, TensorSpec

__all__ = ["arrays_of"]


def arrays_of(specs: Sequence[TensorSpec], shapes: Shapes = None) -> dict[str, Array]:
    """Make an array for each input.

    Floats are random, always the same, as GPUs draw less power for zeros, and clock higher.
    Integers of 8 bits are random too, as they are pixels or quantised values. Larger ones are 0,
    which is an index into anything, and bools are True, which masks nothing.

    Parameters
    ----------
    specs : sequence of TensorSpec
        The engine's inputs.
    shapes : shape of the single input, or mapping from name to shape, optional
        By default the best shapes of the first profile; without profiles, a batch of 1.

    Raises
    ------
    InputError
        If a name or a shape is wrong, if more than the batch is dynamic and no shape is given, or
        if an input's values make shapes, of which none can be made up.
    """
    if values := [spec.name for spec in specs if spec.profiles and -1 not in spec.shape]:
        raise InputError(
            f"the values of {values} make shapes, and cannot be made up: give your own inputs"
        )
    wanted = shapes_of(shapes, specs)
    rng = np.random.default_rng(0)
    arrays: dict[str, Array] = {}
    for spec in specs:
        shape = tuple(1 if n == -1 and axis == 0 else n for axis, n in enumerate(wanted[spec.name]))
        if -1 in shape:
            raise InputError(
                f"input {spec.name!r} has dynamic dimensions, {spec.shape}, and nothing says how "
                "large they are: give inputs, or their shapes"
            )
        arrays[spec.name] = _array(shape, spec.dtype, rng)
    return arrays


def _array(shape: tuple[int, ...], dtype: np.dtype[np.generic], rng: np.random.Generator) -> Array:
    if dtype == np.bool_:
        return np.ones(shape, dtype)
    if dtype.kind in "iu":
        if dtype.itemsize > 1:
            return np.zeros(shape, dtype)
        return rng.integers(0, 256, shape, np.uint8).view(dtype)
    return rng.standard_normal(shape, np.float32).astype(dtype)
