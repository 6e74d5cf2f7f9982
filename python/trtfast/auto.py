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
from . import readback
from .bisection import bisect
from .build import build
from .engine import Engine
from .errors import BuildError, InputError, PrecisionError, UnsupportedDeviceError
from .passport import Passport
from .precision.calibrate import calibrate
from .reference import running
from .samples import samples_of
from .timing import interleaved
from .verification import Tolerance, verify

if TYPE_CHECKING:
    import os

    import onnx

    from .precision.ranges import Calibration
    from .samples import Samples
    from .spec import Array

__all__ = ["Attempt", "build_fastest"]

logger = logging.getLogger("trtfast")

_SAMPLES = 32


@dataclass
class Attempt:
    """One engine of the search.

    Attributes
    ----------
    precision : str
    keep_fp32, keep_fp16 : list of str
        Its nodes in float32, and those that are not quantised.
    failures : list of str
        Why it was not taken: it could not be built, or is beyond the tolerance.
    error : float or None
        The largest error of an output, as a share of its largest magnitude.
    milliseconds : float or None
        The median time of a call with the first sample, of those that passed.
    """

    precision: str
    keep_fp32: list[str]
    keep_fp16: list[str]
    failures: list[str]
    error: float | None = None
    milliseconds: float | None = None

    def __str__(self) -> str:
        full, half = len(self.keep_fp32), len(self.keep_fp16)
        kept = f" with {full} nodes in float32" if full else ""
        kept += f" with {half} nodes not quantised" if half else ""
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
    keep_fp16: tuple[str, ...],
    calibration: Samples | Calibration | None,
    **options: Any,
) -> Path:
    """Build an engine in each precision, and keep the fastest that is within tolerance.

    One that is not within it is built again with the nodes kept from it that a bisection finds.

    Parameters
    ----------
    onnx, device, keep_fp32, keep_fp16, **options
        Those of :func:`trtfast.build`.
    target : Path
        Where the plan goes. The passport tells of the search.
    samples
        As :func:`trtfast.samples.samples_of` takes them; the first 32 calls are used.
    tolerance : Tolerance, optional
        By default that of float16.
    calibration : samples or Calibration, optional
        Without it, the precisions that need it are not tried. Samples are run once.

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
    known = None
    if calibration is not None:
        known = calibrate(model, calibration, preprocess=options["preprocess"])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=target.parent)))
        search = _Search(stack, folder, model, tolerance, device, options)
        for precision in precisions.PRECISIONS:
            is_calibrated = precision in precisions.CALIBRATED
            if is_calibrated and known is None:
                continue
            search.attempt(
                precision,
                samples,
                keep_fp32=keep_fp32,
                keep_fp16=keep_fp16 if precision in precisions.QUANTISED else (),
                calibration=known if is_calibrated else None,
            )
        chosen, shares = search.fastest()
        logger.info("precision 'auto' chose %s", chosen)
        plan = folder / f"{search.attempts.index(chosen)}.engine"
        record = Passport.of(plan)
        assert record is not None
        tried = [asdict(attempt) for attempt in search.attempts]
        found = record.precision | {"time": shares, "search": tried}
        plan.replace(target)
        dataclasses.replace(record, precision=found).write(target)
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

    def attempt(self, precision: str, samples: Samples, **options: Any) -> None:
        """Build and verify an engine; where it is wrong, another with the worst kept from it.

        Parameters
        ----------
        precision, **options
            ``keep_fp32``, ``keep_fp16`` and ``calibration`` of a build.
        samples : Samples
        """
        first = self._try(precision, samples, options)
        if not first.failures or first.error is None or precision == "fp32":
            return
        try:
            found = bisect(
                self._model,
                self._samples,
                precision=precision,
                tolerance=self._tolerance,
                device=self._device,
                **self._options,
                **options,
            )
        except (BuildError, PrecisionError) as error:
            first.failures.append(f"bisecting it, {type(error).__name__}: {error}")
            return
        repaired = options | {"keep_fp32": found.keep_fp32, "keep_fp16": found.keep_fp16}
        if found.passed and repaired != options:
            self._try(precision, samples, repaired)

    def _try(self, precision: str, samples: Samples, options: dict[str, Any]) -> Attempt:
        attempt = Attempt(precision, list(options["keep_fp32"]), list(options["keep_fp16"]), [])
        plan = self._folder / f"{len(self.attempts)}.engine"
        self.attempts.append(attempt)
        try:
            build(
                self._model,
                plan,
                precision=precision,
                device=self._device,
                **self._options,
                **options,
            )
        except (BuildError, PrecisionError) as error:
            attempt.failures.append(f"{type(error).__name__}: {error}")
            return attempt
        engine = self._stack.enter_context(Engine(plan, device=self._device))
        if not self._samples:
            given = samples_of(samples, engine.inputs, self._options["preprocess"])
            self._samples = list(islice(given, _SAMPLES))
            with running(self._model) as reference:
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

    def fastest(self) -> tuple[Attempt, dict[str, float]]:
        """Time those that are right, by turns.

        Returns
        -------
        The fastest, and which share of its time its layers spend in each dtype
        """
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
        chosen, engine = min(self._right, key=lambda right: right[0].milliseconds or 0.0)
        return chosen, readback.time_shares(engine.inspect(), engine.profile(sample))
