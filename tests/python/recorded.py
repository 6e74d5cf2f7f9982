"""Profiles recorded on a GPU; where they are from is in recordings/README.md."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx

from trtfast import inspector
from trtfast.inspector import InspectedLayer
from trtfast.profiling import ProfileReport, Roof
from trtfast.profiling.nodes import nodes_of
from trtfast.profiling.run import summarised
from trtfast.report import LayerTime

MODELS = ("resnet50", "vit_b_16")
PRECISIONS = ("fp16", "fp8")
BATCH = 8
INPUTS = {"image": (BATCH, 3, 224, 224)}

_FOLDER = Path(__file__).parent / "recordings"


def h100(**changed: int) -> Any:
    """What is read of ``_core.Device``, which only a GPU can make."""
    return SimpleNamespace(
        **{
            "compute_capability": 90,
            "multiprocessors": 132,
            "clock_mhz": 1980,
            "memory_clock_mhz": 2619,
            "memory_bus_bits": 5120,
        }
        | changed
    )


def model(name: str) -> onnx.ModelProto:
    return onnx.load_model_from_string(gzip.decompress((_FOLDER / f"{name}.onnx.gz").read_bytes()))


def profile(name: str, precision: str) -> tuple[list[InspectedLayer], list[LayerTime]]:
    """The layers that ran, and their times."""
    recorded = json.loads(gzip.decompress((_FOLDER / f"{name}.{precision}.json.gz").read_bytes()))
    times = [LayerTime(*time) for time in recorded["times"]]
    layers = {layer.name: layer for layer in inspector.layers(json.dumps(recorded["inspected"]))}
    return [layers[time.name] for time in times], times


def report(name: str, precision: str) -> ProfileReport:
    layers, times = profile(name, precision)
    return summarised(
        layers,
        times,
        nodes_of(model(name), INPUTS),
        engine="TensorRT-RTX 1.5.0.114",
        gpu="NVIDIA H100 80GB HBM3",
        inputs=INPUTS,
        runs=10,
        roof=Roof.of(h100()),
    )
