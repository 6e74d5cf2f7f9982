"""Models that lose the answer in half precision, and one whose rows affect each other."""

from __future__ import annotations

import numpy as np
import onnx

from casting import normal, parse


def named(model: onnx.ModelProto) -> onnx.ModelProto:
    """Name each node after what it gives."""
    for node in model.graph.node:
        node.name = f"make_{node.output[0]}"
    return model


def images(rows: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, 8)).astype(np.float32)


def classifier(seed: int = 0, scale: float = 1.0) -> onnx.ModelProto:
    """Make one that half precision does no harm to."""
    rng = np.random.default_rng(seed)
    return named(
        parse(
            "(float[B, 8] x) => (float[B, 12] y) {a = MatMul(x, w) b = Relu(a) y = MatMul(b, v)}",
            opset=17,
            w=(rng.standard_normal((8, 16)) * scale).astype(np.float32),
            v=rng.standard_normal((16, 12)).astype(np.float32),
        )
    )


def overflowing(scale: float = 300.0) -> onnx.ModelProto:
    """Make one that divides rows by their root mean square; squares are beyond float16."""
    return named(
        parse(
            "(float[B, 8] x) => (float[B, 12] y) {"
            "wide = MatMul(x, w) clipped = Relu(wide) squares = Mul(clipped, clipped)"
            "mean = ReduceMean<axes = [1], keepdims = 1>(squares) safe = Add(mean, least)"
            "root = Sqrt(safe) unit = Div(clipped, root) y = MatMul(unit, v)}",
            opset=17,
            w=normal(8, 16) * np.float32(scale),
            v=normal(16, 12),
            least=np.float32(1e-5),
        )
    )


def overflowing_to_nan() -> onnx.ModelProto:
    """Make one of two products, the first of which is beyond float16, whatever is fused.

    In the second, infinite values of both signs are added up.
    """
    return named(
        parse(
            "(float[B, 8] x) => (float[B, 12] y) {wide = MatMul(x, w) y = MatMul(wide, v)}",
            opset=17,
            w=normal(8, 16) * np.float32(1.2e4),
            v=normal(16, 12) * np.float32(1e-5),
        )
    )


def swallowing() -> onnx.ModelProto:
    """Make one that adds a number beside which half precision has no room for the input."""
    return named(
        parse(
            "(float[B, 8] x) => (float[B, 12] y) {clipped = Relu(x) shifted = Add(clipped, big)"
            "kept = Identity(shifted) back = Sub(kept, big) y = MatMul(back, v)}",
            opset=17,
            big=np.float32(4096),
            v=normal(8, 12),
        )
    )


def outlying(spread: float = 3e3) -> onnx.ModelProto:
    """Make three products, the second of which has an input of which one column is far larger.

    Quantised by one scale, nothing is left of the other columns, which alone matter.
    """
    wide, narrow = np.ones(16, np.float32), normal(16, 12)
    wide[0], narrow[0] = spread, narrow[0] / np.float32(spread * 100)
    return named(
        parse(
            "(float[B, 8] x) => (float[B, 12] y) {first = MatMul(x, w) wide = Mul(first, spread)"
            "second = MatMul(wide, v) clipped = Relu(second) y = MatMul(clipped, u)}",
            opset=17,
            w=normal(8, 16) * np.float32(0.3),
            spread=wide,
            v=narrow,
            u=normal(12, 12),
        )
    )


def centring() -> onnx.ModelProto:
    """Make one that subtracts the mean of the batch, so that rows affect each other."""
    return named(
        parse(
            "(float[B, 8] x) => (float[B, 8] y)"
            "{mean = ReduceMean<axes = [0], keepdims = 1>(x) y = Sub(x, mean)}",
            opset=17,
        )
    )
