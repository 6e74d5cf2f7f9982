from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtfast.binding import arrange, bind, check_dtype, check_profiles, check_shape, unbind
from trtfast.errors import InputError
from trtfast.spec import ShapeRange, TensorSpec


def spec(name: str = "x", dtype: Any = np.float32, shape: tuple[int, ...] = (-1, 3)) -> TensorSpec:
    return TensorSpec(name, np.dtype(dtype), shape)


ONE = (spec(),)
TWO = (spec("a"), spec("b", np.int64, (-1,)))
A, B = np.ones((2, 3), np.float32), np.arange(4)


# ---- which array is which tensor ----------------------------------------------------------------


@pytest.mark.parametrize("inputs", [(A, B), [A, B], {"b": B, "a": A}])
def test_every_form_gives_the_same_in_the_order_of_the_specs(inputs: Any) -> None:
    bound = bind(inputs, TWO)
    assert list(bound) == ["a", "b"]
    assert bound["a"] is A
    assert bound["b"] is B


@pytest.mark.parametrize("inputs", [A, (A,), [A], {"x": A}])
def test_single_input(inputs: Any) -> None:
    assert bind(inputs, ONE)["x"] is A


def test_no_input() -> None:
    assert bind({}, ()) == {}
    assert bind((), ()) == {}


@pytest.mark.parametrize(
    ("inputs", "specs", "message"),
    [
        ({"a": A}, TWO, "missing inputs 'b'; the engine takes 2"),
        ({"a": A, "b": B, "c": A, "d": A}, TWO, "unknown inputs 'c', 'd'"),
        ({"y": A}, ONE, "unknown inputs 'y' and missing inputs 'x'"),
        ({1: A}, ONE, "unknown inputs 1"),
        (A, TWO, r"got 1 input arrays; the engine takes 2 \('a', 'b'\)"),
        ((A, B, A), TWO, "got 3 input arrays"),
        ((), ONE, "got 0 input arrays"),
    ],
)
def test_wrong_names_and_numbers_are_refused(inputs: Any, specs: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        bind(inputs, specs)


def test_arrange_takes_arrays_of_any_kind() -> None:
    class DeviceArray:
        pass

    x: Any = DeviceArray()
    y: Any = DeviceArray()
    assert arrange(x, ONE) == {"x": x}
    assert arrange([x, y], TWO) == {"a": x, "b": y}


@pytest.mark.parametrize("value", [None, [[1.0, 2.0, 3.0]], np.float32(1), "abc", 3.0])
def test_what_is_no_array_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match=r"input 'x' is .*np\.asarray\(x, np\.float32\)"):
        bind({"x": value}, ONE)


# ---- dtypes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_dtype", "wanted"),
    [
        (np.float16, np.float32),
        (np.uint8, np.float32),
        (np.bool_, np.int64),
        (np.int32, np.int64),
        (">f4", np.float32),
        (ml_dtypes.bfloat16, np.float32),
        (np.uint8, ml_dtypes.bfloat16),
    ],
)
def test_safe_casts_are_made(given_dtype: Any, wanted: Any) -> None:
    values = np.array([[0, 1, 1]]).astype(given_dtype)
    got = bind(values, [spec(dtype=wanted)])["x"]
    assert got.dtype == wanted
    np.testing.assert_array_equal(got.astype(np.float64), [[0, 1, 1]])


@pytest.mark.parametrize(
    ("given_dtype", "wanted", "advice"),
    [
        (np.float64, np.float32, r"astype\(np\.float32\)"),
        (np.int64, np.float32, r"astype\(np\.float32\)"),
        (np.int64, np.int32, r"astype\(np\.int32\)"),
        (np.float32, np.float16, r"astype\(np\.float16\)"),
        (np.float32, ml_dtypes.bfloat16, r"astype\(ml_dtypes\.bfloat16\)"),
        (np.complex64, np.float32, r"astype\(np\.float32\)"),
        (object, np.float32, r"astype\(np\.float32\)"),
        ("U3", np.float32, r"astype\(np\.float32\)"),
        ("m8[s]", np.float64, r"astype\(np\.float64\)"),
    ],
)
def test_unsafe_casts_are_refused(given_dtype: Any, wanted: Any, advice: str) -> None:
    dtype = np.dtype(given_dtype)
    with pytest.raises(InputError, match=f"'x' is .*expected {np.dtype(wanted)}.*{advice}"):
        bind(np.zeros((1, 3), dtype), [spec(dtype=wanted)])
    with pytest.raises(InputError, match=advice):
        check_dtype(dtype, spec(dtype=wanted))


