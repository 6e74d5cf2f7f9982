"""The engines that ``stress.py`` calls, and requests whose answers were computed alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

import trtfast

Array = np.ndarray[Any, Any]
Shapes = dict[str, tuple[int, ...]]

INPUTS_PER_SHAPE = 3


@dataclass(frozen=True)
class Request:
    """Inputs, in the form that ``infer`` takes, on the host and on the GPU, and the answer."""

    host: Any
    device: Any
    shapes: Any  # as ``empty_input`` takes them
    answer: tuple[Array, ...]


@dataclass
class Service:
    """An engine under stress."""

    name: str
    engine: trtfast.Engine
    requests: list[Request] = field(default_factory=list)
    is_bounded: bool = False  # so that QueueFullError is an answer, too


def arrays_of(result: Any) -> tuple[Any, ...]:
    """Return what ``infer`` gave, one array or several, as a tuple."""
    if isinstance(result, Mapping):
        return tuple(result.values())
    return tuple(result) if isinstance(result, (tuple, list)) else (result,)


def start(folder: Path, stack: ExitStack) -> list[Service]:
    """Build the models, load an engine for each way to run one, and compute all answers."""
    dense = _build(folder, "dense", _dense(), {"x": (32, 64)})
    pair = _build(folder, "pair", _pair(), {"left": (32, 16), "right": (32, 8)})
    net = _build(folder, "net", _net(), {"image": (8, 3, 64, 64)}, opt={"image": (2, 3, 32, 32)})
    batches = (1, 2, 3, 7, 8, 16, 31, 32)
    dense_shapes = [{"x": (n, 64)} for n in batches]
    pair_shapes = [{"left": (n, 16), "right": (n, 8)} for n in batches]
    net_shapes = [
        {"image": (n, 3, height, width)}
        for n, height, width in ((1, 32, 32), (8, 32, 32), (2, 64, 48), (3, 24, 40), (1, 64, 64))
    ]
    services = []

    def add(name: str, plan: Path, shapes: Sequence[Shapes], **options: Any) -> None:
        engine = stack.enter_context(trtfast.Engine(plan, **options))
        service = Service(name, engine, is_bounded="max_queue" in options)
        engine.warmup([_form(shape) for shape in shapes])
        rng = np.random.default_rng(len(services))
        for shape in shapes:
            service.requests += [_request(engine, shape, rng) for _ in range(INPUTS_PER_SHAPE)]
        services.append(service)
        print(f"  {name}: {len(service.requests)} requests, {len(shapes)} shapes", flush=True)

    add("pair, 4 lanes", pair, pair_shapes, lanes=4)
    add("dense, bounded queue, blocking", dense, dense_shapes, lanes=2, wait="block", max_queue=4)
    add("net, shared activations", net, net_shapes, lanes=3, activation_memory="shared")
    add("net, no graphs", net, net_shapes, lanes=2, cuda_graph=False)
    # Buckets are the shapes of the warm-up: the largest alone, so that it never depends on traffic
    # which one a request is padded to.
    padded = stack.enter_context(trtfast.Engine(dense, lanes=2, pad_to_bucket=True))
    padded.warmup((32, 64))
    rng = np.random.default_rng(100)
    requests = [_request(padded, {"x": (n, 64)}, rng) for n in (5, 6, 20, 32)]
    services.append(Service("dense, padded", padded, requests))
    return services


def _request(engine: trtfast.Engine, shapes: Shapes, rng: np.random.Generator) -> Request:
    host = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    device = {name: torch.from_numpy(array).cuda() for name, array in host.items()}
    answer = tuple(np.array(array) for array in arrays_of(engine.infer(_form(host))))
    return Request(_form(host), _form(device), _form(shapes), answer)


def _form(by_name: Mapping[str, Any]) -> Any:
    """Return a single tensor by itself, several by their names."""
    return next(iter(by_name.values())) if len(by_name) == 1 else dict(by_name)


def _build(
    folder: Path, name: str, graph: onnx.GraphProto, largest: Shapes, opt: Shapes | None = None
) -> Path:
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    smallest = {
        given: tuple(8 if axis > 1 else 3 if axis else 1 for axis in range(len(shape)))
        if len(shape) == 4
        else (1, *shape[1:])
        for given, shape in largest.items()
    }
    return trtfast.build(
        model,
        folder / f"{name}.engine",
        precision="fp16",
        min_shapes=smallest,
        opt_shapes=opt or largest,
        max_shapes=largest,
    )


def _value(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _weight(name: str, *shape: int) -> onnx.TensorProto:
    values = np.random.default_rng(0).standard_normal(shape) * 0.3
    return numpy_helper.from_array(values.astype(np.float32), name)


def _dense() -> onnx.GraphProto:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("Tanh", ["product"], ["y"]),
    ]
    weights = [_weight("w", 64, 32)]
    return helper.make_graph(
        nodes, "dense", [_value("x", "n", 64)], [_value("y", "n", 32)], weights
    )


def _pair() -> onnx.GraphProto:
    nodes = [
        helper.make_node("MatMul", ["left", "w"], ["product"]),
        helper.make_node("Add", ["product", "right"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["bounded"]),
        helper.make_node("ReduceMean", ["sum"], ["mean"], axes=[1], keepdims=0),
    ]
    inputs = [_value("left", "n", 16), _value("right", "n", 8)]
    outputs = [_value("bounded", "n", 8), _value("mean", "n")]
    return helper.make_graph(nodes, "pair", inputs, outputs, [_weight("w", 16, 8)])


def _net() -> onnx.GraphProto:
    nodes, weights = [], []
    name, channels = "image", 3
    for index, width in enumerate((16, 32, 32)):
        weights.append(_weight(f"w{index}", width, channels, 3, 3))
        nodes.append(
            helper.make_node("Conv", [name, f"w{index}"], [f"c{index}"], pads=[1, 1, 1, 1])
        )
        nodes.append(helper.make_node("Relu", [f"c{index}"], [f"r{index}"]))
        name, channels = f"r{index}", width
    nodes.append(helper.make_node("ReduceMean", [name], ["pooled"], axes=[2, 3], keepdims=0))
    inputs = [_value("image", "n", 3, "height", "width")]
    outputs = [_value("pooled", "n", channels), _value(name, "n", channels, "height", "width")]
    return helper.make_graph(nodes, "net", inputs, outputs, weights)
