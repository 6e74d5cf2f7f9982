#!/usr/bin/env python3
"""How long does one call take, from NumPy array to NumPy array, in PyTorch and in an engine?

    python benchmarks/latency.py --models resnet50 efficientnet_lite0 --output latency.json

Every variant gets the same arrays, warms up, and runs for two seconds. Written down are median and
99th percentile, and what each was measured on. ``compare.py`` sets two such files side by side.
Not measured: several calls at once, and preprocessing.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import trtfast
from trtfast import _core, backend
from trtfast.cli.models import load_model
from trtfast.timing import measure

Call = Callable[[], object]


def torch_call(module: torch.nn.Module, batch: np.ndarray, dtype: torch.dtype) -> Call:
    def call() -> object:
        with torch.inference_mode():
            on_gpu = torch.from_numpy(batch).to("cuda").to(dtype)
            return module(on_gpu).float().cpu().numpy()

    return call


def variants(
    module: torch.nn.Module, batch: np.ndarray, engine: trtfast.Engine
) -> Iterator[tuple[str, Call]]:
    """The contenders for one model and batch, slowest first."""
    single = copy.deepcopy(module).cuda()
    yield "torch-fp32", torch_call(single, batch, torch.float32)
    half = copy.deepcopy(module).cuda().half().to(memory_format=torch.channels_last)
    yield "torch-fp16-channels-last", torch_call(half, batch, torch.float16)
    compiled = torch.compile(half, mode="reduce-overhead")
    yield "torch-fp16-reduce-overhead", torch_call(compiled, batch, torch.float16)
    yield "trtfast-fp16", lambda: engine.infer(batch)


def measure_model(name: str, batches: list[int], folder: Path) -> Iterator[dict[str, Any]]:
    model = load_model(name)
    onnx = trtfast.export(model.module, model.sample, folder / f"{name}.onnx")
    start = time.perf_counter()
    plan = trtfast.build(onnx, precision="fp16")
    built = time.perf_counter()
    with trtfast.Engine(plan) as engine:
        yield {"id": f"{name}/build", "seconds": built - start}
        yield {"id": f"{name}/load", "seconds": time.perf_counter() - built}
        for size in batches:
            batch = np.random.default_rng(0).standard_normal(
                (size, 3, *model.preprocess.size), np.float32
            )
            for variant, call in variants(model.module, batch, engine):
                timing = measure(call, warm_up=1.0)
                row = {"id": f"{name}/batch{size}/{variant}", **vars(timing)}
                print(f"{row['id']:<60} {timing.median * 1e3:8.3f} ms {timing.p99 * 1e3:8.3f} ms")
                yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["resnet50", "efficientnet_lite0"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()

    gpu = backend.require_gpu()
    library = backend.select(device=gpu)
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            row
            for name in options.models
            for row in measure_model(name, options.batches, Path(folder))
        ]
    report = {
        "date": time.strftime("%Y-%m-%d"),
        "gpu": gpu.name,
        "driver": _core.driver_version(),
        "tensorrt": f"{library.product} {library.version}",
        "torch": torch.__version__,
        "trtfast": trtfast.__version__,
        "results": rows,
    }
    options.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
