"""The arithmetic on the CPU: OpenCV's, and Pillow's for the methods that are its own.

It is the yardstick of every other path: bit for bit what albumentations or torchvision gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Error, InputError
from .geometry import CV2_FLAGS, PIL_FILTERS

if TYPE_CHECKING:
    import numpy.typing as npt

    from .images import Image
    from .spec import Preprocess

__all__ = ["min_max_table", "normalize_into", "opencv", "pixels_of"]


def pixels_of(spec: Preprocess, image: Image) -> Image:
    """Return an image resized, cropped, padded and with its channels in order.

    Parameters
    ----------
    image : uint8 array (H, W, 3)

    Returns
    -------
    uint8 array (height, width, 3), or (height, width, 1) for grey
        Not always contiguous, and perhaps a view of the image.
    """
    (height, width), (top, left) = spec.geometry(*image.shape[:2])
    resized = _resize(np.ascontiguousarray(image), (height, width), spec.interpolation)
    rows, columns = spec.size
    window = resized[max(top, 0) : max(top + rows, 0), max(left, 0) : max(left + columns, 0)]
    if window.shape[:2] != spec.size:
        canvas = np.empty((*spec.size, 3), np.uint8)
        canvas[:] = spec.fill
        y, x = max(-top, 0), max(-left, 0)
        canvas[y : y + window.shape[0], x : x + window.shape[1]] = window
        window = canvas
    if spec.channels == "gray":
        cv2 = opencv()
        gray: Image = cv2.cvtColor(window, cv2.COLOR_RGB2GRAY)
        return gray[..., None]
    return window[..., ::-1] if spec.channels == "bgr" else window


def normalize_into(spec: Preprocess, pixels: Image, result: npt.NDArray[np.float32]) -> None:
    """Write an image's normalised values.

    Parameters
    ----------
    pixels : uint8 array (height, width, channels)
    result : float32 array (channels, height, width), or (height, width, channels) for NHWC
        C-contiguous.
    """
    cv2 = opencv()
    table = spec.table
    if table is None:
        table = np.broadcast_to(min_max_table(pixels), (pixels.shape[2], 256))
    for channel, (plane, row) in enumerate(zip(cv2.split(pixels), table, strict=True)):
        if spec.layout == "NCHW":
            cv2.LUT(plane, row, dst=result[channel])
        else:
            result[..., channel] = cv2.LUT(plane, row)


def min_max_table(pixels: Image) -> npt.NDArray[np.float32]:
    """Return what each pixel value becomes between an image's least and greatest, float32 (256,).

    As in albumentations, the division is in float64, and by a little more than the difference.
    """
    least, greatest = pixels.min(), pixels.max()
    span = np.float64(int(greatest) - int(least)) + 1e-4
    table: npt.NDArray[np.float32] = (
        (np.arange(256, dtype=np.float32) - np.float32(least)) / span
    ).astype(np.float32)
    return table


def _resize(image: Image, size: tuple[int, int], interpolation: str) -> Image:
    if image.shape[:2] == size:
        return image
    resize = _resize_pillow if interpolation in PIL_FILTERS else _resize_opencv
    try:
        return resize(image, size, interpolation)
    except (opencv().error, MemoryError, OverflowError, ValueError) as error:
        library = "Pillow" if resize is _resize_pillow else "OpenCV"
        raise InputError(
            f"{library} cannot resize {image.shape[0]}x{image.shape[1]} to {size[0]}x{size[1]} "
            f"(height x width): {error}"
        ) from error


def _resize_opencv(image: Image, size: tuple[int, int], interpolation: str) -> Image:
    resized: Image = opencv().resize(image, size[::-1], interpolation=CV2_FLAGS[interpolation])
    return resized


def _resize_pillow(image: Image, size: tuple[int, int], interpolation: str) -> Image:
    filtered = _pillow().fromarray(image).resize(size[::-1], PIL_FILTERS[interpolation])
    return np.asarray(filtered)


def opencv() -> Any:
    """Return the module of OpenCV.

    Raises
    ------
    Error
        If it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise Error(
            'images need OpenCV, which is not installed: pip install "trtfast[preprocess]"'
        ) from error
    return cv2


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise Error(
            "the interpolations pil_* need Pillow, which is not installed: "
            'pip install "trtfast[preprocess]"'
        ) from error
    return Image
