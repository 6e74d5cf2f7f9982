"""How long from ``Engine(path)`` to the first answer, in a new process?

With an empty cache, as on the first start, and with the kernels that the process before has kept.
The time is that of the load and of one call with one image, without Python's own start and imports;
and, as ``startup-ready``, without CUDA's own start either, in a process that uses the GPU already.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from measure import Row
from workloads import Workload

_CHILD = """
import sys, time, warnings
import numpy as np, trtfast
from trtfast import Engine  # an import of its own
warnings.simplefilter("ignore")
batch = np.ones(tuple(map(int, sys.argv[3:])), np.float32)
if sys.argv[2] == "ready":
    trtfast._core.pinned_array([1], "f4")
start = time.perf_counter()
with Engine(sys.argv[1]) as engine:
    loaded = time.perf_counter()
    engine.infer(batch)
    print(loaded - start, time.perf_counter() - start)
"""


def measure(workload: Workload, repeats: int) -> Iterator[Row]:
    runs: dict[str, list[tuple[float, float]]] = {"cold": [], "kept": [], "ready": []}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            runs["cold"].append(_start_once(workload, folder))
            runs["kept"].append(_start_once(workload, folder))
            runs["ready"].append(_start_once(workload, folder, "ready"))
            files = (path for path in Path(folder, "trtfast").rglob("*") if path.is_file())
            kept_bytes = sum(path.stat().st_size for path in files)
    for state, times in runs.items():
        loads, firsts = zip(*times, strict=True)
        for part, values in (("load", loads), ("load-and-first", firsts)):
            yield {
                "id": f"{workload.name}/startup-{state}/{part}",
                "seconds": statistics.median(values),
                "all": list(values),
            }
    yield {"id": f"{workload.name}/startup-kept/cache", "bytes": kept_bytes}


def _start_once(workload: Workload, folder: str, state: str = "") -> tuple[float, float]:
    environment = {
        **os.environ,
        "TRTFAST_CACHE_DIR": f"{folder}/trtfast",
        "CUDA_CACHE_PATH": f"{folder}/cuda",  # the driver keeps what it compiles, too
    }
    shape = map(str, workload.shape(1))
    command = [sys.executable, "-c", _CHILD, str(workload.plan), state, *shape]
    told = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    load, total = map(float, told.stdout.split())
    return load, total
