"""Samples of what a model will see: to calibrate it with, to verify its engines on, to time them.

All that takes samples reads them here, so what is a sample for one is a sample for all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .arrays import ENDINGS, read_arrays
from .binding import arrange, bind, check_dtype, check_shape, image_preprocess, largest_batch
from .errors import InputError
from .preprocess.decode import IMAGE_ENDINGS, read_image

if TYPE_CHECKING:
    from .preprocess import Preprocess
    from .spec import Array, TensorSpec

__all__ = ["Samples", "files_of", "samples_of"]

Samples: TypeAlias = "str | os.PathLike[str] | Array | Mapping[str, Any] | Iterable[Any]"
"""What :func:`samples_of` takes."""

_ROWS = 32  # of a call, where the engine takes any number


def samples_of(
    samples: Samples,
    specs: Sequence[TensorSpec],
    preprocess: Preprocess | None = None,
    *,
    most: int | None = None,
    fill: bool = False,
) -> Iterator[dict[str, Array]]:
    """Give the inputs of each call by name, checked and cast, and keep none of them.

    Parameters
    ----------
    samples : path, array, mapping from input name to array, or iterable
        Rows, which are dealt out to as many calls as it takes: an array or a ``.npy`` file, for a
        single input; a mapping or a ``.npz`` file, by name; an image file; or a folder of files, in
        the order of their names. Or an iterable, as a list or a PyTorch ``DataLoader``, whose items
        are any of these, or a sequence of arrays in the order of the inputs: what comes after them,
        as labels do, is left out. An item is a call of its own, and several if it has more rows
        than one takes. Only where the batch is fixed do rows of different items share a call.
    specs : sequence of TensorSpec
        What the model takes. The first axis counts rows where it has the same size in all inputs,
        or is dynamic in all.
    preprocess : Preprocess, optional
        What makes inputs of images: of files, and of uint8 arrays where the input has four axes and
        another dtype.
    most : int, optional
        How many rows a call has where it may have any number. By default as many as an item of an
        iterable has, and else 32.
    fill : bool
        Whether to repeat the last row where too few are left for a call of a fixed batch. It does
        no harm where only extremes count. Elsewhere rows that are left over are an error.

    Raises
    ------
    InputError
        If there are no samples, rows are left over, or one is not what the model takes: the message
        has its index, or its path. So it does if a file or folder is missing, empty or of another
        kind, or is an image and there is no ``preprocess``.
    """
    number = 0
    for label, inputs in _Dealer(specs, _Reader(specs, preprocess), most, fill).deal(samples):
        with _naming(label):
            bound = bind(inputs, specs)
        yield bound
        number += 1
    if number == 0:
        raise InputError("there are no samples; expected at least one")


class _Dealer:
    """Cuts the rows of samples into calls, and puts them together."""

    def __init__(
        self, specs: Sequence[TensorSpec], reader: _Reader, most: int | None, fill: bool
    ) -> None:
        self._reader = reader
        self._fill = fill
        batch = _batch(specs)
        self._fixed = batch if batch is not None and batch > 0 else None
        largest = [largest_batch(spec) for spec in specs if batch is not None and spec.profiles]
        self._most = self._fixed or min(filter(None, (*largest, most)), default=None)
        self._most_dealt = self._fixed or min(self._most or _ROWS, _ROWS)
        self._rows = 0
        self._waiting: list[dict[str, Array]] = []

    def deal(self, samples: Samples) -> Iterator[tuple[str, dict[str, Array]]]:
        """Give each call's inputs, as they are, with what to call the last of its samples."""
        label = ""
        for parts, are_dealt in _parts(samples):
            most = self._most_dealt if are_dealt else self._most
            for label, part in parts:
                with _naming(label):
                    inputs, rows = self._reader.read(part)
                if rows is None or not self._is_like_waiting(inputs):
                    yield from self._rest(label)
                if rows is None:
                    yield label, inputs
                if not rows:
                    continue
                self._rows += rows
                self._waiting.append(inputs)
                if most and sum(map(_count, self._waiting)) >= most:
                    *whole, rest = _cut(_joined(self._waiting), most)
                    self._waiting = [rest]
                    yield from ((label, call) for call in whole)
                    if _count(rest) == most:
                        yield from self._rest(label)
            if self._fixed is None:
                yield from self._rest(label)
        yield from self._rest(label)

    def _rest(self, label: str) -> Iterator[tuple[str, dict[str, Array]]]:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        rest = _joined(waiting)
        if self._fixed and (lacking := self._fixed - _count(rest)):
            if not self._fill:
                raise InputError(
                    f"samples have {self._rows} rows, and the engine takes {self._fixed} in each "
                    "call: give a multiple"
                )
            last = {name: np.repeat(array[-1:], lacking, 0) for name, array in rest.items()}
            rest = _joined([rest, last])
        yield label, rest

    def _is_like_waiting(self, inputs: Mapping[str, Array]) -> bool:
        return not self._waiting or all(
            array.shape[1:] == self._waiting[0][name].shape[1:] for name, array in inputs.items()
        )


