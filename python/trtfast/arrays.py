"""Arrays in files: ``.npy`` and ``.npz``, as NumPy writes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from .errors import InputError

if TYPE_CHECKING:
    import os

    from .spec import Array

__all__ = ["ENDINGS", "read_arrays"]

ENDINGS = (".npy", ".npz")


def read_arrays(path: str | os.PathLike[str]) -> Array | dict[str, Array]:
    """Read the array of a ``.npy`` file, mapped so that no more of it is read than is used.

    Of a ``.npz`` file, return a dict from name to array.

    Raises
    ------
    InputError
        If there is no such file, or it holds no arrays of numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return dict(loaded)
    except (ValueError, EOFError, BadZipFile) as error:
        raise InputError(f"{path} cannot be read as arrays of numbers: {error}") from error
