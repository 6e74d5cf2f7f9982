"""How far the GPU's preprocessing is from what a model was trained on, image by image.

The yardstick is the CPU path, which is bit for bit albumentations' with OpenCV's interpolations and
torchvision's with Pillow's; or one of these libraries itself, where it is installed. ``trtfast
preprocess-check`` prints what :func:`parity` finds::

    from trtfast.preprocess.parity import Difference, parity

    found = [parity(spec, trtfast.read_image(path)) for path in paths]
    print(Difference.over([each.pixels for each in found]).largest, "of 255")
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from ..errors import Error, InputError
from ..passport import Passport, path_of
from .geometry import PIL_FILTERS, default_resize_to
from .spec import Preprocess
from .values import check_choice

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    from typing_extensions import Self

    from .images import Image

__all__ = ["Difference", "ImageParity", "Reference", "parity", "picture_of", "read_spec"]

Reference: TypeAlias = Literal["cpu", "albumentations", "torchvision"]


@dataclass(frozen=True)
class Difference:
    """How far two arrays of one shape are apart.

    Attributes
    ----------
    largest, mean : float
        Of the absolute differences.
    equal : float
        The share of values that are exactly equal, 0 to 1.
    values : int
        How many were compared.
    """

    largest: float
    mean: float
    equal: float
    values: int

    @classmethod
    def between(cls, some: npt.NDArray[Any], other: npt.NDArray[Any]) -> Self:
        """Compare two arrays, of any dtype that float64 holds.

        Raises
        ------
        InputError
            If their shapes differ.
        """
        if some.shape != other.shape:
            raise InputError(f"shapes {some.shape} and {other.shape} differ; expected one shape")
        apart = np.abs(np.subtract(some, other, dtype=np.float64))
        return cls(
            float(apart.max()), float(apart.mean()), float(np.mean(some == other)), some.size
        )

    @classmethod
    def over(cls, parts: Sequence[Difference]) -> Self:
        """Return the difference over several pairs of arrays, from that of each.

        Raises
        ------
        InputError
            If there are none.
        """
        if not parts:
            raise InputError("there is no difference to sum up; expected at least one image")
        values = sum(part.values for part in parts)
        return cls(
            max(part.largest for part in parts),
            sum(part.mean * part.values for part in parts) / values,
            sum(part.equal * part.values for part in parts) / values,
            values,
        )


@dataclass(frozen=True)
class ImageParity:
    """How far one image on the GPU is from its reference.

    Attributes
    ----------
    size : (int, int)
        Height and width of the image that was given.
    pixels : Difference
        Before normalising, in steps of 1/255.
    normalized : Difference
        Of what the model gets, as float32.
    apart : uint8 array (height, width, channels)
        The absolute difference of each pixel value, before normalising.
    """

    size: tuple[int, int]
    pixels: Difference
    normalized: Difference
    apart: Image = field(repr=False, compare=False)


def parity(
    spec: Preprocess, image: Image, *, reference: Reference = "cpu", device: int = 0
) -> ImageParity:
    """Preprocess an image on a GPU, and compare it with what it should be.

    Parameters
    ----------
    spec : Preprocess
    image : uint8 array (H, W, 3)
        RGB.
    reference : {"cpu", "albumentations", "torchvision"}
        What it is compared with: trtfast's own CPU path, or the pipeline of another library that
        means the same as `spec`.
    device : int
        The GPU's index.

    Raises
    ------
    InputError
        If the image is wrong, or the library of the reference cannot do what `spec` says.
    Error
        If a library is not installed; or as :meth:`Preprocess.on_gpu` does, where no GPU is.
    """
    check_choice("reference", reference, Reference)
    refer = {"cpu": _cpu, "albumentations": _albumentations, "torchvision": _torchvision}
    expected_pixels, expected = refer[reference](spec, image)
    pixels = _rows(spec, spec.on_gpu(image, dtype="uint8", device=device).copy_to_host())
    normalized = _rows(spec, spec.on_gpu(image, dtype="float32", device=device).copy_to_host())
    return ImageParity(
        (image.shape[0], image.shape[1]),
        Difference.between(pixels, expected_pixels),
        Difference.between(normalized, expected),
        np.abs(pixels.astype(np.int16) - expected_pixels).astype(np.uint8),
    )


def picture_of(apart: Image) -> tuple[Image, int]:
    """Return a difference amplified until its largest value is about white, and by how much."""
    factor = 255 // max(1, int(apart.max()))
    return apart * np.uint8(factor), factor


def read_spec(path: Path) -> Preprocess:
    """Read a spec from a file.

    Parameters
    ----------
    path : Path
        JSON of :meth:`Preprocess.to_dict` or of ``albumentations.to_dict``, an engine's passport,
        or a plan with its passport beside it.

    Raises
    ------
    InputError
        If there is no such file, or it holds no spec.
    EngineIncompatibleError
        If a plan's passport is damaged.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; expected a spec, a passport or a plan")
    known = Passport.of(path)
    if known is not None:
        return _of_engine(known.preprocess, path_of(path))
    try:
        settings = json.loads(path.read_bytes())
    except ValueError as error:  # of bytes that are no text, too
        raise InputError(
            f"{path} is neither JSON ({error}) nor a plan with its passport {path_of(path).name} "
            "beside it"
        ) from error
    if not isinstance(settings, Mapping):
        raise InputError(f"{path} holds {type(settings).__name__}; expected a JSON object")
    if "plan_sha256" in settings:
        return _of_engine(settings.get("preprocess"), path)
    return Preprocess.from_dict(settings)


