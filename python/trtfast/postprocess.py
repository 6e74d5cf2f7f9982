"""From a classifier's logits to named classes."""

from __future__ import annotations

from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

__all__ = ["Classification", "softmax", "top_k"]


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


def softmax(logits: npt.ArrayLike, axis: int = -1) -> npt.NDArray[Any]:
    """Turn logits into probabilities that sum to 1 along an axis.

    Parameters
    ----------
    logits : array of float16, bfloat16, float32 or float64
        Any shape with at least one value along ``axis``; ``-inf`` gives a probability of 0.
    axis : int

    Returns
    -------
    array of the shape of ``logits``
        float64 for float64, else float32.

    Raises
    ------
    InputError
        If the dtype or the shape is wrong, or the logits have NaN, ``+inf`` or nothing but
        ``-inf`` along the axis.
    """
    values = np.asarray(logits)
    if values.dtype != np.float64:
        if not np.can_cast(values.dtype, np.float32, "safe"):
            raise InputError(
                f"logits are {values.dtype}; expected a floating-point dtype up to float64: "
                "convert with .astype(np.float32)"
            )
        values = values.astype(np.float32)
    if not -values.ndim <= axis < values.ndim or values.shape[axis] == 0:
        raise InputError(
            f"logits have shape {values.shape}; expected at least one value along axis {axis}"
        )
    peak = values.max(axis=axis, keepdims=True)
    # The maximum of a row is NaN or infinite exactly where its softmax is not defined.
    if np.isnan(peak).any():
        raise InputError("logits have NaN; expected numbers: look at the model or its input")
    if np.isinf(peak).any():
        raise InputError(
            "logits have +inf, or a row of -inf; expected finite logits: see the model"
        )
    with np.errstate(over="ignore"):  # a difference beyond the dtype's range is a probability of 0
        powers = np.exp(values - peak)
    probabilities: npt.NDArray[Any] = powers / powers.sum(axis=axis, keepdims=True)
    return probabilities


def top_k(
    logits: npt.ArrayLike,
    k: int | None = 5,
    threshold: float | None = None,
    classes: Sequence[str] | None = None,
) -> list[Classification] | list[list[Classification]]:
    """Give the most probable classes, the most probable first and equals by index.

    Parameters
    ----------
    logits : array (C,) or (N, C)
        As :func:`softmax` takes them.
    k : int | None
        At most so many classes for each row; all where None.
    threshold : float | None
        Only classes whose confidence is at least this.
    classes : sequence of C names, optional

    Returns
    -------
    list of Classification for (C,), list of N such lists for (N, C)

    Raises
    ------
    InputError
        If the logits are not valid (see :func:`softmax`) or have another rank, ``k`` is below 1,
        or there are not C names.
    """
    values = np.asarray(logits)
    if values.ndim not in (1, 2):
        raise InputError(f"logits have shape {values.shape}; expected (C,) or (N, C)")
    if k is not None and index(k) < 1:
        raise InputError(f"k is {k}; expected at least 1, or None for all classes")
    count = values.shape[-1]
    if classes is not None and (isinstance(classes, str) or len(classes) != count):
        raise InputError(
            f"classes has {len(classes)} names, the logits have {count} classes; "
            "expected a list with one name for each, in the order of the logits"
        )
    rows = [
        _most_probable(row, k, threshold, classes)
        for row in softmax(np.atleast_2d(values)).astype(np.float64)
    ]
    return rows[0] if values.ndim == 1 else rows


def _most_probable(
    probabilities: npt.NDArray[np.float64],
    k: int | None,
    threshold: float | None,
    classes: Sequence[str] | None,
) -> list[Classification]:
    order = np.argsort(-probabilities, kind="stable")[:k]
    return [
        Classification(position, confidence, None if classes is None else str(classes[position]))
        for position, confidence in zip(order.tolist(), probabilities[order].tolist(), strict=True)
        if threshold is None or confidence >= threshold
    ]
