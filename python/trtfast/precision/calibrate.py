"""From samples to a calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import model as models
from ..samples import samples_of
from .ranges import Calibration, measure

if TYPE_CHECKING:
    import os

    import onnx as onnx_package

    from ..preprocess import Preprocess
    from ..samples import Samples

__all__ = ["calibrate"]

_ROWS = 8  # of a run, for all its values may be in memory at once


def calibrate(
    onnx: str | os.PathLike[str] | onnx_package.ModelProto,
    samples: Samples | Calibration,
    *,
    preprocess: Preprocess | None = None,
) -> Calibration:
    """Run a float32 model on samples, on the CPU, for ``build(calibration=...)``.

    A build does it by itself; to do it once, for several builds, give them what this returns. A few
    dozen samples of what the model will see are enough; random ones are not.

    Parameters
    ----------
    onnx : path or onnx.ModelProto
    samples
        As :func:`trtfast.samples.samples_of` takes them. A calibration is given back.
    preprocess : Preprocess, optional
        What makes inputs of images.

    Raises
    ------
    InputError
        For a missing file, or samples that do not fit the model.
    PrecisionError
        If float32 does not hold the model's values, or its opset is older than 19 and does not
        convert.
    Error
        If ONNX Runtime is not installed.
    """
    if isinstance(samples, Calibration):
        return samples
    model, _ = models.read(onnx)
    inputs, _ = models.specs(model)
    return measure(model, samples_of(samples, inputs, preprocess, most=_ROWS, fill=True))
