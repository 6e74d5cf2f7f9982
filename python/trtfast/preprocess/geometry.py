"""Where pixels go: the size that an image is resized to, and the result's window in it.

The CPU and the GPU share this arithmetic, so they cannot differ by a pixel. It follows whom the
interpolation belongs to: albumentations for OpenCV's, torchvision for Pillow's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import InputError

if TYPE_CHECKING:
    from .spec import Preprocess

__all__ = ["CV2_FLAGS", "PIL_FILTERS", "Geometry", "check_possible", "default_resize_to", "measure"]

# The values of OpenCV's InterpolationFlags and of Pillow's Resampling, here so that a spec can be
# read without either.
CV2_FLAGS = {"nearest": 0, "linear": 1, "cubic": 2, "area": 3, "lanczos": 4, "nearest_exact": 6}
PIL_FILTERS = {"pil_lanczos": 1, "pil_bilinear": 2, "pil_bicubic": 3}


class Geometry(NamedTuple):
    """How one image becomes the result's size.

    Attributes
    ----------
    resized : (int, int)
        Height and width that the image is resized to.
    offset : (int, int)
        Top and left of the result's window in the resized image; negative where there is padding.
    """

    resized: tuple[int, int]
    offset: tuple[int, int]


def measure(spec: Preprocess, height: int, width: int) -> Geometry:
    """Return the geometry of an image; see :meth:`Preprocess.geometry`."""
    resized = _resized(spec, height, width)
    if spec.pad is None and _is_smaller(resized, spec.size):
        raise InputError(
            f"{height}x{width} becomes {_text(resized)}, smaller than the size {_text(spec.size)}; "
            f"expected no side smaller (height x width): give pad='center' to pad, or another "
            f"resize than {spec.resize!r}"
        )
    position = spec.pad or "center"
    # The padding goes before an image that is at the bottom or on the right.
    at_end = position.startswith("bottom"), position.endswith("right")
    top, left = (
        _offset(spec, side - wanted, is_at_end)
        for side, wanted, is_at_end in zip(resized, spec.size, at_end, strict=True)
    )
    return Geometry(resized, (top, left))


def default_resize_to(spec: Preprocess) -> int | tuple[int, int] | None:
    """Return what ``resize_to`` stands for where it is None; None where nothing is resized."""
    if spec.resize == "none":
        return None
    if spec.resize == "stretch":
        return spec.size
    return min(spec.size) if spec.resize == "shortest" else max(spec.size)


def check_possible(spec: Preprocess) -> None:
    """Raise InputError for a spec that no image can satisfy."""
    target = spec.resize_to
    if spec.pad is not None or target is None:
        return
    sides = (target, target) if isinstance(target, int) else target
    too_small = [side < needed for side, needed in zip(sides, spec.size, strict=True)]
    # For "shortest", an image is free to be larger along one axis.
    impossible = all(too_small) if spec.resize == "shortest" else any(too_small)
    if impossible:
        raise InputError(
            f"resize={spec.resize!r} with resize_to={target!r} always gives less than the size "
            f"{spec.size}; expected at least that much, or pad= to fill the rest"
        )


def _resized(spec: Preprocess, height: int, width: int) -> tuple[int, int]:
    target = spec.resize_to or default_resize_to(spec)
    if target is None:
        return height, width
    if spec.resize == "stretch":
        assert isinstance(target, tuple)
        return target
    inside = spec.resize == "longest"
    choose = max if inside else min
    if spec.interpolation in CV2_FLAGS:
        if isinstance(target, int):
            scale = target / choose(height, width)
        else:
            scale = (min if inside else max)(target[0] / height, target[1] / width)
        sides = (round(height * scale), round(width * scale))
    elif isinstance(target, int):
        reference = choose(height, width)
        sides = (int(target * height / reference), int(target * width / reference))
    else:  # torchvision has no such thing, and timm rounds
        ratio = choose(height / target[0], width / target[1])
        sides = (round(height / ratio), round(width / ratio))
    return max(1, sides[0]), max(1, sides[1])


def _offset(spec: Preprocess, spare: int, is_at_end: bool) -> int:
    """Return where a window begins on an axis with so many pixels to spare, or to fill."""
    if spare >= 0:
        return spare // 2 if spec.interpolation in CV2_FLAGS else round(spare / 2)
    if spec.pad == "center":
        return -(-spare // 2)
    return spare if is_at_end else 0


def _is_smaller(some: tuple[int, int], size: tuple[int, int]) -> bool:
    return some[0] < size[0] or some[1] < size[1]


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
