"""What the tests of quantisation share: a small net of convolutions, its samples, and a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import tiny
import trtfast
from trtfast import backend

Array = np.ndarray[Any, Any]


def _needs_a_gpu() -> bool:
    found = backend.libraries()
    return bool(found) and found[0].generation == "rtx14" and backend.gpu() is None


builds = pytest.mark.skipif(
    _needs_a_gpu(), reason="TensorRT-RTX 1.4 builds quantised engines only where a GPU is"
)
"""Marks a test that builds quantised engines."""


def samples(count: int = 16, seed: int = 0) -> Array:
    """Inputs of :func:`net`."""
    return np.random.default_rng(seed).standard_normal((count, 16, 12, 12), np.float32)


def net() -> onnx.ModelProto:
    """Make two convolutions, one of them depthwise, a mean, and two products with weights.

    Only ``few`` is not for quantisation.
    """
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c0"], name="wide", pads=[1] * 4),
        helper.make_node("Relu", ["c0"], ["r0"], name="clip"),
        helper.make_node("Conv", ["r0", "w1"], ["c1"], name="few", pads=[1] * 4, group=32),
        helper.make_node("Add", ["r0", "c1"], ["a1"], name="join"),
        helper.make_node("GlobalAveragePool", ["a1"], ["p"], name="average"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["g"], name="hidden", transB=1),
        helper.make_node("MatMul", ["g", "w3"], ["y"], name="head"),
    ]
    weights = [
        tiny.weight("w0", 32, 16, 3, 3, seed=1),
        tiny.weight("b0", 32, seed=2),
        tiny.weight("w1", 32, 1, 3, 3, scale=0.3, seed=3),
        tiny.weight("w2", 24, 32, seed=4),
        tiny.weight("b2", 24, seed=5),
        tiny.weight("w3", 24, 10, seed=6),
    ]
    return tiny.model_of(
        nodes, [tiny.value("x", "batch", 16, 12, 12)], [tiny.value("y", "batch", 10)], weights
    )


def run(model: onnx.ModelProto, inputs: Array) -> Array:
    with trtfast.ReferenceEngine(model) as engine:
        result: Array = engine.infer(inputs)
    return result


def relative_error(given: Array, wanted: Array) -> float:
    """Return the error in the 2-norm, of what is wanted."""
    difference = given.astype(np.float64) - wanted
    return float(np.linalg.norm(difference) / np.linalg.norm(wanted))
