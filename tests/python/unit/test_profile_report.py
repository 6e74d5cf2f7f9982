"""What a profile tells, from profiles recorded on a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import recorded
from trtfast.inspector import InspectedLayer, InspectedTensor
from trtfast.profiling import ProfileReport
from trtfast.profiling.run import summarised
from trtfast.report import LayerTime

RECORDINGS = pytest.mark.parametrize(
    ("name", "precision"),
    [(name, precision) for name in recorded.MODELS for precision in recorded.PRECISIONS],
)


@RECORDINGS
def test_a_report_of_an_h100(name: str, precision: str) -> None:
    report = recorded.report(name, precision)
    layers, times = recorded.profile(name, precision)
    assert [layer.name for layer in report.layers] == [time.name for time in times]
    assert report.milliseconds == pytest.approx(sum(time.milliseconds for time in times))
    assert sum(layer.share for layer in report.layers) == pytest.approx(1)
    assert sum(report.by_dtype.values()) == pytest.approx(1)
    assert sum(layer.flops or 0 for layer in report.layers) == report.flops
    assert next(iter(report.by_dtype)) == {"fp16": "float16", "fp8": "float8_e4m3fn"}[precision]
    for layer, inspected in zip(report.layers, layers, strict=True):
        assert layer.position is not None
        assert 0 < layer.position.share < 1.05
        assert layer.bytes == inspected.nbytes
        assert layer.shapes[0] is not None


def test_known_numbers() -> None:
    report = recorded.report("resnet50", "fp16")
    worst = report.top(1)[0]
    assert worst.nodes == ("node_Conv_754", "node_relu")
    assert worst.dtype == "float16"
    assert worst.shapes == ((8, 64, 112, 112),)
    assert worst.flops == 2 * 8 * 64 * 112 * 112 * 3 * 7 * 7
    # Padded to 4 channels, in and out, with a bias and two scales.
    taken, given_, weights = 8 * 4 * 224 * 224, 8 * 64 * 112 * 112, 64 * 4 * 7 * 7
    assert worst.bytes == 2 * (taken + given_ + weights + 64) + 2 * 4
    assert worst.tflops == pytest.approx(worst.flops / 0.12755520194768905e-3 / 1e12)
    assert worst.bandwidth == pytest.approx(worst.bytes / 0.12755520194768905e-3 / 1e9)
    assert worst.intensity == pytest.approx(worst.flops / worst.bytes)
    assert worst.position is not None
    assert worst.position.bound == "memory"
    assert worst.position.share == pytest.approx(worst.bandwidth / 3352.32)
    # Its last product is summed up in float32, and computed in float16.
    assert report.layers[-1].nodes == ("node_linear", "output_cast")
    assert report.layers[-1].dtype == "float16"


def test_top_is_ordered() -> None:
    report = recorded.report("vit_b_16", "fp16")
    times = [layer.milliseconds for layer in report.top(20)]
    assert len(times) == 20
    assert times == sorted(times, reverse=True)
    assert times[0] == max(layer.milliseconds for layer in report.layers)
    assert len(report.top(10_000)) == len(report.layers)


@RECORDINGS
def test_trace(name: str, precision: str, tmp_path: Path) -> None:
    report = recorded.report(name, precision)
    report.write_trace(tmp_path / "new" / "trace.json")
    told = json.loads((tmp_path / "new" / "trace.json").read_text())
    named = {event["name"]: event["args"]["name"] for event in told["traceEvents"][:2]}
    assert named == {
        "process_name": "TensorRT-RTX 1.5.0.114 on NVIDIA H100 80GB HBM3",
        "thread_name": "layers, one by one: image 8x3x224x224",
    }
    events = told["traceEvents"][2:]
    assert {event["ph"] for event in events} == {"X"}
    assert len({(event["pid"], event["tid"]) for event in told["traceEvents"]}) == 1
    assert [event["name"] for event in events] == [layer.name for layer in report.layers]
    assert sum(event["dur"] for event in events) == pytest.approx(report.milliseconds * 1e3)
    ends = [event["ts"] + event["dur"] for event in events]
    assert [event["ts"] for event in events] == pytest.approx([0, *ends[:-1]])
    for event, layer in zip(events, report.layers, strict=True):
        assert event["args"]["flops"] == layer.flops
        assert event["args"]["bytes"] == layer.bytes
        assert event["args"]["dtype"] == layer.dtype
        assert event["args"].get("ONNX nodes", "") == ", ".join(layer.nodes)


def test_json() -> None:
    report = recorded.report("resnet50", "fp8")
    told = json.loads(report.to_json())
    assert told == json.loads(json.dumps(report.to_dict()))
    assert told["engine"] == "TensorRT-RTX 1.5.0.114"
    assert told["inputs"] == {"image": [8, 3, 224, 224]}
    assert told["by_dtype"] == report.by_dtype
    assert told["milliseconds"] == report.milliseconds
    first = told["layers"][1]
    assert first["position"]["bound"] == "memory"
    assert first["tflops"] == report.layers[1].tflops
    assert first["nodes"] == ["node_Conv_754", "node_relu"]
    assert told["roof"]["compute"]["float8_e4m3fn"] == pytest.approx(2.14e15, rel=1e-3)


def report_of(times: list[float], layers: list[InspectedLayer] | None = None) -> ProfileReport:
    named = [LayerTime(f"layer{index}", time) for index, time in enumerate(times)]
    layers = layers or [InspectedLayer(time.name) for time in named]
    return summarised(layers, named, None, engine="some", inputs={}, runs=1)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=50))
def test_shares_sum_to_1(times: list[float]) -> None:
    report = report_of(times)
    assert sum(layer.share for layer in report.layers) == pytest.approx(1)
    assert report.by_dtype == pytest.approx({"unknown": 1})
    for layer, time in zip(report.layers, times, strict=True):
        assert layer.share == pytest.approx(time / report.milliseconds)


def test_what_is_not_known_is_none() -> None:
    report = report_of([1.0, 0.0])
    for layer in report.layers:
        assert (layer.kind, layer.dtype, layer.bytes, layer.flops) == (None,) * 4
        assert (layer.intensity, layer.tflops, layer.bandwidth, layer.position) == (None,) * 4
    assert report.flops is report.gpu is report.roof is None


def test_no_time_is_no_share() -> None:
    assert [layer.share for layer in report_of([0.0, 0.0]).layers] == [0, 0]
    assert report_of([]).milliseconds == 0


@pytest.mark.parametrize(
    ("kind", "taken", "given_", "dtype"),
    [
        ("gemm", ("float16", "float16"), "float32", "float16"),
        ("gemm", ("bool", "float16"), "float32", "float16"),
        ("gemm", ("float16", "float8_e4m3fn"), "float16", "float8_e4m3fn"),
        ("kgen", ("float32",), "float16", "float16"),
        ("kgen", ("int8",), "float16", "int8"),
        ("gemm", (), "float16", "float16"),
    ],
)
def test_what_a_layer_computes_in(
    kind: str, taken: tuple[str, ...], given_: str, dtype: str
) -> None:
    inputs = tuple(InspectedTensor(f"i{i}", each, (1,)) for i, each in enumerate(taken))
    layer = InspectedLayer("layer0", kind, inputs, (), (InspectedTensor("o", given_, (1,)),))
    assert report_of([1.0], [layer]).layers[0].dtype == dtype
