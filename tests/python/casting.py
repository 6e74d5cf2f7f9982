"""What the tests of casting share: models from text, and a check of types and numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx.backend.test
import onnxruntime as ort
from onnx import TensorProto, numpy_helper

from trtfast.precision import cast

if TYPE_CHECKING:
    import numpy.typing as npt

FLOAT, HALF, BF16 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16
LIGHT = sorted((Path(onnx.backend.test.__file__).parent / "data" / "light").glob("*.onnx"))


def parse(text: str, opset: int = 18, **weights: npt.ArrayLike) -> onnx.ModelProto:
    """Make a model from ONNX's text form; the weights become its initialisers."""
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : {opset}]> g {text}')
    for name, value in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    onnx.checker.check_model(model, full_check=True)
    return model


def normal(*shape: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def run(model: onnx.ModelProto, feeds: dict[str, npt.NDArray[np.generic]]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def check(
    model: onnx.ModelProto, tolerance: float = 5e-3, **feeds: npt.NDArray[np.generic]
) -> onnx.ModelProto:
    """Cast to both; compare fp16's numbers and all types; return the fp16 model."""
    before = model.SerializeToString(deterministic=True)
    half, brain = cast(model, "fp16"), cast(model, "bf16")
    assert model.SerializeToString(deterministic=True) == before
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    for result in (half, brain):
        onnx.checker.check_model(result, full_check=True)
        assert [v.name for v in result.graph.input] == [v.name for v in inputs]
        for old, new in zip(
            [*inputs, *model.graph.output],
            [*result.graph.input, *result.graph.output],
            strict=True,
        ):
            assert (new.name, new.type.tensor_type) == (old.name, old.type.tensor_type)
    assert set(types(half).values()) >= {HALF}
    assert set(types(brain).values()) >= {BF16}
    for actual, wanted in zip(run(half, feeds), run(model, feeds), strict=True):
        assert actual.dtype == wanted.dtype
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=tolerance * scale)
    return half


def types(model: onnx.ModelProto) -> dict[str, int]:
    """Return the element type of every value of the main graph."""
    graph = onnx.shape_inference.infer_shapes(model, check_type=True).graph
    found = {t.name: t.data_type for t in graph.initializer}
    for value in [*graph.input, *graph.output, *graph.value_info]:
        found[value.name] = value.type.tensor_type.elem_type
    return found


def ops(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


MLP = "(float[B, 8] x) => (float[B, 4] y) {a = MatMul(x, w) r = Relu(a) y = MatMul(r, v)}"


def mlp(**weights: npt.ArrayLike) -> onnx.ModelProto:
    model = parse(MLP, **{"w": normal(8, 6), "v": normal(6, 4)} | weights)
    for node, name in zip(model.graph.node, ("first", "relu", "second"), strict=True):
        node.name = name
    return model
