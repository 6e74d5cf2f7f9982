"""From a classifier's logits to probabilities and named classes, where the logits are."""

from __future__ import annotations

from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from . import _core
from .errors import InputError
from .labels import class_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from ._core import DeviceArray
    from .labels import ClassNames

    Floats = npt.NDArray[Any]

__all__ = ["Classification", "sigmoid", "softmax", "top_k"]

# The GPU reads a row once for each of these. A copy costs less than more of that.
_MOST_ON_GPU = 128


@dataclass(frozen=True)
class Classification:
    """One class that a classifier gives for an image.

    Attributes
    ----------
    index : int
        The class's position in the logits.
    confidence : float
        Its probability, 0 to 1.
    label : str | None
        Its name, where names were given.
    """

    index: int
    confidence: float
    label: str | None = None

    def __str__(self) -> str:
        name = self.index if self.label is None else self.label
        return f"class: {name}, confidence: {100 * self.confidence:.2f} %, index: {self.index}"


@overload
def softmax(logits: DeviceArray, axis: int = -1) -> DeviceArray: ...
@overload
def softmax(logits: npt.ArrayLike, axis: int = -1) -> Floats: ...
def softmax(logits: DeviceArray | npt.ArrayLike, axis: int = -1) -> DeviceArray | Floats:
    """Turn logits into probabilities that sum to 1 along an axis.

    Parameters
    ----------
    logits : array of float16, bfloat16, float32 or float64
        Any shape with at least one value along ``axis``; ``-inf`` gives a probability of 0. A
        :class:`DeviceArray` of one of the first three dtypes stays on the GPU.
    axis : int
        Of a DeviceArray the last.

    Returns
    -------
    array of the shape of ``logits``
        float64 for float64, else float32. For a DeviceArray a new one; if that was filled on a
        stream of yours, the work is submitted to the same and not waited for.

    Raises
    ------
    InputError
        If the dtype or the shape is wrong, or the logits have NaN, ``+inf`` or nothing but
        ``-inf`` along the axis. Where the work is not waited for, such a row becomes NaN instead.
    """
    if isinstance(logits, _core.DeviceArray):
        if axis not in (-1, len(logits.shape) - 1):
            raise InputError(f"axis is {axis}; expected the last of {logits.shape} on the GPU")
        probabilities, peaks = _core.softmax(logits)
        if peaks is not None:
            _check_peaks(peaks)
        return probabilities
    values = _floats(logits)
    if not -values.ndim <= axis < values.ndim or values.shape[axis] == 0:
        raise InputError(
            f"logits have shape {values.shape}; expected at least one value along axis {axis}"
        )
    peak = values.max(axis=axis, keepdims=True)
    _check_peaks(peak)
    with np.errstate(over="ignore"):  # a difference beyond the dtype's range is a probability of 0
        powers = np.exp(values - peak)
    result: Floats = powers / powers.sum(axis=axis, keepdims=True)
    return result