class _Reader:
    """Reads what stands for inputs, and sees to it that they fit, but for their number of rows."""

    def __init__(self, specs: Sequence[TensorSpec], preprocess: Preprocess | None) -> None:
        self._specs = specs
        self._preprocess = preprocess
        self._has_rows = _batch(specs) is not None
        self._loose = [
            replace(spec, shape=(-1, *spec.shape[1:])) if self._has_rows else spec for spec in specs
        ]

    def read(self, part: Any) -> tuple[dict[str, Array], int | None]:
        """Return arrays by name, and how many rows they have; None if they do not agree on that."""
        inputs = {
            name: _array(value, name)
            for name, value in arrange(self._arrays(part), self._specs).items()
        }
        for spec in self._loose:
            check_dtype(inputs[spec.name].dtype, spec)
            check_shape(inputs[spec.name].shape, spec)
        counts = {array.shape[:1] for array in inputs.values()}
        return inputs, counts.pop()[0] if self._has_rows and len(counts) == 1 else None

    def _arrays(self, part: Any) -> Any:
        if isinstance(part, (str, os.PathLike)):
            path = Path(part)
            if path.suffix.lower() not in ENDINGS:
                return self._inputs_of(read_image(path))
            part = read_arrays(path)
        if _is_array(part):
            array, spec = _array(part), self._specs[0]
            # As bytes an image is no input, whatever NumPy would cast.
            are_bytes = array.dtype == np.uint8 and spec.dtype != np.uint8
            return self._inputs_of(array) if are_bytes and len(spec.shape) == 4 else array
        if isinstance(part, Mapping):
            return part
        if isinstance(part, Sequence) and len(part) >= len(self._specs):
            return tuple(part[: len(self._specs)])
        raise InputError(
            f"it is {type(part).__name__}; expected an array, a path, a mapping from input name to "
            f"array, or a sequence of arrays for {', '.join(spec.name for spec in self._specs)}"
        )

    def _inputs_of(self, images: Any) -> Array:
        if self._preprocess is None:
            raise InputError(
                "it is an image, and it is not known how the model takes images: give preprocess=, "
                "or arrays of the model's own dtype"
            )
        preprocess = image_preprocess(self._preprocess, self._specs)
        return preprocess(images).astype(self._specs[0].dtype, copy=False)


def _parts(samples: Samples) -> Iterator[tuple[Iterable[tuple[str, Any]], bool]]:
    """Give what to read together, each with what to call it; and whether it is rows to deal out."""
    if isinstance(samples, (str, os.PathLike)):
        yield _labelled(Path(samples)), True
    elif isinstance(samples, Mapping) or _is_array(samples):
        yield [("samples", samples)], True
    elif isinstance(samples, Iterable):
        for number, item in enumerate(samples):
            if isinstance(item, (str, os.PathLike)) and Path(item).is_dir():
                yield _labelled(Path(item)), True
            else:
                yield [(f"sample {number}", item)], False
    else:
        raise InputError(
            f"samples is {type(samples).__name__}; expected arrays, an iterable of them, as a list "
            "or a DataLoader, or the path of a file or a folder"
        )


def _labelled(path: Path) -> list[tuple[str, Path]]:
    return [(str(file), file) for file in files_of(path)]


def files_of(path: Path) -> list[Path]:
    """Return the files of samples in a folder, in the order of their names; or the file itself.

    Raises
    ------
    InputError
        If there are none.
    """
    if not path.exists():
        raise InputError(f"there is no file or folder {path}")
    files = [path]
    if path.is_dir():
        endings = (*ENDINGS, *IMAGE_ENDINGS)
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in endings)
    if not files:
        raise InputError(
            f"the folder {path} holds no samples; expected images, or .npy or .npz files"
        )
    return files


@contextmanager
def _naming(label: str) -> Iterator[None]:
    """Have an error say of which sample it is."""
    try:
        yield
    except InputError as error:
        if label in str(error):
            raise
        raise InputError(f"{label}: {error}") from error


def _batch(specs: Sequence[TensorSpec]) -> int | None:
    """Return how many rows a call has, -1 for any number; None where inputs have none in common."""
    sizes = {spec.shape[:1] for spec in specs}
    return sizes.pop()[0] if len(sizes) == 1 and () not in sizes else None


def _is_array(value: object) -> bool:
    return hasattr(value, "__array__")  # NumPy's, PyTorch's and others'


def _array(value: Any, name: str = "") -> Array:
    if hasattr(value, "detach"):  # PyTorch's, perhaps on a GPU
        from ._exported import to_numpy

        value = to_numpy(value)
    if not _is_array(value):
        raise InputError(f"input '{name}' is {type(value).__name__}; expected an array")
    return np.asarray(value)


def _count(inputs: Mapping[str, Array]) -> int:
    return len(next(iter(inputs.values())))


def _cut(inputs: Mapping[str, Array], size: int) -> list[dict[str, Array]]:
    return [
        {name: array[start : start + size] for name, array in inputs.items()}
        for start in range(0, _count(inputs), size)
    ]


def _joined(parts: Sequence[dict[str, Array]]) -> dict[str, Array]:
    (first, *others) = parts
    if not others:
        return first
    return {name: np.concatenate([part[name] for part in parts]) for name in first}
