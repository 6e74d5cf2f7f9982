"""Tensors of the protocol, and NumPy's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from kserve import InferOutput
from kserve.protocol.infer_type import serialize_byte_tensor
from kserve.utils.numpy_codec import from_np_dtype

from ..errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kserve import InferInput, InferRequest

    from ..spec import Array, TensorSpec

__all__ = ["array_of", "arrays_of", "classified", "datatype", "described", "output", "packed"]


def datatype(spec: TensorSpec) -> str:
    """Return the protocol's name of a tensor's type.

    Raises
    ------
    InputError
        If it has none.
    """
    name = None if spec.dtype.kind == "V" else from_np_dtype(spec.dtype)
    if name is None:
        raise InputError(
            f"{spec.name!r} is {spec.dtype}, for which the protocol has no name: have the model "
            "take and give float32"
        )
    return str(name)


def described(specs: Sequence[TensorSpec]) -> list[dict[str, Any]]:
    """Return tensors as a model's metadata has them."""
    return [
        {"name": spec.name, "datatype": datatype(spec), "shape": list(spec.shape)} for spec in specs
    ]


def array_of(tensor: InferInput) -> Array:
    """Return a tensor of a request as an array, which reads the request's own bytes.

    Raises
    ------
    InputError
        If the data is not what the tensor's type and shape say.
    """
    if any(size < 0 for size in tensor.shape):
        raise InputError(f"input {tensor.name!r} has the shape {tensor.shape}: give each size")
    try:
        array: Array = tensor.as_numpy()
    except (ValueError, TypeError, OverflowError, ArithmeticError, LookupError) as error:
        raise InputError(
            f"the data of input {tensor.name!r} is not {tensor.datatype} of the shape "
            f"{tensor.shape}: {error}"
        ) from error
    except Exception as error:  # struct.error, of the lengths in BYTES
        raise InputError(f"the data of input {tensor.name!r} is damaged: {error}") from error
    return array


def arrays_of(request: InferRequest, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Return a request's tensors by name.

    Whether their shapes fit is for the batcher to say.

    Raises
    ------
    InputError
        If a name or a type is not the model's, or the data is not what they say.
    """
    wanted = {spec.name: datatype(spec) for spec in specs}
    given = [tensor.name for tensor in request.inputs]
    if sorted(given) != sorted(wanted):
        raise InputError(
            f"the request has the inputs {_listed(given)}, and the model takes {_listed(wanted)}"
        )
    for tensor in request.inputs:
        if tensor.datatype != wanted[tensor.name]:
            raise InputError(
                f"input {tensor.name!r} is {tensor.datatype}, and the model takes "
                f"{wanted[tensor.name]}"
            )
    return {tensor.name: array_of(tensor) for tensor in request.inputs}


def output(name: str, array: Array) -> InferOutput:
    """Return an array as a tensor of a response, which still holds it."""
    return InferOutput(name, list(array.shape), from_np_dtype(array.dtype), array)


def packed(array: Array) -> bytes:
    """Return an array's bytes as they travel."""
    if array.dtype != np.object_:
        return array.tobytes()
    return bytes(serialize_byte_tensor(array).item()) if array.size else b""


def classified(scores: Array, count: int, classes: Sequence[str] | None) -> Array:
    """Return the best classes of each row, as ``b"score:index"`` or ``b"score:index:name"``.

    Parameters
    ----------
    scores : array (batch, classes)
    count : int
        How many, at most; 1 or more.
    classes : sequence of str or None
        Their names.

    Raises
    ------
    InputError
    """
    if count < 1 or scores.ndim < 2 or scores.dtype.kind not in "fiu":
        raise InputError(
            f"classification={count} of an output of {scores.dtype} {scores.shape}: expected 1 or "
            "more, of scores (batch, classes)"
        )
    rows = scores.reshape(len(scores), -1)
    best = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :count]
    names = classes if classes is not None and len(classes) == rows.shape[1] else None
    told = np.empty(best.shape, np.object_)
    for (row, place), index in np.ndenumerate(best):
        text = f"{rows[row, index]:f}:{index}"
        told[row, place] = (text if names is None else f"{text}:{names[index]}").encode()
    return told


def _listed(names: Sequence[str] | Mapping[str, Any]) -> str:
    return ", ".join(map(repr, names)) or "none"