# ---- layout -------------------------------------------------------------------------------------


def test_any_layout_becomes_contiguous_and_aligned() -> None:
    big = np.arange(24, dtype=np.float32).reshape(4, 6)
    unaligned = np.frombuffer(b"\0" + big[:, :3].tobytes(), np.uint8)[1:].view(np.float32)
    views = [
        big[:, ::2],
        big[::-1, :3],
        np.asfortranarray(big[:, :3]),
        np.broadcast_to(big[:1, :3], (4, 3)),
        unaligned.reshape(4, 3),
    ]
    for view in views:
        got = bind(view, ONE)["x"]
        np.testing.assert_array_equal(got, view)
        assert got.flags.c_contiguous
        assert got.flags.aligned


def test_scalar_stays_of_rank_zero() -> None:
    assert bind(np.array(3, np.int32), [spec(dtype=np.int64, shape=())])["x"].shape == ()


# ---- shapes and profiles ------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 1)), max_size=5))
def test_shape_is_taken_exactly_where_static_dimensions_agree(
    axes: list[tuple[int, bool, int]],
) -> None:
    declared = tuple(-1 if dynamic else size for size, dynamic, _ in axes)
    shape = tuple(size + off for size, _, off in axes)
    agrees = all(dynamic or off == 0 for _, dynamic, off in axes)
    if agrees:
        check_shape(shape, spec(shape=declared))
    else:
        with pytest.raises(InputError, match="where -1 is any size"):
            check_shape(shape, spec(shape=declared))


def test_wrong_rank_and_axes_are_named() -> None:
    with pytest.raises(InputError, match=r"'x' has rank 1, shape \(3,\); expected rank 2"):
        check_shape((3,), spec())
    with pytest.raises(InputError, match=r"shape \(2, 5, 7\); expected \(-1, 4, 6\).*axis 1, 2"):
        check_shape((2, 5, 7), spec(shape=(-1, 4, 6)))


def ranged(name: str, *ranges: tuple[int, int]) -> TensorSpec:
    profiles = tuple(ShapeRange((low, 3), (low, 3), (high, 3)) for low, high in ranges)
    return TensorSpec(name, np.dtype(np.float32), (-1, 3), profiles)


@given(
    ranges=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)).map(sorted), min_size=1),
    size=st.integers(0, 10),
)
def test_shape_has_to_lie_in_one_profile(ranges: list[tuple[int, int]], size: int) -> None:
    specs = [ranged("x", *ranges), spec("static", shape=(1, 3))]
    shapes = {"x": (size, 3), "static": (1, 3)}
    if any(low <= size <= high for low, high in ranges):
        check_profiles(shapes, specs)
    else:
        with pytest.raises(InputError, match="no optimisation profile"):
            check_profiles(shapes, specs)


def test_every_profile_is_listed() -> None:
    with pytest.raises(InputError) as caught:
        bind(np.zeros((9, 3), np.float32), [ranged("x", (1, 4), (10, 16))])
    message = str(caught.value)
    assert "'x' (9, 3)" in message
    assert "profile 0: 'x' (1, 3) to (4, 3)" in message
    assert "profile 1: 'x' (10, 3) to (16, 3)" in message


def test_one_profile_has_to_hold_for_all_inputs_together() -> None:
    specs = [ranged("a", (1, 1), (2, 8)), ranged("b", (1, 1), (2, 8))]

    def arrays(first: int, second: int) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((first, 3), np.float32), np.zeros((second, 3), np.float32)

    assert bind(arrays(2, 8), specs)["b"].shape == (8, 3)
    with pytest.raises(InputError, match=r"'a' \(1, 3\), 'b' \(4, 3\)"):
        bind(arrays(1, 4), specs)


# ---- outputs ------------------------------------------------------------------------------------


def test_outputs_take_the_form_of_the_inputs() -> None:
    one: dict[str, Any] = {"y": A}
    two: dict[str, Any] = {"y": A, "z": B}
    forms: list[Any] = [A, (A,), [A, B]]
    for inputs in forms:
        assert unbind(one, inputs) is A
        got = unbind(two, inputs)
        assert isinstance(got, tuple)
        assert got[0] is A
        assert got[1] is B
    assert unbind(one, {"x": A}) == one
    assert list(unbind(two, {"x": A})) == ["y", "z"]
