"""``build(precision="auto")``: real builds, whose engines a CPU stands in for where no GPU is."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest

import lossy
import quantising
import trtfast
from trtfast import Calibration, Passport, ReferenceEngine, Tolerance, _core, auto, backend
from trtfast.bisection import on_cpu, search
from trtfast.emulation import emulated
from trtfast.errors import InputError, PrecisionError, UnsupportedDeviceError
from trtfast.precision import CALIBRATED, PRECISIONS, cast, rewrite
from trtfast.report import LayerTime
from trtfast.timing import interleaved

X = lossy.images(16)
SECONDS = {"fp32": 6e-3, "fp16": 4e-3, "bf16": 5e-3, "mixed": 3e-3, "int8": 2e-3, "fp8": 1e-3}

clock = SimpleNamespace(now=0.0)  # which only calls move: how long they take is known

without_gpu = pytest.mark.skipif(bool(_core.devices()[0]), reason="there is a GPU")


class Emulated(ReferenceEngine):
    """What a plan would give, as its passport tells; the fewer bits, the quicker."""

    model: onnx.ModelProto

    def __init__(self, plan: Path, **_: object) -> None:
        known = Passport.of(plan)
        assert known is not None
        self.precision = known.options["precision"]
        keep, calibration = known.options["keep_fp32"], known.options["calibration"]
        if calibration is None:
            model = cast(self.model, self.precision, keep_fp32=keep)
        else:
            model = rewrite(
                self.model,
                self.precision,
                keep_fp32=keep,
                keep_fp16=known.options["keep_fp16"],
                calibration=Calibration.from_dict(calibration),
            ).model
        super().__init__(emulated(model))

    def inspect(self) -> str:
        outputs = [{"Name": "y", "Dimensions": [1], "Format/Datatype": "Half"}]
        layer = {"Name": "all", "LayerType": "kgen", "Inputs": [], "Outputs": outputs}
        return json.dumps({"Layers": [layer]})

    def profile(self, inputs: Any) -> tuple[LayerTime, ...]:
        assert set(inputs) == {spec.name for spec in self.inputs}
        return (LayerTime("all", 0.5),)

    def infer(self, inputs: Any) -> Any:
        clock.now += SECONDS[self.precision]
        return super().infer(inputs)


@pytest.fixture
def emulate(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have engines of a model emulated."""

    def start(model: onnx.ModelProto) -> onnx.ModelProto:
        def no_gpu(precision: str, *, calibration: Any, **options: object) -> Any:
            return on_cpu(precision, calibration)

        able = SimpleNamespace(why_no_engine=lambda _: None)
        monkeypatch.setattr(auto, "backends", able)
        monkeypatch.setattr(search, "backends", able)
        monkeypatch.setattr(auto, "Engine", type("Of", (Emulated,), {"model": model}))
        monkeypatch.setattr(auto, "interleaved", partial(interleaved, warm_up=0, duration=0))
        monkeypatch.setattr(search, "on_gpu", no_gpu)
        looks = SimpleNamespace(perf_counter=lambda: clock.now)
        monkeypatch.setattr("trtfast.timing.time", looks)
        return model

    return start


def attempts(plan: Path) -> list[dict[str, Any]]:
    known = Passport.of(plan)
    assert known is not None
    assert known.describes(plan.read_bytes())
    found: list[dict[str, Any]] = known.precision["search"]
    return found


