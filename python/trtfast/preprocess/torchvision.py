"""From torchvision's pipelines, as they are on Pillow's images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import InputError
from .pipelines import Step, refuse, refuse_order

__all__ = ["FILTERS", "placed", "settings_of"]

# By the value of InterpolationMode, and by the constants of Pillow that it also takes.
FILTERS: dict[str | int, str] = {
    "bilinear": "pil_bilinear",
    "bicubic": "pil_bicubic",
    "lanczos": "pil_lanczos",
    1: "pil_lanczos",
    2: "pil_bilinear",
    3: "pil_bicubic",
}
_TENSORS = (
    ("ToTensor",),
    ("PILToTensor", "ConvertImageDtype"),
    ("PILToTensor", "ToDtype"),
    ("ToImage", "ConvertImageDtype"),
    ("ToImage", "ToDtype"),
    ("PILToTensor",),
    ("ToImage",),
)
_SUPPORTED = (
    *("Resize", "CenterCrop"),
    "ToTensor or PILToTensor, ConvertImageDtype or ToImage, ToDtype",
    "Normalize",
)
_KNOWN = {"Resize", "CenterCrop", "Normalize", *(name for names in _TENSORS for name in names)}
_RANDOM = (
    *("Random", "Auto", "Trivial", "Aug", "Rand", "ColorJitter", "Elastic", "GaussianBlur"),
    *("GaussianNoise", "Scale", "CutMix", "MixUp"),
)

Settings = dict[str, Any]


def settings_of(transforms: object) -> Settings:
    """Return the arguments of :class:`Preprocess`; see its from_torchvision."""
    whole = _step(transforms)
    if whole.name == "ImageClassification":
        settings = _resize(whole.get("resize_size"), whole.get("interpolation"), whole.name)
        settings = placed(settings, _pair(whole.get("crop_size")))
        return settings | _normalization(whole)
    if whole.name != "Compose":
        refuse(whole.name, is_random=False, supported=("Compose", "weights.transforms()"))
    steps = [_step(transform) for transform in whole.get("transforms")]
    for step in steps:
        if step.name not in _KNOWN:
            is_random = step.name.startswith(_RANDOM)
            refuse(step.name, is_random=is_random, supported=_SUPPORTED)
    return _settings_of_steps(steps)


def placed(settings: Settings, size: tuple[int, int], fill: Any = 0) -> Settings:
    """Add a crop at the centre to a resize; it pads where an image may be smaller."""
    target = settings.get("resize_to")
    if settings["resize"] in ("stretch", "shortest") and target is not None:
        sides = (target, target) if isinstance(target, int) else target
        if sides[0] >= size[0] and sides[1] >= size[1]:
            return settings | {"size": size}
    return settings | {"size": size, "pad": "center", "fill": fill}


def _settings_of_steps(steps: list[Step]) -> Settings:
    rest = list(steps)
    settings: Settings = {"resize": "none", "interpolation": "pil_bilinear"}
    size = None
    if rest and rest[0].name == "Resize":
        step = rest.pop(0)
        settings = _resize(step.get("size"), step.get("interpolation"), "Resize", step)
        size = settings["resize_to"] if settings["resize"] == "stretch" else None
    if rest and rest[0].name == "CenterCrop":
        settings = placed(settings, _pair(rest.pop(0).get("size")))
    elif size is not None:
        settings["size"] = size
    else:
        raise InputError(
            f"the pipeline {', '.join(step.name for step in steps) or 'is empty and'} gives images "
            "of different sizes; expected CenterCrop, or Resize to (height, width)"
        )
    normalize = rest.pop() if rest and rest[-1].name == "Normalize" else None
    names = tuple(step.name for step in rest)
    if names not in _TENSORS:
        refuse_order(steps, _SUPPORTED)
    is_float = len(names) == 2 or names == ("ToTensor",)
    if len(names) == 2:
        _expect_float(rest[1])
    if normalize is None:
        # The channels of ToTensor are fractions of 255, and nothing else.
        plain = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
        return settings | (plain if is_float else {"normalization": "none"})
    if not is_float:
        refuse_order(steps, _SUPPORTED)
    return settings | _normalization(normalize)


def _step(transform: object) -> Step:
    kind = type(transform)
    if kind.__module__.partition(".")[0] != "torchvision":
        hint = ": call it" if kind.__module__ == "functools" else ""
        raise InputError(
            f"{kind.__module__}.{kind.__name__} is not supported; expected transforms of "
            f"torchvision, or weights.transforms(){hint}"
        )
    return Step(kind.__name__, transform)


def _resize(size: Any, interpolation: Any, name: str, step: Step | None = None) -> Settings:
    mode = getattr(interpolation, "value", interpolation)
    if mode not in FILTERS:
        raise InputError(
            f"{name} has interpolation={mode!r}, which is not supported; expected bilinear, "
            "bicubic or lanczos"
        )
    settings: Settings = {"interpolation": FILTERS[mode]}
    longest = step.get("max_size") if step else None
    if size is None:
        return settings | {"resize": "longest", "resize_to": longest}
    if longest is not None:
        raise InputError(
            f"{name} has size={size!r} and max_size={longest!r}, which is not supported together; "
            "expected one of them"
        )
    sides = tuple(size) if isinstance(size, Sequence) else (size,)
    if len(sides) == 1:
        return settings | {"resize": "shortest", "resize_to": sides[0]}
    return settings | {"resize": "stretch", "resize_to": sides}


def _pair(size: Any) -> tuple[int, int]:
    sides = tuple(size) if isinstance(size, Sequence) else (size,)
    return (sides[0], sides[-1])


def _expect_float(step: Step) -> None:
    dtype = step.get("dtype")
    if str(dtype) != "torch.float32":
        raise InputError(
            f"{step.name} has dtype={dtype}, which is not supported; expected torch.float32"
        )
    if step.name == "ToDtype":
        step.expect("scale", True)


def _normalization(step: Step) -> Settings:
    settings: Settings = {}
    for name in ("mean", "std"):
        numbers = tuple(float(number) for number in step.get(name))  # perhaps of a tensor
        settings[name] = numbers * 3 if len(numbers) == 1 else numbers
    return settings
