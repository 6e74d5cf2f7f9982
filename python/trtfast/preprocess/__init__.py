"""From images to the batch that a model takes: decode, resize, crop, pad, normalise, on the CPU.

The arithmetic is that of albumentations 2, or of torchvision on Pillow's images, bit for bit, so a
model served through :class:`Preprocess` sees exactly the numbers that it was trained on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .decode import read_image, read_images
from .geometry import Geometry
from .spec import Channels, Interpolation, Layout, Normalization, Pad, Preprocess, Resize

if TYPE_CHECKING:
    from .images import Batch as Batch
    from .images import Image as Image
    from .images import Images as Images

__all__ = [
    "Channels",
    "Geometry",
    "Interpolation",
    "Layout",
    "Normalization",
    "Pad",
    "Preprocess",
    "Resize",
    "read_image",
    "read_images",
]
