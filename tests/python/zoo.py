"""The models that CI builds, and that run where a GPU is: real ones, and one for each trait."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import trtfast

Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Case:
    """A model: how to make its ONNX file, and inputs for it."""

    make: Callable[[Path], Path]
    inputs: Callable[[], Arrays]
    shapes: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)
    precision: str = "fp16"


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def images(batch: int = 2) -> Arrays:
    return {"image": rng().standard_normal((batch, 3, 224, 224), np.float32)}


def rows(count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Inputs for a model that takes (count, 8), which half precision holds without rounding."""
    return np.random.default_rng(seed).integers(-999, 999, (count, 8)).astype(np.float32)


def make_torch_model(name: str) -> Any:
    """A torch model; without weights, its statistics and its head are not trivial."""
    import torch
    import torchvision

    from trtfast.cli.models import give_values, load_model

    if name == "efficientnet_lite0":
        return load_model(name).module
    torch.manual_seed(0)
    module = torchvision.models.get_model(name, weights=None).eval()
    give_values(module, 224)
    return module


def _torch_case(name: str) -> Case:
    def make(path: Path) -> Path:
        import torch

        sample = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
        return trtfast.export(make_torch_model(name), sample, path, input_names=["image"])

    return Case(make, images)


def _save(path: Path, graph: onnx.GraphProto) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def _weight(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array((rng().standard_normal(shape) * 0.3).astype(np.float32), name)


def _value(name: str, dtype: int, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def _make_two_in_two_out(path: Path) -> Path:
    nodes = [
        helper.make_node("MatMul", ["left", "w"], ["product"], name="project"),
        helper.make_node("Add", ["product", "right"], ["sum"], name="join"),
        helper.make_node("Tanh", ["sum"], ["bounded"], name="bound"),
        helper.make_node("ReduceMean", ["sum"], ["mean"], name="average", axes=[1], keepdims=0),
    ]
    inputs = [_value("left", 1, "batch", 16), _value("right", 1, "batch", 8)]
    outputs = [_value("bounded", 1, "batch", 8), _value("mean", 1, "batch")]
    graph = helper.make_graph(nodes, "two", inputs, outputs, [_weight("w", 16, 8)])
    return _save(path, graph)


def _make_embedding(path: Path) -> Path:
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["vectors"], name="look_up"),
        helper.make_node("MatMul", ["vectors", "w"], ["output"], name="project"),
    ]
    inputs = [_value("tokens", TensorProto.INT64, "batch", 12)]
    weights = [_weight("table", 100, 32), _weight("w", 32, 10)]
    graph = helper.make_graph(
        nodes, "embed", inputs, [_value("output", 1, "batch", 12, 10)], weights
    )
    return _save(path, graph)


def make_doubling(path: Path, shape: tuple[int | str, ...]) -> Path:
    """Make a model that doubles its input, which half precision does without rounding."""
    node = helper.make_node("Add", ["image", "image"], ["output"], name="double")
    graph = helper.make_graph(
        [node], "doubling", [_value("image", 1, *shape)], [_value("output", 1, *shape)]
    )
    return _save(path, graph)


def make_nonzero(path: Path) -> Path:
    """Make a model whose output's shape depends on data, which TensorRT-RTX cannot build."""
    nodes = [
        helper.make_node("Relu", ["x"], ["positive"], name="clip"),
        helper.make_node("NonZero", ["positive"], ["indices"], name="find"),
    ]
    outputs = [_value("indices", TensorProto.INT64, 2, "found"), _value("positive", 1, 4, 6)]
    return _save(path, helper.make_graph(nodes, "nonzero", [_value("x", 1, 4, 6)], outputs))


def _make_expand(path: Path) -> Path:
    """Make a model whose output's shape follows from an input's values, which TensorRT reads."""
    nodes = [
        helper.make_node("Mul", ["row", "w"], ["scaled"], name="scale"),
        helper.make_node("Expand", ["scaled", "size"], ["output"], name="repeat"),
    ]
    inputs = [_value("row", 1, 1, 6), _value("size", TensorProto.INT64, 2)]
    graph = helper.make_graph(
        nodes, "expand", inputs, [_value("output", 1, "n", 6)], [_weight("w", 6)]
    )
    return _save(path, graph)


def _light_case(path: Path) -> Case:
    def make(target: Path) -> Path:
        onnx.save(onnx.load(path), target)
        return target

    def inputs() -> Arrays:
        model = onnx.load(path, load_external_data=False)
        weights = {weight.name for weight in model.graph.initializer}
        return {
            value.name: rng().standard_normal(
                [dim.dim_value for dim in value.type.tensor_type.shape.dim], np.float32
            )
            for value in model.graph.input
            if value.name not in weights
        }

    return Case(make, inputs, precision="bf16" if path.stem in _BEYOND_FLOAT16 else "fp16")


# Their weights are constants, all positive, so that activations grow to as much as 1e31.
_BEYOND_FLOAT16 = {
    "light_bvlc_alexnet",
    "light_inception_v1",
    "light_resnet50",
    "light_squeezenet",
    "light_vgg19",
    "light_zfnet512",
}


def _light_models() -> list[Path]:
    spec = importlib.util.find_spec("onnx.backend.test")
    assert spec is not None
    assert spec.origin is not None
    return sorted((Path(spec.origin).parent / "data" / "light").glob("light_*.onnx"))


CASES: dict[str, Case] = {
    **{
        name: _torch_case(name)
        for name in ("efficientnet_lite0", "resnet50", "mobilenet_v3_large", "vit_b_16")
    },
    "two_in_two_out": Case(
        _make_two_in_two_out,
        lambda: {
            "left": rng().standard_normal((5, 16), np.float32),
            "right": rng().standard_normal((5, 8), np.float32),
        },
    ),
    "embedding": Case(_make_embedding, lambda: {"tokens": rng().integers(0, 100, (3, 12))}),
    "expand": Case(
        _make_expand,
        lambda: {"row": rng().standard_normal((1, 6), np.float32), "size": np.array([5, 6])},
        {"min_shapes": {"size": (1, 6)}, "max_shapes": {"size": (8, 6)}},
    ),
    **{path.stem: _light_case(path) for path in _light_models()},
}
