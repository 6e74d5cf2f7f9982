"""What a bisection found, and the lists of nodes to keep from a precision."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import InputError
from ..verification.report import plain

if TYPE_CHECKING:
    import os

    from ..verification import Tolerance
    from .layers import NodeError

__all__ = ["BisectReport", "Trial", "read_keep_list"]


@dataclass(frozen=True)
class Trial:
    """One engine of the search.

    Attributes
    ----------
    keep_fp32, keep_fp16 : tuple of str
        The nodes that it had in float32, and those that it did not quantise.
    error : float
        The largest error of an output, as a share of its largest magnitude.
    failures : tuple of str
        What was beyond the tolerance; empty where it passed.
    """

    keep_fp32: tuple[str, ...]
    keep_fp16: tuple[str, ...]
    error: float
    failures: tuple[str, ...]


@dataclass(frozen=True)
class BisectReport:
    """Where the error of a precision enters, and what to keep from it.

    Attributes
    ----------
    precision : str
    tolerance : Tolerance
    nodes : tuple of NodeError
        Of the whole model in the precision, those that add most error first. Empty if it passed.
    keep_fp32, keep_fp16 : tuple of str
        The nodes to keep in float32, and those not to quantise, as :func:`trtfast.build` takes
        them. None can be left out.
    trials : tuple of Trial
        The engines that were made, in order.
    """

    precision: str
    tolerance: Tolerance
    nodes: tuple[NodeError, ...]
    keep_fp32: tuple[str, ...]
    keep_fp16: tuple[str, ...]
    trials: tuple[Trial, ...]

    @property
    def passed(self) -> bool:
        """Whether the model is within tolerance with those nodes kept."""
        kept = self.keep_fp32, self.keep_fp16
        return any(
            (trial.keep_fp32, trial.keep_fp16) == kept and not trial.failures
            for trial in self.trials
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it, with ``passed``; null stands for what is infinite."""
        found: dict[str, Any] = plain({"passed": self.passed} | asdict(self))
        return found

    def write_keep_list(
        self, path: str | os.PathLike[str], dtype: Literal["fp32", "fp16"] = "fp32"
    ) -> Path:
        """Write the names of nodes, one a line: ``keep_fp32`` or ``keep_fp16`` of a build."""
        path = Path(path)
        names = self.keep_fp32 if dtype == "fp32" else self.keep_fp16
        path.write_text("".join(f"{name}\n" for name in names))
        return path


def read_keep_list(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read the names of nodes that :meth:`BisectReport.write_keep_list` wrote.

    Raises
    ------
    InputError
        If there is no such file, or it is no text.
    """
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"no names of nodes can be read from {path}: {error}") from error
    return tuple(filter(None, lines))