def _of_engine(settings: Mapping[str, Any] | None, path: Path) -> Preprocess:
    if settings is None:
        raise InputError(
            f"{path} says nothing of preprocessing: build the engine with preprocess=, or give a "
            "spec of its own"
        )
    return Preprocess.from_dict(settings)


def _rows(spec: Preprocess, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the only image of a batch in the spec's layout as (height, width, channels)."""
    image: npt.NDArray[Any] = batch[0]
    return image.transpose(1, 2, 0) if spec.layout == "NCHW" else image


def _cpu(spec: Preprocess, image: Image) -> tuple[Image, npt.NDArray[Any]]:
    return spec.pixels(image)[0], _rows(spec, spec(image))


def _albumentations(spec: Preprocess, image: Image) -> tuple[Image, npt.NDArray[Any]]:
    # Of the other layout it would need PyTorch, to turn the axes and nothing else.
    rows = replace(spec, layout="NHWC")
    shape = (*spec.size, spec.channel_count)
    pixels = replace(rows, normalization="none").to_albumentations()(image=image)["image"]
    normalized = rows.to_albumentations()(image=image)["image"]
    # Of "min_max" it gives float64, which a model gets as float32.
    return pixels.reshape(shape), normalized.reshape(shape).astype(np.float32)


def _torchvision(spec: Preprocess, image: Image) -> tuple[Image, npt.NDArray[Any]]:
    lacking = {
        "interpolation": spec.interpolation not in PIL_FILTERS,
        "resize_to": spec.resize != "stretch" and isinstance(spec.resize_to, tuple),
        "pad": spec.pad not in (None, "center"),
        "fill": spec.pad is not None and spec.fill not in (0, (0, 0, 0)),
        "channels": spec.channels != "rgb",
        "normalization": spec.normalization == "min_max",
        "max_pixel_value": spec.normalization == "standard" and spec.max_pixel_value != 255,
    }
    for name, is_lacking in lacking.items():
        if is_lacking:
            raise InputError(
                f"torchvision has no transforms for {name}={getattr(spec, name)!r} with "
                f"resize={spec.resize!r}: compare with 'cpu'"
            )
    try:
        from PIL import Image as pillow  # noqa: N813 - a module
        from torchvision import transforms
        from torchvision.transforms import v2
    except ImportError as error:
        raise Error(
            f'torchvision or Pillow is not installed ({error}): pip install "trtfast[demo]"'
        ) from error
    mode = transforms.InterpolationMode(spec.interpolation.removeprefix("pil_"))
    target = spec.resize_to or default_resize_to(spec)
    steps: list[Any] = []
    if spec.resize == "longest":
        steps.append(v2.Resize(None, mode, max_size=target))  # version 1 needs a size
    elif spec.resize != "none":
        steps.append(transforms.Resize(target, mode))
    steps.append(transforms.CenterCrop(spec.size))
    resized = transforms.Compose(steps)(pillow.fromarray(image))
    pixels = np.asarray(resized)
    if spec.normalization == "none":
        return pixels, pixels.astype(np.float32)
    normalize = [transforms.ToTensor(), transforms.Normalize(spec.mean, spec.std)]
    return pixels, transforms.Compose(normalize)(resized).numpy().transpose(1, 2, 0)
