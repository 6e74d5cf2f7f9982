"""``trtfast run``: a model on images or arrays."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, cast

import numpy as np

import trtfast
from trtfast.arrays import ENDINGS, read_arrays
from trtfast.errors import InputError
from trtfast.passport import Passport

from .console import console

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trtfast.postprocess import Classification
    from trtfast.spec import Array, InferenceEngine, TensorSpec

__all__ = ["preprocess_of", "read_inputs", "run_model"]


def run_model(path: Path, inputs: list[Path], save: Path | None, top: int, backend: str) -> None:
    """Run each input through a model, and print its classes or a summary of its outputs."""
    stems = [source.stem for source in inputs]
    if save is not None and len(set(stems)) < len(stems):
        raise InputError(f"two inputs have one name, of {stems}: they would share a name in {save}")
    with trtfast.load(path, backend=backend) as engine:
        known = Passport.of(path)
        classes = engine.classes if isinstance(engine, trtfast.Engine) else None
        told = engine.metadata if isinstance(engine, trtfast.Engine) else None
        are_probabilities = told is not None and told.get("task") == "classify"
        saved: dict[str, Array] = {}
        for source in inputs:
            outputs = engine.infer(read_inputs(source, engine, known))
            console.print(f"{source}:")
            for name, output in outputs.items():
                _print(name, _logits(output) if are_probabilities else output, classes, top)
                saved[f"{source.stem}.{name}" if len(inputs) > 1 else name] = output
    if save is not None:
        save.parent.mkdir(parents=True, exist_ok=True)
        with save.open("wb") as file:  # by name, NumPy would add an ending
            np.savez(file, allow_pickle=False, **saved)
        console.print(f"saved {save}")


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


def _print(name: str, output: Array, classes: tuple[str, ...] | None, top: int) -> None:
    looks_like_logits = output.ndim == 2 and output.dtype.kind == "f" and output.shape[1] > 1
    if looks_like_logits and (classes is None or len(classes) == output.shape[1]):
        rows = cast("list[list[Classification]]", trtfast.top_k(output, k=top, classes=classes))
        for found in chain.from_iterable(rows):
            console.print(f"  {found}")
    else:
        console.print(f"  {name}: {output.dtype} {output.shape}")
