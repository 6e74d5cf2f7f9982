"""Streams, and the shapes that warm-up and page-locked arrays are given."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtfast.binding import alone, sets_of, shapes_of, stream_handle
from trtfast.errors import InputError
from trtfast.spec import ShapeRange, TensorSpec

RANGE = ShapeRange((1, 2), (4, 2), (200, 2))
X = TensorSpec("x", np.dtype(np.float32), (-1, 2), (RANGE,))
FIXED = TensorSpec("scale", np.dtype(np.float32), (1,))
BATCHES = st.integers(1, 200)


@pytest.mark.parametrize(
    "stream",
    [
        7,
        SimpleNamespace(cuda_stream=7),
        SimpleNamespace(ptr=7),
        SimpleNamespace(__cuda_stream__=lambda: (0, 7)),
        SimpleNamespace(__cuda_stream__=lambda: (0, 7), ptr=8),
    ],
)
def test_a_stream_of_any_library(stream: Any) -> None:
    assert stream_handle(stream) == 7


@pytest.mark.parametrize("stream", ["7", 7.0, object()])
def test_what_is_no_stream_is_refused(stream: Any) -> None:
    name = type(stream).__name__
    with pytest.raises(InputError, match=f"stream is {name}; expected an int handle"):
        stream_handle(stream)


def test_shapes_by_default_are_the_best_ones() -> None:
    assert shapes_of(None, [X, FIXED]) == {"x": (4, 2), "scale": (1,)}
    assert shapes_of({}, [X, FIXED]) == {"x": (4, 2), "scale": (1,)}


@given(BATCHES)
def test_every_form_of_a_shape_is_the_same(batch: int) -> None:
    forms: list[Any] = [(batch, 2), [batch, 2], {"x": (batch, 2)}, {"x": [batch, 2]}]
    forms.append(tuple(np.array([batch, 2])))
    for form in forms:
        assert shapes_of(form, [X]) == {"x": (batch, 2)}
        assert sets_of(form, [X]) == sets_of([form], [X]) == [{"x": (batch, 2)}]
    assert shapes_of({"x": (batch, 2)}, [X, FIXED]) == {"x": (batch, 2), "scale": (1,)}


@given(st.lists(BATCHES, min_size=1))
def test_a_list_of_shapes_is_a_set_each(batches: list[int]) -> None:
    wanted = [{"x": (batch, 2)} for batch in batches]
    assert sets_of([(batch, 2) for batch in batches], [X]) == wanted
    assert sets_of([{"x": (batch, 2)} for batch in batches], [X]) == wanted


def test_no_shapes_are_no_sets() -> None:
    assert sets_of(None, [X]) == []
    assert sets_of([None, (5, 2)], [X]) == [{"x": (4, 2)}, {"x": (5, 2)}]


@pytest.mark.parametrize(
    ("shapes", "specs", "message"),
    [
        ({"z": (1, 2)}, [X], r"unknown inputs \['z'\]"),
        ((4, 2), [X, FIXED], "give shapes by name"),
        ((4, 3), [X], r"has shape \(4, 3\)"),
        ((4,), [X], "has rank 1"),
        ((201, 2), [X], "no optimisation profile"),
    ],
)
def test_shapes_that_do_not_fit(shapes: Any, specs: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        shapes_of(shapes, specs)


def test_one_array_stands_alone() -> None:
    one, other = np.zeros(1), np.zeros(2)
    assert alone({"x": one}) is one
    assert alone({"x": one, "y": other}) == {"x": one, "y": other}
