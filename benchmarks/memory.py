"""How much memory an engine holds, on the GPU and on the host, in a process of its own.

Counted from after the CUDA context and PyTorch, which asks for the numbers, are there: first for
the load, then for all batch sizes, each called once.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from measure import Row
from workloads import Workload

_CHILD = """
import json, sys, warnings
sys.path.insert(0, sys.argv[1])
warnings.simplefilter("ignore")
import numpy as np, trtfast
from environment import device_bytes, resident_bytes
plan, shapes = sys.argv[2], json.loads(sys.argv[3])
device_bytes()
told = []
def note(state):
    told.append((state, device_bytes(), resident_bytes()))
note("start")
with trtfast.Engine(plan) as engine:
    note("loaded")
    for shape in shapes:
        engine.infer(np.ones(shape, np.float32))
    note("used")
    report = engine.memory_report()
note("closed")
print(json.dumps({"told": told, "report": str(report)}))
"""


def measure(workload: Workload, batches: Sequence[int]) -> Iterator[Row]:
    shapes = json.dumps([workload.shape(size) for size in batches])
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", _CHILD, here, str(workload.plan), shapes]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    answer = json.loads(told.stdout.splitlines()[-1])
    _, device, host = answer["told"][0]
    for state, device_now, host_now in answer["told"][1:]:
        prefix = f"{workload.name}/memory-{state}"
        yield {"id": f"{prefix}/device", "bytes": device_now - device}
        yield {"id": f"{prefix}/host", "bytes": host_now - host}
    yield {"id": f"{workload.name}/memory-report", "text": answer["report"]}
    yield {"id": f"{workload.name}/plan", "bytes": workload.plan.stat().st_size}
