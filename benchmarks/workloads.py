"""The models: a module, the engine built from it, and batches for both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

import trtfast
from trtfast.cli.models import Model

if TYPE_CHECKING:
    import torch

Batch = NDArray[np.float32]

BUCKETS = (1, 8, 32)
MODELS = ("resnet50", "mobilenet_v3_large", "efficientnet_lite0", "vit_b_16")


@dataclass(frozen=True)
class Workload:
    """A model, and its engine in half precision for batches of 1, 8 and 32."""

    name: str
    module: torch.nn.Module
    size: tuple[int, int]
    plan: Path
    export_seconds: float | None
    build_seconds: float | None

    def shape(self, batch: int) -> tuple[int, ...]:
        return (batch, 3, *self.size)

    def batch(self, batch: int, seed: int = 0) -> Batch:
        return np.random.default_rng(seed).standard_normal(self.shape(batch), np.float32)


def doubling(rows: int | str, width: int) -> ModelProto:
    """Make ``y = x + x``, which takes no time, and whose answer float32 has exactly."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (rows, width)) for name in "xy")
    node = helper.make_node("Add", ["x", "x"], ["y"], name="double")
    graph = helper.make_graph([node], "doubling", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def prepare(model: Model, folder: Path) -> Workload:
    """Export and build a model, unless the folder has it from before; then no time is known."""
    onnx, plan = folder / f"{model.name}.onnx", folder / f"{model.name}.engine"
    exported = _unless(onnx, lambda: trtfast.export(model.module, model.sample, onnx))
    built = _unless(plan, lambda: trtfast.build(onnx, plan, precision="fp16", buckets=BUCKETS))
    return Workload(model.name, model.module, model.preprocess.size, plan, exported, built)


def _unless(path: Path, make: Callable[[], Path]) -> float | None:
    if path.exists():
        return None
    start = time.perf_counter()
    make()
    return time.perf_counter() - start
