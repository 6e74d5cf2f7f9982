"""How ``verify`` takes samples, and references in all their forms."""

from __future__ import annotations

import gc
import re
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

import tiny
from casting import parse
from lossy import classifier, images
from trtfast import Preprocess, ReferenceEngine, read_image, verify
from trtfast.errors import InputError

X = images(70)


def test_samples_are_not_kept() -> None:
    """Of many samples, a few are in memory."""
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def stream() -> Iterator[np.ndarray]:
        nonlocal most
        for seed in range(30):
            sample = images(2, seed)
            alive.append(weakref.ref(sample))
            gc.collect()
            most = max(most, sum(ref() is not None for ref in alive))
            yield sample

    gc.freeze()  # what other tests have imported is not looked through 30 times
    try:
        with ReferenceEngine(classifier()) as engine:
            assert verify(engine, classifier(), stream(), repeats=1).samples == 30
    finally:
        gc.unfreeze()
    assert most <= 8


def test_rows_and_items() -> None:
    with ReferenceEngine(classifier()) as engine:
        for samples, calls in ((X, 3), ([X], 1), (iter([X[:3], (X[3:],)]), 2)):
            assert verify(engine, classifier(), samples, repeats=0).samples == calls


def test_images_are_prepared_as_the_engine_does(tmp_path: Path) -> None:
    for seed in range(3):
        pixels = np.random.default_rng(seed).integers(0, 256, (9, 11, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"{seed}.png"), pixels)
    model = parse("(float[B, 3, 4, 4] image) => (float[B, 3, 4, 4] y) {y = Identity(image)}")
    own = Preprocess((4, 4))
    files = sorted(tmp_path.iterdir())
    wanted = own([read_image(file) for file in files])
    with ReferenceEngine(model, preprocess=own) as engine:
        assert verify(engine, wanted, tmp_path, repeats=0).outputs[0].equal == 1
        report = verify(engine, wanted, files, repeats=0)
        assert (report.samples, report.passed) == (3, True)
        other = Preprocess((4, 4), channels="bgr")
        assert not verify(engine, wanted, tmp_path, preprocess=other, repeats=0).passed
    with ReferenceEngine(model) as engine:
        assert verify(engine, wanted, tmp_path, preprocess=own, repeats=0).passed
        with pytest.raises(InputError, match="give preprocess="):
            verify(engine, wanted, tmp_path, repeats=0)


# ---- references ---------------------------------------------------------------------------------


def recorded(x: np.ndarray = X) -> np.ndarray:
    with ReferenceEngine(classifier()) as engine:
        return engine.infer(x)


def check(reference: Any, samples: Any = X) -> Any:
    with ReferenceEngine(classifier()) as engine:
        return verify(engine, reference, samples, repeats=0)


def test_each_form_of_a_reference(tmp_path: Path) -> None:
    onnx.save(classifier(), tmp_path / "m.onnx")
    np.savez(tmp_path / "recorded.npz", y=recorded())
    np.save(tmp_path / "recorded.npy", recorded())
    with ReferenceEngine(classifier()) as other:
        forms = {
            f"{tmp_path / 'm.onnx'} on the CPU": str(tmp_path / "m.onnx"),
            "the ONNX model on the CPU": classifier(),
            "ReferenceEngine": other,
            str(tmp_path / "recorded.npz"): tmp_path / "recorded.npz",
            str(tmp_path / "recorded.npy"): tmp_path / "recorded.npy",
            "recorded outputs": {"y": recorded()},
        }
        for name, reference in forms.items():
            report = check(reference)
            assert report.passed, name
            assert report.reference == name
        other.infer(X)  # is still open


def test_outputs_recorded_for_each_sample() -> None:
    samples = [X[:3], X[3:4]]
    for form in (lambda y: y, lambda y: (y,), lambda y: {"y": y}):
        assert check((form(recorded(x)) for x in samples), samples).passed
    assert not check([recorded(X[3:6]), recorded(X[3:4])], samples).passed


@pytest.mark.parametrize(
    ("reference", "match"),
    [
        ({"y": recorded()[:69]}, "too few rows of 'y': 5 are left, and the next sample has 6"),
        ({"y": recorded(images(71))}, re.escape("rows for which there are no samples: {'y': 1}")),
        ({"y": recorded(), "z": recorded()}, "the engine's outputs are .'y'., and the reference"),
        ([recorded(X[:32])], "fewer recorded outputs than samples"),
        ([recorded(x) for x in (X[:32], X[32:64], X[64:], X)], "more recorded outputs than"),
        (tiny.dense(), r"has shape \(32, 12\), and the reference's \(32, 4\)"),
        ("model.txt", "reference model.txt: the ending must be .onnx, .npz or .npy"),
        ("none.onnx", "none.onnx: there is no such file"),
        ("none.npz", "there is no file none.npz"),
        (7, "reference is int; expected a torch.nn.Module"),
    ],
)
def test_wrong_references_are_named(reference: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        check(reference)


def test_names_match_before_order() -> None:
    def two(first: str, second: str) -> onnx.ModelProto:
        nodes = [
            onnx.helper.make_node("Add", ["x", "x"], ["double"]),
            onnx.helper.make_node("Neg", ["x"], ["minus"]),
        ]
        outputs = [tiny.value(first, "batch", 8), tiny.value(second, "batch", 8)]
        return tiny.model_of(nodes, [tiny.value("x", "batch", 8)], outputs)

    with ReferenceEngine(two("double", "minus")) as engine:
        assert verify(engine, two("minus", "double"), X, repeats=0).passed
        renamed = {"first": X + X, "second": -X}
        assert verify(engine, renamed, X, repeats=0).passed
        assert not verify(engine, dict(reversed(renamed.items())), X, repeats=0).passed
