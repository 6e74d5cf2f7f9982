"""The proof of an exported ONNX file: its structure, and its numbers against PyTorch's."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import TypeAlias

    import numpy as np
    import numpy.typing as npt
    import torch

    _Array: TypeAlias = npt.NDArray[np.generic]

logger = logging.getLogger("trtfast")

# Relative to the largest magnitude of an output; exact for integers and booleans.
_RTOL = {"float64": 1e-6, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
# On a GPU, PyTorch runs float32 convolutions in TF32, with 10 bits of mantissa.
_RTOL_TF32 = 1e-2


def describe_shapes(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the names and shapes of tensors, such as ``image:1x3x224x224``."""
    return ", ".join(f"{name}:{'x'.join(map(str, t.shape))}" for name, t in tensors.items())


def check_structure(path: Path, names: Sequence[str], axes: list[dict[int, str]]) -> None:
    """Raise unless the file is sound ONNX, with the inputs and dynamic dimensions asked for."""
    import onnx

    try:
        onnx.checker.check_model(path)
    except Exception as error:
        raise ExportError(f"PyTorch exported an invalid ONNX model: {error}") from error
    try:
        onnx.checker.check_model(path, full_check=True)
    except Exception as error:  # shape inference does not know every model that runs
        logger.debug("ONNX's strict shape inference does not pass %s: %s", path.name, error)

    graph = onnx.load(path, load_external_data=False).graph
    found = {value.name: value.type.tensor_type.shape.dim for value in graph.input}
    if list(found) != list(names):
        raise ExportError(
            f"the exported model has the inputs {', '.join(found)}, not {', '.join(names)}; "
            "an input that forward does not use must be left out of args"
        )
    for name, asked in zip(names, axes, strict=True):
        for axis, label in asked.items():
            dimension = found[name][axis]
            if dimension.dim_param != label:
                raise ExportError(
                    f"axis {axis} of input {name!r} was to be dynamic under the name {label!r}, "
                    f"but was exported as {dimension.dim_param or dimension.dim_value!r}: the "
                    "model fixes its size, or ties it to another axis. Take the size from the "
                    "tensor (x.shape) in forward, or do not ask for this axis"
                )


def check_numbers(
    path: Path,
    inputs: Mapping[str, torch.Tensor],
    expected: Mapping[str, torch.Tensor],
    rtol: float | None,
    atol: float,
) -> None:
    """Raise unless ONNX Runtime gives the outputs that PyTorch gave."""
    try:
        import onnxruntime as ort
        from onnxruntime.capi.onnxruntime_pybind11_state import (
            NotImplemented as NoKernelError,
        )
    except ImportError:
        logger.warning(
            "%s was not compared with PyTorch, since ONNX Runtime is not installed; "
            "pip install onnxruntime",
            path.name,
        )
        return

    shapes = describe_shapes(inputs)
    feeds = {name: to_numpy(tensor) for name, tensor in inputs.items()}
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        outputs = session.run(list(expected), feeds)
    except NoKernelError as error:
        logger.warning("%s was not compared with PyTorch: %s", path.name, error)
        return
    except Exception as error:
        raise ExportError(
            f"ONNX Runtime cannot run the exported model with inputs {shapes}: {error}"
        ) from error
    for (name, tensor), actual in zip(expected.items(), outputs, strict=True):
        allowed = rtol
        if allowed is None:
            on_gpu = tensor.device.type != "cpu" and actual.dtype.name == "float32"
            allowed = _RTOL_TF32 if on_gpu else _RTOL.get(actual.dtype.name, 0.0)
        _compare(f"with inputs {shapes}, output {name!r}", actual, tensor, allowed, atol)


def _compare(what: str, actual: _Array, tensor: torch.Tensor, rtol: float, atol: float) -> None:
    import numpy as np

    expected = to_numpy(tensor)
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        raise ExportError(
            f"{what} is {actual.dtype} {actual.shape} in ONNX but {expected.dtype} "
            f"{expected.shape} in PyTorch; the model likely fixes a size that is to be dynamic"
        )
    a, b = actual.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore"):
        differences = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    difference = np.nan_to_num(differences, nan=np.inf, posinf=np.inf).max(initial=0.0)
    largest = np.abs(b[np.isfinite(b)]).max(initial=0.0)
    allowed = atol + rtol * largest
    if difference > allowed:
        raise ExportError(
            f"{what} differs by up to {difference:.3g} between ONNX and PyTorch, where "
            f"{allowed:.3g} is allowed (largest value {largest:.3g}). Randomness in forward, or a "
            "size or branch fixed while tracing, does this; if the difference is harmless, raise "
            "rtol or atol"
        )


def to_numpy(tensor: torch.Tensor) -> _Array:
    """Return a tensor's values on the host; bfloat16 as that of ml_dtypes."""
    import ml_dtypes
    import torch

    array: _Array
    if tensor.dtype == torch.bfloat16:
        array = tensor.detach().cpu().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    else:
        array = tensor.detach().cpu().numpy()
    return array
