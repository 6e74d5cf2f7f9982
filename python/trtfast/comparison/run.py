"""Run a model in PyTorch and in engines, and compare them."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..engine import Engine
from ..errors import InputError
from ..labels import class_names
from ..postprocess import top_k
from ..precision import PRECISIONS
from ..profiling.run import profile
from ..samples import samples_of
from ..spec import InferenceEngine
from ..verification.metrics import holds_scores
from ..verification.references import opened
from ..verification.run import compare as compare_outputs
from ..verification.run import precision_of, verify
from ..verification.tolerance import Tolerance
from . import environment
from .report import CompareReport, Contender, Prediction
from .speed import batches_of, latencies, rows_of, split_of
from .torch_engine import TorchEngine

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import numpy.typing as npt
    import onnx
    import torch

    from ..labels import ClassNames
    from ..postprocess import Classification
    from ..samples import Samples
    from ..spec import Array

__all__ = ["compare"]

logger = logging.getLogger("trtfast")

_CALLS = 32  # of the samples, that all contenders are compared on
_SHOWN = 4  # rows, of which predictions are kept, and so many classes of each
_BEST = 3


def compare(
    model: torch.nn.Module | str | os.PathLike[str] | onnx.ModelProto,
    engines: InferenceEngine | Mapping[str, InferenceEngine],
    samples: Samples,
    *,
    images: Sequence[npt.NDArray[np.uint8]] = (),
    batches: Sequence[int] | None = None,
    compiled: bool = True,
    classes: ClassNames | None = None,
    seconds: float = 2.0,
    repeats: int = 10,
) -> CompareReport:
    """Run a model in PyTorch and in engines, and compare answers, times and memory.

    PyTorch's module runs in float32 with PyTorch's own settings, and where there is a GPU also in
    float16 and compiled; an ONNX model on ONNX Runtime's CPU provider. Errors are against the model
    in full float32, without TF32. Times are of whole calls, from NumPy arrays to NumPy arrays, by
    turns, after a warm-up that lasts until they are stable.

    Parameters
    ----------
    model : torch.nn.Module, path of an ONNX model, or onnx.ModelProto
        Copied, and not changed.
    engines : InferenceEngine, or mapping from name to InferenceEngine
        Made from that model. An engine is judged by the precision of its passport; one that has
        none by its name, where that is a precision, else as float32.
    samples
        As of :func:`trtfast.verify`; the first 32 calls are used. Their rows are also what is
        timed.
    images : sequence of uint8 array (H, W, 3), optional
        What to time the preprocessing of, as of the passport of an engine.
    batches : sequence of int, optional
        By default those of 1, 8 and 32 that all engines take.
    compiled : bool
        Whether ``torch.compile`` takes part, which takes from seconds to minutes for each batch
        size. It needs a GPU.
    classes : optional
        As :func:`trtfast.class_names` takes them; by default those of a passport.
    seconds : float
        How long each contender is timed at each batch size.
    repeats : int
        As of :func:`trtfast.verify`, for the engines.

    Returns
    -------
    CompareReport

    Raises
    ------
    InputError
        If there are no samples, one does not fit, an engine does not take a batch size that was
        asked for, or an engine's outputs are not the model's.
    """
    named = _named(engines)
    first = next(iter(named.values()))
    device = next((each.device for each in named.values() if isinstance(each, Engine)), 0)
    known = next((p for each in named.values() if (p := getattr(each, "passport", None))), None)
    labels = class_names(classes) if classes is not None else (known and known.classes)
    sizes = batches_of(list(named.values()), batches)
    clocks = [environment.clocks(device)]
    with ExitStack() as stack:
        run = _Run(
            list(
                islice(
                    samples_of(samples, first.inputs, getattr(first, "preprocess", None)), _CALLS
                )
            ),
            labels,
        )
        contenders = run.of_model(model, first, device, compiled, stack)
        contenders |= {name: _Entry(each, _precision(name, each)) for name, each in named.items()}
        rows = {batch: rows_of(run.samples[0], first.inputs, batch) for batch in sizes}
        found = {
            name: run.answers(name, entry, 0 if entry.is_model else repeats)
            for name, entry in contenders.items()
        }
        for batch in sizes:
            logger.info("timing batch %d", batch)
            timed = latencies([each.engine for each in contenders.values()], rows[batch], seconds)
            for name, latency in zip(contenders, timed, strict=True):
                found[name] = replace(found[name], latency=(*found[name].latency, latency))
        preprocess = getattr(first, "preprocess", None)
        for batch in sizes:
            shown = [images[i % len(images)] for i in range(batch)] if images else []
            for name, entry in contenders.items():
                if not entry.is_compiled:
                    split = split_of(entry.engine, rows[batch], shown, preprocess)
                    found[name] = replace(found[name], split=(*found[name].split, split))
        for name, entry in contenders.items():
            found[name] = _with_costs(found[name], entry, rows[sizes[-1]])
    return CompareReport(
        model=_name_of(model),
        environment=environment.describe(device),
        clocks=[*clocks, environment.clocks(device)],
        samples=len(run.samples),
        contenders=tuple(found.values()),
    )


@dataclass(frozen=True)
class _Entry:
    engine: InferenceEngine | TorchEngine
    precision: str
    is_model: bool = False  # what the engines are compared with, and so not judged
    is_compiled: bool = False


class _Run:
    """The samples, and what the model in full float32 gives for them."""

    def __init__(self, samples: list[dict[str, Array]], labels: Sequence[str] | None) -> None:
        self.samples = samples
        self._labels = labels
        self._wanted: list[dict[str, Array]] = []

    def of_model(
        self, model: Any, engine: InferenceEngine, device: int, compiled: bool, stack: ExitStack
    ) -> dict[str, _Entry]:
        """Return the ways to run the model itself, and keep what it gives."""
        if not hasattr(model, "forward"):
            from ..reference import ReferenceEngine

            reference = stack.enter_context(ReferenceEngine(model))
            self._wanted = [reference.infer(inputs) for inputs in self.samples]
            return {"ONNX Runtime fp32": _Entry(reference, "fp32", is_model=True)}
        import torch

        on_gpu = torch.cuda.is_available()
        where = torch.device("cuda", device) if on_gpu else torch.device("cpu")
        exact = copy.deepcopy(model).to(where)
        with opened(exact) as yardstick:
            for inputs in self.samples:
                # What the engine gives tells the outputs' names alone.
                given = {spec.name: np.empty(0) for spec in engine.outputs}
                self._wanted.append(yardstick.outputs(inputs, given))
        del exact

        def entry(dtype: torch.dtype, precision: str, *, compiled: bool = False) -> _Entry:
            made = TorchEngine(
                model, engine.inputs, engine.outputs, device=where, dtype=dtype, compiled=compiled
            )
            return _Entry(stack.enter_context(made), precision, True, compiled)

        found = {"PyTorch fp32": entry(torch.float32, "fp32")}
        if on_gpu:
            found["PyTorch fp16"] = entry(torch.float16, "fp16")
        if on_gpu and compiled:
            stack.callback(torch.compiler.reset)
            found["PyTorch fp16 compiled"] = entry(torch.float16, "fp16", compiled=True)
        return found

    def answers(self, name: str, entry: _Entry, repeats: int) -> Contender:
        """Run a contender on the samples; its times come later."""
        logger.info("running %s on the samples", name)
        engine = entry.engine
        tolerance = Tolerance.of(entry.precision)
        determinism = None
        failures: tuple[str, ...] = ()
        if isinstance(engine, TorchEngine) or entry.is_model:
            outputs = compare_outputs(engine, self._wanted, self.samples, tolerance).outputs
        else:
            report = verify(
                engine, self._wanted, self.samples, precision=entry.precision, repeats=repeats
            )
            outputs, determinism, failures = report.outputs, report.determinism, report.failures
        return Contender(
            name=name,
            runs_on=_runs_on(engine),
            precision=entry.precision,
            tolerance=tolerance,
            outputs=outputs,
            determinism=determinism,
            failures=failures,
            predictions=self._predictions(engine.infer(self.samples[0])),
            latency=(),
            split=(),
            layers=(),
            device_bytes=None,
            host_bytes=None,
            plan_bytes=None,
            build_seconds=None,
            path=None,
        )

    def _predictions(self, outputs: Mapping[str, Array]) -> tuple[tuple[Prediction, ...], ...]:
        scores = next((array for array in outputs.values() if holds_scores(array)), None)
        if scores is None or not np.isfinite(scores).all():
            return ()
        best = min(_BEST, scores.shape[1])
        labels = self._labels if self._labels and len(self._labels) == scores.shape[1] else None
        rows = top_k(scores[:_SHOWN].astype(np.float32), k=best, classes=labels)
        return tuple(
            tuple(Prediction(each.index, each.confidence, each.label) for each in row)
            for row in cast("list[list[Classification]]", rows)
        )


def _named(
    engines: InferenceEngine | Mapping[str, InferenceEngine],
) -> dict[str, InferenceEngine]:
    if isinstance(engines, Mapping):
        if not engines:
            raise InputError("engines is empty; expected at least one engine")
        return dict(engines)
    if not isinstance(engines, InferenceEngine):
        raise InputError(
            f"engines is {type(engines).__name__}; expected an engine, or a mapping from name to "
            "engine"
        )
    kind = "engine" if isinstance(engines, Engine) else "reference"
    return {f"{kind} {precision_of(engines)}": engines}


def _precision(name: str, engine: InferenceEngine) -> str:
    if getattr(engine, "passport", None) is None and name in PRECISIONS:
        return name
    return precision_of(engine)


def _name_of(model: Any) -> str:
    if hasattr(model, "forward"):
        return type(model).__name__
    return model.graph.name if hasattr(model, "graph") else str(model)


def _runs_on(engine: InferenceEngine | TorchEngine) -> str:
    if isinstance(engine, Engine):
        return engine.tensorrt
    if isinstance(engine, TorchEngine):
        import torch

        return f"PyTorch {torch.__version__}, {'GPU' if engine.is_on_gpu else 'CPU'}"
    return "ONNX Runtime, CPU"


def _with_costs(found: Contender, entry: _Entry, inputs: Any) -> Contender:
    """Add what a contender holds, what its layers take, and what its build took."""
    engine = entry.engine
    if isinstance(engine, TorchEngine):
        return replace(found, device_bytes=engine.device_bytes(inputs))
    if not isinstance(engine, Engine):
        return found
    held = engine.memory_report()
    known = engine.passport
    return replace(
        found,
        layers=profile(engine, inputs).layers,
        device_bytes=held.device,
        host_bytes=held.pinned,
        plan_bytes=held.plan,
        build_seconds=known.build_seconds if known else None,
        path=str(engine.path) if engine.path else None,
    )
