"""What :func:`trtfast.verify` found, and its verdict."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import passport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .metrics import OutputErrors
    from .tolerance import Tolerance

__all__ = ["BatchInvariance", "Determinism", "VerifyReport", "judged", "plain"]


@dataclass(frozen=True)
class Determinism:
    """Whether the same inputs give the same bits.

    Attributes
    ----------
    runs : dict of str to int
        How many runs were compared, by their kind: "repeated", one after another; "threads", from
        several at once; "graphs" or "no graphs", on another engine of the plan that has what this
        one lacks.
    different : dict of str to int
        How many of them differ from the first run, by their kind.
    results : int
        How many results there were; 1 is right.
    largest : float
        The largest difference from the first run, as a share of its largest magnitude.
    lanes : int or None
        How many of the engine's lanes took part, where it has lanes.
    """

    runs: dict[str, int]
    different: dict[str, int]
    results: int
    largest: float
    lanes: int | None


@dataclass(frozen=True)
class BatchInvariance:
    """Whether a row alone gives what it gives in a batch.

    Attributes
    ----------
    rows : int
        How many were in the batch, and run alone; 0 where none could be.
    reason : str or None
        Why none could be.
    largest : dict of str to float
        The largest difference of each output that has rows, as a share of its largest magnitude.
    """

    rows: int
    reason: str | None
    largest: dict[str, float]


@dataclass(frozen=True)
class VerifyReport:
    """How far an engine is from its reference, and whether that is within tolerance.

    Attributes
    ----------
    engine, reference : str
        What was compared.
    precision : str
        What the engine is in, by which the tolerance was chosen where none was given.
    samples : int
        How many calls were compared.
    tolerance : Tolerance
    outputs : tuple of OutputErrors
    determinism : Determinism or None
        None where it was not asked for.
    batch : BatchInvariance
    failures : tuple of str
        What is wrong, a sentence each.
    path, gpu : str or None
        Where the engine's plan lies, and what it ran on.
    """

    engine: str
    reference: str
    precision: str
    samples: int
    tolerance: Tolerance
    outputs: tuple[OutputErrors, ...]
    determinism: Determinism | None
    batch: BatchInvariance
    failures: tuple[str, ...]
    path: str | None
    gpu: str | None

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.failures

    def record(self) -> None:
        """Write into the engine's passport, if it has one, what was found.

        From then on :class:`trtfast.Engine` warns where its GPU or TensorRT is another.
        """
        if self.path is not None and self.gpu is not None:
            figures = {
                "passed": self.passed,
                "reference": self.reference,
                "max_relative": {each.name: plain(each.max_relative) for each in self.outputs},
                "failures": list(self.failures),
            }
            passport.record(Path(self.path), "verify", self.gpu, self.engine, figures)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it, with ``passed``; null stands for what is infinite or NaN."""
        found: dict[str, Any] = plain({"passed": self.passed} | asdict(self))
        return found

    def to_json(self) -> str:
        """Return it as JSON text."""
        return json.dumps(self.to_dict())


def plain(value: Any) -> Any:
    """Return a value of dicts, lists and numbers as JSON allows it, null for inf and NaN."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def judged(
    outputs: tuple[OutputErrors, ...],
    tolerance: Tolerance,
    determinism: Determinism | None = None,
    batch: BatchInvariance | None = None,
) -> tuple[str, ...]:
    """Return what is beyond the tolerance, a sentence each."""
    failures = [failure for output in outputs for failure in _of_output(output, tolerance)]
    if determinism is not None and determinism.results > 1:
        different = sum(determinism.different.values())
        kinds = ", ".join(
            f"{kind}: {count} of {determinism.runs[kind]}"
            for kind, count in determinism.different.items()
        )
        failures.append(
            f"the same inputs gave {determinism.results} different results, up to "
            f"{determinism.largest:.2g} of the largest value apart: {different} of "
            f"{sum(determinism.runs.values())} runs differ from the first ({kinds})"
        )
    failures += [
        f"output '{name}': a row alone differs from the same row in a batch of {batch.rows} by "
        f"{largest:.2g} of the largest value, and {tolerance.relative:.2g} is allowed"
        for name, largest in (batch.largest if batch else {}).items()
        if batch and largest > tolerance.relative
    ]
    return tuple(failures)


def _of_output(found: OutputErrors, tolerance: Tolerance) -> Iterator[str]:
    name = f"output '{found.name}'"
    if found.nan or found.reference_nan:
        yield (
            f"{name} has {found.nan} NaN among {found.values} values, and the reference "
            f"{found.reference_nan}"
        )
    if found.inf_apart:
        yield (
            f"{name} has {found.inf} infinite values among {found.values}, and the reference "
            f"{found.reference_inf}: {found.inf_apart} are not the same"
        )
    if found.is_exact:
        if found.equal < tolerance.agreement:
            yield (
                f"{name}: {found.equal:.4%} of {found.values} values are equal, and "
                f"{tolerance.agreement:.4%} have to be"
            )
        return
    if found.max_relative > tolerance.relative:
        yield (
            f"{name}: the largest error, {found.max_absolute:.3g} in sample {found.worst_sample}, "
            f"is {found.max_relative:.2g} of the reference's largest value, and "
            f"{tolerance.relative:.2g} is allowed"
        )
    classes = found.classes
    if classes is None:
        return
    if classes.confidence > tolerance.confidence:
        yield (
            f"{name}: confidences differ by up to {classes.confidence:.2g}, and "
            f"{tolerance.confidence:.2g} is allowed"
        )
    if classes.top1_or_tied < tolerance.agreement:
        yield (
            f"{name}: {classes.top1_or_tied:.2%} of {classes.rows} rows have the reference's first "
            f"class, ties included, and {tolerance.agreement:.2%} have to"
        )
