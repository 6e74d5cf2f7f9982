"""Samples and references in all their forms."""

from __future__ import annotations

import gc
import re
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import tiny
from lossy import classifier, images
from trtfast import ReferenceEngine, verify
from trtfast.errors import InputError
from trtfast.spec import ShapeRange, TensorSpec
from trtfast.verification.samples import samples_of

X = images(70)
FLOAT = np.dtype(np.float32)
ONE = (TensorSpec("x", FLOAT, (-1, 8)),)
TWO = (*ONE, TensorSpec("m", FLOAT, (-1,)))


def sizes(samples: Any, specs: tuple[TensorSpec, ...] = ONE) -> list[tuple[int, ...]]:
    return [tuple(len(a) for a in inputs.values()) for inputs in samples_of(samples, specs)]


def test_rows_are_dealt_out() -> None:
    assert sizes(X) == [(32,), (32,), (6,)]
    assert sizes({"x": X[:40]}) == [(32,), (8,)]
    assert sizes({"m": X[:40, 0], "x": X[:40]}, TWO) == [(32, 32), (8, 8)]
    given = [inputs["x"] for inputs in samples_of(X, ONE)]
    assert np.array_equal(np.concatenate(given), X)


def test_rows_fit_the_profiles() -> None:
    spec = TensorSpec("x", FLOAT, (-1, 8), (ShapeRange((1, 8), (4, 8), (30, 8)),))
    assert sizes(X, (spec,)) == [(30,), (30,), (10,)]


def test_rows_of_a_fixed_batch() -> None:
    spec = (TensorSpec("x", FLOAT, (7, 8)),)
    assert sizes(X, spec) == [(7,)] * 10
    with pytest.raises(InputError, match="69 rows, and the engine takes 7 in each call"):
        sizes(X[:69], spec)


def test_inputs_without_rows_in_common_are_one_sample() -> None:
    specs = (*ONE, TensorSpec("size", FLOAT, (2,)))
    assert sizes({"x": X, "size": np.zeros(2, np.float32)}, specs) == [(70, 2)]
    scalar = (*ONE, TensorSpec("scale", FLOAT, ()))
    (inputs,) = samples_of({"x": X, "scale": np.array(2, np.float32)}, scalar)
    assert inputs["scale"] == 2


def test_samples_one_by_one() -> None:
    given: list[Any] = [X[:3], {"x": X[:4]}, (X[:5],), X[:6].astype(np.float16)]
    assert sizes(given) == sizes(iter(given)) == [(3,), (4,), (5,), (6,)]
    (inputs,) = samples_of([X[:2].astype(np.float16)], ONE)
    assert inputs["x"].dtype == np.float32


@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_samples_in_a_file(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"samples{ending}"
    if ending == ".npy":
        np.save(path, X)
    else:
        np.savez(path, x=X)
    assert sizes(path) == sizes(str(path)) == [(32,), (32,), (6,)]
    path.write_text("none")
    with pytest.raises(InputError, match=f"samples{ending} cannot be read as arrays"):
        sizes(path)
    path.unlink()
    with pytest.raises(InputError, match=r"there is no file .*samples"):
        sizes(path)


@pytest.mark.parametrize(
    ("samples", "match"),
    [
        ([], "there are no samples; expected at least one"),
        (X[:0], "there are no samples"),
        (3, "samples is int; expected an iterable"),
        ([X, X[:, :7]], r"sample 1: input 'x' has shape \(70, 7\)"),
        ({"y": X}, "unknown inputs 'y' and missing inputs 'x'"),
        ([X, "text"], "sample 1: input 'x' is str"),
        (X.astype(np.float64), "sample 0: input 'x' is float64; expected float32"),
    ],
)
def test_wrong_samples_are_named(samples: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        sizes(samples)


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

    with ReferenceEngine(classifier()) as engine:
        assert verify(engine, classifier(), stream(), repeats=1).samples == 30
    assert most <= 8


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
