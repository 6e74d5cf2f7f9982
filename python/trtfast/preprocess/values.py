"""The checks of a spec's single values: what is allowed, and their plain Python form."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from operator import index
from typing import get_args

import numpy as np

from ..errors import InputError

__all__ = ["as_fill", "as_number", "as_numbers", "as_resize_to", "as_size", "check_choice"]


def check_choice(name: str, value: object, literal: object) -> None:
    """Raise InputError unless the value is one of a Literal's, or of those of a union of them."""
    choices = [choice for part in get_args(literal) for choice in get_args(part) or (part,)]
    choices = [None if choice is type(None) else choice for choice in choices]
    if not isinstance(value, (str, type(None))) or value not in choices:
        raise InputError(f"{name} is {value!r}; expected one of {', '.join(map(str, choices))}")


def as_size(name: str, value: object) -> tuple[int, int]:
    """Return (height, width) as plain integers of at least 1."""
    try:
        height, width = (index(side) for side in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is {value!r}; expected (height, width), two integers") from error
    if min(height, width) < 1:
        raise InputError(f"{name} is {value!r}; expected a height and a width of at least 1")
    return height, width


def as_resize_to(value: object, resize: str) -> int | tuple[int, int] | None:
    """Return what an image is resized to, in the form that the kind of resize takes."""
    if value is None:
        return None
    if resize == "none":
        raise InputError(f"resize_to is {value!r} with resize='none'; expected None")
    if resize == "stretch" or isinstance(value, (Sequence, np.ndarray)):
        return as_size("resize_to", value)
    try:
        side = index(value)  # type: ignore[arg-type]
    except TypeError:
        side = 0
    if side < 1:
        raise InputError(
            f"resize_to is {value!r}; expected a length of at least 1, or (height, width)"
        )
    return side


def as_fill(value: object) -> int | tuple[int, int, int]:
    """Return the pixel value of padding: one integer of 0 to 255, or one for each of RGB."""
    several = isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str)
    try:
        numbers = [index(number) for number in (value if several else [value])]  # type: ignore[attr-defined]
    except TypeError:
        numbers = []
    if len(numbers) != (3 if several else 1) or not all(0 <= n <= 255 for n in numbers):
        raise InputError(
            f"fill is {value!r}; expected an integer of 0 to 255, or three of them, for RGB"
        )
    return (numbers[0], numbers[1], numbers[2]) if several else numbers[0]


def as_numbers(name: str, value: object) -> tuple[float, ...]:
    """Return a sequence of numbers as a tuple of floats."""
    if not isinstance(value, (Sequence, np.ndarray)):
        raise InputError(f"{name} is {value!r}; expected a sequence, one number for each channel")
    return tuple(as_number(name, number) for number in value)


def as_number(name: str, value: object) -> float:
    """Return a number as a float."""
    if not isinstance(value, Real):
        raise InputError(f"{name} has {value!r}; expected a number")
    return float(value)
