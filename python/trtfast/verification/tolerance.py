"""How far an engine may be from its reference, by precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Tolerance"]


@dataclass(frozen=True)
class Tolerance:
    """How far an engine may be from its reference.

    Attributes
    ----------
    relative : float
        The largest error of a value, as a share of the largest magnitude in the reference's output.
    confidence : float
        The largest difference of a confidence, 0 to 1, where an output holds the scores of classes.
    agreement : float
        The least share, 0 to 1, of rows whose first class is the reference's, and of values of an
        integer or boolean output that are equal. A row counts whose two first classes the reference
        itself holds for equal within ``confidence``.
    """

    relative: float
    confidence: float
    agreement: float = 1.0

    def __post_init__(self) -> None:
        if not (self.relative >= 0 and self.confidence >= 0 and 0 <= self.agreement <= 1):
            raise InputError(
                f"{self} is no tolerance: relative and confidence are 0 or more, agreement 0 to 1"
            )

    @classmethod
    def of(cls, precision: str) -> Self:
        """Return the default for a precision.

        Raises
        ------
        InputError
            If the precision is unknown.
        """
        if precision not in _DEFAULTS:
            raise InputError(
                f"there is no default tolerance for precision {precision!r}: give tolerance=, or "
                f"one of {', '.join(_DEFAULTS)}"
            )
        return cls(*_DEFAULTS[precision])


_DEFAULTS: dict[str, tuple[float, float, float]] = {
    # 24 bits of mantissa, so 6e-8 of rounding; a sum of thousands in another order makes 1e-5.
    "fp32": (1e-4, 1e-5, 1.0),
    # TF32 multiplies with the mantissa of float16, 11 bits.
    "tf32": (1e-2, 3e-3, 1.0),
    # 11 bits: 5e-4 of rounding in each layer, which the layers of a deep network add up.
    "fp16": (1e-2, 3e-3, 1.0),
    "mixed": (1e-2, 3e-3, 1.0),
    # 8 bits, so 8 times the rounding of float16; with EfficientNet-Lite0, photographs' confidences
    # moved by 2e-2, and by 2e-3 in float16. Of classes as near as that, some change places.
    "bf16": (8e-2, 5e-2, 0.99),
    # 256 steps over a layer's range, chosen by calibration; what it loses differs by model.
    "int8": (2e-1, 1e-1, 0.97),
    # 4 bits of mantissa: 6e-2 of rounding, half of it on average, in each layer.
    "fp8": (2e-1, 1e-1, 0.97),
}
