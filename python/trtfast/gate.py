"""The gate that a new engine has to pass: on samples, it gives numbers where float32 does."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from . import readback
from .engine import Engine
from .errors import PrecisionError
from .precision import CALIBRATED
from .reference import running
from .samples import samples_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import onnx

    from .preprocess import Preprocess
    from .reference import ReferenceEngine
    from .samples import Samples
    from .spec import Array, ShapeRange, TensorSpec

__all__ = ["calls_of", "check_values"]


def calls_of(
    samples: Samples,
    inputs: Sequence[TensorSpec],
    profiles: Sequence[Mapping[str, ShapeRange]],
    preprocess: Preprocess | None,
) -> Iterator[dict[str, Array]]:
    """Give the inputs of each call of an engine that is to be built.

    The first is read at once, for what is wrong with samples to be told before the build.

    Parameters
    ----------
    samples, preprocess
        As of :func:`trtfast.samples.samples_of`.
    inputs : sequence of TensorSpec
        Of the model, in its precision.
    profiles : sequence of mapping from input name to ShapeRange

    Raises
    ------
    InputError, Error
        As it does.
    """
    specs = [
        replace(spec, profiles=tuple(each[spec.name] for each in profiles if spec.name in each))
        for spec in inputs
    ]
    calls = samples_of(samples, specs, preprocess)
    return chain([next(calls)], calls)


def check_values(
    plan: Path,
    model: onnx.ModelProto,
    calls: Iterable[dict[str, Array]],
    precision: str,
    *,
    backend: str,
    device: int,
) -> tuple[dict[str, int], dict[str, float]]:
    """Run an engine on samples, and look for values that are no numbers.

    The model itself runs only on the samples for which the engine gives such values, to tell
    whether they are the model's own.

    Parameters
    ----------
    plan : Path
    model : onnx.ModelProto
        What it was built from.
    calls : iterable of dict from input name to array
        As :func:`calls_of` gives them.
    precision : str
        What was asked for.
    backend, device
        Those of the build.

    Returns
    -------
    How many of the engine's layers compute in each dtype, and which share of the time on the first
    sample they take

    Raises
    ------
    PrecisionError
        If an output has NaN or infinite values where the model's are finite.
    InputError
        If a sample is not what the engine takes.
    Error
        If ONNX Runtime is needed to tell, and not installed.
    """
    lost: Counter[tuple[str, str]] = Counter()
    values: Counter[str] = Counter()
    dtypes: dict[str, int] = {}
    shares: dict[str, float] | None = None
    with ExitStack() as stack:
        engine = stack.enter_context(
            Engine(plan, backend=backend, device=device, lanes=1, cuda_graph=False)
        )
        reference: ReferenceEngine | None = None
        for inputs in calls:
            if shares is None:
                told = engine.inspect()
                dtypes = readback.engine_dtypes(told)
                shares = readback.time_shares(told, engine.profile(inputs))
            given: dict[str, Array] = engine.infer(inputs)
            values.update({name: array.size for name, array in given.items()})
            suspects = {name: array for name, array in given.items() if not _is_finite(array)}
            if not suspects:
                continue
            reference = reference or stack.enter_context(running(model))
            wanted = reference.infer(inputs)
            for name, array in suspects.items():
                for kind, count in _lost(array, wanted[name]).items():
                    lost[name, kind] += count
    if lost := +lost:
        raise PrecisionError(_message(lost, values, precision))
    return dtypes, shares or {}


def _is_finite(array: Array) -> bool:
    return array.dtype.kind in "biu" or bool(np.isfinite(array.astype(np.float64)).all())


def _lost(given: Array, wanted: Array) -> dict[str, int]:
    """Count the values that are no numbers, and should be."""
    given, wanted = given.astype(np.float64), wanted.astype(np.float64)
    # Shapes may differ where they follow from values.
    should = np.isfinite(wanted) if given.shape == wanted.shape else np.isfinite(wanted).all()
    return {
        "NaN": int(np.count_nonzero(np.isnan(given) & should)),
        "infinite": int(np.count_nonzero(np.isinf(given) & should)),
    }


def _message(lost: Counter[tuple[str, str]], values: Counter[str], precision: str) -> str:
    names = dict.fromkeys(name for name, _ in lost)
    found = "; ".join(
        f"output '{name}' has {lost[name, 'NaN']} NaN and {lost[name, 'infinite']} infinite values "
        f"of {values[name]}"
        for name in names
    )
    if precision in ("fp32", "tf32"):
        advice = "TensorRT computes it otherwise: try another version, or optimization_level=0"
    else:
        first = (
            "Calibrate with samples like these"
            if precision in CALIBRATED
            else "Build with precision='mixed' and calibration="
        )
        advice = (
            f"{precision} does not hold it on these samples. {first}, or keep in float32 "
            "(keep_fp32=) the nodes that `trtfast verify --bisect` names"
        )
    return f"{found}, where the float32 model's are finite: {advice}"
