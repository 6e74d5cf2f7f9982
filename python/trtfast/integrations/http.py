"""Arrays in the bodies of HTTP: JSON, ``.npy``, and images."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.responses import JSONResponse, Response

from ..errors import InputError
from ..statuses import HTTP_STATUS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from ..spec import Array, Inputs, Outputs, TensorSpec

__all__ = ["Given", "read", "refusal", "response"]

_NPY = "application/x-npy"
_EXPECTED = (
    "expected numbers in JSON, in lists for the one input or in an object by the names of all; or "
    "an array as numpy.save writes it; or an image, with its Content-Type"
)


@dataclass(frozen=True)
class Given:
    """What a request has: inputs of the model or an image, and whether the answer is binary."""

    inputs: Any
    is_image: bool = False
    is_binary: bool = False


async def read(request: Request, inputs: Sequence[TensorSpec]) -> Given:
    """Read the body of a request.

    Raises
    ------
    InputError
        If it is none of the forms.
    """
    body = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("image/"):
        return Given([body], is_image=True)
    if body.startswith(b"\x93NUMPY"):
        return Given(_of_npy(body), is_binary=True)
    return Given(_of_json(body, inputs))


def response(given: Given, outputs: Outputs, specs: Sequence[TensorSpec]) -> Response:
    """Answer in the form of the request; several outputs of one in ``.npy`` are an ``.npz``."""
    if not given.is_binary:
        return JSONResponse(_to_json(outputs))
    file = io.BytesIO()
    if isinstance(outputs, np.ndarray):
        np.save(file, outputs, allow_pickle=False)
        return Response(file.getvalue(), media_type=_NPY)
    arrays: dict[str, Any] = {spec.name: array for spec, array in zip(specs, outputs, strict=True)}
    np.savez(file, **arrays)
    return Response(file.getvalue(), media_type="application/x-npz")


def refusal(error: Exception) -> Response:
    """Say why there is no answer."""
    return JSONResponse({"detail": str(error)}, HTTP_STATUS[type(error)])


def _of_npy(body: bytes) -> Array:
    try:
        array: Array = np.lib.format.read_array(io.BytesIO(body), allow_pickle=False)
    except (ValueError, EOFError, MemoryError) as error:
        raise InputError(f"the body is no whole .npy file, {error}: {_EXPECTED}") from error
    return array


def _of_json(body: bytes, inputs: Sequence[TensorSpec]) -> Inputs:
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the body is no JSON, {error}: {_EXPECTED}") from error
    dtypes = {spec.name: spec.dtype for spec in inputs}
    if isinstance(values, dict):
        if values.keys() != dtypes.keys():
            raise InputError(f"the body has inputs {list(values)}; expected {list(dtypes)}")
        return {name: _to_array(name, value, dtypes[name]) for name, value in values.items()}
    if len(inputs) != 1:
        raise InputError(f"the model has inputs {list(dtypes)}: {_EXPECTED}")
    return _to_array(inputs[0].name, values, inputs[0].dtype)


def _to_array(name: str, values: Any, dtype: np.dtype[Any]) -> Array:
    try:
        found = np.asarray(values)  # which tells a null or a text from a number
        if found.dtype.kind not in "biuf" or (found.dtype.kind == "f" and dtype.kind in "biu"):
            raise TypeError(f"it has {found.dtype}")
        return np.asarray(values, dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"input {name!r} is no array of {dtype}, {error}: {_EXPECTED}") from error


def _to_json(outputs: Outputs) -> Any:
    if isinstance(outputs, Mapping):
        return {name: array.tolist() for name, array in outputs.items()}
    if isinstance(outputs, tuple):
        return [array.tolist() for array in outputs]
    return outputs.tolist()
