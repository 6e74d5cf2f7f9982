"""The preprocessing of images as a value: immutable, comparable, and JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from ..errors import InputError
from . import cpu, decode, geometry, values
from .images import check_image, images_of, items_of
from .translations import Translations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    from typing_extensions import Self

    from .._core import DeviceArray
    from .geometry import Geometry
    from .images import Batch, Image, Images

__all__ = ["Channels", "Interpolation", "Layout", "Normalization", "Pad", "Preprocess", "Resize"]

Interpolation: TypeAlias = Literal[
    "nearest",
    "nearest_exact",
    "linear",
    "area",
    "cubic",
    "lanczos",
    "pil_bilinear",
    "pil_bicubic",
    "pil_lanczos",
]
Resize: TypeAlias = Literal["stretch", "shortest", "longest", "none"]
Pad: TypeAlias = Literal["center", "top_left", "top_right", "bottom_left", "bottom_right"]
Channels: TypeAlias = Literal["rgb", "bgr", "gray"]
Normalization: TypeAlias = Literal["standard", "min_max", "none"]
Layout: TypeAlias = Literal["NCHW", "NHWC"]


_MOST_SIZES = 1024


@dataclass(frozen=True)
class Preprocess(Translations):
    """How images become a model's input: resize, crop, pad, channels, normalise, layout; in order.

    Images are RGB. An image that already has the size that it would be resized to is not resized.
    Then, along each axis, what is larger than ``size`` is cropped at the centre, and what is
    smaller is padded. Letterboxing is ``resize="longest", pad="center"``.

    Whose rounding of sides and offsets, and whose arithmetic of normalising is followed, bit for
    bit, ``interpolation`` says: albumentations' with OpenCV's methods, torchvision's on Pillow's
    images with Pillow's.

    Parameters
    ----------
    size : (int, int)
        Height and width of the result.
    mean, std : tuple of float
        One for each channel of the result, in its order, as a fraction of ``max_pixel_value``;
        those of ImageNet by default. Only "standard" looks at them.
    max_pixel_value : float
        The pixel value that counts as 1.
    interpolation : str
        OpenCV's "nearest", "nearest_exact", "linear", "area", "cubic" or "lanczos"; or Pillow's,
        with antialiasing: "pil_bilinear", "pil_bicubic" or "pil_lanczos".
    resize : {"stretch", "shortest", "longest", "none"}
        To exactly ``resize_to``; or, keeping the ratio of the sides, until the shortest or the
        longest of them is ``resize_to``; or not at all.
    resize_to : int or (int, int), optional
        For "stretch", height and width, by default ``size``. For "shortest" and "longest" a length,
        by default the least and the greatest side of ``size``; or height and width, which the image
        then covers, or fits into.
    pad : {"center", "top_left", "top_right", "bottom_left", "bottom_right"}, optional
        Where an image that is smaller than ``size`` sits. By default such an image is an error.
    fill : int or (int, int, int)
        The pixel value, 0 to 255, of the padding; three for RGB.
    channels : {"rgb", "bgr", "gray"}
        What the model gets. Grey is OpenCV's ``COLOR_RGB2GRAY``, after resize, crop and pad.
    normalization : {"standard", "min_max", "none"}
        ``(pixel - mean * max_pixel_value) / (std * max_pixel_value)``; or each image stretched from
        its least and greatest value to 0 and 1, its padding included; or pixels as they are.
    layout : {"NCHW", "NHWC"}
        The order of the result's axes.

    Raises
    ------
    InputError
        If a value has the wrong type or is out of range, or no image could fit.
    """

    size: tuple[int, int] = (224, 224)
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    max_pixel_value: float = 255.0
    interpolation: Interpolation = "linear"
    resize: Resize = "stretch"
    resize_to: int | tuple[int, int] | None = None
    pad: Pad | None = None
    fill: int | tuple[int, int, int] = 0
    channels: Channels = "rgb"
    normalization: Normalization = "standard"
    layout: Layout = "NCHW"

    def __post_init__(self) -> None:
        values.check_choice("interpolation", self.interpolation, Interpolation)
        values.check_choice("resize", self.resize, Resize)
        values.check_choice("pad", self.pad, Pad | None)
        values.check_choice("channels", self.channels, Channels)
        values.check_choice("normalization", self.normalization, Normalization)
        values.check_choice("layout", self.layout, Layout)
        # Lists and NumPy scalars become plain tuples and numbers: the spec stays hashable and JSON.
        self._set("size", values.as_size("size", self.size))
        self._set("mean", values.as_numbers("mean", self.mean))
        self._set("std", values.as_numbers("std", self.std))
        self._set("max_pixel_value", values.as_number("max_pixel_value", self.max_pixel_value))
        self._set("fill", values.as_fill(self.fill))
        target = values.as_resize_to(self.resize_to, self.resize)
        # One form for one meaning, so that equal specs are equal.
        self._set("resize_to", None if target == geometry.default_resize_to(self) else target)
        geometry.check_possible(self)
        if self.normalization == "standard":
            self._check_table()

    def __call__(self, images: Image | Sequence[Image]) -> Batch:
        """Preprocess one image or several.

        Parameters
        ----------
        images : uint8 array (H, W, 3), uint8 array (N, H, W, 3), or sequence of (H, W, 3)
            RGB. The images of a sequence may differ in size.

        Returns
        -------
        float32 array (N, channels, height, width), or (N, height, width, channels) for NHWC
            A new C-contiguous array; N is 1 for one image.

        Raises
        ------
        InputError
            If there is no image, or one is not a uint8 array (H, W, 3) with at least one pixel, or
            is too small, where ``pad`` is not given.
        Error
            If OpenCV, or Pillow for its methods, is not installed.
        """
        batch = self._checked(images)
        result = np.empty(self.shape(len(batch)), np.float32)
        for image, target in zip(batch, result, strict=True):
            cpu.normalize_into(self, cpu.pixels_of(self, image), target)
        return result

    def pixels(self, images: Image | Sequence[Image]) -> Image:
        """Do all but normalise: resize, crop, pad, and put the channels in order.

        Parameters
        ----------
        images
            As in a call.

        Returns
        -------
        uint8 array (N, height, width, channels)
            New and C-contiguous, whatever ``layout`` is.

        Raises
        ------
        InputError, Error
            As a call does.
        """
        batch = self._checked(images)
        result = np.empty((len(batch), *self.size, self.channel_count), np.uint8)
        for image, target in zip(batch, result, strict=True):
            target[:] = cpu.pixels_of(self, image)
        return result

    def read(
        self, items: Images, *, on_error: Literal["raise", "skip"] = "raise"
    ) -> tuple[list[Image], dict[int, InputError]]:
        """Read what an engine's ``infer_images`` is given, and check that each image fits.

        Parameters
        ----------
        items : image, path, bytes, array (N, H, W, 3), or sequence of images, paths and bytes
        on_error : {"raise", "skip"}

        Returns
        -------
        list of uint8 array (H, W, 3)
            The good images, in order, not yet preprocessed.
        dict of int to InputError
            What is wrong with each of the others, by its index; empty unless they are skipped.

        Raises
        ------
        InputError
            If there is nothing, or, unless it is to be skipped, for the first that is wrong.
        """
        return decode.sort_out(items, self._fits, on_error)

    def read_part(
        self, items: Sequence[Any], first: int, on_error: str
    ) -> tuple[list[Image], dict[int, InputError]]:
        """Read a part of a batch, that begins at index `first`, in which arrays may be on a GPU."""
        return decode.sort_out(items, self._fits, on_error, first=first, on_gpu=True)

    def on_gpu(self, images: Images, *, dtype: str = "float32", device: int = 0) -> DeviceArray:
        """Preprocess images on a GPU, as an engine's ``infer_images`` does before it runs.

        Parameters
        ----------
        images : image, path, bytes, array (N, H, W, 3), or sequence of images, paths and bytes
            RGB. Arrays may be on the GPU: any that have ``__cuda_array_interface__``.
        dtype : {"float32", "float16", "bfloat16", "uint8"}
            Of the result; "uint8" is what is there before it is normalised.
        device : int
            The GPU's index.

        Returns
        -------
        DeviceArray (N, channels, height, width), or (N, height, width, channels) for NHWC

        Raises
        ------
        InputError
            As a call does.
        CudaError, OutOfMemoryError
        """
        from .. import _core
        from .gpu import arrange

        batch = items_of(images)
        good, _ = self.read_part(batch, 0, "raise")
        return _core.preprocess(*arrange(self, good), dtype=dtype, device=device)

    def geometry(self, height: int, width: int) -> Geometry:
        """Return what an image of a size is resized to, and where the result's window lies in it.

        Raises
        ------
        InputError
            If it becomes smaller than ``size``, and ``pad`` is not given.
        """
        found = self._measured.get((height, width))
        if found is None:
            if len(self._measured) >= _MOST_SIZES:
                self._measured.clear()
            found = self._measured[height, width] = geometry.measure(self, height, width)
        return found

    @cached_property
    def _measured(self) -> dict[tuple[int, int], Geometry]:
        """The geometry of the sizes in use, which a batch asks for twice an image."""
        return {}

    @property
    def channel_count(self) -> int:
        """How many channels the result has."""
        return 1 if self.channels == "gray" else 3

    def shape(self, count: int) -> tuple[int, ...]:
        """Return the shape of a batch of so many images."""
        if self.layout == "NCHW":
            return (count, self.channel_count, *self.size)
        return (count, *self.size, self.channel_count)

    @cached_property
    def table(self) -> npt.NDArray[np.float32] | None:
        """The normalised value of each pixel value, float32 (channels, 256).

        None for "min_max", where each image has its own.
        """
        # Bit equality hangs on the order and the type of each step: everything in float32, and
        # albumentations multiplies by a reciprocal where torchvision divides, twice.
        pixels = np.arange(256, dtype=np.float32)
        if self.normalization == "min_max":
            return None
        if self.normalization == "none":
            return np.tile(pixels, (self.channel_count, 1))
        top = np.float32(self.max_pixel_value)
        mean = np.asarray(self.mean, np.float32)[:, None]
        std = np.asarray(self.std, np.float32)[:, None]
        table: npt.NDArray[np.float32]
        with np.errstate(all="ignore"):
            if self.interpolation in geometry.PIL_FILTERS:
                table = (pixels / top - mean) / std
            else:
                table = (pixels - mean * top) * np.reciprocal(std * top)
        return table

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as a dictionary that ``json`` can write; see :meth:`from_dict`."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """Make a spec from what :meth:`to_dict` gave; what is absent takes its default.

        What ``albumentations.to_dict`` gave is taken as well, without albumentations.

        Raises
        ------
        InputError
            If a key is not known or a value is not valid.
        """
        if "transform" in settings:
            return cls.from_albumentations(settings)
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(settings) - set(known))
        if unknown:
            raise InputError(
                f"unknown preprocess settings {', '.join(unknown)}; known are {', '.join(known)}: "
                "a newer trtfast may have written them"
            )
        return cls(**settings)

    def _fits(self, image: Image) -> None:
        self.geometry(*image.shape[:2])

    def _checked(self, images: object) -> list[Image]:
        batch = images_of(images)
        several = not isinstance(images, np.ndarray) or images.ndim == 4
        for position, image in enumerate(batch):
            what = f"image {position}" if several else "the image"
            check_image(image, what)
            try:
                self.geometry(*image.shape[:2])
            except InputError as error:
                raise InputError(f"{what} of {error}") from error
        return list(batch)

    def _check_table(self) -> None:
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) != self.channel_count:
                raise InputError(
                    f"{name} is {numbers!r}; expected {self.channel_count} for "
                    f"channels={self.channels!r}, one for each"
                )
        positive = self.max_pixel_value > 0 and min(self.std) > 0
        if not positive or not np.isfinite(np.asarray(self.table)).all():
            raise InputError(
                f"mean {self.mean}, std {self.std} and max_pixel_value {self.max_pixel_value} "
                "do not give finite results in float32; expected numbers of ordinary magnitude, "
                "std and max_pixel_value above 0"
            )

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
