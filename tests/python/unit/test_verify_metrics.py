"""Errors, gathered sample by sample, against plain formulas on everything at once."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trtfast.errors import InputError
from trtfast.verification import OutputErrors, Tolerance
from trtfast.verification.metrics import Errors, holds_scores, largest_error

# Of a size whose squares float64 holds, and that is not lost beside the largest.
numbers = st.floats(-1e6, 1e6, width=32).map(lambda x: 0.0 if abs(x) < 1e-6 else x)
pairs = hnp.array_shapes(min_dims=2, max_dims=3, max_side=5).flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.float32, shape, elements=numbers)] * 2)
)


def errors(given: Any, wanted: Any, **options: Any) -> OutputErrors:
    found = Errors("y", **options)
    found.add(np.asarray(given), np.asarray(wanted))
    return found.result()


@given(st.lists(pairs, min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_errors_are_those_of_the_formulas(samples: list[tuple[np.ndarray, np.ndarray]]) -> None:
    gathered = Errors("y", scores=False)
    for given_, wanted in samples:
        gathered.add(given_, wanted)
    found = gathered.result()
    a, b = (np.concatenate([s[i].ravel() for s in samples]).astype(np.float64) for i in (0, 1))
    apart, largest = np.abs(a - b), np.abs(b).max()
    near = {"rel": 1e-9, "abs": 1e-300}
    assert found.values == a.size
    assert found.largest == largest
    assert found.max_absolute == apart.max()
    assert found.mean_absolute == pytest.approx(apart.mean(), **near)
    if largest:
        assert found.max_relative == pytest.approx(apart.max() / largest, **near)
        assert found.mean_relative == pytest.approx(apart.mean() / largest, **near)
        elementwise = apart[b != 0] / np.abs(b[b != 0])
        assert found.max_elementwise == pytest.approx(elementwise.max(), **near)
        assert found.mean_elementwise == pytest.approx(elementwise.mean(), **near)
    if np.any(a) and np.any(b):
        cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
        assert found.cosine == pytest.approx(cosine, rel=1e-9, abs=1e-12)
    if np.any(apart) and np.any(b):
        assert found.snr == pytest.approx(10 * np.log10((b @ b) / (apart @ apart)), abs=1e-6)
    assert found.equal == np.mean(a == b)
    worst = [np.abs(s[0].astype(np.float64) - s[1]).max() for s in samples]
    assert found.worst_sample == int(np.argmax(worst))


@given(pairs, st.floats(1e-3, 1e3))
def test_direction_and_shares_do_not_depend_on_scale(
    pair: tuple[np.ndarray, np.ndarray], scale: float
) -> None:
    given_, wanted = (array.astype(np.float64) for array in pair)
    one = errors(given_, wanted, scores=False)
    other = errors(given_ * scale, wanted * scale, scores=False)
    assert other.cosine == pytest.approx(one.cosine, abs=1e-9)
    assert other.max_relative == pytest.approx(one.max_relative, rel=1e-9)
    assert errors(wanted * scale, wanted, scores=False).cosine == pytest.approx(1)


@given(pairs)
def test_what_is_equal_has_no_error(pair: tuple[np.ndarray, np.ndarray]) -> None:
    found = errors(pair[0], pair[0])
    assert (found.max_absolute, found.max_relative, found.equal) == (0, 0, 1)
    assert found.cosine == pytest.approx(1)
    assert found.snr == math.inf
    if found.classes is not None:
        assert (found.classes.top1, found.classes.confidence) == (1, 0)
        assert found.classes.top5 in (1, None)


def test_zeros() -> None:
    zeros, ones = np.zeros((2, 3)), np.ones((2, 3))
    both = errors(zeros, zeros)
    assert (both.cosine, both.max_relative, both.snr) == (1, 0, math.inf)
    found = errors(ones, zeros)
    assert (found.cosine, found.max_relative, found.snr) == (0, math.inf, -math.inf)
    assert (found.max_absolute, found.max_elementwise) == (1, 0)
    gone = errors(zeros, ones)
    assert (gone.cosine, gone.max_relative, gone.snr) == (0, 1, 0)


def test_values_that_are_not_finite_are_counted_and_left_out() -> None:
    nan, inf = np.nan, np.inf
    found = errors(
        [[1.0, nan, inf, -inf, inf, 3.0]], [[1.5, 2.0, inf, inf, 7.0, nan]], scores=False
    )
    assert (found.nan, found.reference_nan) == (1, 1)
    assert (found.inf, found.reference_inf, found.inf_apart) == (3, 2, 2)
    assert (found.max_absolute, found.mean_absolute, found.largest) == (0.5, 0.5, 1.5)


def test_no_values() -> None:
    found = errors(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32))
    assert (found.values, found.equal, found.max_relative, found.mean_absolute) == (0, 1, 0, 0)


@pytest.mark.parametrize(
    ("array", "are_scores"),
    [
        (np.zeros((1, 2), np.float32), True),
        (np.zeros((3, 9), np.float16), True),
        (np.zeros((3, 9), ml_dtypes.bfloat16), True),
        (np.zeros((3, 1), np.float32), False),
        (np.zeros((3, 9), np.int64), False),
        (np.zeros((3, 9), bool), False),
        (np.zeros(9, np.float32), False),
        (np.zeros((1, 9, 9), np.float32), False),
    ],
)
def test_what_looks_like_scores(array: np.ndarray, are_scores: bool) -> None:
    assert holds_scores(array) is are_scores
    assert (errors(array, array).classes is not None) is are_scores


def test_classes_and_confidences_of_logits() -> None:
    wanted = np.array([[1, 5, 0, 0, 0, 0], [9, 1, 1, 1, 1, 1.0]])
    given_ = wanted.copy()
    given_[0] = [5, 1, 0, 0, 0, 0]
    found = errors(given_, wanted).classes
    assert found is not None
    assert (found.rows, found.classes, found.top1, found.top1_or_tied) == (2, 6, 0.5, 0.5)
    total = np.exp(5) + np.exp(1) + 4
    assert found.confidence == pytest.approx((np.exp(5) - np.exp(1)) / total)


def test_probabilities_are_confidences_already() -> None:
    wanted = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]])
    found = errors(wanted + np.array([[-0.2, 0.2, 0], [0, 0, 0]]), wanted).classes
    assert found is not None
    assert found.confidence == pytest.approx(0.2)
    assert found.top1 == 1


def test_first_classes_that_the_reference_holds_for_equal() -> None:
    wanted = np.array([[0.5, 0.499, 0.001], [0.6, 0.3, 0.1]])
    given_ = wanted[:, [1, 0, 2]]
    found = errors(given_, wanted, tie=0.01).classes
    assert found is not None
    assert (found.top1, found.top1_or_tied) == (0, 0.5)


def test_first_five_in_any_order() -> None:
    wanted = np.array([[9, 8, 7, 6, 5, 0, 0.0], [9, 8, 7, 6, 5, 0, 0.0]])
    given_ = np.array([[5, 6, 7, 8, 9, 0, 0.0], [9, 8, 7, 6, 0, 5, 0.0]])
    found = errors(given_, wanted).classes
    assert found is not None
    assert found.top5 == 0.5
    assert errors(wanted[:, :5], wanted[:, :5]).classes.top5 is None


def test_a_row_that_is_not_finite_has_no_right_class() -> None:
    wanted = np.array([[1.0, 2, 3], [1, 2, 3]])
    given_ = wanted.copy()
    given_[0, 0] = np.nan
    found = errors(given_, wanted).classes
    assert found is not None
    assert (found.rows, found.top1, found.top1_or_tied) == (2, 0.5, 0.5)


def test_shapes_that_differ_are_no_error_but_a_mistake() -> None:
    with pytest.raises(InputError, match=r"sample 0: output 'y' has shape \(2, 3\), and the ref"):
        errors(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(InputError, match="said to hold scores"):
        errors(np.zeros((2, 3, 4)), np.zeros((2, 3, 4)), scores=True)


@pytest.mark.parametrize(
    ("some", "other", "error"),
    [
        ([1, 2], [1, 4], 0.5),
        ([np.nan, 1], [np.nan, 1], 0),
        ([np.inf, 1], [np.inf, 1], 0),
        ([np.nan, 1], [1, 1], np.inf),
        ([np.inf, 1], [-np.inf, 1], np.inf),
        ([0.5], [0], np.inf),
        ([0], [0], 0),
        ([0], [0, 0], np.inf),
    ],
)
def test_the_largest_error(some: list[float], other: list[float], error: float) -> None:
    assert largest_error(np.array(some, np.float32), np.array(other, np.float32)) == error


def test_tolerances() -> None:
    by_precision = [Tolerance.of(name) for name in ("fp32", "fp16", "bf16", "int8")]
    assert [t.relative for t in by_precision] == sorted(t.relative for t in by_precision)
    assert (by_precision[0].confidence, by_precision[1].confidence) == (1e-5, 3e-3)
    with pytest.raises(InputError, match="no default tolerance for precision 'fp12'"):
        Tolerance.of("fp12")
    for wrong in ({"relative": -1.0}, {"confidence": math.nan}, {"agreement": 1.1}):
        with pytest.raises(InputError, match="is no tolerance"):
            Tolerance(**{"relative": 0.1, "confidence": 0.1} | wrong)


def test_each_precision_that_can_be_built_has_a_tolerance() -> None:
    from trtfast.precision import PRECISIONS

    for name in PRECISIONS:
        assert Tolerance.of(name).relative < 1
