from __future__ import annotations

import dataclasses
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trtfast.errors import InputError
from trtfast.postprocess import Classification, sigmoid, softmax, top_k

finite = st.floats(-100, 100, width=32)
rows = hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 30)), elements=finite)


def test_softmax_of_known_values() -> None:
    got = softmax(np.log(np.array([[1, 2, 5], [3, 3, 2]], np.float32)))
    np.testing.assert_allclose(got, [[0.125, 0.25, 0.625], [0.375, 0.375, 0.25]], rtol=1e-6)


@given(rows)
def test_softmax_is_a_distribution_that_keeps_the_order(logits: np.ndarray) -> None:
    got = softmax(logits)
    assert got.shape == logits.shape
    assert (got >= 0).all()
    np.testing.assert_allclose(got.sum(axis=-1), 1, rtol=1e-5)
    for row, probabilities in zip(logits, got, strict=True):
        assert (np.diff(probabilities[np.argsort(row)]) >= 0).all()


@given(rows, st.floats(-1000, 1000, width=32))
def test_softmax_does_not_change_with_a_shift(logits: np.ndarray, shift: float) -> None:
    exact = logits.astype(np.float64)
    np.testing.assert_allclose(softmax(exact + shift), softmax(exact), rtol=1e-9)


@given(rows)
def test_softmax_along_an_axis_is_that_of_the_transpose(logits: np.ndarray) -> None:
    np.testing.assert_allclose(softmax(logits.T.copy(), axis=0), softmax(logits).T, rtol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "result"),
    [
        (np.float16, np.float32),
        (ml_dtypes.bfloat16, np.float32),
        (np.float32, np.float32),
        (np.float64, np.float64),
        (">f4", np.float32),
    ],
)
def test_softmax_dtypes(dtype: Any, result: Any) -> None:
    logits = np.array([0, 1, 2], np.float32).astype(dtype)
    before = logits.copy()
    got = softmax(logits)
    assert got.dtype == result
    np.testing.assert_allclose(got, [0.09003057, 0.24472847, 0.66524096], rtol=1e-6)
    np.testing.assert_array_equal(logits, before)


def test_softmax_of_extreme_values() -> None:
    largest = np.finfo(np.float32).max
    np.testing.assert_array_equal(softmax(np.array([largest, -largest], np.float32)), [1, 0])
    np.testing.assert_array_equal(softmax(np.array([largest, largest], np.float32)), [0.5, 0.5])
    np.testing.assert_array_equal(softmax(np.array([1000, 1000, 0], np.float32)), [0.5, 0.5, 0])
    np.testing.assert_array_equal(softmax(np.array([-np.inf, 3], np.float32)), [0, 1])


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (np.array([0, np.nan], np.float32), "NaN"),
        (np.array([[0, 1], [np.nan, np.inf]]), "NaN"),
        (np.array([0, np.inf], np.float16), r"\+inf"),
        (np.array([-np.inf, -np.inf]), "row of -inf"),
        (np.array([1, 2]), r"int64.*astype\(np\.float32\)"),
        (np.array([1j]), "complex128"),
        (np.array(["a"]), "<U1"),
        (np.array([None]), "object"),
        (np.zeros((2, 0), np.float32), r"\(2, 0\)"),
        (np.float32(1), r"\(\)"),
    ],
)
def test_softmax_refuses(logits: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        softmax(logits)


def test_softmax_refuses_an_axis_that_is_not_there() -> None:
    for axis in (2, -3):
        with pytest.raises(InputError, match=f"axis {axis}"):
            softmax(np.zeros((2, 3)), axis=axis)


def test_softmax_of_no_rows() -> None:
    assert softmax(np.zeros((0, 3), np.float32)).shape == (0, 3)
    assert top_k(np.zeros((0, 3), np.float32)) == []


# ---- sigmoid ------------------------------------------------------------------------------------


def test_sigmoid_of_known_values() -> None:
    logits = np.log(np.array([[1, 3], [1 / 3, 7]], np.float32))
    np.testing.assert_allclose(sigmoid(logits), [[0.5, 0.75], [0.25, 0.875]], rtol=1e-6)
    np.testing.assert_array_equal(sigmoid(logits, 0.5), [[True, True], [False, True]])


@given(rows)
def test_sigmoid_is_the_softmax_of_two(logits: np.ndarray) -> None:
    pairs = np.stack([logits, np.zeros_like(logits)], axis=-1)
    np.testing.assert_allclose(sigmoid(logits), softmax(pairs)[..., 0], rtol=1e-6)


@given(rows)
def test_sigmoid_keeps_the_order_and_is_symmetric(logits: np.ndarray) -> None:
    got = sigmoid(logits)
    assert ((got >= 0) & (got <= 1)).all()
    assert (np.diff(got.ravel()[np.argsort(logits, axis=None)]) >= 0).all()
    np.testing.assert_allclose(sigmoid(-logits), 1 - got, atol=1e-7)


@given(rows, st.floats(0, 1))
def test_a_threshold_is_of_the_probabilities(logits: np.ndarray, threshold: float) -> None:
    got = sigmoid(logits, threshold)
    assert got.dtype == np.bool_
    np.testing.assert_array_equal(got, sigmoid(logits) >= np.float32(threshold))


@pytest.mark.parametrize(
    ("dtype", "result"),
    [
        (np.float16, np.float32),
        (ml_dtypes.bfloat16, np.float32),
        (np.float32, np.float32),
        (np.float64, np.float64),
    ],
)
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3, 4)])
def test_sigmoid_dtypes_and_shapes(dtype: Any, result: Any, shape: tuple[int, ...]) -> None:
    got = sigmoid(np.zeros(shape, dtype))
    assert (type(got), got.dtype, got.shape) == (np.ndarray, result, shape)
    assert (got == 0.5).all()
    yes = sigmoid(np.zeros(shape, dtype), threshold=0.5)
    assert (type(yes), yes.dtype, yes.shape) == (np.ndarray, np.bool_, shape)
    assert yes.all()


