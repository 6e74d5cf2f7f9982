"""The names of a classifier's classes, from wherever they are kept."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .errors import InputError

if TYPE_CHECKING:
    from typing import TypeAlias

__all__ = ["ClassNames", "class_names"]


class Weights(Protocol):
    """What torchvision's weights know of themselves."""

    @property
    def meta(self) -> Mapping[str, Any]: ...


if TYPE_CHECKING:
    ClassNames: TypeAlias = (
        Sequence[str] | Mapping[int, str] | Mapping[str, str] | Weights | os.PathLike[str]
    )
    """What :func:`class_names` takes; a path may be a plain string."""


def class_names(source: ClassNames) -> tuple[str, ...]:
    """Return the names of a classifier's classes, in the order of its logits.

    Parameters
    ----------
    source : sequence of names, mapping from index to name, torchvision's weights, or path
        Weights, as ``ResNet50_Weights.DEFAULT``, have their names in ``meta["categories"]``. A
        ``.json`` file holds a list, or a mapping from index to name. Any other file has one name a
        line, in UTF-8 with or without a byte order mark; space around a name, and empty lines at
        the end, do not count. A string is a path.

    Raises
    ------
    InputError
        If there are no names, or a file cannot be read; if something is not a name; if an index is
        missing; or if an empty line stands between names, where a class would lose its own.
    """
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        return _named(_in_file(path), str(path))
    if hasattr(source, "meta"):
        if "categories" not in source.meta:
            raise InputError(f"{source} has no names of classes in meta['categories']: give a list")
        return _named(source.meta["categories"], f"meta['categories'] of {source}")
    return _named(source, "classes")


def _in_file(path: Path) -> object:
    try:
        text = path.read_text("utf-8-sig")
        if path.suffix.lower() == ".json":
            return json.loads(text)
    except (OSError, ValueError) as error:
        raise InputError(f"no names of classes can be read from {path}: {error}") from error
    names = [line.strip() for line in text.rstrip().split("\n")]
    if "" in names[:-1]:
        raise InputError(f"line {names.index('') + 1} of {path} is empty: give each class a name")
    return [name for name in names if name]


def _named(found: object, where: str) -> tuple[str, ...]:
    names = _in_order(found, where) if isinstance(found, Mapping) else found
    listed = tuple(names) if isinstance(names, Iterable) and not isinstance(names, str) else ()
    if not listed or not all(isinstance(name, str) for name in listed):
        raise InputError(
            f"{where}: expected at least one name of a class, each a string, in a list or by index"
        )
    return tuple(str(name) for name in listed)  # NumPy's strings become Python's


def _in_order(found: Mapping[Any, object], where: str) -> list[object]:
    try:
        by_index = {int(key): name for key, name in found.items()}
        if len(by_index) == len(found):
            return [by_index[index] for index in range(len(found))]
    except (KeyError, TypeError, ValueError):
        pass
    raise InputError(f"{where}: expected a name for each index from 0 to {len(found) - 1}")
