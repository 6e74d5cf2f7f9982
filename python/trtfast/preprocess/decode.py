"""Image files and bytes into arrays, several at once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

import numpy as np

from ..errors import InputError
from .cpu import opencv
from .images import ENCODED, check_image, items_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from .images import Image, Images, Item

__all__ = ["IMAGE_ENDINGS", "ON_ERROR", "decode", "read_image", "read_images", "sort_out"]

IMAGE_ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

ON_ERROR = ("raise", "skip")

# Small, for it shares the processors with what else a service does.
_MOST_WORKERS = 8


def read_image(path: str | os.PathLike[str]) -> Image:
    """Read an image file as OpenCV does, with the orientation of its EXIF data applied.

    Returns
    -------
    uint8 array (H, W, 3)
        RGB; grey images are repeated over the channels, transparency is dropped.

    Raises
    ------
    InputError
        If the file is missing, cut short, or not an image that OpenCV decodes.
    Error
        If OpenCV is not installed.
    """
    opencv()  # its absence is told before that of the file
    if not Path(path).is_file():
        raise InputError(f"{path}: there is no such file; expected an image")
    return decode(Path(path).read_bytes(), str(path))


def decode(data: bytes | bytearray | memoryview, name: str = "the image") -> Image:
    """Decode the bytes of an image file; see :func:`read_image`.

    Parameters
    ----------
    data : bytes, bytearray or memoryview
    name : str
        What messages call it.

    Returns
    -------
    uint8 array (H, W, 3)
        RGB.

    Raises
    ------
    InputError
        If they are not a whole image that OpenCV decodes.
    Error
        If OpenCV is not installed.
    """
    cv2 = opencv()
    try:
        # Not imread: it fills the missing part of a JPEG that was cut short with grey.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InputError(f"{name}: OpenCV cannot decode it: {error}") from error
    if image is None:
        raise InputError(
            f"{name}: OpenCV cannot decode its {len(data)} bytes; expected a whole image file"
        )
    rgb: Image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return rgb


@overload
def read_images(
    items: Images, workers: int | None = None, *, on_error: Literal["raise"] = "raise"
) -> list[Image]: ...
@overload
def read_images(
    items: Images, workers: int | None = None, *, on_error: Literal["skip"]
) -> tuple[list[Image], dict[int, InputError]]: ...
def read_images(
    items: Images, workers: int | None = None, *, on_error: Literal["raise", "skip"] = "raise"
) -> list[Image] | tuple[list[Image], dict[int, InputError]]:
    """Read several images, from files or from their bytes, in threads.

    Parameters
    ----------
    items : sequence of path, bytes or uint8 array (H, W, 3)
        Arrays are given back as they are.
    workers : int, optional
        How many threads, 1 or more, shared by all calls with this number; by default as many as
        there are processors, up to 8.
    on_error : {"raise", "skip"}
        Whether the first image that is wrong raises, or all such are left out and told of.

    Returns
    -------
    list of uint8 array (H, W, 3)
        RGB, in order.
    dict of int to InputError
        Only with "skip": what is wrong with each of the others, by its index.

    Raises
    ------
    InputError
        If there is nothing to read, or for the first that is wrong; the message has its index.
    Error
        If OpenCV is not installed.
    """
    images, errors = sort_out(items, None, on_error, workers)
    return images if on_error == "raise" else (images, errors)


def sort_out(
    items: Images,
    check: Callable[[Image], object] | None,
    on_error: str,
    workers: int | None = None,
    *,
    first: int = 0,
    on_gpu: bool = False,
) -> tuple[list[Image], dict[int, InputError]]:
    """Read images, and part the good ones from the errors of the others; see `read_images`.

    ``check`` may raise InputError for an image that has been read, ``first`` is the index of the
    first, and ``on_gpu`` tells whether they may be arrays there.
    """
    if on_error not in ON_ERROR:
        raise InputError(f"on_error is {on_error!r}; expected 'raise' or 'skip'")
    if workers is not None and workers < 1:
        raise InputError(f"workers is {workers}; expected 1 or more")
    batch = items_of(items)
    encoded = sum(isinstance(item, ENCODED) for item in batch)
    read = partial(_read, check=check, on_gpu=on_gpu)
    indices = range(first, first + len(batch))
    if encoded > 1 and workers != 1:
        opencv()  # not first on a thread: its import is slow, and its absence no fault of an image
        results = list(_pool(workers or _processors()).map(read, indices, batch))
    else:
        results = [read(index, item) for index, item in zip(indices, batch, strict=True)]
    errors = {
        index: result
        for index, result in zip(indices, results, strict=True)
        if isinstance(result, InputError)
    }
    if errors and on_error == "raise":
        raise next(iter(errors.values()))
    return [result for result in results if not isinstance(result, InputError)], errors


def _read(
    index: int, item: Item, *, check: Callable[[Image], object] | None, on_gpu: bool
) -> Image | InputError:
    what = f"image {index}"
    try:
        if isinstance(item, (bytes, bytearray, memoryview)):
            image = decode(item, what)
        elif isinstance(item, (str, os.PathLike)):
            try:
                image = read_image(item)
            except (InputError, OSError) as error:
                raise InputError(f"{what}: {error}") from error
        else:
            check_image(item, what, on_gpu=on_gpu)
            image = item
        if check is not None:
            try:
                check(image)
            except InputError as error:
                raise InputError(f"{what} of {error}") from error
    except InputError as error:
        return error
    return image


@lru_cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="trtfast-decode")


def _processors() -> int:
    return min(_MOST_WORKERS, len(os.sched_getaffinity(0)))


# A process that was forked has none of its parent's threads.
os.register_at_fork(after_in_child=_pool.cache_clear)
