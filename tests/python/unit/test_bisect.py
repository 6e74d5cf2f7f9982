"""Nodes that lose the answer are found by name, and kept they mend it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import lossy
import trtfast
from casting import parse
from lossy import images
from trtfast import Tolerance, bisect
from trtfast.bisection import NodeError, on_cpu, read_keep_list
from trtfast.bisection.layers import layer_errors
from trtfast.bisection.repairs import repairs_of, worst
from trtfast.bisection.search import _Search
from trtfast.errors import InputError, PrecisionError
from trtfast.precision import cast

X = images(16)


def passes(model: onnx.ModelProto, keep: Any, precision: str = "fp16") -> bool:
    with on_cpu(precision)(model, keep) as engine:
        return trtfast.verify(engine, model, X, precision=precision, repeats=0).passed


def test_an_overflow_is_found_and_mended() -> None:
    model = lossy.overflowing()
    report = bisect(model, X)
    assert report.passed
    worst = report.nodes[0]
    assert (worst.name, worst.op, worst.outputs) == ("make_squares", "Mul", ("squares",))
    assert worst.error == worst.growth == np.inf
    assert worst.entering < 1e-3
    # What follows has only inherited it.
    assert all(node.growth < 1e-3 for node in report.nodes[1:])
    assert set(report.keep_fp32) == {f"make_{n}" for n in ("squares", "mean", "safe", "root")}
    assert passes(model, report.keep_fp32)
    for name in report.keep_fp32:
        assert not passes(model, set(report.keep_fp32) - {name})


def test_nan_is_found_and_mended() -> None:
    model = lossy.overflowing_to_nan()
    report = bisect(model, X)
    assert report.passed
    assert (report.nodes[0].name, report.nodes[0].error) == ("make_wide", np.inf)
    # What is kept alone would be rounded to float16 for the next.
    assert set(report.keep_fp32) == {"make_wide", "make_y"}


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_loss_of_digits_is_found_and_mended(precision: str) -> None:
    """Where it shows is kept in vain: where it entered is upstream."""
    model = lossy.swallowing()
    report = bisect(model, X, precision=precision)
    assert report.passed
    assert report.nodes[0].name == "make_back"
    assert report.nodes[0].error > 0.5
    assert report.nodes[0].entering < 1e-3
    assert set(report.keep_fp32) == {"make_shifted", "make_kept", "make_back"}
    assert passes(model, report.keep_fp32, precision)


def test_the_planted_node_of_a_deep_net_is_found() -> None:
    lines, name = [], "x"
    for index in range(90):  # more than are marked at once
        lines.append(f"h{index} = MatMul({name}, w{index}) t{index} = Tanh(h{index})")
        name = f"t{index}"
        if index == 70:
            lines.append("huge = Mul(t70, big) fine = Div(huge, big)")
            name = "fine"
    rng = np.random.default_rng(0)
    weights = {
        f"w{i}": np.linalg.qr(rng.standard_normal((8, 8)))[0].astype(np.float32) for i in range(90)
    }
    model = lossy.named(
        parse(
            f"(float[B, 8] x) => (float[B, 8] y) {{{' '.join(lines)} y = Relu({name})}}",
            big=np.float32(6e4),
            **weights,
        )
    )
    # So that what is multiplied by 6e4 is above 1.1 somewhere.
    (steep,) = [node for node in model.graph.node if node.name == "make_t70"]
    steep.op_type = "Exp"
    report = bisect(model, X[:4], tolerance=Tolerance(0.1, 0.1))
    assert report.passed
    assert report.nodes[0].name == "make_huge"
    assert set(report.keep_fp32) == {"make_huge", "make_fine"}


def test_a_model_that_passes_has_nothing_to_keep() -> None:
    report = bisect(lossy.classifier(), X)
    assert report.passed
    assert (report.keep_fp32, report.nodes) == ((), ())
    (trial,) = report.trials
    assert (trial.keep_fp32, trial.failures) == ((), ())


def test_what_is_kept_already_stays_kept() -> None:
    first = ("make_wide",)
    report = bisect(lossy.overflowing(), X, keep_fp32=first)
    assert report.keep_fp32[:1] == first
    assert set(report.keep_fp32[1:]) == {f"make_{n}" for n in ("squares", "mean", "safe", "root")}
    assert all(trial.keep_fp32[:1] == first for trial in report.trials)


def test_what_cannot_be_named_cannot_be_kept() -> None:
    model = lossy.overflowing()
    for node in model.graph.node:
        node.name = ""
    report = bisect(model, X)
    assert not report.passed
    assert report.keep_fp32 == ()
    assert report.nodes[0].outputs == ("squares",)


def test_the_tolerance_decides() -> None:
    model = lossy.classifier()
    report = bisect(model, X, tolerance=Tolerance(1e-6, 1e-6))
    assert report.passed
    assert set(report.keep_fp32) == {"make_a", "make_b", "make_y"}
    narrow = Tolerance(1.0, 1e-6)
    assert bisect(model, X, tolerance=narrow).keep_fp32 != ()
    assert bisect(model, X, tolerance=narrow, scores=()).keep_fp32 == ()


def test_the_candidate_may_be_another() -> None:
    made: list[tuple[int, tuple[str, ...]]] = []
    run = on_cpu("fp16")

    def candidate(model: onnx.ModelProto, keep: Any, spared: Any = (), /) -> Any:
        assert spared == ()  # nothing is quantised
        made.append((len(model.graph.output), tuple(keep)))
        return run(model, keep)

    report = bisect(lossy.overflowing(), X, candidate=candidate)
    assert made[:2] == [(1, ()), (8, ())]  # the trial without marks, the layers with them
    assert [keep for outputs, keep in made if outputs == 1] == [
        trial.keep_fp32 for trial in report.trials
    ]


def test_layers_of_control_flow_and_integers() -> None:
    model = lossy.named(
        parse(
            "(float[2, 4] x) => (float[2, 4] y) {s = ReduceSum<keepdims = 0>(x) c = Greater(s, z)"
            "b = If(c) <then_branch = t () => (float[2, 4] o) {o = Mul(x, w)},"
            "else_branch = e () => (float[2, 4] o) {o = Sub(x, w)}> y = Relu(b)}",
            w=np.float32(0.1),
            z=np.float32(0),
        )
    )
    x = {"x": np.abs(images(2)[:, :4])}
    found = layer_errors(model, on_cpu("fp16"), (), (), [x])
    assert [node.name for node in found] == ["make_s", "make_b", "make_y"]
    assert all(0 < node.error < 1e-3 for node in found)
    assert found[2].producers == ("make_b",)
    assert found[2].entering == found[1].error


def test_functions_are_looked_into() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 17, "own" : 1]>'
        "g (float[B, 8] x) => (float[B, 8] y) {y = own.square(x)}"
        '<opset_import: ["" : 17], domain: "own"> square (a) => (b)'
        "{c = Mul(a, a) b = Sqrt(c)}"
    )
    report = bisect(model, X * 300)
    assert [node.op for node in report.nodes if node.growth == np.inf] == ["Mul"]


def test_which_nodes_are_kept_next() -> None:
    def node(name: str, growth: float, *producers: str) -> NodeError:
        return NodeError(name, "Mul", (f"{name}_out",), growth, 0.0, producers)

    ranked = [node("a", np.inf, "p"), node("", 3.0), node("b", 2.0, "q"), node("c", 0.0)]

    def after(kept: str, count: int) -> dict[str, str]:
        return dict(worst(ranked, repairs_of(kept, ()), count))

    assert after("", 1) == {"a": "fp32"}
    assert after("", 4) == {"a": "fp32", "b": "fp32"}
    assert after("a", 1) == {"p": "fp32"}
    assert after("ap", 4) == {"b": "fp32"}
    assert after("abpq", 4) == {}


def test_what_is_quantised_is_float16_first() -> None:
    def after(*growths: float, kept: str = "", spared: str = "", count: int = 9) -> dict[str, str]:
        nodes = zip("abcd", growths, strict=True)
        ranked = [
            NodeError(name, "Mul", (name,), growth, 0.0, ("a",) if name == "d" else ())
            for name, growth in sorted(nodes, key=lambda node: -node[1])
        ]
        return dict(worst(ranked, repairs_of(kept, spared), count, quantised="abc"))

    # d is not quantised, and only has what comes of a.
    assert after(0.1, 0.0, 0.2, 0.9) == {"c": "fp16", "a": "fp16"}
    assert after(0.1, 0.0, 0.2, 0.9, count=1) == {"c": "fp16"}
    assert after(0.1, 0.3, 0.2, 0.9) == {"b": "fp16", "c": "fp16"}  # one stays quantised
    assert after(0.1, 0.0, 0.2, 0.9, spared="ac") == {"d": "fp32", "c": "fp32", "a": "fp32"}
    assert after(0.1, 0.0, 0.2, 0.9, spared="ac", kept="d") == {"a": "fp32", "c": "fp32"}
    # No quantisation overflows.
    assert after(0.1, 0.0, 0.2, np.inf, count=1) == {"d": "fp32"}
    assert after(np.inf, 0.0, 0.2, 0.1, count=1) == {"a": "fp32"}
    assert after(np.inf, 0.0, 0.2, 0.1, spared="bc") == {"c": "fp32", "d": "fp32"}
    assert after(np.inf, 0.0, 0.2, 0.1, kept="a") == {"c": "fp16"}


class Told(_Search):
    """A search that is told which lists are enough."""

    def __init__(self, *enough: str) -> None:
        self._fixed = ()
        self._enough = {frozenset(names) for names in enough}

    def passes(self, keep: Any) -> bool:
        return frozenset(keep) in self._enough


@pytest.mark.parametrize(
    ("enough", "least"),
    [
        (("abcd", "abc", "bcd", "bc", "abd"), "bc"),
        (("abcd", "ab"), "ab"),
        (("abcd",), "abcd"),
        # One that could not be let go at first can be once another is gone.
        (("abc", "ab", "b"), "b"),
    ],
)
def test_what_can_be_let_go_is(enough: tuple[str, ...], least: str) -> None:
    assert "".join(Told(*enough).shrink(tuple(enough[0]))) == least


def test_the_report_and_the_keep_list(tmp_path: Path) -> None:
    report = bisect(lossy.overflowing(), X)
    told = json.loads(json.dumps(report.to_dict()), parse_constant=pytest.fail)
    assert told["passed"] is True
    assert told["keep_fp32"] == list(report.keep_fp32)
    assert told["nodes"][0]["error"] is None  # which is infinite
    assert len(told["trials"]) == len(report.trials)
    path = report.write_keep_list(tmp_path / "keep.txt")
    assert path.read_text() == "".join(f"{name}\n" for name in report.keep_fp32)
    assert read_keep_list(path) == report.keep_fp32
    cast(lossy.overflowing(), "fp16", keep_fp32=read_keep_list(path))
    with pytest.raises(InputError, match="no names of nodes can be read from"):
        read_keep_list(tmp_path / "none.txt")


def test_the_search_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "trtfast"):
        report = bisect(lossy.overflowing(), X)
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("bisect: ")]
    assert len(lines) == len(report.trials)
    assert lines[0] == "bisect: 0 nodes in float32, error 1, failed"


def test_wrong_arguments() -> None:
    with pytest.raises(InputError, match="precision is 'fp32', in which nothing is lost"):
        bisect(lossy.classifier(), X, precision="fp32")
    with pytest.raises(PrecisionError, match="keep_fp32 names 'none'"):
        bisect(lossy.classifier(), X, keep_fp32=["none"])
    with pytest.raises(InputError, match="there are no samples"):
        bisect(lossy.classifier(), [])
    with pytest.raises(InputError, match=r"there is no ONNX file none\.onnx"):
        bisect("none.onnx", X)
