"""What ``verify`` has to catch, and what it has to let pass, with ONNX Runtime as the engine."""

from __future__ import annotations

import dataclasses
import json
import threading
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
import torch
from typing_extensions import Self

import lossy
import tiny
import trtfast
from casting import normal, parse
from lossy import classifier, images
from trtfast import ReferenceEngine, Tolerance, VerifyReport, verify
from trtfast.bisection import on_cpu
from trtfast.errors import InputError
from trtfast.spec import InferenceEngine

X = images(20)


def half(model: onnx.ModelProto, precision: str = "fp16") -> InferenceEngine:
    """A model in half precision, whose rounding ONNX Runtime emulates."""
    return on_cpu(precision)(model, ())


def check(engine: InferenceEngine, reference: Any, **options: Any) -> VerifyReport:
    return verify(engine, reference, options.pop("samples", X), **{"repeats": 2} | options)


class Wrapped:
    """An engine that is another but for its outputs."""

    def __init__(self, engine: ReferenceEngine) -> None:
        self.engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()


class Flipping(Wrapped):
    """Now and then, or on one thread in four, a bit of its output is another."""

    def __init__(
        self, engine: ReferenceEngine, *, each: int = 0, beside_main: bool = False
    ) -> None:
        super().__init__(engine)
        self.each = each
        self.beside_main = beside_main
        self.calls = 0

    def infer(self, inputs: Any) -> Any:
        outputs = self.engine.infer(inputs)
        self.calls += 1
        beside = threading.current_thread() is not threading.main_thread()
        if (self.beside_main and beside) or (self.each and self.calls % self.each == 0):
            first = next(iter(outputs.values())).view(np.uint32)
            first.flat[0] ^= 1
        return outputs


# ---- what is right ------------------------------------------------------------------------------


def test_an_engine_is_itself() -> None:
    report = check(ReferenceEngine(classifier()), classifier())
    assert report.passed
    assert (report.samples, report.precision, report.tolerance) == (1, "fp32", Tolerance.of("fp32"))
    (found,) = report.outputs
    assert (found.name, found.values, found.equal, found.max_absolute) == ("y", 240, 1, 0)
    assert found.classes is not None
    assert (found.classes.top1, found.classes.top5) == (1, 1)
    assert report.determinism is not None
    assert report.determinism.runs == {"repeated": 2, "threads": 8}
    assert (report.determinism.results, report.determinism.lanes) == (1, None)
    assert (report.batch.rows, report.batch.reason) == (8, None)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_passes_with_its_own_tolerance(precision: str) -> None:
    with half(classifier(), precision) as engine:
        assert check(engine, classifier(), precision=precision).passed
        report = check(engine, classifier(), precision="fp32")
    assert "of the reference's largest value, and 0.0001 is allowed" in report.failures[0]
    error = report.outputs[0].max_relative
    assert 2e-5 < error < Tolerance.of(precision).relative


def test_a_torch_module(tmp_path: Path) -> None:
    module = torch.nn.Sequential(
        torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16), torch.nn.Dropout(), torch.nn.Linear(16, 4)
    )
    path = trtfast.export(module, torch.from_numpy(X), tmp_path / "m.onnx")
    module.train()
    report = check(ReferenceEngine(path), module)
    assert report.passed
    assert report.reference == "Sequential in PyTorch, cpu"
    assert module.training
    assert all(layer.training for layer in module)
    assert torch.backends.cudnn.allow_tf32  # as it was


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_inputs_and_outputs_in_half_precision(dtype: Any) -> None:
    """A module in float32 is the reference of an engine that takes and gives another type."""
    element = {np.float16: "float16", ml_dtypes.bfloat16: "bfloat16"}[dtype]
    model = parse(
        f"({element}[B, 8] x) => ({element}[B, 8] y) {{a = Cast<to = 1>(x) b = MatMul(a, w)"
        f"y = Cast<to = {10 if dtype is np.float16 else 16}>(b)}}",
        w=normal(8, 8),
    )
    module = torch.nn.Linear(8, 8, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(normal(8, 8).T))
    with ReferenceEngine(model) as engine:
        assert engine.inputs[0].dtype == dtype
        report = check(engine, module, samples=X.astype(dtype), precision="bf16")
    assert report.passed
    found = report.outputs[0]
    assert found.dtype == element
    assert 1e-5 < found.max_relative < 4e-3