def test_the_fastest_that_is_right_is_chosen(emulate: Any, tmp_path: Path) -> None:
    model = emulate(lossy.classifier())
    plan = trtfast.build(
        model, tmp_path / "m.engine", precision="auto", samples=X, tolerance=Tolerance(0.1, 0.1)
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.engine", "m.engine.json"]
    known = Passport.of(plan)
    assert known is not None
    assert (known.precision["asked"], known.options["precision"]) == ("fp16", "fp16")
    assert known.precision["time"] == {"float16": 1}
    found = {each["precision"]: each for each in attempts(plan)}
    assert list(found) == [name for name in PRECISIONS if name not in CALIBRATED]
    (refused,) = found.pop("tf32")["failures"]
    assert "decides by itself where float32 is computed in TF32" in refused
    assert all(each["failures"] == [] for each in found.values())
    full, half, brain = (found[name] for name in ("fp32", "fp16", "bf16"))
    assert half["milliseconds"] < brain["milliseconds"] < full["milliseconds"]
    assert full["error"] == 0 < half["error"] < brain["error"]


@quantising.builds
def test_with_a_calibration_all_are_tried(emulate: Any, tmp_path: Path) -> None:
    model = emulate(lossy.classifier())
    seen: list[int] = []

    def once() -> Any:
        seen.append(len(X))
        yield X

    plan = trtfast.build(
        model,
        tmp_path / "m.engine",
        precision="auto",
        samples=X,
        calibration=once(),
        tolerance=Tolerance(0.2, 0.2, 0.9),
    )
    assert seen == [16]
    found = {each["precision"]: each for each in attempts(plan)}
    assert tuple(found) == PRECISIONS
    known = Passport.of(plan)
    assert known is not None
    assert known.options["precision"] == "fp8"
    assert found["mixed"]["error"] < found["int8"]["error"] < found["fp8"]["error"]
    assert known.options["calibration"]["runs"] == 2


@quantising.builds
def test_what_quantisation_loses_is_mended_by_a_keep_list(emulate: Any, tmp_path: Path) -> None:
    model = emulate(lossy.outlying())
    plan = trtfast.build(
        model,
        tmp_path / "m.engine",
        precision="auto",
        samples=X,
        calibration=X,
        keep_fp16=["make_first"],
        tolerance=Tolerance(0.02, 0.02, 0.9),
    )
    plain, mended = (each for each in attempts(plan) if each["precision"] == "int8")
    assert (plain["keep_fp16"], plain["keep_fp32"]) == (["make_first"], [])
    assert plain["failures"]
    assert (mended["keep_fp16"], mended["keep_fp32"]) == (["make_first", "make_second"], [])
    assert mended["failures"] == []
    mixed = next(each for each in attempts(plan) if each["precision"] == "mixed")
    assert (mixed["keep_fp16"], mixed["failures"]) == ([], [])
    known = Passport.of(plan)
    assert known is not None
    assert known.options["precision"] == "int8"
    assert known.options["keep_fp16"] == ["make_first", "make_second"]


def test_what_a_tensorrt_refuses_is_skipped_with_its_reason(emulate: Any, tmp_path: Path) -> None:
    library = backend.select()
    if not library.is_rtx or tuple(map(int, library.version.split(".")[:2])) >= (1, 7):
        pytest.skip("this TensorRT has int8 convolutions")
    model, seen = emulate(quantising.net()), quantising.samples()
    plan = trtfast.build(
        model,
        tmp_path / "m.engine",
        precision="auto",
        samples=seen,
        calibration=seen,
        tolerance=Tolerance(0.5, 0.5, 0.5),
    )
    (refused,) = (each for each in attempts(plan) if each["precision"] == "int8")
    (reason,) = refused["failures"]
    assert reason.startswith("PrecisionError: ")
    assert refused["error"] is None


def test_what_is_wrong_is_mended_by_a_keep_list(emulate: Any, tmp_path: Path) -> None:
    model = emulate(lossy.overflowing())
    plan = trtfast.build(model, tmp_path / "m.engine", precision="auto", samples=X)
    known = Passport.of(plan)
    assert known is not None
    assert known.options["precision"] == "fp16"
    assert known.options["keep_fp32"] == ["make_mean", "make_root", "make_safe", "make_squares"]
    plain, mended = (each for each in attempts(plan) if each["precision"] == "fp16")
    assert "of the reference's largest value, and 0.01 is allowed" in plain["failures"][0]
    assert (plain["keep_fp32"], plain["milliseconds"]) == ([], None)
    assert set(mended["keep_fp32"]) == set(known.options["keep_fp32"])
    assert mended["failures"] == []


def test_none_is_right(emulate: Any, tmp_path: Path) -> None:
    emulate(lossy.classifier())
    # The reference is of other weights than the engines.
    other = lossy.classifier(seed=1)
    with pytest.raises(PrecisionError, match="no precision is within tolerance: fp32: output 'y'"):
        trtfast.build(other, tmp_path / "m.engine", precision="auto", samples=X)
    assert list(tmp_path.iterdir()) == []


@without_gpu
def test_without_a_gpu_there_is_nothing_to_measure(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedDeviceError, match="'auto' chooses by measurement, and no engin"):
        trtfast.build(lossy.classifier(), tmp_path / "m.engine", precision="auto", samples=X)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"precision": "auto"}, "give samples= to measure on"),
        ({"precision": "auto", "samples": X, "keep_io": False}, "leave keep_io as it is"),
        ({"precision": "auto", "samples": X, "keep_fp16": ["a"]}, "tries these with calibration="),
        ({"tolerance": Tolerance(1, 1)}, "tolerance is for precision='auto', not for 'fp16'"),
    ],
)
def test_wrong_options(options: dict[str, Any], match: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=match):
        trtfast.build(lossy.classifier(), tmp_path / "m.engine", **options)


def test_the_cache_has_no_engine_by_measurement(tmp_path: Path) -> None:
    from trtfast.build import cached

    onnx.save(lossy.classifier(), tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"precision='auto' is for trtfast\.build"):
        cached(tmp_path / "m.onnx", backend="auto", device=0, precision="auto", samples=X)
    with pytest.raises(InputError, match=r"samples= is for trtfast\.build, which runs an engine"):
        cached(tmp_path / "m.onnx", backend="auto", device=0, samples=X)
