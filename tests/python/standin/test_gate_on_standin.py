"""A new engine is run on samples, and refused where it gives no numbers and its model does.

TensorRT's stand-in reads no ONNX: it builds a model in its own format, which is the ONNX model or
loses what that holds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import trtfast
from casting import parse
from fake_gpu import PAIR, TWICE, answer, rows
from trtfast import _core
from trtfast.errors import InputError, PrecisionError

X = rows(40)
LARGE = TWICE.replace(b"affine 2 1", b"affine 1e38 0")
"""y = 1e38 x, which float32 does not hold of most rows."""
LOST = int((np.abs(X) > float(np.finfo(np.float32).max) / 1e38).sum())


def twice() -> onnx.ModelProto:
    return parse(
        "(float[B, 2] x) => (float[B, 2] y) {a = Add(x, x) y = Add(a, b)}", b=np.float32(1)
    )


@pytest.fixture
def stands_for(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Have engines built of a model in the stand-in's format."""
    real = _core.build

    def start(text: bytes) -> None:
        def build(library: Any, data: bytes, *options: Any) -> Any:
            assert data.startswith(b"\x08")  # it was ONNX
            return real(library, text, *options)

        monkeypatch.setattr(_core, "build", build)

    return start


def build(folder: Path, model: onnx.ModelProto, samples: Any, **options: Any) -> Path:
    shapes = {"min_shapes": {"x": (1, 2)}, "max_shapes": {"x": (32, 2)}}
    options = {"precision": "fp32", "backend": "11.1"} | options
    return trtfast.build(model, folder / "m.engine", samples=samples, **shapes, **options)


def test_what_gives_numbers_passes(stands_for: Any, tmp_path: Path) -> None:
    stands_for(TWICE)
    plan = build(tmp_path, twice(), X)
    known = trtfast.Passport.of(plan)
    assert known is not None
    assert known.precision["time"] == {"unknown": 1}  # the stand-in tells of no dtypes
    with trtfast.Engine(plan) as engine:
        np.testing.assert_array_equal(engine.infer(X[:32]), answer(X[:32]))


def test_without_samples_nothing_is_timed(stands_for: Any, tmp_path: Path) -> None:
    stands_for(TWICE)
    known = trtfast.Passport.of(build(tmp_path, twice(), None))
    assert known is not None
    assert known.precision["time"] is None


@pytest.mark.parametrize("in_pieces", [False, True])
def test_what_overflows_is_refused(in_pieces: bool, stands_for: Any, tmp_path: Path) -> None:
    stands_for(LARGE)
    samples = iter([X[:1], X[1:20], X[20:]]) if in_pieces else X
    with pytest.raises(PrecisionError) as caught:
        build(tmp_path, twice(), samples, precision="bf16")
    assert str(caught.value) == (
        f"output 'y' has 0 NaN and {LOST} infinite values of 80, where the float32 model's are "
        "finite: bf16 does not hold it on these samples. Build with precision='mixed' and "
        "calibration=, or keep in float32 (keep_fp32=) the nodes that `trtfast verify --bisect` "
        "names"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("precision", "advice"),
    [
        ("mixed", "Calibrate with samples like these, or keep in float32"),
        ("fp32", "TensorRT computes it otherwise: try another version"),
    ],
)
def test_what_to_do_about_it(precision: str, advice: str, stands_for: Any, tmp_path: Path) -> None:
    stands_for(LARGE)
    given = {"calibration": X} if precision == "mixed" else {}
    with pytest.raises(PrecisionError, match=advice):
        build(tmp_path, twice(), X, precision=precision, **given)


def test_what_was_there_stays(stands_for: Any, tmp_path: Path) -> None:
    stands_for(TWICE)
    plan = build(tmp_path, twice(), X)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    stands_for(LARGE)
    with pytest.raises(PrecisionError):
        build(tmp_path, twice(), X)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    with trtfast.Engine(plan) as engine:
        np.testing.assert_array_equal(engine.infer(X[:4]), answer(X[:4]))


def test_nan_is_refused(stands_for: Any, tmp_path: Path) -> None:
    """Of infinite values of both signs that are added up, where the model clips them."""
    stands_for(PAIR)
    model = parse(
        "(float[B, 2] a, float[B, 2] b) => (float[B, 2] sum, float[B, 2] twice)"
        "{near = Clip(a, least, most) far = Clip(b, least, most) sum = Add(near, far)"
        "twice = Add(near, near)}",
        least=np.float32(-9),
        most=np.float32(9),
    )
    a, b = X.copy(), X.copy()
    a[3:7], b[5:7] = np.inf, -np.inf
    with pytest.raises(PrecisionError) as caught:
        trtfast.build(
            model,
            tmp_path / "m.engine",
            precision="fp16",
            backend="11.1",
            samples={"a": a, "b": b},
            max_shapes={"a": (32, 2), "b": (32, 2)},
        )
    told = str(caught.value).partition(", where the float32")[0].split("; ")
    assert told == [
        "output 'sum' has 4 NaN and 4 infinite values of 80",
        "output 'twice' has 0 NaN and 8 infinite values of 80",
    ]
    assert list(tmp_path.iterdir()) == []


def test_what_the_model_itself_gives_is_right(stands_for: Any, tmp_path: Path) -> None:
    stands_for(LARGE)
    model = parse("(float[B, 2] x) => (float[B, 2] y) {y = Mul(x, big)}", big=np.float32(1e38))
    assert trtfast.Passport.of(build(tmp_path, model, X)) is not None


def test_samples_are_read_before_the_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_core, "build", lambda *_: pytest.fail("it was built"))
    for samples, match in (
        (X[:, :1], r"samples: input 'x' has shape \(40, 1\)"),
        (np.ones((33, 2)), "float64; expected float32"),
        ([], "there are no samples"),
    ):
        with pytest.raises(InputError, match=match):
            build(tmp_path, twice(), samples)
    assert list(tmp_path.iterdir()) == []


def test_a_sample_that_is_wrong_later(stands_for: Any, tmp_path: Path) -> None:
    stands_for(TWICE)

    def samples() -> Iterator[np.ndarray]:
        yield X[:3]
        yield X[:3, :1]

    with pytest.raises(InputError, match=r"sample 1: input 'x' has shape \(3, 1\)"):
        build(tmp_path, twice(), samples())
    assert list(tmp_path.iterdir()) == []


def test_for_other_gpus_alone(
    stands_for: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It cannot run here, be it right or wrong."""
    stands_for(LARGE)
    with caplog.at_level(logging.WARNING, "trtfast"):
        plan = build(tmp_path, twice(), X, backend="tensorrt_rtx", targets=[75])
    (line,) = [r.getMessage() for r in caplog.records if "not run on the samples" in r.getMessage()]
    assert line.startswith(f"{plan} is not run on the samples: it is built for 75, and not for ")
    known = trtfast.Passport.of(plan)
    assert known is not None
    assert (known.precision["engine"], known.precision["time"]) == (None, None)
