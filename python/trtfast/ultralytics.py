"""Engines of Ultralytics: a description in JSON, and the plan behind it. Read, never written."""

from __future__ import annotations

import json
import reprlib
from typing import TYPE_CHECKING, Any

from . import _plan
from .errors import EngineIncompatibleError, InputError
from .labels import class_names
from .passport import Header

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ._plan import Plan
    from .preprocess import Preprocess

__all__ = ["classes_of", "opened", "preprocess_of", "split"]

_LENGTH = 4  # bytes, little-endian, of the description that follows them
_LETTERBOXED = ("detect", "segment", "pose", "obb")


def opened(path: Path) -> tuple[Plan, dict[str, Any] | None]:
    """Return the plan in a file, mapped, and what :func:`split` finds before it."""
    return split(_plan.mapped(path), str(path))


def split(data: Plan, name: str) -> tuple[Plan, dict[str, Any] | None]:
    """Return a plan, and what Ultralytics wrote before it; None where that is nothing.

    Parameters
    ----------
    data : bytes, or a file that is mapped
    name : str
        What messages call it.

    Returns
    -------
    plan
        ``data``, or a view of what follows the description: nothing is copied.
    dict or None
        The description.

    Raises
    ------
    EngineIncompatibleError
        If a description is damaged, has a value that it cannot have, or no plan follows it.
    """
    if Header.of(data) is not None or data[_LENGTH : _LENGTH + 1] != b"{":
        return data, None
    end = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
    if end > len(data):
        raise _damaged(name, f"it is of {end - _LENGTH} bytes, and {len(data) - _LENGTH} follow")
    try:
        metadata: dict[str, Any] = json.loads(bytes(data[_LENGTH:end]).decode())
    except (ValueError, RecursionError) as error:  # of bytes that are no text, too
        raise _damaged(name, str(error)) from error
    _check(metadata, name)
    plan = memoryview(data)[end:]
    if Header.of(plan) is None:
        raise _damaged(name, f"the {len(plan)} bytes that follow it are no TensorRT plan")
    return plan, metadata


def classes_of(metadata: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the names of the classes, in the order of their indices."""
    return class_names(metadata["names"]) if "names" in metadata else None


def preprocess_of(metadata: Mapping[str, Any]) -> Preprocess | None:
    """Return how Ultralytics makes its models' inputs; None where the description does not tell.

    Detection and its kin are letterboxed; a classifier's images are resized by their shorter side
    and cropped. Both are divided by 255.
    """
    from .preprocess import Preprocess  # not above: it needs NumPy, and `import trtfast` does not

    task, size = metadata.get("task"), tuple(metadata.get("imgsz", ()))
    if not size or metadata.get("channels", 3) != 3:
        return None
    if task in _LETTERBOXED:
        return Preprocess(
            size,
            (0, 0, 0),
            (1, 1, 1),
            resize="longest",
            resize_to=size,
            pad="center",
            fill=114,
        )
    if task == "classify" and size[0] == size[1]:
        return Preprocess(
            size, (0, 0, 0), (1, 1, 1), resize="shortest", interpolation="pil_bilinear"
        )
    return None


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0  # True would count as one


def _is_size(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_count, value))


def _is_collection(value: object) -> bool:
    return isinstance(value, (dict, list))  # a string would be a path


_KNOWN: dict[str, tuple[Callable[[object], bool], str]] = {
    "description": (_is_text, "a text"),
    "task": (_is_text, "a text"),
    "batch": (_is_count, "a whole number above 0"),
    "channels": (_is_count, "a whole number above 0"),
    "imgsz": (_is_size, "height and width, whole numbers above 0"),
    "names": (_is_collection, "a name for each index"),
}


def _check(metadata: Mapping[str, Any], name: str) -> None:
    for key, (is_right, expected) in _KNOWN.items():
        if key in metadata and not is_right(metadata[key]):
            raise _damaged(name, f"{key} is {reprlib.repr(metadata[key])}; expected {expected}")
    try:
        classes_of(metadata)
    except InputError as error:
        raise _damaged(name, f"names: {error}") from error


def _damaged(name: str, why: str) -> EngineIncompatibleError:
    return EngineIncompatibleError(
        f"{name} begins with a description as Ultralytics writes it, which is damaged: {why}. Copy "
        "the engine again, or export it again"
    )
