"""``build(precision="auto")``: the fastest engine that is right, found by measurement."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import backend as backends
from . import model as models
from . import precision as precisions
from .bisection import bisect
from .build import build
from .engine import Engine
from .errors import BuildError, InputError, PrecisionError, UnsupportedDeviceError
from .passport import Passport
from .reference import ReferenceEngine
from .samples import samples_of
from .timing import interleaved
from .verification import Tolerance, verify

if TYPE_CHECKING:
    import os

    import onnx

    from .samples import Samples
    from .spec import Array

__all__ = ["Attempt", "build_fastest"]

logger = logging.getLogger("trtfast")

_SAMPLES = 32
_TRIED = tuple(name for name in precisions.PRECISIONS if name not in precisions.CALIBRATED)


@dataclass
class Attempt:
    """One engine of the search.

    Attributes
    ----------
    precision : str
    keep_fp32 : list of str
        Its nodes in float32.
    failures : list of str
        Why it was not taken: it could not be built, or is beyond the tolerance.
    error : float or None
        The largest error of an output, as a share of its largest magnitude.
    milliseconds : float or None
        The median time of a call with the first sample, of those that passed.
    """

    precision: str
    keep_fp32: list[str]
    failures: list[str]
    error: float | None = None
    milliseconds: float | None = None

    def __str__(self) -> str:
        kept = f" with {len(self.keep_fp32)} nodes in float32" if self.keep_fp32 else ""
        told = "; ".join(self.failures) or f"{self.milliseconds:.3f} ms, error {self.error:.2g}"
        return f"{self.precision}{kept}: {told}"


def build_fastest(
    onnx: str | os.PathLike[str] | onnx.ModelProto,
    target: Path,
    samples: Samples | None,
    tolerance: Tolerance | None,
    *,
    device: int,
    keep_fp32: tuple[str, ...],
    **options: Any,
) -> Path:
    """Build an engine in each precision, and keep the fastest that is within tolerance.

    One that is not within it is built again with the nodes in float32 that a bisection finds.

    Parameters
    ----------
    onnx, device, keep_fp32, **options
        Those of :func:`trtfast.build`.
    target : Path
        Where the plan goes. The passport tells of the search.
    samples
        As :func:`trtfast.samples.samples_of` takes them; the first 32 calls are used.
    tolerance : Tolerance, optional
        By default that of float16.

    Raises
    ------
    UnsupportedDeviceError
        If no engine can run here, so that there is nothing to measure.
    PrecisionError
        If none is within tolerance.
    """
    if samples is None:
        raise InputError("precision='auto' chooses by measurement: give samples= to measure on")
    if reason := backends.why_no_engine(device):
        raise UnsupportedDeviceError(
            f"precision='auto' chooses by measurement, and no engine can run here: {reason}. Build "
            "on a machine with the GPU that will serve, or choose a precision"
        )
    model, _ = models.read(onnx)
    tolerance = tolerance or Tolerance.of("fp16")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=target.parent)))
        search = _Search(stack, folder, model, tolerance, device, options)
        for precision in _TRIED:
            search.attempt(precision, samples, keep_fp32)
        chosen = search.fastest()
        logger.info("precision 'auto' chose %s", chosen)
        plan = folder / f"{search.attempts.index(chosen)}.engine"
        known = Passport.of(plan)
        assert known is not None
        found = known.precision | {"search": [asdict(attempt) for attempt in search.attempts]}
        plan.replace(target)
        dataclasses.replace(known, precision=found).write(target)
    return target


class _Search:
    """Engines of one model, of which those that are right stay open to be timed."""

    def __init__(
        self,
        stack: ExitStack,
        folder: Path,
        model: onnx.ModelProto,
        tolerance: Tolerance,
        device: int,
        options: dict[str, Any],
    ) -> None:
        self.attempts: list[Attempt] = []
        self._stack = stack
        self._folder = folder
        self._model = model
        self._tolerance = tolerance
        self._device = device
        self._options = options
        self._right: list[tuple[Attempt, Engine]] = []
        self._samples: list[dict[str, Array]] = []
        self._wanted: list[dict[str, Array]] = []

    def attempt(self, precision: str, samples: Samples, keep: tuple[str, ...]) -> None:
        """Build and verify an engine; where it is wrong, another with the worst in float32."""
        first = self._try(precision, samples, keep)
        if not first.failures or first.error is None or precision == "fp32":
            return
        found = bisect(
            self._model,
            self._samples,
            precision=precision,
            keep_fp32=keep,
            tolerance=self._tolerance,
            device=self._device,
            **self._options,
        )
        if found.passed and found.keep_fp32 != keep:
            self._try(precision, samples, found.keep_fp32)

    def _try(self, precision: str, samples: Samples, keep: tuple[str, ...]) -> Attempt:
        attempt = Attempt(precision, list(keep), [])
        plan = self._folder / f"{len(self.attempts)}.engine"
        self.attempts.append(attempt)
        try:
            build(
                self._model,
                plan,
                precision=precision,
                keep_fp32=keep,
                device=self._device,
                **self._options,
            )
        except (BuildError, PrecisionError) as error:
            attempt.failures.append(f"{type(error).__name__}: {error}")
            return attempt
        engine = self._stack.enter_context(Engine(plan, device=self._device))
        if not self._samples:
            given = samples_of(samples, engine.inputs, self._options["preprocess"])
            self._samples = list(islice(given, _SAMPLES))
            with ReferenceEngine(self._model) as reference:
                self._wanted = [reference.infer(inputs) for inputs in self._samples]
        report = verify(
            engine, self._wanted, self._samples, precision=precision, tolerance=self._tolerance
        )
        attempt.error = max(output.max_relative for output in report.outputs)
        attempt.failures += report.failures
        if report.passed:
            self._right.append((attempt, engine))
        else:
            engine.close()
        return attempt

    def fastest(self) -> Attempt:
        """Time those that are right, by turns, and return the fastest."""
        if not self._right:
            raise PrecisionError(
                "no precision is within tolerance: "
                + "; ".join(f"{attempt}" for attempt in self.attempts)
            )
        sample = self._samples[0]
        calls = [partial(engine.infer, sample) for _, engine in self._right]
        for (attempt, _), timing in zip(self._right, interleaved(calls), strict=True):
            attempt.milliseconds = timing.median * 1e3
        for attempt in self.attempts:
            logger.info("precision 'auto': %s", attempt)
        return min(
            (attempt for attempt, _ in self._right), key=lambda attempt: attempt.milliseconds or 0.0
        )
