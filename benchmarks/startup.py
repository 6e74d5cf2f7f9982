#!/usr/bin/env python3
"""How long from ``Engine(path)`` to the first answer, in a new process?

    python benchmarks/startup.py --model resnet50 --output startup.json

With an empty cache, as on the first start, and with the kernels that the process before has kept.
The time is that of the load and of one call with one image, without Python's own start and imports.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import trtfast
from trtfast import _core, backend, cache
from trtfast.cli.models import load_model

CHILD = """
import sys, time, warnings
import numpy as np, trtfast
warnings.simplefilter("ignore")
batch = np.ones((1, 3, 224, 224), np.float32)
start = time.perf_counter()
with trtfast.Engine(sys.argv[1]) as engine:
    loaded = time.perf_counter()
    engine.infer(batch)
    print(loaded - start, time.perf_counter() - start)
"""


def start_once(plan: Path, folder: str) -> tuple[float, float]:
    environment = {**os.environ, "TRTFAST_CACHE_DIR": folder}
    command = [sys.executable, "-c", CHILD, str(plan)]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    load, total = map(float, told.stdout.split())
    return load, total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()

    gpu = backend.require_gpu()
    library = backend.select(device=gpu)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        model = load_model(options.model)
        onnx = trtfast.export(model.module, model.sample, Path(scratch) / "model.onnx")
        plan = trtfast.build(onnx, precision="fp16")
        runs: dict[str, list[tuple[float, float]]] = {"cold": [], "kept": []}
        for _ in range(options.repeats):
            with tempfile.TemporaryDirectory() as folder:
                runs["cold"].append(start_once(plan, folder))
                runs["kept"].append(start_once(plan, folder))
                os.environ["TRTFAST_CACHE_DIR"] = folder
                size = sum(entry.size for entry in cache.entries())
        for state, times in runs.items():
            for part, values in zip(
                ("load", "load-and-first"), zip(*times, strict=True), strict=True
            ):
                row = {
                    "id": f"{options.model}/{state}/{part}",
                    "seconds": statistics.median(values),
                    "all": values,
                }
                print(f"{row['id']:<40} {row['seconds']:7.3f} s")
                rows.append(row)
    report = {
        "date": time.strftime("%Y-%m-%d"),
        "gpu": gpu.name,
        "driver": _core.driver_version(),
        "tensorrt": f"{library.product} {library.version}",
        "trtfast": trtfast.__version__,
        "cache_bytes": size,
        "results": rows,
    }
    options.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
