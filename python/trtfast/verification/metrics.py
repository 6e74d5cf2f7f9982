"""How far the values of an output are from those of its reference, gathered sample by sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..spec import Array

    Values = npt.NDArray[np.float64]

__all__ = ["ClassAgreement", "Errors", "OutputErrors", "holds_scores", "largest_error"]

_TOP = 5


@dataclass(frozen=True)
class ClassAgreement:
    """How far the classes that an output ranks are those of the reference.

    Attributes
    ----------
    rows, classes : int
        How many rows were compared, and how many classes each ranks.
    top1 : float
        The share of rows, 0 to 1, with the same first class.
    top1_or_tied : float
        The same, with those rows whose two first classes the reference itself holds for equal,
        within the tolerance of confidences.
    top5 : float or None
        The share of rows whose first five classes are the same, in any order; None of five or less.
    confidence : float
        The largest difference of a confidence: of the softmax, or of the values themselves where
        the reference's rows are probabilities already.
    """

    rows: int
    classes: int
    top1: float
    top1_or_tied: float
    top5: float | None
    confidence: float


@dataclass(frozen=True)
class OutputErrors:
    """How far an output is from its reference, over all samples.

    Errors are of the values that are finite in both.

    Attributes
    ----------
    name, dtype : str
        The engine's.
    values : int
        How many were compared.
    largest : float
        The largest magnitude in the reference.
    max_absolute, mean_absolute : float
        Of ``abs(given - wanted)``.
    max_relative, mean_relative : float
        The same as a share of ``largest``.
    max_elementwise, mean_elementwise : float
        Of ``abs(given - wanted) / abs(wanted)``, where ``wanted`` is not 0. Values near 0 make it
        large without harm, so nothing is judged by it.
    cosine : float
        Of the angle between the two, as vectors: 1 where they have one direction.
    snr : float
        Signal to noise in decibels, ``10 log10(sum wanted**2 / sum (given - wanted)**2)``; infinite
        where there is no error.
    equal : float
        The share of values that are exactly equal, 0 to 1.
    nan, reference_nan, inf, reference_inf : int
        How many values are NaN, and how many are infinite.
    inf_apart : int
        How many are infinite in one alone, or with another sign.
    worst_sample : int
        Where the largest error is.
    classes : ClassAgreement or None
        Where the output holds the scores of classes.
    """

    name: str
    dtype: str
    values: int
    largest: float
    max_absolute: float
    mean_absolute: float
    max_relative: float
    mean_relative: float
    max_elementwise: float
    mean_elementwise: float
    cosine: float
    snr: float
    equal: float
    nan: int
    reference_nan: int
    inf: int
    reference_inf: int
    inf_apart: int
    worst_sample: int
    classes: ClassAgreement | None

    @property
    def is_exact(self) -> bool:
        """Whether it has integers or booleans, which are equal or wrong."""
        return is_exact(np.dtype(self.dtype))


def is_exact(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is one of integers or booleans."""
    return dtype.kind in "iub"


def holds_scores(array: Array) -> bool:
    """Whether an output looks like the scores of classes: rows of two or more floats."""
    return array.ndim == 2 and array.shape[1] >= 2 and not is_exact(array.dtype)


