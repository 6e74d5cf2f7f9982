"""``trtfast run``: a model on images, arrays or random input."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

import trtfast
from trtfast.arrays import ENDINGS, read_arrays
from trtfast.binding import with_batch
from trtfast.errors import InputError
from trtfast.preprocess.decode import IMAGE_ENDINGS
from trtfast.profiling.inputs import arrays_of
from trtfast.shapes import parse

from .console import bar, console, note, print_json
from .loading import known_of, load

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from trtfast.passport import Passport
    from trtfast.postprocess import Classification
    from trtfast.spec import Array, InferenceEngine, TensorSpec

__all__ = ["Wanted", "preprocess_of", "read_inputs", "run_model"]

_FEW = 1000  # values of an output that are told in JSON,
_SHOWN = 8  # and that are printed


class Wanted(NamedTuple):
    """What ``trtfast run`` was asked for, beside the model and its inputs."""

    save: Path | None
    top: int
    batch: int | None
    shapes: str
    precision: str | None
    backend: str
    device: int
    as_json: bool


def run_model(path: Path, inputs: list[Path], wanted: Wanted) -> None:
    """Run each input through a model, and print its classes or a summary of its outputs."""
    if inputs and (wanted.shapes or wanted.batch):
        raise InputError("--batch and --shapes are for random input: leave them out, or the files")
    sources = list(chain.from_iterable(map(_files, inputs)))
    stems = [source.stem for source in sources]
    if wanted.save is not None and len(set(stems)) < len(stems):
        raise InputError(
            f"two inputs have one name, of {stems}: they would share a name in {wanted.save}"
        )
    known = known_of(path)
    told: list[dict[str, Any]] = []
    saved: dict[str, Array] = {}
    with load(path, wanted.precision, wanted.backend, wanted.device) as engine:
        own = engine if isinstance(engine, trtfast.Engine) else known
        classes = tuple(own.classes) if own is not None and own.classes else None
        metadata = engine.metadata if isinstance(engine, trtfast.Engine) else None
        are_probabilities = metadata is not None and metadata.get("task") == "classify"
        for source, arrays in _calls(sources, engine, known, wanted):
            outputs = engine.infer(arrays)
            described = {
                name: _described(output, classes, wanted.top, are_probabilities)
                for name, output in outputs.items()
            }
            told.append({"input": None if source is None else str(source), "outputs": described})
            if not wanted.as_json:
                console.print(f"{source or 'random input'}:")
                for name, each in described.items():
                    _print(name, each, outputs[name])
            prefix = f"{source.stem}." if source is not None and len(sources) > 1 else ""
            saved |= {f"{prefix}{name}": output for name, output in outputs.items()}
    if wanted.as_json:
        print_json({"model": str(path), "runs": told})
    if wanted.save is not None:
        wanted.save.parent.mkdir(parents=True, exist_ok=True)
        with wanted.save.open("wb") as file:  # by name, NumPy would add an ending
            np.savez(file, allow_pickle=False, **saved)
        (note if wanted.as_json else console.print)(f"saved {wanted.save}")


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_ENDINGS)
    if not files:
        raise InputError(f"there is no image in {path}; expected {', '.join(IMAGE_ENDINGS)}")
    return files


def _calls(
    sources: list[Path], engine: InferenceEngine, known: Passport | None, wanted: Wanted
) -> Iterator[tuple[Path | None, dict[str, Any]]]:
    if not sources:
        shapes = parse(wanted.shapes) or with_batch(engine.inputs, wanted.batch)
        yield None, arrays_of(engine.inputs, shapes)
    for source in sources:
        yield source, read_inputs(source, engine, known)


def read_inputs(source: Path, engine: InferenceEngine, known: Passport | None) -> dict[str, Any]:
    """Return a model's inputs from a file of arrays or an image."""
    names = [spec.name for spec in engine.inputs]
    if source.suffix in ENDINGS:
        loaded = read_arrays(source)
        return loaded if isinstance(loaded, dict) else {names[0]: loaded}
    own = engine.preprocess if isinstance(engine, trtfast.Engine) else None
    preprocess = own or preprocess_of(engine.inputs, known)
    if preprocess is None:
        raise InputError(
            "this model has no passport that says how it takes images, and its input is not "
            f"(N, 3, height, width) but {engine.inputs[0].shape}: give .npy or .npz files"
        )
    return {names[0]: preprocess(trtfast.read_image(source))}


def preprocess_of(
    inputs: Sequence[TensorSpec], known: Passport | None
) -> trtfast.Preprocess | None:
    """Return how a model takes images: as its passport says, else as its input's shape does."""
    if known is not None and known.preprocess is not None:
        return trtfast.Preprocess.from_dict(known.preprocess)
    shape = inputs[0].shape
    if len(inputs) != 1 or len(shape) != 4 or shape[1] != 3 or -1 in shape[2:]:
        return None
    return trtfast.Preprocess(size=(shape[2], shape[3]))


def _logits(probabilities: Array) -> Array:
    """Return what the probabilities that a classifier of Ultralytics gives are the softmax of."""
    with np.errstate(divide="ignore"):  # of a probability of 0
        return np.log(probabilities)


def _described(
    output: Array, classes: tuple[str, ...] | None, top: int, are_probabilities: bool
) -> dict[str, Any]:
    """Return an output's dtype and shape, with the classes where it holds scores of such."""
    told: dict[str, Any] = {"dtype": output.dtype.name, "shape": list(output.shape)}
    looks_like_logits = output.ndim == 2 and output.dtype.kind == "f" and output.shape[1] > 1
    if looks_like_logits and (classes is None or len(classes) == output.shape[1]):
        scores = _logits(output) if are_probabilities else output
        rows = cast("list[list[Classification]]", trtfast.top_k(scores, k=top, classes=classes))
        told["classes"] = [
            [{"index": c.index, "confidence": c.confidence, "label": c.label} for c in row]
            for row in rows
        ]
    if output.size <= _FEW:
        told["values"] = output.tolist()
    return told


def _print(name: str, told: dict[str, Any], output: Array) -> None:
    if "classes" not in told:
        console.print(f"  {name}: {output.dtype} {output.shape} {_summary(output)}")
        return
    for number, row in enumerate(told["classes"]):
        if len(told["classes"]) > 1:
            console.print(f"  row {number}:")
        for found in row:
            console.print(f"  {bar(found['confidence'])} {trtfast.Classification(**found)}")


def _summary(output: Array) -> str:
    """Return an output's values where they are few, else their range."""
    values = np.asarray(output, np.float64)
    if output.size <= _SHOWN:
        return " ".join(f"{value:.6g}" for value in values.flat)
    return f"from {values.min():.6g} to {values.max():.6g}, mean {values.mean():.6g}"
