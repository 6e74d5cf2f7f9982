"""From images to the batch that a classifier takes: resize, normalise, and HWC to NCHW, on the CPU.

The arithmetic is that of albumentations 2 on ``uint8`` images, bit for bit, so a model served
through :class:`Preprocess` sees exactly the numbers that it was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from numbers import Real
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from .errors import Error, InputError

if TYPE_CHECKING:
    import os

    import numpy.typing as npt
    from typing_extensions import Self

    Image: TypeAlias = npt.NDArray[np.uint8]
    Batch: TypeAlias = npt.NDArray[np.float32]

__all__ = ["Interpolation", "Preprocess", "read_image"]

Interpolation: TypeAlias = Literal["nearest", "linear", "area", "cubic", "lanczos"]

# The values of OpenCV's InterpolationFlags, here so that a spec can be read without OpenCV.
_INTERPOLATIONS = {"nearest": 0, "linear": 1, "cubic": 2, "area": 3, "lanczos": 4}


@dataclass(frozen=True)
class Preprocess:
    """How images become a model's input: resize, normalise, HWC to NCHW.

    Each pixel becomes ``(pixel - mean * max_pixel_value) / (std * max_pixel_value)`` in float32.
    The channels keep their order, and ``mean`` and ``std`` follow it: RGB, unless the model was
    trained on something else. An image that already has the size is not resized.

    Parameters
    ----------
    size : (int, int)
        Height and width of the result.
    mean, std : (float, float, float)
        One for each channel, as a fraction of ``max_pixel_value``; those of ImageNet by default.
    max_pixel_value : float
        The pixel value that counts as 1.
    interpolation : {"nearest", "linear", "area", "cubic", "lanczos"}
        OpenCV's method of that name.

    Raises
    ------
    InputError
        If a value has the wrong type or is out of range.
    """

    size: tuple[int, int] = (224, 224)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    max_pixel_value: float = 255.0
    interpolation: Interpolation = "linear"

    def __post_init__(self) -> None:
        # Lists and NumPy scalars become plain tuples and numbers: the spec stays hashable and JSON.
        object.__setattr__(self, "size", _size(self.size))
        for name in ("mean", "std"):
            object.__setattr__(self, name, _per_channel(name, getattr(self, name)))
        object.__setattr__(
            self, "max_pixel_value", _number("max_pixel_value", self.max_pixel_value)
        )
        if self.interpolation not in _INTERPOLATIONS:
            raise InputError(
                f"interpolation is {self.interpolation!r}; expected one of "
                f"{', '.join(_INTERPOLATIONS)}"
            )
        if self.max_pixel_value <= 0 or min(self.std) <= 0 or not np.isfinite(self.table).all():
            raise InputError(
                f"mean {self.mean}, std {self.std} and max_pixel_value {self.max_pixel_value} "
                "do not give finite results in float32; expected numbers of ordinary magnitude, "
                "std and max_pixel_value above 0"
            )

    def __call__(self, images: Image | Sequence[Image]) -> Batch:
        """Preprocess one image or several.

        Parameters
        ----------
        images : uint8 array (H, W, 3), uint8 array (N, H, W, 3), or sequence of (H, W, 3)
            The images of a sequence may differ in size.

        Returns
        -------
        float32 array (N, 3, height, width)
            A new C-contiguous array; N is 1 for one image.

        Raises
        ------
        InputError
            If there is no image, or one is not a uint8 array (H, W, 3) with at least one pixel.
        Error
            If OpenCV is not installed.
        """
        cv2 = _cv2()
        resized = self.resize(images)
        result = np.empty((len(resized), 3, *self.size), np.float32)
        for image, planes in zip(resized, result, strict=True):
            for channel, plane in enumerate(cv2.split(image)):
                cv2.LUT(plane, self.table[channel], dst=planes[channel])
        return result

    def resize(self, images: Image | Sequence[Image]) -> Image:
        """Resize images only; what remains, :attr:`table` says.

        Parameters
        ----------
        images
            As in a call.

        Returns
        -------
        uint8 array (N, height, width, 3)
            C-contiguous.

        Raises
        ------
        InputError, Error
            As a call does.
        """
        cv2 = _cv2()
        batch = _images(images)
        for position, image in enumerate(batch):
            _check_image(image, f"image {position}" if len(batch) > 1 else "the image")
        height, width = self.size
        flag = _INTERPOLATIONS[self.interpolation]
        result = np.empty((len(batch), height, width, 3), np.uint8)
        for image, target in zip(batch, result, strict=True):
            if image.shape[:2] == self.size:
                target[:] = image
            else:
                cv2.resize(image, (width, height), dst=target, interpolation=flag)
        return result

    @cached_property
    def table(self) -> npt.NDArray[np.float32]:
        """The normalised value of each pixel value, float32 (3, 256).

        Bit equality hangs on the order and the type of each step: everything in float32, and a
        multiplication by the reciprocal, not a division.
        """
        with np.errstate(all="ignore"):
            top = np.float32(self.max_pixel_value)
            offset = np.asarray(self.mean, np.float32) * top
            scale = np.reciprocal(np.asarray(self.std, np.float32) * top)
            pixels = np.arange(256, dtype=np.float32)
            table: npt.NDArray[np.float32] = (pixels - offset[:, None]) * scale[:, None]
        return table

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as a dictionary that ``json`` can write; see :meth:`from_dict`."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make a spec from what :meth:`to_dict` gave; what is absent takes its default.

        Raises
        ------
        InputError
            If a key is not known or a value is not valid.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise InputError(
                f"unknown preprocess settings {', '.join(unknown)}; known are {', '.join(known)}: "
                "a newer trtfast may have written them"
            )
        return cls(**values)

    @classmethod
    def from_albumentations(cls, compose: object) -> Self:
        """Translate an albumentations pipeline.

        Parameters
        ----------
        compose : albumentations.Compose
            Of ``Resize``, ``Normalize`` and, optionally, ``ToTensorV2``, in this order.

        Raises
        ------
        InputError
            If the pipeline has another transform, or an argument that would change the result and
            cannot be represented; the message names it.
        """
        _expect_class(compose, ("Compose",))
        steps: Sequence[Any] = compose.transforms  # type: ignore[attr-defined]
        for step in steps:
            _expect_class(step, ("Resize", "Normalize", "ToTensorV2"))
        names = [type(step).__name__ for step in steps]
        if names not in (["Resize", "Normalize"], ["Resize", "Normalize", "ToTensorV2"]):
            raise InputError(
                f"the pipeline is {', '.join(names) or 'empty'}; "
                "expected Resize, Normalize and, optionally, ToTensorV2, in this order"
            )
        for step in (compose, *steps):
            _expect_argument(step, "p", 1)
        resize, normalize = steps[:2]
        _expect_argument(resize, "area_for_downscale", None)
        _expect_argument(normalize, "normalization", "standard")
        methods = {flag: name for name, flag in _INTERPOLATIONS.items()}
        if resize.interpolation not in methods:
            raise InputError(
                f"Resize has interpolation={resize.interpolation}; expected one of OpenCV's "
                f"{', '.join(f'{flag} ({name})' for flag, name in methods.items())}"
            )
        mean, std = (
            (value, value, value) if isinstance(value, float) else value
            for value in (normalize.mean, normalize.std)
        )
        return cls(
            size=(resize.height, resize.width),
            mean=mean,
            std=std,
            max_pixel_value=normalize.max_pixel_value,
            interpolation=methods[resize.interpolation],  # type: ignore[arg-type]
        )


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
    cv2 = _cv2()
    if not Path(path).is_file():
        raise InputError(f"{path}: there is no such file; expected an image")
    data = Path(path).read_bytes()
    try:
        # Not imread: it fills the missing part of a JPEG that was cut short with grey.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InputError(f"{path}: OpenCV cannot decode it: {error}") from error
    if image is None:
        raise InputError(
            f"{path}: OpenCV cannot decode its {len(data)} bytes; expected a whole image file"
        )
    rgb: Image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return rgb


def _cv2() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise Error(
            'images need OpenCV, which is not installed: pip install "trtfast[preprocess]"'
        ) from error
    return cv2


def _images(images: object) -> Sequence[Image]:
    """Return one image, a batch or a sequence as a sequence of images, none yet checked."""
    if isinstance(images, np.ndarray) and images.dtype != object:
        batch: Sequence[Image] = list(images) if images.ndim == 4 else [images]
    elif isinstance(images, Sequence) and not isinstance(images, (str, bytes)):
        batch = images
    else:
        got = "an object array" if isinstance(images, np.ndarray) else type(images).__name__
        raise InputError(
            f"got {got}; expected a uint8 array (H, W, 3) or (N, H, W, 3), or a list of images: "
            "pass images of different sizes as a list"
        )
    if len(batch) == 0:
        raise InputError("got no image; expected at least one")
    return batch


def _check_image(image: object, what: str) -> None:
    expected = "expected a uint8 array (height, width, 3)"
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


def _size(value: object) -> tuple[int, int]:
    try:
        height, width = (index(side) for side in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise InputError(f"size is {value!r}; expected (height, width), two integers") from error
    if min(height, width) < 1:
        raise InputError(f"size is {value!r}; expected a height and a width of at least 1")
    return height, width


def _per_channel(name: str, value: object) -> tuple[float, ...]:
    numbers = tuple(value) if isinstance(value, (Sequence, np.ndarray)) else ()
    if len(numbers) != 3:
        raise InputError(f"{name} is {value!r}; expected three numbers, one for each channel")
    return tuple(_number(name, number) for number in numbers)


def _number(name: str, value: object) -> float:
    if not isinstance(value, Real):
        raise InputError(f"{name} has {value!r}; expected a number")
    return float(value)


def _expect_class(item: object, names: tuple[str, ...]) -> None:
    kind = type(item)
    if kind.__module__.partition(".")[0] != "albumentations" or kind.__name__ not in names:
        raise InputError(
            f"cannot translate {kind.__module__}.{kind.__name__}; "
            f"expected albumentations' {', '.join(names)}"
        )


def _expect_argument(step: object, name: str, expected: object) -> None:
    # A version without the argument behaves as newer ones do by default.
    value = getattr(step, name, expected)
    if value != expected:
        raise InputError(
            f"{type(step).__name__} has {name}={value!r}, which cannot be translated; "
            f"expected {name}={expected!r}"
        )
