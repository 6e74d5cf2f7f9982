"""What the GPU gives at most: the floor's graph replayed on 1 to 8 streams at once.

Each stream has its context, buffers and graph. Launches go out without waiting for answers, so
neither a copy of the host's nor a wake-up is in it. ``ceiling`` is the best of all stream counts.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack

import torch

from bindings import Graph, Loop, Plan
from measure import Row
from workloads import Workload

_STREAMS = (1, 2, 3, 4, 6, 8)
_ROW = 4  # launches between two looks at a stream


def measure(workload: Workload, size: int, seconds: float) -> list[Row]:
    plan, batch = Plan(workload.plan), workload.batch(size)
    with ExitStack() as stack:
        lanes = []
        for _ in range(max(_STREAMS)):
            loop = Loop(plan, workload.shape(size))
            graph = Graph(loop, batch)
            stack.callback(graph.close)
            lanes.append((loop, graph))
        for loop, _ in lanes:
            loop.synchronize()
        _throughput(lanes, seconds / 2)  # to warm up
        # Twice, and the better one, since what is compared with it may run on higher clocks.
        best = {
            count: max(_throughput(lanes[:count], seconds / 2) for _ in range(2))
            for count in _STREAMS
        }
    prefix = f"{workload.name}/batch{size}"
    rows: list[Row] = [
        {"id": f"{prefix}/ceiling-streams{count}", "throughput": rate}
        for count, rate in best.items()
    ]
    streams = max(best, key=lambda count: best[count])
    return [*rows, {"id": f"{prefix}/ceiling", "throughput": best[streams], "streams": streams}]


def _throughput(lanes: Sequence[tuple[Loop, Graph]], seconds: float) -> float:
    """Return replays in a second, over all streams; each always has a row of them to do."""
    pending: list[deque[torch.cuda.Event]] = [deque() for _ in lanes]
    launched = 0
    start = time.perf_counter()
    while time.perf_counter() < start + seconds:
        for (loop, graph), rows in zip(lanes, pending, strict=True):
            if len(rows) == 2:
                rows.popleft().synchronize()
            for _ in range(_ROW):
                graph.launch()
            rows.append(loop.stream.record_event())
            launched += _ROW
    for loop, _ in lanes:
        loop.synchronize()
    return launched / (time.perf_counter() - start)