def largest_error(given: Array, wanted: Array) -> float:
    """Return the largest error as a share of the largest magnitude wanted; inf where one is odd."""
    if given.shape != wanted.shape:
        return np.inf
    a, b = given.astype(np.float64), wanted.astype(np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    error = float(np.nan_to_num(apart, nan=np.inf, posinf=np.inf).max(initial=0.0))
    return _share(error, float(np.abs(b[np.isfinite(b)]).max(initial=0.0)))


class Errors:
    """Gathers the errors of one output, of which no sample has to be kept.

    Parameters
    ----------
    name : str
    scores : bool, optional
        Whether it holds the scores of classes; by default what :func:`holds_scores` says.
    tie : float
        Confidences that are as near as this in the reference count as equal.
    """

    def __init__(self, name: str, *, scores: bool | None = None, tie: float = 0.0) -> None:
        self._name = name
        self._dtype = ""
        self._scores = scores
        self._samples = self._values = self._finite = self._nonzero = self._equal = 0
        self._largest = self._max = self._sum = 0.0
        self._max_elementwise = self._sum_elementwise = 0.0
        # Of the squares of the reference and of the engine, of their products, and of the errors.
        self._squares = np.zeros(4)
        self._odd = np.zeros(5, np.int64)  # NaN, the reference's, infinities, its, and those apart
        self._worst_sample = 0
        self._classes = _Classes(tie)

    def add(self, given: Array, wanted: Array) -> None:
        """Compare the next sample.

        Raises
        ------
        InputError
            If the shapes differ, or the values are no scores though they were said to be.
        """
        if given.shape != wanted.shape:
            raise InputError(
                f"sample {self._samples}: output '{self._name}' has shape {given.shape}, and the "
                f"reference's {wanted.shape}; expected one shape: these are not the same model, or "
                "what was recorded is of other samples"
            )
        if self._scores is None:
            self._scores = holds_scores(given)
        elif self._scores and not holds_scores(given):
            raise InputError(
                f"output '{self._name}' is {given.dtype} of shape {given.shape}, and is said to "
                "hold scores of classes; expected rows of two or more floats"
            )
        self._dtype = given.dtype.name
        self._equal += int(np.count_nonzero(given == wanted))
        self._add_values(given.astype(np.float64), wanted.astype(np.float64))
        if self._scores:
            self._classes.add(given.astype(np.float64), wanted.astype(np.float64))
        self._samples += 1

    def _add_values(self, given: Values, wanted: Values) -> None:
        infinite, infinite_wanted = np.isinf(given), np.isinf(wanted)
        apart = (infinite | infinite_wanted) & (given != wanted)
        counted = (np.isnan(given), np.isnan(wanted), infinite, infinite_wanted, apart)
        self._odd += [np.count_nonzero(each) for each in counted]
        finite = np.isfinite(given) & np.isfinite(wanted)
        self._values += given.size
        self._finite += int(np.count_nonzero(finite))
        given, wanted = given[finite], wanted[finite]
        with np.errstate(over="ignore"):  # of squares of float64
            errors, magnitudes = np.abs(given - wanted), np.abs(wanted)
            pairs = ((wanted, wanted), (given, given), (wanted, given), (errors, errors))
            self._squares += [np.dot(a, b) for a, b in pairs]
            nonzero = magnitudes > 0
            elementwise = errors[nonzero] / magnitudes[nonzero]
            self._sum_elementwise += float(elementwise.sum())
        self._nonzero += elementwise.size
        self._max_elementwise = max(self._max_elementwise, float(elementwise.max(initial=0.0)))
        self._largest = max(self._largest, float(magnitudes.max(initial=0.0)))
        self._sum += float(errors.sum())
        worst = float(errors.max(initial=0.0))
        if worst > self._max:
            self._max, self._worst_sample = worst, self._samples

    def result(self) -> OutputErrors:
        """Return the errors over all samples so far."""
        signal, power, product, noise = self._squares
        mean = self._sum / self._finite if self._finite else 0.0
        return OutputErrors(
            name=self._name,
            dtype=self._dtype,
            values=self._values,
            largest=self._largest,
            max_absolute=self._max,
            mean_absolute=mean,
            max_relative=_share(self._max, self._largest),
            mean_relative=_share(mean, self._largest),
            max_elementwise=self._max_elementwise,
            mean_elementwise=self._sum_elementwise / max(self._nonzero, 1),
            cosine=_cosine(signal, power, product),
            snr=_decibels(signal, noise),
            equal=self._equal / self._values if self._values else 1.0,
            **dict(zip(_ODD, map(int, self._odd), strict=True)),
            worst_sample=self._worst_sample,
            classes=self._classes.result() if self._scores else None,
        )


_ODD = ("nan", "reference_nan", "inf", "reference_inf", "inf_apart")


class _Classes:
    """Gathers the agreement on classes."""

    def __init__(self, tie: float) -> None:
        self._tie = tie
        self._rows = self._width = self._top1 = self._tied = self._top5 = 0
        self._confidence = 0.0
        self._are_probabilities: bool | None = None

    def add(self, given: Values, wanted: Values) -> None:
        self._rows += len(given)
        self._width = given.shape[1]
        finite = (np.isfinite(given) & np.isfinite(wanted)).all(axis=1)  # no other row agrees
        given, wanted = given[finite], wanted[finite]
        if not len(given):
            return
        if self._are_probabilities is None:
            sums = wanted.sum(axis=1)
            self._are_probabilities = bool((wanted >= 0).all() and (np.abs(sums - 1) < 1e-3).all())
        if not self._are_probabilities:
            given, wanted = _softmax(given), _softmax(wanted)
        rows = np.arange(len(given))
        first, best = given.argmax(axis=1), wanted.argmax(axis=1)
        self._top1 += int(np.count_nonzero(first == best))
        self._tied += int(np.count_nonzero(wanted[rows, best] - wanted[rows, first] <= self._tie))
        if self._width > _TOP:
            same = _first_classes(given) == _first_classes(wanted)
            self._top5 += int(np.count_nonzero(same.all(axis=1)))
        self._confidence = max(self._confidence, float(np.abs(given - wanted).max()))

    def result(self) -> ClassAgreement:
        rows = max(self._rows, 1)
        top5 = self._top5 / rows if self._width > _TOP else None
        return ClassAgreement(
            *(self._rows, self._width, self._top1 / rows, self._tied / rows, top5),
            self._confidence,
        )


def _softmax(rows: Values) -> Values:
    powers = np.exp(rows - rows.max(axis=1, keepdims=True))
    shares: Values = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _first_classes(rows: Values) -> npt.NDArray[np.intp]:
    return np.sort(np.argpartition(-rows, _TOP - 1, axis=1)[:, :_TOP], axis=1)


def _share(error: float, largest: float) -> float:
    if error == 0:
        return 0.0
    return error / largest if largest > 0 else np.inf


def _cosine(signal: float, power: float, product: float) -> float:
    if signal == 0 or power == 0:
        return 1.0 if signal == power else 0.0
    return float(np.clip(product / np.sqrt(signal) / np.sqrt(power), -1.0, 1.0))


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return np.inf
    return float(10 * np.log10(signal / noise)) if signal > 0 else -np.inf
