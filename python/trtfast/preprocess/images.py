"""What counts as an image: its types, and the checks of what a caller passes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    Image: TypeAlias = npt.NDArray[np.uint8]
    Batch: TypeAlias = npt.NDArray[np.float32]
    # A file by its path, or the bytes of one.
    Encoded: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview
    Item: TypeAlias = Image | Encoded | Any  # Any: an array on a GPU, of any library
    Images: TypeAlias = Item | Sequence[Item]

__all__ = ["ENCODED", "check_image", "images_of", "is_on_gpu", "items_of"]

ENCODED = (str, os.PathLike, bytes, bytearray, memoryview)


def images_of(images: object) -> Sequence[Image]:
    """Return one image, a batch or a sequence as a sequence of images, none yet checked."""
    if isinstance(images, ENCODED):
        raise InputError(
            f"got {type(images).__name__}; expected a uint8 array (H, W, 3) or (N, H, W, 3), or a "
            "list of images: see trtfast.read_image for files"
        )
    return items_of(images)  # type: ignore[return-value]  # it may yet be anything


def items_of(items: object) -> Sequence[Item]:
    """Return one item, a batch or a sequence as a sequence of items, none yet checked.

    Raises
    ------
    InputError
        If there is none, or what is given is neither an item nor a sequence.
    """
    if isinstance(items, ENCODED):
        return [items]
    if is_on_gpu(items):
        array: Any = items
        return list(array) if len(array.shape) == 4 else [array]
    if isinstance(items, np.ndarray) and items.dtype != object:
        batch: Sequence[Item] = list(items) if items.ndim == 4 else [items]
    elif isinstance(items, Sequence):
        batch = items
    else:
        got = "an object array" if isinstance(items, np.ndarray) else type(items).__name__
        raise InputError(
            f"got {got}; expected a uint8 array (H, W, 3) or (N, H, W, 3), or a list of images: "
            "pass images of different sizes as a list"
        )
    if len(batch) == 0:
        raise InputError("got no image; expected at least one")
    return batch


def is_on_gpu(item: object) -> bool:
    """Whether it is an array on a GPU, of any library."""
    return hasattr(item, "__cuda_array_interface__")


def check_image(image: Any, what: str, *, on_gpu: bool = False) -> None:
    """Raise InputError unless it is a uint8 array (H, W, 3) with at least one pixel.

    With ``on_gpu`` it may be one on a GPU, of a dtype that is looked at later.
    """
    expected = "expected a uint8 array (height, width, 3)"
    if is_on_gpu(image):
        if not on_gpu:
            raise InputError(f"{what} is on a GPU, and what runs here on the CPU: copy it first")
        if len(image.shape) != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise InputError(f"{what} has shape {tuple(image.shape)}; {expected}")
        return
    if not isinstance(image, np.ndarray):
        raise InputError(
            f"{what} is {type(image).__name__}; {expected}: see numpy.asarray, trtfast.read_image"
        )
    if image.dtype != np.uint8:
        raise InputError(
            f"{what} is {image.dtype}; {expected}: pass pixels as read, 0 to 255 and not normalised"
        )
    if image.ndim != 3 or image.shape[2] != 3:
        raise InputError(
            f"{what} has shape {image.shape}; {expected}: repeat grey three times, drop alpha "
            "with image[..., :3], turn CHW with image.transpose(1, 2, 0)"
        )
    if image.size == 0:
        raise InputError(f"{what} has shape {image.shape}, no pixel; {expected}")
