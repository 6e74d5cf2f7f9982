"""Numbers as text: ``512M``, ``1G``; ``8,16``."""

from __future__ import annotations

import re

from trtfast.errors import InputError

__all__ = ["bytes_of", "numbers_of"]

_UNITS = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([bkmg]?)i?b?", re.IGNORECASE)


def bytes_of(text: str, *, plain: int = 1) -> int:
    """Return how many bytes a text means.

    Parameters
    ----------
    text : str
        A number, and after it B, K, M or G, which are powers of 1024.
    plain : int
        What a number alone is multiplied with.

    Raises
    ------
    ValueError
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size; expected a number with B, K, M or G, as 512M")
    number, unit = float(match[1]), match[2].lower()
    return int(number * (2 ** _UNITS[unit] if unit else plain))


def numbers_of(text: str, option: str) -> tuple[int, ...]:
    """Return the whole numbers that an option lists, none of an empty text.

    Raises
    ------
    InputError
    """
    try:
        return tuple(int(number) for number in text.split(",")) if text else ()
    except ValueError:
        raise InputError(f"{option} is {text!r}; expected numbers, as 8,16") from None
