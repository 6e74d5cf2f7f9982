"""The search for the nodes that have to be kept from a precision."""

from __future__ import annotations

import logging
from itertools import islice
from typing import TYPE_CHECKING, Any

from .. import backend as backends
from .. import model as models
from .. import precision as precisions
from ..errors import InputError
from ..precision.calibrate import calibrate
from ..precision.ranges import normalised, quantisable
from ..reference import ReferenceEngine
from ..samples import samples_of
from ..verification import Tolerance
from ..verification.report import judged
from ..verification.run import compare
from .candidates import Candidate, on_cpu, on_gpu
from .layers import NodeError, layer_errors
from .repairs import lists_of, repairs_of, worst
from .report import BisectReport, Trial

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Sequence

    import onnx

    from ..precision.ranges import Calibration
    from ..preprocess import Preprocess
    from ..samples import Samples
    from ..spec import Array, InferenceEngine
    from .repairs import Repair

__all__ = ["bisect"]

logger = logging.getLogger("trtfast")

_SAMPLES = 8
_LARGEST = 2**31 - 1  # bytes of a protocol buffer


def bisect(
    onnx: str | os.PathLike[str] | onnx.ModelProto,
    samples: Samples,
    *,
    precision: str = "fp16",
    keep_fp32: Collection[str] = (),
    keep_fp16: Collection[str] = (),
    calibration: Samples | Calibration | None = None,
    tolerance: Tolerance | None = None,
    scores: Collection[str] | None = None,
    candidate: Candidate | None = None,
    preprocess: Preprocess | None = None,
    device: int = 0,
    **options: Any,
) -> BisectReport:
    """Find the ONNX nodes where a precision loses the answer, and which to keep from it.

    The model runs in the precision, with its tensors as outputs, beside itself in float32, and each
    node is charged with the error that its outputs have beyond that of its inputs. The worst are
    kept from the precision and the rest is tried again, until the model is within tolerance. Then
    each is let go that can be. Every trial is an engine as it will be built, without outputs of its
    own.

    What is quantised is first kept in float16, and nodes in float32 only if that is not enough, or
    if they overflow. One at least stays quantised.

    Parameters
    ----------
    onnx : path or onnx.ModelProto
        In float32. Control flow counts as one node.
    samples
        As :func:`trtfast.samples.samples_of` takes them; the first 8 calls are used.
    precision : str
    keep_fp32, keep_fp16 : collection of str
        Nodes that stay in float32 in any case, and those that are not quantised in any case.
    calibration : samples or Calibration, optional
        What "mixed", "int8" and "fp8" need, as :func:`trtfast.build` takes it. Samples are run
        once.
    tolerance : Tolerance, optional
        By default that of the precision.
    scores : collection of str, optional
        As of :func:`trtfast.verify`.
    candidate : callable, optional
        Makes an engine of a float32 model and the names of nodes that stay in float32, and in
        float16: a TensorRT engine by default, and where none can run here, or with
        ``backend="reference"``, ONNX Runtime on the CPU with the precision's rounding emulated.
    preprocess : Preprocess, optional
        What makes inputs of images.
    device : int
        The GPU's index.
    **options
        Those of :func:`trtfast.build`, as ``max_shapes``.

    Returns
    -------
    BisectReport
        ``keep_fp32`` and ``keep_fp16`` are for :func:`trtfast.build`; ``passed`` says whether they
        are enough.

    Raises
    ------
    InputError
        If the precision is float32 already, a sample is wrong, a calibration is missing or of no
        use, or the model is beyond 2 GB.
    PrecisionError, BuildError
        If the model cannot be had in the precision.
    """
    if precision == "fp32":
        raise InputError("precision is 'fp32', in which nothing is lost: bisect a lower one")
    precisions.check(precision, is_calibrated=calibration is not None, keep_fp16=keep_fp16)
    tolerance = tolerance or Tolerance.of(precision)
    model, _ = models.read(onnx)
    if model.ByteSize() > _LARGEST:
        raise InputError(
            f"the model has {model.ByteSize() / 1e9:.1f} GB, and ONNX Runtime takes 2.1 GB at most "
            "of a model with outputs added: bisect a part of it"
        )
    known = None
    if calibration is None:
        model = _inlined(model)
    else:
        known = calibrate(model, calibration, preprocess=preprocess)
        model = normalised(model)
    if candidate is None:
        candidate = _default(precision, known, device, options)
    search = _Search(model, candidate, tolerance, scores, repairs_of(keep_fp32, keep_fp16))
    if known is not None:
        search.hold(known, is_quantised=precision in precisions.QUANTISED)
    search.begin(samples, preprocess)
    kept, nodes = search.grow()
    repairs = repairs_of(keep_fp32, keep_fp16) if kept is None else search.shrink(kept)
    last, spared = lists_of(repairs)
    return BisectReport(
        precision=precision,
        tolerance=tolerance,
        nodes=tuple(nodes),
        keep_fp32=last,
        keep_fp16=spared,
        trials=tuple(search.trials),
    )


