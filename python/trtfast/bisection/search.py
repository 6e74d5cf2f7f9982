"""The search for the nodes that have to stay in float32."""

from __future__ import annotations

import logging
from itertools import islice
from typing import TYPE_CHECKING, Any

from .. import backend as backends
from .. import model as models
from ..errors import InputError
from ..reference import ReferenceEngine
from ..samples import samples_of
from ..verification import Tolerance
from ..verification.report import judged
from ..verification.run import compare
from .candidates import Candidate, on_cpu, on_gpu
from .layers import NodeError, layer_errors
from .report import BisectReport, Trial

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Sequence

    import onnx

    from ..preprocess import Preprocess
    from ..samples import Samples
    from ..spec import Array, InferenceEngine

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
    tolerance: Tolerance | None = None,
    scores: Collection[str] | None = None,
    candidate: Candidate | None = None,
    preprocess: Preprocess | None = None,
    device: int = 0,
    **options: Any,
) -> BisectReport:
    """Find the ONNX nodes where a precision loses the answer, and which to keep in float32.

    The model runs in the precision, with its tensors as outputs, beside itself in float32, and each
    node is charged with the error that its outputs have beyond that of its inputs. The worst are
    kept in float32 and the rest is tried again, until the model is within tolerance. Then each is
    let go that can be. Every trial is an engine as it will be built, without outputs of its own.

    Parameters
    ----------
    onnx : path or onnx.ModelProto
        In float32. Control flow counts as one node.
    samples
        As :func:`trtfast.samples.samples_of` takes them; the first 8 calls are used.
    precision : str
    keep_fp32 : collection of str
        Nodes that stay in float32 in any case.
    tolerance : Tolerance, optional
        By default that of the precision.
    scores : collection of str, optional
        As of :func:`trtfast.verify`.
    candidate : callable, optional
        Makes an engine of a float32 model and a keep-list: a TensorRT engine by default, and where
        none can run here, ONNX Runtime on the CPU with the precision's rounding emulated.
    preprocess : Preprocess, optional
        What makes inputs of images.
    device : int
        The GPU's index.
    **options
        Those of :func:`trtfast.build`, as ``max_shapes``.

    Returns
    -------
    BisectReport
        ``keep_fp32`` is for :func:`trtfast.build`; ``passed`` says whether it is enough.

    Raises
    ------
    InputError
        If the precision is float32 already, a sample is wrong, or the model is beyond 2 GB.
    PrecisionError, BuildError
        If the model cannot be had in the precision.
    """
    if precision == "fp32":
        raise InputError("precision is 'fp32', in which nothing is lost: bisect a lower one")
    tolerance = tolerance or Tolerance.of(precision)
    model = _inlined(models.read(onnx)[0])
    if model.ByteSize() > _LARGEST:
        raise InputError(
            f"the model has {model.ByteSize() / 1e9:.1f} GB, and ONNX Runtime takes 2.1 GB at most "
            "of a model with outputs added: bisect a part of it"
        )
    if candidate is None:
        candidate = _default(precision, device, options)
    search = _Search(model, candidate, tolerance, scores, tuple(keep_fp32), samples, preprocess)
    kept, nodes = search.grow()
    if kept is not None:
        kept = search.shrink(kept)
    return BisectReport(
        precision=precision,
        tolerance=tolerance,
        nodes=tuple(nodes),
        keep_fp32=tuple(keep_fp32) if kept is None else kept,
        trials=tuple(search.trials),
    )


def _default(precision: str, device: int, options: dict[str, Any]) -> Candidate:
    if reason := backends.why_no_engine(device):
        logger.warning("the precision is emulated on the CPU: %s", reason)
        return on_cpu(precision)
    return on_gpu(precision, device=device, **options)


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
        fixed: tuple[str, ...],
        samples: Samples,
        preprocess: Preprocess | None,
    ) -> None:
        self.trials: list[Trial] = []
        self._model = model
        self._candidate = candidate
        self._tolerance = tolerance
        self._scores = scores
        self._fixed = fixed
        with candidate(model, fixed) as engine:
            self._samples: list[dict[str, Array]] = list(
                islice(samples_of(samples, engine.inputs, preprocess), _SAMPLES)
            )
            with ReferenceEngine(model) as reference:
                self._wanted = [reference.infer(inputs) for inputs in self._samples]
            self._judge(engine, fixed)

    def passes(self, keep: Sequence[str]) -> bool:
        """Make an engine with these nodes in float32, and say whether it is within tolerance."""
        for trial in self.trials:
            if set(trial.keep_fp32) == set(keep):
                return not trial.failures
        with self._candidate(self._model, keep) as engine:
            return self._judge(engine, keep)

    def _judge(self, engine: InferenceEngine, keep: Sequence[str]) -> bool:
        found = compare(engine, self._wanted, self._samples, self._tolerance, self._scores)
        failures = judged(found.outputs, self._tolerance)
        error = max(output.max_relative for output in found.outputs)
        self.trials.append(Trial(tuple(keep), error, failures))
        logger.info(
            "bisect: %d nodes in float32, error %.2g, %s",
            *(len(keep), error, "failed" if failures else "passed"),
        )
        return not failures

    def grow(self) -> tuple[tuple[str, ...] | None, list[NodeError]]:
        """Keep the worst nodes, each time twice as many more, until the model passes.

        Returns
        -------
        The nodes, None if none are enough; and the errors that were there at first, worst first.
        """
        keep = self._fixed
        nodes: list[NodeError] = []
        count = 1
        while not self.passes(keep):
            ranked = sorted(
                layer_errors(self._model, self._candidate, keep, self._samples),
                key=lambda node: -node.growth,
            )
            nodes = nodes or ranked
            more = _worst(ranked, keep, count)
            if not more:
                return None, nodes
            keep += more
            count *= 2
        return keep, nodes

    def shrink(self, keep: tuple[str, ...]) -> tuple[str, ...]:
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


def _worst(ranked: Sequence[NodeError], keep: Collection[str], count: int) -> tuple[str, ...]:
    """Return the nodes that add most error, and are not kept.

    One that is kept and yet adds much cannot help it: its inputs come rounded, so those are kept
    that give them.
    """
    found: dict[str, None] = {}
    for node in ranked:
        if node.growth <= 0 or len(found) >= count:
            break
        names = node.producers if node.name in keep else (node.name,)
        found |= dict.fromkeys(name for name in names if name and name not in keep)
    return tuple(found)