def test_a_torch_module_of_two_inputs_and_outputs(tmp_path: Path) -> None:
    class Two(torch.nn.Module):
        def forward(self, a: torch.Tensor, *, b: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"difference": a - b, "product": a * b}

    sample = {"a": torch.from_numpy(X), "b": torch.from_numpy(X[::-1].copy())}
    path = trtfast.export(Two(), sample, tmp_path / "m.onnx")
    arrays = {name: tensor.numpy() for name, tensor in sample.items()}
    with ReferenceEngine(path) as engine:
        report = check(engine, Two(), samples=[arrays])
    assert report.passed
    assert [output.name for output in report.outputs] == ["output_0", "output_1"]


def test_outputs_that_are_integers() -> None:
    text = "(float[B, 8] x) => (int64[B] y) {y = ArgMax<axis = 1, keepdims = 0>(x)}"
    right, wrong = parse(text), parse(text.replace("ArgMax", "ArgMin"))
    assert check(ReferenceEngine(right), right).passed
    report = check(ReferenceEngine(wrong), right)
    assert report.failures == (
        "output 'y': 0.0000% of 20 values are equal, and 100.0000% have to be",
    )


# ---- what is wrong ------------------------------------------------------------------------------


def test_other_weights_are_caught() -> None:
    report = check(ReferenceEngine(classifier(seed=1)), classifier())
    assert not report.passed
    kinds = ("largest error", "confidences differ", "rows have the reference's first class")
    assert all(any(kind in failure for failure in report.failures) for kind in kinds)


def test_weights_that_are_off_a_little_are_caught() -> None:
    with half(classifier(scale=1.03)) as engine:
        report = check(engine, classifier(), precision="fp16")
    assert "is 0.03 of the reference's largest value, and 0.01 is allowed" in report.failures[0]


def test_swapped_channels_are_caught() -> None:
    def pool(order: list[int]) -> onnx.ModelProto:
        return parse(
            "(float[B, 3, 4, 4] x) => (float[B, 5] y)"
            "{s = Gather<axis = 1>(x, order) m = GlobalAveragePool(s) f = Flatten(m)"
            "y = MatMul(f, w)}",
            opset=17,
            order=np.array(order),
            w=normal(3, 5),
        )

    x = np.random.default_rng(0).random((4, 3, 4, 4), np.float32)
    assert check(ReferenceEngine(pool([0, 1, 2])), pool([0, 1, 2]), samples=x).passed
    report = check(ReferenceEngine(pool([2, 1, 0])), pool([0, 1, 2]), samples=x)
    assert "largest error" in report.failures[0]


def test_nan_of_float16_is_caught() -> None:
    model = lossy.overflowing_to_nan()
    assert check(half(model, "bf16"), model, precision="bf16", scores=()).passed
    report = check(half(model), model, precision="fp16")
    found = report.outputs[0]
    assert 0 < found.nan < 240
    assert found.reference_nan == 0
    assert report.failures[0].startswith(f"output 'y' has {found.nan} NaN among 240 values")


def test_infinite_values_of_float16_are_caught() -> None:
    model = lossy.named(
        parse("(float[B, 8] x) => (float[B, 8] y) {y = Mul(x, big)}", big=np.float32(6e4))
    )
    report = check(half(model), model, precision="fp16")
    found = report.outputs[0]
    assert found.inf == found.inf_apart == np.count_nonzero(np.abs(X) > 65520 / 6e4)
    assert f"output 'y' has {found.inf} infinite values among 160" in report.failures[0]


def test_an_overflow_that_leaves_finite_values_is_caught() -> None:
    report = check(half(lossy.overflowing()), lossy.overflowing(), precision="fp16")
    assert report.outputs[0].nan == report.outputs[0].inf == 0
    assert "is 1 of the reference's largest value" in report.failures[0]


def test_a_batch_dependent_model_is_caught() -> None:
    report = check(ReferenceEngine(lossy.centring()), lossy.centring())
    assert report.outputs[0].equal == 1
    (failure,) = report.failures
    assert failure.startswith("output 'y': a row alone differs from the same row in a batch of 8")
    assert report.batch.largest["y"] > 0.5