def _default(
    precision: str, calibration: Calibration | None, device: int, options: dict[str, Any]
) -> Candidate:
    if options.get("backend") == "reference":
        return on_cpu(precision, calibration)
    if reason := backends.why_no_engine(device):
        logger.warning("the precision is emulated on the CPU: %s", reason)
        return on_cpu(precision, calibration)
    return on_gpu(precision, device=device, calibration=calibration, **options)


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnx import inliner

    return inliner.inline_local_functions(model) if model.functions else model


class _Search:
    def __init__(
        self,
        model: onnx.ModelProto,
        candidate: Candidate,
        tolerance: Tolerance,
        scores: Collection[str] | None,
        fixed: tuple[Repair, ...],
    ) -> None:
        self.trials: list[Trial] = []
        self._model = model
        self._candidate = candidate
        self._tolerance = tolerance
        self._scores = scores
        self._fixed = fixed
        self._held: tuple[Repair, ...] = ()
        self._quantised: frozenset[str] = frozenset()
        self._samples: list[dict[str, Array]] = []
        self._wanted: list[dict[str, Array]] = []

    def hold(self, calibration: Calibration, *, is_quantised: bool) -> None:
        """Know of what is quantised, and of what is in float32 without a repair."""
        self._held = repairs_of(calibration.beyond_fp16, ())
        if is_quantised:
            names = {node.name for node, *_ in quantisable(self._model.graph)}
            self._quantised = frozenset(names - set(calibration.beyond_fp16))

    def begin(self, samples: Samples, preprocess: Preprocess | None) -> None:
        """Take samples as the engine that is to be repaired takes them, and judge it."""
        with self._make(self._fixed) as engine:
            given = samples_of(samples, engine.inputs, preprocess)
            self._samples = list(islice(given, _SAMPLES))
            with ReferenceEngine(self._model) as reference:
                self._wanted = [reference.infer(inputs) for inputs in self._samples]
            self._judge(engine, self._fixed)

    def passes(self, keep: Sequence[Repair]) -> bool:
        """Make an engine with these repairs, and say whether it is within tolerance."""
        wanted = [set(names) for names in lists_of(keep)]
        for trial in self.trials:
            if [set(trial.keep_fp32), set(trial.keep_fp16)] == wanted:
                return not trial.failures
        with self._make(keep) as engine:
            return self._judge(engine, keep)

    def _make(self, keep: Sequence[Repair]) -> InferenceEngine:
        return self._candidate(self._model, *lists_of(keep))

    def _judge(self, engine: InferenceEngine, keep: Sequence[Repair]) -> bool:
        found = compare(engine, self._wanted, self._samples, self._tolerance, self._scores)
        failures = judged(found.outputs, self._tolerance)
        error = max(output.max_relative for output in found.outputs)
        full, half = lists_of(keep)
        self.trials.append(Trial(full, half, error, failures))
        logger.info(
            "bisect: %d nodes in float32%s, error %.2g, %s",
            *(len(full), f" and {len(half)} in float16" if half else "", error),
            "failed" if failures else "passed",
        )
        return not failures

    def grow(self) -> tuple[tuple[Repair, ...] | None, list[NodeError]]:
        """Repair the worst nodes, each time twice as many more, until the model passes.

        Returns
        -------
        The repairs, None if none are enough; and the errors that were there at first, worst first.
        """
        keep = self._fixed
        nodes: list[NodeError] = []
        count = 1
        while not self.passes(keep):
            ranked = sorted(
                layer_errors(self._model, self._candidate, *lists_of(keep), self._samples),
                key=lambda node: -node.growth,
            )
            nodes = nodes or ranked
            more = worst(ranked, {*keep, *self._held}, count, self._quantised)
            if not more:
                return None, nodes
            keep += more
            count *= 2
        return keep, nodes

    def shrink(self, keep: tuple[Repair, ...]) -> tuple[Repair, ...]:
        """Let go what the model passes without: halves of the list, then ever smaller parts."""
        size = len(keep) - len(self._fixed)
        while size > 0:
            before, start = keep, len(self._fixed)
            while start < len(keep):
                fewer = keep[:start] + keep[start + size :]
                if self.passes(fewer):
                    keep = fewer
                else:
                    start += size
            if size > 1 or keep == before:  # of single nodes, until none can be let go
                size //= 2
        return keep
