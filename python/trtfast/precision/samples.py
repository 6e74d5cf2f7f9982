"""The samples that a model is calibrated with: arrays, loaders, files, and folders of images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..arrays import ENDINGS, read_arrays
from ..errors import InputError
from ..preprocess.decode import IMAGE_ENDINGS

if TYPE_CHECKING:
    from ..preprocess import Preprocess
    from ..spec import Array, TensorSpec

__all__ = ["Samples", "runs_of"]

Samples: TypeAlias = "str | os.PathLike[str] | Array | Mapping[str, Any] | Iterable[Any]"

_ROWS = 8  # of a run, where the model takes any number: all its values are in memory at once


def runs_of(
    samples: Samples, inputs: Sequence[TensorSpec], preprocess: Preprocess | None = None
) -> Iterator[dict[str, Array]]:
    """Give the inputs of each run of a model, by name.

    Parameters
    ----------
    samples : path, array, mapping from input name to array, or iterable
        A path is that of a ``.npy`` or ``.npz`` file, of an image, or of a folder of these, read in
        the order of their names. An array is for the first input. Of an iterable, as a PyTorch
        ``DataLoader``, each item is one of all these, or a sequence of arrays in the order of the
        inputs; what follows them, as labels do, is left out. The first axis counts samples: of
        more than the model takes at once, several runs are made; of fewer, the last is repeated.
    inputs : sequence of TensorSpec
        The model's.
    preprocess : Preprocess, optional
        What makes an input of an image: of a file, or of an array of bytes.

    Raises
    ------
    InputError
        If a file or folder is missing, empty or of another kind, an item is not what the model
        takes, or images are given and no ``preprocess``.
    """
    reader = _Reader(inputs, preprocess)
    waiting: list[dict[str, Array]] = []
    size = _fixed_rows(inputs)
    for item in reader.read(samples):
        rows = _rows(item)
        if rows is None or (size is None and any(spec.shape[:1] != (-1,) for spec in inputs)):
            yield item  # no axis of samples
        elif size is None:
            yield from _cut(item, _ROWS)
        else:
            waiting.append(item)
            if sum(map(_count, waiting)) >= size:
                *whole, rest = _cut(_joined(waiting), size)
                yield from whole
                waiting = [rest]
                if _count(rest) == size:
                    yield rest
                    waiting = []
    if waiting and size is not None:
        rest = _joined(waiting)
        lacking = size - _count(rest)
        yield {
            name: np.concatenate([array, np.repeat(array[-1:], lacking, 0)])
            for name, array in rest.items()
        }


class _Reader:
    def __init__(self, inputs: Sequence[TensorSpec], preprocess: Preprocess | None) -> None:
        self._inputs = inputs
        self._names = [spec.name for spec in inputs]
        self._preprocess = preprocess

    def read(self, samples: Samples) -> Iterator[dict[str, Array]]:
        if isinstance(samples, (str, os.PathLike)):
            for path in _files(Path(samples)):
                yield self._item(path)
        elif isinstance(samples, Mapping) or _is_array(samples):
            yield self._item(samples)
        elif isinstance(samples, Iterable):
            yield from map(self._item, samples)
        else:
            raise InputError(
                f"samples are {type(samples).__name__}; expected arrays, an iterable of them, as a "
                "DataLoader, or the path of a file or a folder"
            )

    def _item(self, item: Any) -> dict[str, Array]:
        if isinstance(item, (str, os.PathLike)):
            path = Path(item)
            item = read_arrays(path) if path.suffix in ENDINGS else self._image(path)
        if isinstance(item, Mapping):
            return {name: _to_array(value) for name, value in item.items()}
        if _is_array(item):
            array = _to_array(item)
            if array.dtype == np.uint8 and self._inputs[0].dtype != np.uint8:
                array = self._image(array)
            return {self._names[0]: array}
        if isinstance(item, Sequence) and len(item) >= len(self._names):
            return dict(zip(self._names, map(_to_array, item), strict=False))
        raise InputError(
            f"a sample is {type(item).__name__}; expected an array, a path, a mapping from input "
            f"name to array, or a sequence of arrays for {', '.join(self._names)}"
        )

    def _image(self, image: Path | Array) -> Array:
        from ..preprocess import read_image

        if self._preprocess is None:
            raise InputError(
                "images are given to calibrate with, but nothing that makes inputs of them: give "
                "preprocess="
            )
        pixels = read_image(image) if isinstance(image, Path) else image.astype(np.uint8)
        return self._preprocess(pixels)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(
        file for file in path.iterdir() if file.suffix.lower() in (*ENDINGS, *IMAGE_ENDINGS)
    )
    if not found:
        raise InputError(
            f"the folder {path} holds no samples; expected images, or .npy or .npz files"
        )
    return found


def _is_array(value: object) -> bool:
    return hasattr(value, "__array__")  # NumPy's, PyTorch's and others'


def _to_array(value: Any) -> Array:
    if hasattr(value, "detach"):  # a tensor of PyTorch's, perhaps on a GPU
        value = value.detach().cpu()
    return np.asarray(value)


def _fixed_rows(inputs: Sequence[TensorSpec]) -> int | None:
    """Return how many samples each run takes; None if any number, or if no axis counts them."""
    sizes = {spec.shape[:1] for spec in inputs}
    ((size,), *others) = sizes if sizes and () not in sizes else {(-1,)}
    return size if size > 0 and not others else None


def _rows(item: Mapping[str, Array]) -> int | None:
    """Return how many samples an item has, if its arrays agree on that."""
    sizes = {array.shape[:1] for array in item.values()}
    ((rows,), *others) = sizes if sizes and () not in sizes else {(0,)}
    return rows if rows and not others else None


def _count(item: Mapping[str, Array]) -> int:
    return len(next(iter(item.values())))


def _cut(item: Mapping[str, Array], size: int) -> list[dict[str, Array]]:
    return [
        {name: array[start : start + size] for name, array in item.items()}
        for start in range(0, _count(item), size)
    ]


def _joined(items: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([item[name] for item in items]) for name in items[0]}
