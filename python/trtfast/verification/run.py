"""Does an engine still give the right answers? The proof before it goes live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InputError
from ..samples import samples_of
from .checks import check_batch, check_determinism
from .metrics import Errors
from .references import opened
from .report import VerifyReport, judged
from .tolerance import Tolerance

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ..preprocess import Preprocess
    from ..samples import Samples
    from ..spec import InferenceEngine, Runs
    from .checks import Probe
    from .metrics import OutputErrors
    from .references import Reference

__all__ = ["compare", "precision_of", "verify"]

_PROBES = 4  # how many samples are kept, for the checks that run them again


def verify(
    engine: InferenceEngine,
    reference: Reference,
    samples: Samples,
    *,
    precision: str | None = None,
    tolerance: Tolerance | None = None,
    scores: Collection[str] | None = None,
    repeats: int = 10,
    preprocess: Preprocess | None = None,
) -> VerifyReport:
    """Compare an engine with a reference, and with itself.

    On each sample, the outputs are compared with the reference's. Then a few of the samples are run
    again and again, one after another and from several threads, with CUDA graphs and without: an
    engine has to give the same bits each time. Where the batch is dynamic, rows have to give alone
    what they give in a batch. No more than a few samples are in memory at once.

    Parameters
    ----------
    engine : InferenceEngine
        An :class:`Engine`, a :class:`ReferenceEngine`, or anything with their interface.
    reference : torch.nn.Module, path, onnx.ModelProto, InferenceEngine, or recorded outputs
        A module runs in evaluation mode on its own device, in full float32; an ONNX model on ONNX
        Runtime's CPU provider. Recorded outputs are a ``.npz`` or ``.npy`` file or a mapping from
        name to array, with the rows of all samples one after another; or an iterable with the
        outputs of each sample, as ``infer`` returns them. Inputs and outputs are matched by name
        where the names are the same, else by order.
    samples : path, array, mapping from input name to array, or iterable
        As :func:`trtfast.samples.samples_of` takes them: arrays, files of arrays or images, folders
        of these, or an iterable, as a list or a ``DataLoader``, of which each item is a call.
    precision : str, optional
        By which the tolerance is chosen; by default that of the engine's passport, else "fp32".
    tolerance : Tolerance, optional
        By default that of the precision.
    scores : collection of str, optional
        The outputs that hold scores of classes, of which first classes and confidences are
        compared. By default each output of two axes, two or more columns and floats.
    repeats : int
        How many times each way of running is repeated; 0 leaves determinism out.
    preprocess : Preprocess, optional
        What makes inputs of images; by default the engine's own, as its passport has it.

    Returns
    -------
    VerifyReport
        ``passed`` and ``failures`` have the verdict.

    Raises
    ------
    InputError
        If there are no samples or one is wrong, if the reference is of no kind that is known, or
        its outputs have other names, shapes or numbers than the engine's.
    Error
        If ONNX Runtime is needed and not installed, or as ``infer`` raises.
    """
    precision = precision or precision_of(engine)
    tolerance = tolerance or Tolerance.of(precision)
    found = compare(engine, reference, samples, tolerance, scores, preprocess)
    determinism = None
    if repeats:
        determinism = check_determinism(engine, _of_other_shapes(found.probes), repeats)
    batch = check_batch(engine, found.probes)
    return VerifyReport(
        engine=getattr(engine, "tensorrt", type(engine).__name__),
        reference=found.reference,
        precision=precision,
        samples=found.samples,
        tolerance=tolerance,
        outputs=found.outputs,
        determinism=determinism,
        batch=batch,
        failures=judged(found.outputs, tolerance, determinism, batch),
        path=str(path) if (path := getattr(engine, "path", None)) else None,
        gpu=getattr(engine, "gpu", None),
    )


@dataclass(frozen=True)
class Comparison:
    """An engine's errors on some samples, and the first of these, to be run again."""

    outputs: tuple[OutputErrors, ...]
    samples: int
    reference: str
    probes: list[Probe]


def compare(
    engine: Runs,
    reference: Reference,
    samples: Samples,
    tolerance: Tolerance,
    scores: Collection[str] | None = None,
    preprocess: Preprocess | None = None,
) -> Comparison:
    """Compare an engine with a reference; the parameters are those of :func:`verify`."""
    names = [spec.name for spec in engine.outputs]
    if unknown := sorted(set(scores or ()) - set(names)):
        raise InputError(f"scores names {unknown}, and the engine's outputs are {names}")
    preprocess = preprocess or getattr(engine, "preprocess", None)
    errors = {
        name: Errors(
            name, scores=None if scores is None else name in scores, tie=tolerance.confidence
        )
        for name in names
    }
    probes: list[Probe] = []
    count = 0
    with opened(reference) as yardstick:
        for inputs in samples_of(samples, engine.inputs, preprocess):
            given = engine.infer(inputs)
            wanted = yardstick.outputs(inputs, given)
            for name in names:
                errors[name].add(given[name], wanted[name])
            if count < _PROBES:
                probes.append((inputs, given))
            count += 1
        yardstick.finish()
    outputs = tuple(errors[name].result() for name in names)
    return Comparison(outputs, count, yardstick.name, probes)


def precision_of(engine: InferenceEngine) -> str:
    """Return what an engine is in: what its passport says was asked for, else "fp32"."""
    known = getattr(engine, "passport", None)
    return str(known.precision["asked"]) if known is not None else "fp32"


def _of_other_shapes(probes: Sequence[Probe]) -> list[Probe]:
    """Return the first of each set of shapes, as an engine has kernels and a graph for each."""
    by_shapes = {
        tuple(array.shape for array in inputs.values()): (inputs, outputs)
        for inputs, outputs in reversed(probes)
    }
    return list(by_shapes.values())
