"""To and from albumentations' pipelines, as objects or serialised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import Error, InputError
from .geometry import CV2_FLAGS
from .pipelines import Step, refuse, refuse_order

if TYPE_CHECKING:
    from .spec import Preprocess

__all__ = ["compose_of", "settings_of"]

_RESIZES = ("Resize", "SmallestMaxSize", "LongestMaxSize", "LetterBox")
_SUPPORTED = (
    " or ".join(_RESIZES),
    *("PadIfNeeded", "CenterCrop", "ToGray", "Normalize", "ToTensorV2"),
)
_KNOWN = {*_RESIZES, *_SUPPORTED[1:]}
# Those that are random whatever their p is; of the others p tells, which is below 1 by default.
_RANDOM = ("Random", "OneOf", "SomeOf", "OneOrOther")
_BORDER_CONSTANT = 0

Settings = dict[str, Any]


def settings_of(compose: object) -> Settings:
    """Return the arguments of :class:`Preprocess` for a pipeline; see its from_albumentations."""
    steps = _steps(compose)
    rest = list(steps)
    _last(rest, "ToTensorV2")
    settings: Settings = {"normalization": "none"}
    normalize = _last(rest, "Normalize")
    gray = _last(rest, "ToGray")
    if gray is not None:
        gray.expect("num_output_channels", 1)
        gray.expect("method", "weighted_average")
        settings["channels"] = "gray"
    if normalize is not None:
        settings |= _normalization(normalize, 1 if gray else 3)
    resize = rest.pop(0) if rest and rest[0].name in _RESIZES else None
    settings |= _resize(resize) if resize else {"resize": "none"}
    placement = [step.name for step in rest]
    if placement and resize is not None and resize.name == "LetterBox":
        refuse_order(steps, _SUPPORTED)  # it pads by itself
    elif placement == ["CenterCrop"]:
        settings |= _crop(rest[0])
    elif placement in (["PadIfNeeded"], ["PadIfNeeded", "CenterCrop"]):
        settings |= _pad(rest[0], rest[-1], settings)
    elif placement:
        refuse_order(steps, _SUPPORTED)
    if "size" not in settings:
        raise InputError(
            f"the pipeline {', '.join(step.name for step in steps) or 'is empty and'} gives images "
            "of different sizes; expected Resize, PadIfNeeded or CenterCrop to one size"
        )
    return settings


def compose_of(spec: Preprocess) -> Any:
    """Return the pipeline of a spec; see :meth:`Preprocess.to_albumentations`."""
    if spec.channels == "bgr":
        raise InputError(
            "albumentations has no transform for channels='bgr': reverse the channels of its "
            "result, or of the images that it is given, and use channels='rgb'"
        )
    if spec.interpolation not in CV2_FLAGS:
        raise InputError(
            f"albumentations resizes with OpenCV, and interpolation is {spec.interpolation!r}; "
            f"expected one of {', '.join(CV2_FLAGS)}"
        )
    try:
        import albumentations
    except ImportError as error:
        raise Error("albumentations is not installed: pip install albumentations==2.0.8") from error
    steps: list[Any] = []
    height, width = spec.size
    flag = CV2_FLAGS[spec.interpolation]
    target = spec.resize_to
    if spec.resize == "stretch":
        sides = target if isinstance(target, tuple) else spec.size
        steps.append(albumentations.Resize(*sides, interpolation=flag))
    elif spec.resize != "none":
        kind, side = (
            (albumentations.SmallestMaxSize, min(spec.size))
            if spec.resize == "shortest"
            else (albumentations.LongestMaxSize, max(spec.size))
        )
        to = {"max_size_hw": target} if isinstance(target, tuple) else {"max_size": target or side}
        steps.append(kind(**to, interpolation=flag))
    if spec.pad is not None:
        steps.append(
            albumentations.CenterCrop(
                height, width, pad_if_needed=True, pad_position=spec.pad, fill=spec.fill
            )
        )
    elif spec.resize != "stretch" or target is not None:
        steps.append(albumentations.CenterCrop(height, width))
    if spec.channels == "gray":
        steps.append(albumentations.ToGray(num_output_channels=1, p=1))
    if spec.normalization == "standard":
        steps.append(albumentations.Normalize(spec.mean, spec.std, spec.max_pixel_value))
    elif spec.normalization == "min_max":
        steps.append(albumentations.Normalize(normalization="min_max"))
    if spec.layout == "NCHW":
        try:
            from albumentations.pytorch import ToTensorV2
        except ImportError as error:
            raise Error(
                "layout='NCHW' needs PyTorch for ToTensorV2: pip install torch, or use 'NHWC'"
            ) from error
        steps.append(ToTensorV2())
    return albumentations.Compose(steps)


def _steps(compose: object) -> list[Step]:
    whole = _step(compose)
    if whole.name != "Compose":
        refuse(whole.name, is_random=_is_random(whole), supported=("Compose",))
    _expect_always(whole)
    transforms = whole.get("transforms")
    if not isinstance(transforms, Sequence):
        raise InputError(f"Compose has transforms={transforms!r}; expected a list of them")
    steps = [_step(transform) for transform in transforms]
    for step in steps:
        if step.name not in _KNOWN:
            refuse(step.name, is_random=_is_random(step), supported=_SUPPORTED)
        _expect_always(step)
    return steps


def _step(source: object) -> Step:
    if isinstance(source, Mapping):
        inner = source.get("transform", source)
        full = inner.get("__class_fullname__") if isinstance(inner, Mapping) else None
        if not isinstance(full, str):
            raise InputError(
                f"got a mapping with {', '.join(map(str, source)) or 'nothing'}; expected what "
                "albumentations.to_dict gives"
            )
        module, _, name = full.rpartition(".")
        source = inner
    else:
        module, name = type(source).__module__, type(source).__name__
        full = f"{module}.{name}"
    # A serialised transform of albumentations' own is named without its module.
    if module.partition(".")[0] not in ("", "albumentations") or full == "NoneType":
        refuse(full, is_random=False, supported=("transforms of albumentations",))
    return Step(name, source)


def _is_random(step: Step) -> bool:
    return step.name.startswith(_RANDOM) or step.get("p", 1) != 1


def _expect_always(step: Step) -> None:
    p = step.get("p", 1)
    if p != 1:
        raise InputError(
            f"{step.name} has p={p!r}, and a step that is taken at random has no meaning at "
            "inference: give p=1, or leave it out"
        )


def _last(steps: list[Step], name: str) -> Step | None:
    return steps.pop() if steps and steps[-1].name == name else None


def _resize(step: Step) -> Settings:
    step.expect("area_for_downscale", None)
    names = {flag: name for name, flag in CV2_FLAGS.items()}
    flag = step.get("interpolation", CV2_FLAGS["linear"])
    if flag not in names:
        raise InputError(
            f"{step.name} has interpolation={flag!r}, which is not supported; expected one of "
            f"OpenCV's {', '.join(f'{flag} ({name})' for flag, name in names.items())}"
        )
    settings: Settings = {"interpolation": names[flag]}
    if step.name == "Resize":
        size = (step.get("height"), step.get("width"))
        return settings | {"resize": "stretch", "resize_to": size, "size": size}
    if step.name == "LetterBox":
        size = tuple(step.get("size"))
        inside = {"resize": "longest", "resize_to": size, "size": size}
        return settings | inside | _padding(step, "position")
    target = step.get("max_size_hw")
    if target is None:
        target = step.get("max_size")
        if isinstance(target, Sequence):
            raise InputError(
                f"{step.name} has max_size={target!r}, and a choice at random has no meaning at "
                "inference: give one number"
            )
    elif None in target:
        raise InputError(
            f"{step.name} has max_size_hw={target!r}, which is not supported; expected both numbers"
        )
    kind = "shortest" if step.name == "SmallestMaxSize" else "longest"
    return settings | {"resize": kind, "resize_to": target}


def _crop(step: Step) -> Settings:
    size = {"size": (step.get("height"), step.get("width"))}
    return size | (_padding(step, "pad_position") if step.get("pad_if_needed", False) else {})


def _padding(step: Step, position: str) -> Settings:
    step.expect("border_mode", _BORDER_CONSTANT)
    pad = step.get(position, "center")
    if pad == "random":
        raise InputError(
            f"{step.name} has {position}='random', which has no meaning at inference: give another"
        )
    fill = step.get("fill", 0)
    several = isinstance(fill, Sequence)
    whole = [int(value) for value in (fill if several else [fill])]
    if whole != list(fill if several else [fill]):
        raise InputError(
            f"{step.name} has fill={fill!r}, which is not supported; expected whole numbers"
        )
    return {"pad": pad, "fill": tuple(whole) if several else whole[0]}


def _pad(pad: Step, last: Step, settings: Settings) -> Settings:
    """Return the settings for PadIfNeeded, perhaps followed by a CenterCrop to the same size."""
    pad.expect("pad_height_divisor", None)
    pad.expect("pad_width_divisor", None)
    size = (pad.get("min_height"), pad.get("min_width"))
    if last is not pad:
        cropped = (last.get("height"), last.get("width"))
        if cropped != size:
            raise InputError(
                f"PadIfNeeded to {size} and then CenterCrop to {cropped} is not supported; "
                "expected one size for both"
            )
        return _padding(pad, "position") | {"size": size}
    # Without a crop, the size is known only where the resize has a largest result.
    largest = settings.get("size")
    if settings["resize"] == "longest":
        target = settings["resize_to"]
        largest = (target, target) if isinstance(target, int) else tuple(target)
        if largest[0] > size[0] or largest[1] > size[1]:
            largest = None
    if largest is None:
        raise InputError(
            f"PadIfNeeded to {size} may be given larger images, which stay larger; expected a "
            "resize to at most that size before it, or CenterCrop to it after it"
        )
    stretched = settings["resize"] == "stretch"
    final = tuple(max(sides) for sides in zip(largest, size, strict=True)) if stretched else size
    return _padding(pad, "position") | {"size": final}


def _normalization(step: Step, channels: int) -> Settings:
    kind = step.get("normalization", "standard")
    if kind == "min_max":
        return {"normalization": kind}
    step.expect("normalization", "standard")
    settings = {"normalization": kind, "max_pixel_value": step.get("max_pixel_value", 255.0)}
    for name in ("mean", "std"):
        value = step.get(name)
        several = tuple(value) if isinstance(value, Sequence) else (value,)
        # As albumentations: one number counts for all channels, and grey takes the first.
        settings[name] = several[:1] * channels if 1 in (len(several), channels) else several
    return settings