def test_rows_of_single_samples_make_a_batch() -> None:
    single = [row[np.newaxis] for row in X]
    report = check(ReferenceEngine(lossy.centring()), lossy.centring(), samples=single)
    assert (report.samples, report.batch.rows) == (20, 4)
    assert not report.passed


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_results_that_vary_are_caught(precision: str) -> None:
    """Be the difference ever so small, and the tolerance wide."""
    engine = Flipping(ReferenceEngine(classifier()), each=7)
    report = check(engine, classifier(), repeats=5, precision=precision)
    same = report.determinism
    assert same is not None
    assert same.results == 2
    assert same.runs == {"repeated": 5, "threads": 20}
    assert sum(same.different.values()) == 3
    assert 0 < same.largest < 1e-6
    (failure,) = report.failures
    assert failure.startswith("the same inputs gave 2 different results, up to ")
    assert "3 of 25 runs differ from the first (repeated: 0 of 5, threads: 3 of 20)" in failure


def test_results_that_vary_only_between_threads_are_caught() -> None:
    report = check(Flipping(ReferenceEngine(classifier()), beside_main=True), classifier())
    assert report.determinism is not None
    assert report.determinism.different == {"repeated": 0, "threads": 8}
    assert not report.passed


def test_determinism_is_left_out_on_demand() -> None:
    report = check(Flipping(ReferenceEngine(classifier()), each=1000), classifier(), repeats=0)
    assert report.determinism is None
    assert report.passed


def test_each_set_of_shapes_is_repeated() -> None:
    report = check(ReferenceEngine(classifier()), classifier(), samples=[X[:3], X[3:6], X[:5]])
    assert report.determinism is not None
    assert report.determinism.runs == {"repeated": 4, "threads": 16}


# ---- where rows cannot be compared --------------------------------------------------------------


def test_a_batch_of_one_row_or_of_a_fixed_size_is_told() -> None:
    alone = check(ReferenceEngine(classifier()), classifier(), samples=X[:1])
    assert (alone.batch.rows, alone.passed) == (0, True)
    assert alone.batch.reason == "there are no two rows that fit into one batch"
    fixed = tiny.dense(4, 8)
    report = check(ReferenceEngine(fixed), fixed)
    assert report.samples == 5
    assert report.batch.reason == "the batch is not dynamic"


def test_an_output_without_rows_is_left_out() -> None:
    model = parse(
        "(float[B, 8] x) => (float[B, 8] y, float[1, 8] mean)"
        "{y = Relu(x) mean = ReduceMean<axes = [0], keepdims = 1>(x)}",
        opset=17,
    )
    report = check(ReferenceEngine(model), model)
    assert report.passed
    assert report.batch.largest == {"y": 0}


# ---- options, and the report --------------------------------------------------------------------


def test_a_tolerance_of_ones_own() -> None:
    with half(classifier()) as engine:
        wide = check(engine, classifier(), tolerance=Tolerance(0.5, 0.5))
        narrow = check(engine, classifier(), tolerance=Tolerance(0.5, 1e-7))
    assert wide.passed
    assert wide.tolerance == Tolerance(0.5, 0.5)
    (failure,) = narrow.failures
    assert failure.endswith("and 1e-07 is allowed")


def test_outputs_that_are_no_scores() -> None:
    assert check(ReferenceEngine(classifier()), classifier(), scores=()).outputs[0].classes is None
    chosen = check(ReferenceEngine(classifier()), classifier(), scores=["y"]).outputs[0]
    assert chosen.classes is not None
    with pytest.raises(InputError, match=r"scores names \['z'\], and the engine's outputs are"):
        check(ReferenceEngine(classifier()), classifier(), scores=["z"])


def test_the_report_is_json() -> None:
    report = check(ReferenceEngine(classifier()), classifier())
    told = json.loads(report.to_json(), parse_constant=pytest.fail)
    assert told == report.to_dict()
    assert told["passed"] is True
    assert told["outputs"][0]["snr"] is None  # which is infinite
    assert told["outputs"][0]["classes"]["top1"] == 1
    assert told["determinism"]["runs"] == {"repeated": 2, "threads": 8}
    names = {field.name for field in dataclasses.fields(VerifyReport)}
    assert set(told) == names | {"passed"}


def test_errors_of_the_engine_pass() -> None:
    engine = ReferenceEngine(classifier())
    engine.close()
    with pytest.raises(trtfast.ClosedError):
        check(engine, classifier())
