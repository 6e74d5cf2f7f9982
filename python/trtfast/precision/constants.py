"""Constants of a float32 model in another precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import PrecisionError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import onnx

__all__ = ["BFLOAT16", "FLOAT", "FLOAT16", "SUFFIX", "constant_in"]

# TensorProto.DataType, which is ONNX's file format and so never changes.
FLOAT, FLOAT16, BFLOAT16 = 1, 10, 16
SUFFIX = {FLOAT: "fp32", FLOAT16: "fp16", BFLOAT16: "bf16"}


def constant_in(
    element: int, tensor: onnx.TensorProto, name: str, consumer: str
) -> onnx.TensorProto:
    """Convert a constant, rounding to nearest.

    Parameters
    ----------
    element : {FLOAT, FLOAT16, BFLOAT16}
        The new element type.
    tensor : onnx.TensorProto
        Of float32.
    name, consumer : str
        The result's name, and what takes it, for an error to say.

    Raises
    ------
    PrecisionError
        If a value lies beyond the new type's range, and the tensor is no mask; or if its values
        were not loaded.
    """
    import numpy as np
    import onnx

    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise PrecisionError(
            f"the values of {tensor.name!r} are in another file and were not loaded; "
            "load the model with onnx.load(path)"
        )
    values = onnx.numpy_helper.to_array(tensor)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(element)
    if _is_mask(values):
        values = np.sign(values) * np.float32(_most(dtype))
    with np.errstate(over="ignore"):
        converted = values.astype(dtype)
    lost = np.isinf(converted) & ~np.isinf(values)
    if lost.any():
        advice = "use bf16 or name the node in keep_fp32"
        if element == BFLOAT16:
            advice = "name the node in keep_fp32"
        raise PrecisionError(
            f"{tensor.name or name!r} of {consumer} holds {values[lost][0]:.6g}, which "
            f"{SUFFIX[element]} cannot represent; {advice}"
        )
    return onnx.numpy_helper.from_array(converted, name)


def _is_mask(values: npt.NDArray[np.generic]) -> bool:
    """Tell whether these are float32's lowest or largest value and zeros, and nothing else.

    So do models write what no attention is paid to, as ``torch.finfo(scores.dtype).min``. In half
    precision they would themselves have the lowest value of that.
    """
    import numpy as np

    extreme = np.abs(values) == np.finfo(np.float32).max
    return bool(extreme.any() and (extreme | (values == 0)).all())


def _most(dtype: np.dtype[np.generic]) -> float:
    import ml_dtypes

    return float(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call]
