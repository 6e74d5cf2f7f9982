"""From what timm knows of a model, by the rules of its transform for evaluation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .torchvision import FILTERS, placed

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["settings_of"]

_DEFAULTS: dict[str, Any] = {
    "input_size": (3, 224, 224),
    "interpolation": "bicubic",
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "crop_pct": 0.875,
    "crop_mode": "center",
}


def settings_of(data_config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of :class:`Preprocess`; see its from_timm."""
    unknown = sorted(set(data_config) - set(_DEFAULTS))
    if unknown:
        raise InputError(
            f"unknown keys {', '.join(unknown)} in the data config of timm; expected only "
            f"{', '.join(_DEFAULTS)}: give what timm.data.resolve_model_data_config(model) returns"
        )
    config = _DEFAULTS | dict(data_config)
    channels, height, width = config["input_size"]
    if channels != 3:
        raise InputError(f"input_size is {config['input_size']}; expected (3, height, width)")
    filters = {name: ours for name, ours in FILTERS.items() if isinstance(name, str)}
    if config["interpolation"] not in filters:
        raise InputError(
            f"interpolation is {config['interpolation']!r}, which is not supported; expected one "
            f"of {', '.join(filters)}"
        )
    crop = config["crop_pct"]
    scaled = (math.floor(height / crop), math.floor(width / crop))
    settings: dict[str, Any] = {
        "interpolation": filters[config["interpolation"]],
        "mean": tuple(config["mean"]),
        "std": tuple(config["std"]),
    }
    fill: Any = 0
    if config["crop_mode"] == "squash":
        settings |= {"resize": "stretch", "resize_to": scaled}
    elif config["crop_mode"] == "border":
        settings |= {"resize": "longest", "resize_to": scaled}
        fill = tuple(round(255 * value) for value in config["mean"])
    elif config["crop_mode"] != "center":
        raise InputError(
            f"crop_mode is {config['crop_mode']!r}; expected 'center', 'squash' or 'border'"
        )
    elif scaled[0] == scaled[1]:
        settings |= {"resize": "shortest", "resize_to": scaled[0]}
    else:
        # Here timm forgets the interpolation, and takes its default.
        settings |= {
            "resize": "shortest",
            "resize_to": scaled,
            "interpolation": "pil_bilinear",
        }
    return placed(settings, (height, width), fill)
