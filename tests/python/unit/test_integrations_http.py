"""Bodies of HTTP: what is read of them, and in which form the answer comes."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import numpy as np
import pytest

import trtfast
from trtfast import TensorSpec

pytest.importorskip("starlette")
from starlette.requests import Request

from trtfast.integrations import http

ONE = (TensorSpec("x", np.dtype(np.float32), (-1, 2)),)
TWO = (*ONE, TensorSpec("count", np.dtype(np.uint8), (-1,)))
ROWS = np.array([[1, 2], [3.5, -4]], np.float32)


def read(body: bytes, inputs: Any = ONE, kind: str = "") -> http.Given:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    headers = [(b"content-type", kind.encode())]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    return asyncio.run(http.read(request, inputs))


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_numbers_get_the_dtype_of_their_input() -> None:
    given = read(json.dumps({"x": ROWS.tolist(), "count": [0, 255]}).encode(), TWO)
    assert {name: array.dtype for name, array in given.inputs.items()} == {
        "x": np.float32,
        "count": np.uint8,
    }
    np.testing.assert_array_equal(given.inputs["x"], ROWS)
    np.testing.assert_array_equal(given.inputs["count"], [0, 255])
    np.testing.assert_array_equal(read(b"[[1, 2], [3.5, -4]]").inputs, ROWS)


@pytest.mark.parametrize("count", [[256], [-1], [1.5], [True, None], ["1"], [[1], [1, 2]]])
def test_numbers_that_their_input_does_not_hold_are_refused(count: Any) -> None:
    with pytest.raises(trtfast.InputError, match="input 'count' is no array of uint8"):
        read(json.dumps({"x": [[1, 2]], "count": count}).encode(), TWO)


def test_inputs_have_to_be_all_and_named() -> None:
    with pytest.raises(trtfast.InputError, match=r"has inputs \['x'\]; expected \['x', 'count'\]"):
        read(b'{"x": [[1, 2]]}', TWO)
    with pytest.raises(trtfast.InputError, match=r"the model has inputs \['x', 'count'\]"):
        read(b"[[1, 2]]", TWO)


def test_an_image_is_told_by_its_type() -> None:
    assert read(b"[[1, 2]]", kind="Image/JPEG; q=1") == http.Given([b"[[1, 2]]"], is_image=True)


@pytest.mark.parametrize("array", [ROWS, ROWS.astype(np.float16), ROWS.T, np.zeros((0, 2))])
def test_npy_is_any_array(array: np.ndarray) -> None:
    given = read(npy(array))
    assert (given.is_binary, given.inputs.dtype) == (True, array.dtype)
    np.testing.assert_array_equal(given.inputs, array)


def test_an_array_that_claims_to_be_huge_is_refused() -> None:
    claimed = npy(ROWS).replace(b"'shape': (2, 2), }        ", b"'shape': (2, 9999999999), }")
    assert b"9999999999" in claimed
    with pytest.raises(trtfast.InputError, match="no whole"):
        read(claimed)


def test_answers_have_the_form_of_the_request() -> None:
    text, binary = http.Given(ROWS), http.Given(ROWS, is_binary=True)
    both = (ROWS, np.array([7], np.uint8))
    assert json.loads(http.response(text, ROWS, ONE).body) == ROWS.tolist()
    assert json.loads(http.response(text, {"x": ROWS}, ONE).body) == {"x": ROWS.tolist()}
    assert json.loads(http.response(text, both, TWO).body) == [ROWS.tolist(), [7]]
    single = http.response(binary, ROWS, ONE)
    assert single.media_type == "application/x-npy"
    np.testing.assert_array_equal(np.load(io.BytesIO(single.body)), ROWS)
    several = http.response(binary, both, TWO)
    assert several.media_type == "application/x-npz"
    with np.load(io.BytesIO(several.body)) as file:
        assert sorted(file) == ["count", "x"]
        np.testing.assert_array_equal(file["count"], [7])


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (trtfast.InputError("wrong"), 400),
        (trtfast.QueueFullError("wrong"), 503),
        (trtfast.ClosedError("wrong"), 503),
        (trtfast.DeadlineExceededError("wrong"), 504),
    ],
)
def test_an_error_is_told(error: Exception, status: int) -> None:
    answer = http.refusal(error)
    assert (answer.status_code, json.loads(answer.body)) == (status, {"detail": "wrong"})