@overload
def sigmoid(logits: DeviceArray, threshold: float | None = None) -> DeviceArray: ...
@overload
def sigmoid(logits: npt.ArrayLike, threshold: float | None = None) -> Floats: ...
def sigmoid(
    logits: DeviceArray | npt.ArrayLike, threshold: float | None = None
) -> DeviceArray | Floats:
    """Turn each logit into a probability of its own, ``1 / (1 + exp(-x))``, or into yes or no.

    Parameters
    ----------
    logits : array of float16, bfloat16, float32 or float64
        Any shape; ``-inf`` and ``+inf`` give 0 and 1. A :class:`DeviceArray` of one of the first
        three dtypes stays on the GPU.
    threshold : float | None
        If given, 0 to 1, the result is whether each probability is at least this, as a number of
        the probabilities' dtype.

    Returns
    -------
    array of the shape of ``logits``
        float64 for float64, else float32; bool where there is a threshold. For a DeviceArray a new
        one; if that was filled on a stream of yours, the work is submitted to the same and not
        waited for.

    Raises
    ------
    InputError
        If the dtype or the threshold is wrong, or the logits have NaN. Where the work is not waited
        for, NaN stays NaN instead, and is below each threshold.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError(f"threshold is {threshold}; expected a probability, 0 to 1")
    if isinstance(logits, _core.DeviceArray):
        result, peaks = _core.sigmoid(logits, threshold)
        if peaks is not None:
            _check_numbers(peaks)
        return result
    values = _floats(logits)
    _check_numbers(values)
    # Neither power is above 1, so nothing overflows.
    values = np.asarray(np.exp(np.minimum(values, 0)) / (1 + np.exp(-np.abs(values))))
    return values if threshold is None else np.asarray(values >= float(threshold))


@overload
def top_k(
    logits: np.ndarray[tuple[int], np.dtype[Any]],
    k: int | None = 5,
    threshold: float | None = None,
    classes: ClassNames | None = None,
) -> list[Classification]: ...
@overload
def top_k(
    logits: np.ndarray[tuple[int, int], np.dtype[Any]],
    k: int | None = 5,
    threshold: float | None = None,
    classes: ClassNames | None = None,
) -> list[list[Classification]]: ...
@overload
def top_k(
    logits: DeviceArray | npt.ArrayLike,
    k: int | None = 5,
    threshold: float | None = None,
    classes: ClassNames | None = None,
) -> list[Any]: ...
def top_k(
    logits: DeviceArray | npt.ArrayLike,
    k: int | None = 5,
    threshold: float | None = None,
    classes: ClassNames | None = None,
) -> list[Any]:
    """Give the most probable classes: those with the largest logits first, and equals by index.

    Of a :class:`DeviceArray` only the answers leave the GPU, which the call waits for. For ``k``
    above 128 it is copied.

    Parameters
    ----------
    logits : array (C,) or (N, C)
        As :func:`softmax` takes them.
    k : int | None
        At most so many classes for each row; all where None.
    threshold : float | None
        Only classes whose confidence is at least this.
    classes : C names, optional
        As :func:`class_names` takes them. Read a file once for many calls.

    Returns
    -------
    list of Classification for (C,), list of N such lists for (N, C)

    Raises
    ------
    InputError
        If the logits are not valid (see :func:`softmax`) or have another rank, ``k`` is below 1,
        or there are not C names.
    """
    array = logits if isinstance(logits, _core.DeviceArray) else np.asarray(logits)
    shape = array.shape
    if len(shape) not in (1, 2):
        raise InputError(f"logits have shape {shape}; expected (C,) or (N, C)")
    if k is not None and index(k) < 1:
        raise InputError(f"k is {k}; expected at least 1, or None for all classes")
    count: int = shape[-1]
    names = None if classes is None else _names(classes, count)
    most = count if k is None else min(index(k), count)
    rows = [
        [
            Classification(position, confidence, None if names is None else str(names[position]))
            for position, confidence in zip(positions, confidences, strict=True)
            if threshold is None or confidence >= threshold
        ]
        for positions, confidences in zip(*_ranked(array, most), strict=True)
    ]
    return rows[0] if len(shape) == 1 else rows


def _ranked(logits: DeviceArray | Floats, k: int) -> tuple[list[list[int]], list[list[float]]]:
    """Return of each row the k best positions and their confidences."""
    if isinstance(logits, _core.DeviceArray):
        if k <= _MOST_ON_GPU:
            positions, confidences, peaks = _core.top_k(logits, k)
            _check_peaks(peaks)
            return positions.tolist(), confidences.tolist()
        logits = logits.copy_to_host()
    values = np.atleast_2d(_floats(logits))
    probabilities = softmax(values)
    # Not those of the probabilities: where these are equal by rounding, logits still tell.
    order = np.argsort(-values, axis=-1, kind="stable")[:, :k]
    return order.tolist(), np.take_along_axis(probabilities, order, axis=-1).tolist()


def _names(classes: ClassNames, count: int) -> Sequence[str]:
    # A list is taken as it is: to look at each name takes longer than the rest of a call.
    names = classes if isinstance(classes, (list, tuple)) else class_names(classes)
    if len(names) != count:
        raise InputError(
            f"classes has {len(names)} names, the logits have {count} classes; "
            "expected one name for each, in the order of the logits"
        )
    return names


def _floats(logits: npt.ArrayLike) -> Floats:
    values = np.asarray(logits)
    if values.dtype == np.float64:
        return values
    if not np.can_cast(values.dtype, np.float32, "safe"):
        raise InputError(
            f"logits are {values.dtype}; expected a floating-point dtype up to float64: "
            "convert with .astype(np.float32)"
        )
    return values.astype(np.float32)


def _check_numbers(values: Floats) -> None:
    if np.isnan(values).any():
        raise InputError("logits have NaN; expected numbers: look at the model or its input")


def _check_peaks(peaks: Floats) -> None:
    # The maximum of a row is NaN or infinite exactly where its softmax is not defined.
    _check_numbers(peaks)
    if np.isinf(peaks).any():
        raise InputError(
            "logits have +inf, or a row of -inf; expected finite logits: see the model"
        )
