"""Ten thousand calls at batch 1: how far the slowest are from the middle, and whether memory grows.

The floor's graph, replayed as often, shows what of the spread is the machine's own: with nothing
before it, and after a copy of the input.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import floor
import trtfast
from environment import device_bytes, resident_bytes
from measure import Row, quiet_gc, summary
from workloads import Workload

CALLS = 10_000


def measure(workload: Workload, calls: int) -> Iterator[Row]:
    batch = workload.batch(1)
    with trtfast.Engine(workload.plan) as engine:
        engine.warmup(workload.shape(1))
        yield {
            "id": f"{workload.name}/steady/trtfast-numpy",
            **_run(lambda: engine.infer(batch), calls),
        }
    with ExitStack() as stack:
        for floors in floor.contenders(workload, 1, stack):
            if floors.name in ("floor-wall", "floor-copied"):
                row = _run(lambda call=floors: call.sample(0), calls)  # type: ignore[misc]
                yield {"id": f"{workload.name}/steady/{floors.name}", **row}


def _run(call: Callable[[], object], calls: int) -> Row:
    for _ in range(calls // 10):
        call()
    quiet_gc()
    clock = time.perf_counter
    times = [0.0] * calls
    host, device = resident_bytes(), device_bytes()
    for index in range(calls):
        start = clock()
        call()
        times[index] = clock() - start
    row = summary(times)
    return {
        **row,
        "p99_over_p50": row["p99"] / row["median"],
        "max": max(times),
        "host_growth": resident_bytes() - host,
        "device_growth": device_bytes() - device,
    }