def test_sigmoid_of_extreme_values() -> None:
    largest = np.finfo(np.float32).max
    logits = np.array([-np.inf, -largest, -0.0, largest, np.inf], np.float32)
    np.testing.assert_array_equal(sigmoid(logits), [0, 0, 0.5, 1, 1])
    tiny = sigmoid(np.array([-80], np.float32))
    np.testing.assert_allclose(tiny, np.exp(-80.0), rtol=1e-6)


@pytest.mark.parametrize(
    ("logits", "threshold", "message"),
    [
        (np.array([0, np.nan], np.float32), None, "NaN"),
        (np.array([0, np.nan], np.float32), 0.5, "NaN"),
        (np.array([1, 2]), None, r"int64.*astype\(np\.float32\)"),
        ([0.0], -0.1, "threshold is -0.1"),
        ([0.0], 1.5, "threshold is 1.5"),
        ([0.0], float("nan"), "threshold is nan"),
    ],
)
def test_sigmoid_refuses(logits: Any, threshold: float | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sigmoid(logits, threshold)


# ---- top_k --------------------------------------------------------------------------------------


def test_text_of_a_classification() -> None:
    assert (
        str(Classification(967, 0.69924, "espresso"))
        == "class: espresso, confidence: 69.92 %, index: 967"
    )
    assert str(Classification(3, 1.0)) == "class: 3, confidence: 100.00 %, index: 3"
    assert str(Classification(0, 0.0, "")) == "class: , confidence: 0.00 %, index: 0"
    with pytest.raises(dataclasses.FrozenInstanceError):
        Classification(3, 1.0).index = 4  # type: ignore[misc]


def test_top_k_of_known_values() -> None:
    logits = np.log(np.array([0.125, 0.5, 0.0625, 0.3125]))
    got = top_k(logits, k=2, classes=["a", "b", "c", "d"])
    assert [(item.index, item.label) for item in got] == [(1, "b"), (3, "d")]  # type: ignore[union-attr]
    assert [item.confidence for item in got] == pytest.approx([0.5, 0.3125])  # type: ignore[union-attr]


def test_top_k_gives_plain_python_values() -> None:
    (best,) = top_k(np.array([0, 2], np.float16), k=1, classes=np.array(["a", "b"]))  # type: ignore[arg-type]
    assert (type(best.index), type(best.confidence), type(best.label)) == (int, float, str)  # type: ignore[union-attr]


def test_rank_of_the_result_follows_the_logits() -> None:
    row = np.array([0.0, 3.0, 1.0])
    one = top_k(row)
    assert top_k(row[np.newaxis]) == [one]
    assert top_k(np.stack([row, -row]), k=1)[1][0].index == 0  # type: ignore[index]


def test_equals_go_by_index() -> None:
    got = top_k(np.array([1, 5, 1, 5, 1, 1], np.float32), k=None)
    assert [item.index for item in got] == [1, 3, 0, 2, 4, 5]


def test_classes_whose_confidence_is_the_same_by_rounding_go_by_their_logits() -> None:
    got = top_k(np.array([-300, 0, -200, -np.inf, -0.0], np.float32), k=None)
    assert [item.index for item in got] == [1, 4, 2, 0, 3]  # type: ignore[union-attr]
    assert [item.confidence for item in got] == [0.5, 0.5, 0, 0, 0]  # type: ignore[union-attr]


@given(
    logits=rows,
    k=st.none() | st.integers(1, 40),
    threshold=st.none() | st.floats(0, 1),
)
def test_top_k_against_its_definition(
    logits: np.ndarray, k: int | None, threshold: float | None
) -> None:
    for row, confidences, got in zip(
        logits.tolist(), softmax(logits).tolist(), top_k(logits, k, threshold), strict=True
    ):
        ranked = sorted(range(len(row)), key=lambda position: (-row[position], position))
        expected = [
            Classification(position, confidences[position])
            for position in ranked[:k]
            if threshold is None or confidences[position] >= threshold
        ]
        assert got == expected


def test_threshold_is_inclusive_and_may_leave_nothing() -> None:
    logits = np.zeros(2, np.float32)
    assert len(top_k(logits, threshold=0.5)) == 2
    assert top_k(logits, threshold=0.51) == []


@pytest.mark.parametrize(
    ("logits", "options", "message"),
    [
        ([0.0, float("nan")], {}, "NaN"),
        (np.zeros((1, 2, 3)), {}, r"\(1, 2, 3\)"),
        (1.0, {}, r"\(\)"),
        ([0.0, 1.0], {"k": 0}, "k is 0"),
        ([0.0, 1.0], {"k": -1}, "k is -1"),
        ([0.0, 1.0], {"classes": ["a"]}, "1 names.* 2 classes"),
        ([0.0, 1.0], {"classes": ["a", "b", "c"]}, "3 names.* 2 classes"),
        ([0.0, 1.0], {"classes": "ab"}, "read from ab: .*No such file"),
        ([0.0, 1.0], {"classes": {0: "a"}}, "1 names.* 2 classes"),
    ],
)
def test_top_k_refuses(logits: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        top_k(logits, **options)
