"""A spec from what other libraries say of their preprocessing, and to albumentations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from onnx import ModelProto
    from typing_extensions import Self

    from .spec import Preprocess

__all__ = ["Translations"]


class Translations(ABC):
    """The part of :class:`Preprocess` that knows other libraries, each imported when it is used."""

    @classmethod
    @abstractmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """Make a spec from its settings."""

    @classmethod
    def from_albumentations(cls, compose: object) -> Self:
        """Translate an albumentations pipeline; the result is the same, bit for bit.

        The layout is NCHW, whether or not the pipeline ends with ``ToTensorV2``.

        Parameters
        ----------
        compose : albumentations.Compose, or mapping that ``albumentations.to_dict`` made of one
            Of ``Resize``, ``SmallestMaxSize``, ``LongestMaxSize`` or ``LetterBox``; then
            ``PadIfNeeded``, ``CenterCrop``, ``ToGray``, ``Normalize`` and ``ToTensorV2``, in this
            order. Each may be absent, but the result must have one size, whatever the image's.

        Raises
        ------
        InputError
            If the pipeline has another transform, or an argument that would change the result and
            cannot be represented; the message names it.
        """
        from . import albumentations

        return cls.from_dict(albumentations.settings_of(compose))

    def to_albumentations(self) -> Any:
        """Return an ``albumentations.Compose`` that gives the same, bit for bit.

        It ends with ``ToTensorV2`` for NCHW, and gives (height, width, channels) for NHWC.

        Raises
        ------
        InputError
            If albumentations has no transform for it: ``channels="bgr"``, Pillow's interpolations.
        Error
            If albumentations is not installed, or PyTorch, which ``ToTensorV2`` needs.
        """
        from . import albumentations

        return albumentations.compose_of(cast("Preprocess", self))

    @classmethod
    def from_torchvision(cls, transforms: object) -> Self:
        """Translate a torchvision pipeline; the result is that on Pillow's images, bit for bit.

        On tensors torchvision itself gives something a little different, and so does version 2 of
        ``ToDtype``, in the last bit: it multiplies by 1/255 where version 1 divides.

        Parameters
        ----------
        transforms : what ``weights.transforms()`` gives for classification, or Compose
            Of ``Resize``, ``CenterCrop``, then ``ToTensor``, ``PILToTensor`` and
            ``ConvertImageDtype``, or ``ToImage`` and ``ToDtype``, then ``Normalize``.

        Raises
        ------
        InputError
            If it has another transform, or an argument that cannot be represented.
        """
        from . import torchvision

        return cls.from_dict(torchvision.settings_of(transforms))

    @classmethod
    def from_timm(cls, data_config: Mapping[str, Any]) -> Self:
        """Translate what timm knows of a model; the result is that of its transform, bit for bit.

        Parameters
        ----------
        data_config : mapping
            As ``timm.data.resolve_model_data_config(model)`` gives it. What is absent takes timm's
            default.

        Raises
        ------
        InputError
            If it has a key or a value that cannot be represented.
        """
        from . import timm

        return cls.from_dict(timm.settings_of(data_config))

    @classmethod
    def from_onnx_metadata(cls, model: str | os.PathLike[str] | ModelProto) -> Self:
        """Read the preprocessing from an ONNX model's metadata.

        Either what :meth:`to_dict` gave, as JSON under the key ``trtfast.preprocess``; or ONNX's
        own ``Image.BitmapPixelFormat``, ``Image.NominalPixelRange`` and ``Image.ColorSpaceGamma``,
        with the size of the input. Of resizing ONNX says nothing: the image is stretched, linearly.

        Parameters
        ----------
        model : path or onnx.ModelProto

        Raises
        ------
        InputError
            If there is no such metadata, or it cannot be represented.
        Error
            If the package onnx is not installed.
        """
        from . import onnx_metadata

        return cls.from_dict(onnx_metadata.settings_of(model))
