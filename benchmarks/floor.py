"""The floor: one captured graph of copy-in, execution and copy-out, from page-locked memory.

Nothing that answers a call can be faster than this on the same plan. ``floor`` is the GPU's time
of a graph in a row of them, ``floor-alone`` that of one by itself, and ``floor-wall`` what a
program that does nothing else waits for one. ``floor-copied`` copies a NumPy array to page-locked
memory before, with one thread.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import torch

from bindings import Graph, Loop, Plan
from measure import Contender, timed
from workloads import Workload

_ROW = 20


def contenders(workload: Workload, size: int, stack: ExitStack) -> Iterator[Contender]:
    loop = Loop(Plan(workload.plan), workload.shape(size))
    batch = workload.batch(size)
    graph = Graph(loop, batch)
    stack.callback(graph.close)
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def on_gpu(launches: int, duration: float) -> list[float]:
        times: list[float] = []
        end = time.perf_counter() + duration
        while not times or time.perf_counter() < end:
            first.record(loop.stream)
            for _ in range(launches):
                graph.launch()
            last.record(loop.stream)
            last.synchronize()
            times.append(first.elapsed_time(last) * 1e-3 / launches)
        return times

    def replay() -> None:
        graph.launch()
        loop.synchronize()

    def copy_and_replay() -> None:
        np.copyto(loop.host_input, batch)
        replay()

    yield Contender("floor", lambda duration: on_gpu(_ROW, duration), is_wall=False)
    yield Contender("floor-alone", lambda duration: on_gpu(1, duration), is_wall=False)
    yield timed("floor-wall", replay)
    yield timed("floor-copied", copy_and_replay)
