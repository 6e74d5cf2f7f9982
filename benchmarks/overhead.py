"""What a call costs beside the core's work: CPU time in Python and the binding, and memory.

The model doubles eight numbers, so that hardly anything else is left. The core's own time, which
``stats()`` tells, is taken off the thread's CPU time; waiting spins, so it is in both.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

import trtfast
from bindings import Graph, Loop, Plan
from environment import device_bytes, resident_bytes
from measure import Row, quiet_gc, round_robin, timed
from workloads import doubling

_SHAPE = (1, 8)


def measure(folder: Path, calls: int, seconds: float) -> Iterator[Row]:
    plan = trtfast.build(doubling(*_SHAPE), folder / "doubling.engine")
    batch = np.ones(_SHAPE, np.float32)
    with ExitStack() as stack:
        engine = stack.enter_context(trtfast.Engine(plan, wait="spin"))
        engine.warmup(_SHAPE)
        out = engine.empty_output(_SHAPE)
        loop = Loop(Plan(plan), _SHAPE)
        graph = Graph(loop, batch)
        stack.callback(graph.close)

        def replay() -> None:
            graph.launch()
            loop.synchronize()

        rows, failures = round_robin(
            "tiny/batch1",
            [
                timed("floor-wall", replay),
                timed("bindings-loop", lambda: loop.infer(batch)),
                timed("trtfast-numpy", lambda: engine.infer(batch)),
                timed("trtfast-async", lambda: engine.infer_async(batch).result()),
            ],
            seconds,
        )
        yield from rows
        if failures:
            raise RuntimeError(failures[0]["error"])
        yield {"id": "tiny/cpu", **_cpu_beside_core(engine, batch, calls)}
        yield {"id": "tiny/bytes/trtfast-numpy", **_bytes(lambda: engine.infer(batch), calls)}
        yield {
            "id": "tiny/bytes/trtfast-out",
            **_bytes(lambda: engine.infer(batch, out=out), calls, returned=0),
        }
        yield {
            "id": "tiny/bytes/trtfast-async",
            **_bytes(lambda: engine.infer_async(batch).result(), calls),
        }


def _cpu_beside_core(engine: trtfast.Engine, batch: np.ndarray, calls: int) -> Row:
    """Return seconds of the thread's CPU in a call, and how much of it was not the core's."""
    for _ in range(calls // 10):
        engine.infer(batch)
    before = engine.stats().total
    start, cpu = time.perf_counter(), time.thread_time()
    for _ in range(calls):
        engine.infer(batch)
    wall, cpu = time.perf_counter() - start, time.thread_time() - cpu
    after = engine.stats().total
    in_core = after.mean * after.count - before.mean * before.count
    return {
        "calls": calls,
        "counted": after.count - before.count,
        "wall": wall / calls,
        "cpu": cpu / calls,
        "core": in_core / calls,
        "beside_core": (cpu - in_core) / calls,
    }


def _bytes(call: Callable[[], object], calls: int, returned: int | None = None) -> Row:
    """Return bytes by which memory grew in a call, and those that Python held during one.

    ``returned`` is the size of the array that a call makes and gives away.
    """
    for _ in range(calls // 10):
        result = call()
    quiet_gc()
    host, device = resident_bytes(), device_bytes()
    for _ in range(calls):
        result = call()
    host_growth, device_growth = resident_bytes() - host, device_bytes() - device
    size = returned if returned is not None else getattr(result, "nbytes", 0)
    del result

    tracemalloc.start()
    try:
        for _ in range(100):
            call()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(calls // 10):
            call()
        growth = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        call()
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    return {
        "calls": calls,
        "host_growth": host_growth / calls,
        "device_growth": device_growth / calls,
        "python_growth": growth / (calls // 10),
        "python_peak_beyond_result": peak - size,
        "result": size,
    }
