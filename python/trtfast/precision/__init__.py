"""The precision of an ONNX graph, which a strongly typed TensorRT network takes its own from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._onnx import node_names
from ..errors import InputError, PrecisionError
from .caster import cast

if TYPE_CHECKING:
    from collections.abc import Collection

    import onnx

    from .ranges import Calibration

__all__ = ["CALIBRATED", "PRECISIONS", "QUANTISED", "Rewritten", "cast", "check", "rewrite"]

PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "mixed", "int8", "fp8")
QUANTISED = ("int8", "fp8")
CALIBRATED = ("mixed", *QUANTISED)  # those that need samples


@dataclass(frozen=True)
class Rewritten:
    """A model with its precision written into it.

    Attributes
    ----------
    model : onnx.ModelProto
    kept : frozenset of str
        Names of the nodes that stay in float32.
    quantised : frozenset of str
        Names of those that take int8 or float8.
    """

    model: onnx.ModelProto
    kept: frozenset[str]
    quantised: frozenset[str] = frozenset()


def check(precision: str, *, is_calibrated: bool, keep_fp16: Collection[str]) -> None:
    """Raise unless there is such a precision, and the options that go with it are given.

    Raises
    ------
    PrecisionError
        If there is none of that name.
    InputError
        If it needs samples and has none, or has what is of no use to it.
    """
    if precision not in PRECISIONS:
        raise PrecisionError(
            f"precision {precision!r} is unknown; use one of {', '.join(PRECISIONS)}, or auto"
        )
    if precision in CALIBRATED and not is_calibrated:
        raise InputError(
            f"precision {precision!r} needs samples of what the model will see: give "
            "calibration=, as arrays, a loader, or a folder of images or .npy files"
        )
    if precision not in CALIBRATED and is_calibrated:
        raise InputError(
            f"calibration is of no use to precision {precision!r}: leave it out, or use one of "
            f"{', '.join(CALIBRATED)}"
        )
    if keep_fp16 and precision not in QUANTISED:
        raise InputError(
            f"keep_fp16 is of no use to precision {precision!r}: it names nodes that "
            f"{' or '.join(QUANTISED)} would quantise; name what is to stay float32 in keep_fp32"
        )


def rewrite(
    model: onnx.ModelProto,
    precision: str,
    *,
    keep_io: bool = True,
    keep_fp32: Collection[str] = (),
    keep_fp16: Collection[str] = (),
    calibration: Calibration | None = None,
) -> Rewritten:
    """Write a precision into a float32 model.

    Parameters
    ----------
    model : onnx.ModelProto
        Not changed.
    precision : one of ``PRECISIONS``
    keep_io : bool
        Whether float32 graph inputs and outputs stay float32.
    keep_fp32, keep_fp16 : collection of str
        Names of nodes that stay in float32, and of those that are not quantised.
    calibration : Calibration
        What the samples were found to need; for ``CALIBRATED`` only.

    Raises
    ------
    PrecisionError
        As :func:`cast` and :func:`trtfast.precision.quantise.quantise` do, or if a name in
        ``keep_fp16`` is no node's.
    """
    if calibration is None:
        half = "fp32" if precision == "tf32" else precision
        model = cast(model, half, keep_io=keep_io, keep_fp32=keep_fp32)
        return Rewritten(model, frozenset(keep_fp32))
    from .quantise import quantise
    from .ranges import normalised

    model = normalised(model)
    if unmatched := sorted(set(keep_fp16) - node_names(model)):
        raise PrecisionError(
            f"keep_fp16 names {', '.join(map(repr, unmatched))}, which the model has no node for; "
            "list the names with [node.name for node in model.graph.node]"
        )
    kept = frozenset({*keep_fp32, *calibration.beyond_fp16})
    quantised: frozenset[str] = frozenset()
    if precision in QUANTISED:
        model, quantised = quantise(model, precision, calibration, {*kept, *keep_fp16})
    model = cast(model, "fp16", keep_io=keep_io, keep_fp32=kept)
    return Rewritten(model, kept, quantised)
