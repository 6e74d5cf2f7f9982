"""Requests and responses over HTTP: JSON, and tensors as bytes behind it.

KServe's own reading makes a list of numbers from a tensor's bytes, one by one: for an image, that
takes longer than all else together. Here arrays read the request's bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from kserve import InferInput, InferRequest
from kserve.protocol.infer_type import RequestedOutput

from ..errors import InputError
from .tensors import packed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kserve import InferOutput, InferResponse

__all__ = ["HEADER_LENGTH", "read", "written"]

HEADER_LENGTH = "inference-header-content-length"
"""The header that says how many bytes of JSON there are before those of tensors."""


def read(body: bytes, header_length: str | None, model: str) -> InferRequest:
    """Read a request.

    Parameters
    ----------
    body : bytes
    header_length : str or None
        What the header says of the JSON's length in bytes; None if all is JSON.
    model : str

    Raises
    ------
    InputError
        If it is no request.
    """
    length = len(body) if header_length is None else _length(header_length, len(body))
    view = memoryview(body)
    try:
        told = orjson.loads(view[:length])
    except orjson.JSONDecodeError as error:
        raise InputError(f"the request is no JSON: {error}") from error
    told = _typed(told, dict, "the request")
    inputs, raw = [], []
    for each in _listed(told, "inputs"):
        tensor, size = _input(each)
        inputs.append(tensor)
        raw.append(None if size is None else view[length : length + size])
        length += size or 0
    if length != len(body):
        raise InputError(
            f"the tensors of the request have {length} bytes with its JSON, and it has {len(body)}"
        )
    return InferRequest(
        model_name=model,
        infer_inputs=inputs,
        request_id=_typed(told.get("id", ""), str, "id"),
        raw_inputs=raw,
        parameters=_parameters(told),
        request_outputs=[_wanted(each) for each in _listed(told, "outputs")],
    )


def written(request: InferRequest, response: InferResponse) -> tuple[bytes, dict[str, str]]:
    """Return the bytes of a response, and its headers."""
    all_binary = bool(request.parameters.get("binary_data_output", False))
    binary = {
        each.name: bool((each.parameters or {}).get("binary_data", all_binary))
        for each in request.request_outputs
    }
    parts: list[bytes] = []
    outputs = []
    for tensor in response.outputs:
        described = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": tensor.shape,
        }
        if binary.get(tensor.name, all_binary):
            parts.append(packed(tensor.data))
            described["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            described["data"] = _numbers(tensor)
        outputs.append(described)
    told = {
        "model_name": response.model_name,
        "model_version": response.model_version,
        "outputs": outputs,
    }
    if request.id:
        told["id"] = request.id
    head = orjson.dumps(told, option=orjson.OPT_SERIALIZE_NUMPY)
    if not parts:
        return head, {"content-type": "application/json"}
    headers = {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(head))}
    return b"".join((head, *parts)), headers


def _length(header: str, most: int) -> int:
    if not header.isdecimal() or int(header) > most:
        raise InputError(
            f"{HEADER_LENGTH} is {header!r}: expected the length of the JSON, 0 to {most} bytes"
        )
    return int(header)


def _input(told: Any) -> tuple[InferInput, int | None]:
    """Return a tensor, and the length of its bytes if they are behind the JSON."""
    told = _typed(told, dict, "an input")
    name = _typed(told.get("name"), str, "an input's name")
    shape = _typed(told.get("shape"), list, f"the shape of input {name!r}")
    for size in shape:
        _typed(size, int, f"a size of input {name!r}")
    datatype = _typed(told.get("datatype"), str, f"the datatype of input {name!r}")
    parameters = _parameters(told)
    size = parameters.get("binary_data_size")
    data = told.get("data")
    if (size is None) == (data is None):
        raise InputError(f"input {name!r} needs data, or binary_data_size, and not both")
    if size is not None and _typed(size, int, f"binary_data_size of input {name!r}") < 0:
        raise InputError(f"binary_data_size of input {name!r} is {size}")
    if data is not None:
        data = _checked(_typed(data, list, f"the data of input {name!r}"), datatype, name)
    return InferInput(name, shape, datatype, data, parameters), size


def _checked(data: list[Any], datatype: str, name: str) -> list[Any]:
    """Return data of JSON, unless NumPy would make whole numbers of what are none."""
    if datatype == "BYTES":
        return [each.encode() if isinstance(each, str) else each for each in data]
    if datatype.startswith(("INT", "UINT")) and np.asarray(data, object).size:
        flat = np.asarray(data, object).ravel()
        if not all(isinstance(each, int) for each in flat):
            raise InputError(f"the data of input {name!r} are not all whole, as {datatype} are")
    return data


def _wanted(told: Any) -> RequestedOutput:
    told = _typed(told, dict, "an output")
    return RequestedOutput(_typed(told.get("name"), str, "an output's name"), _parameters(told))


def _parameters(told: Mapping[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = _typed(told.get("parameters") or {}, dict, "parameters")
    return given


def _listed(told: Mapping[str, Any], name: str) -> list[Any]:
    listed: list[Any] = _typed(told.get(name) or [], list, name)
    return listed


def _typed(value: Any, kind: type, what: str) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        names = {dict: "an object", list: "a list", str: "a string", int: "a whole number"}
        raise InputError(f"{what} is {value!r:.80}: expected {names[kind]}")
    return value


def _numbers(tensor: InferOutput) -> Any:
    flat = np.ascontiguousarray(tensor.data).ravel()
    if tensor.datatype == "BYTES":
        return [each.decode() for each in flat]
    return flat
