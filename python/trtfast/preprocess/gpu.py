"""Preprocessing on the GPU: what the core's kernels need to know of each image.

The kernels follow OpenCV's and Pillow's arithmetic step by step, so that what they make is what the
CPU makes; where they differ, and by how much, ``docs/preprocessing.md`` says.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import _core, binding
from .cpu import opencv
from .decode import ON_ERROR
from .geometry import CV2_FLAGS, PIL_FILTERS
from .images import items_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from ..errors import InputError
    from ..spec import Outputs, TensorSpec
    from .images import Images
    from .spec import Preprocess

    Map = npt.NDArray[np.int32]

__all__ = ["Arranged", "arrange", "read_in_parts", "run_in_parts"]


class Arranged(NamedTuple):
    """Images as the core takes them."""

    recipe: _core.ImageRecipe
    images: list[Any]
    geometry: npt.NDArray[np.int32] | None  # None where the recipe keeps it
    maps: list[tuple[Map, Map]]


def arrange(spec: Preprocess, images: Sequence[Any]) -> Arranged:
    """Arrange checked images, each an array (H, W, 3) of uint8, on the host or on the GPU.

    An array on the host that is not C-contiguous is copied.
    """
    recipe = _recipe(spec)
    if isinstance(images, list) and recipe.knows(images):
        return Arranged(recipe, images, None, [])
    ready = [
        np.ascontiguousarray(image) if isinstance(image, np.ndarray) else image for image in images
    ]
    geometry = np.empty((len(images), 5), np.int32)
    maps = []
    for image, row in zip(images, geometry, strict=True):
        height, width = (int(side) for side in image.shape[:2])
        resized, offset = spec.geometry(height, width)
        row[:] = (*resized, *offset, _begins_with_rows(spec, (height, width), resized))
        if spec.interpolation == "nearest_exact":
            maps.append((_map(height, resized[0]), _map(width, resized[1])))
    return Arranged(recipe, ready, geometry, maps)


def read_in_parts(
    spec: Preprocess, items: Images, largest: int, on_error: str
) -> Iterator[tuple[list[Any], dict[int, InputError]]]:
    """Read images in parts of at most `largest`, each while the one before it is in use.

    Yields
    ------
    list of array, dict of int to InputError
        As :meth:`Preprocess.read` gives them; indices count from the first of all.
    """
    # What is as it was in an earlier call needs no more looking at.
    if (
        isinstance(items, list)
        and 0 < len(items) <= largest
        and on_error in ON_ERROR
        and _recipe(spec).knows(items)
    ):
        yield items, {}
        return
    batch = items_of(items)

    def read(first: int) -> tuple[list[Any], dict[int, InputError]]:
        return spec.read_part(batch[first : first + largest], first, on_error)

    if len(batch) <= largest:
        yield read(0)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="trtfast-read") as ahead:
        coming = ahead.submit(read, 0)
        for first in range(largest, len(batch) + largest, largest):
            part = coming.result()
            if first < len(batch):
                coming = ahead.submit(read, first)
            yield part


def run_in_parts(
    spec: Preprocess,
    items: Images,
    largest: int,
    on_error: str,
    run: Callable[[list[Any]], Outputs],
    outputs: Sequence[TensorSpec],
) -> Outputs | tuple[Outputs, dict[int, InputError]]:
    """Run images in parts of at most `largest`, and return what ``infer_images`` does.

    Parameters
    ----------
    run : callable
        Gets the good images of a part, of which there are some.
    outputs : sequence of TensorSpec
        The engine's.
    """
    parts: list[Outputs] = []
    errors: dict[int, InputError] = {}
    for good, wrong in read_in_parts(spec, items, largest, on_error):
        errors |= wrong
        if good:
            parts.append(run(good))
    joined = binding.joined(parts, outputs)
    return joined if on_error == "raise" else (joined, errors)


@lru_cache(maxsize=64)
def _recipe(spec: Preprocess) -> _core.ImageRecipe:
    fill = (spec.fill,) * 3 if isinstance(spec.fill, int) else spec.fill
    return _core.ImageRecipe(
        interpolation=spec.interpolation,
        size=spec.size,
        channels=spec.channels,
        layout=spec.layout,
        fill=list(fill),
        normalized=spec.table,
    )


# Where a position's centre lies on the border of two pixels, which one it shows hangs on OpenCV's
# version and rounding: so OpenCV itself is asked.
@lru_cache(maxsize=256)
def _map(before: int, after: int) -> Map:
    cv2 = opencv()
    pixels = np.arange(before, dtype=np.float32)[np.newaxis]
    shown = cv2.resize(pixels, (after, 1), interpolation=CV2_FLAGS["nearest_exact"])
    result: Map = shown[0].astype(np.int32)
    return result


def _begins_with_rows(spec: Preprocess, before: tuple[int, int], after: tuple[int, int]) -> bool:
    """Whether Pillow resizes columns after rows, which changes what it rounds."""
    lost_rows, lost_columns = (old - new for old, new in zip(before, after, strict=True))
    if spec.interpolation not in PIL_FILTERS or lost_rows <= 0:
        return False
    if _pillow_chooses():
        return lost_rows > 2 * lost_columns
    return before[0] > 100 * before[1]  # older ones only where an image is very narrow


@lru_cache
def _pillow_chooses() -> bool:
    """Whether the Pillow at hand looks for the quicker order, as 13.0 was seen to, unlike 12.3."""
    try:
        from PIL import __version__
    except ImportError:
        return True
    return int(__version__.partition(".")[0]) >= 13
