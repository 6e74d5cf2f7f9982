"""Many calls at once: threads, and requests in flight from asyncio.

Beside each number of threads stands the speed of a Python thread that only counts, over its speed
alone: 1 if calls never held the GIL. It is measured apart, since such a thread, which gives the
GIL up only every 5 ms, would slow the callers.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import numpy as np

import trtfast
from measure import Row, quiet_gc, summary
from workloads import Workload

THREADS = (1, 2, 4, 8, 16)
IN_FLIGHT = (1, 8, 64)
LANES = 8
OTHER_LANES = (2, 4)

Call = Callable[[], object]


def measure_threads(workload: Workload, size: int, seconds: float) -> Iterator[Row]:
    """Measure threads that call ``infer``, each with an array of its own."""
    prefix, shape = f"{workload.name}/batch{size}", workload.shape(size)
    batches = [workload.batch(size, seed) for seed in range(max(THREADS))]
    quiet_gc()
    with trtfast.Engine(workload.plan, lanes=LANES) as engine:
        engine.warmup(shape)

        def from_numpy(index: int) -> Call:
            return lambda: engine.infer(batches[index])

        def from_pinned(index: int) -> Call:
            given, taken = engine.empty_input(shape), engine.empty_output(shape)
            given[...] = batches[index]
            return lambda: engine.infer(given, out=taken)

        for count in THREADS:
            row = run_threads(from_numpy, count, seconds)
            row["counter"] = _counter_beside(from_numpy, count, seconds)
            yield {"id": f"{prefix}/threads{count}", "lanes": LANES, **row}
        yield {
            "id": f"{prefix}/threads8-pinned-out",
            "lanes": LANES,
            **run_threads(from_pinned, 8, seconds),
        }
    for lanes in OTHER_LANES:
        with trtfast.Engine(workload.plan, lanes=lanes) as engine:
            engine.warmup(shape)
            row = run_threads(lambda i, e=engine: lambda: e.infer(batches[i]), 8, seconds)  # type: ignore[misc]
            yield {"id": f"{prefix}/threads8-lanes{lanes}", "lanes": lanes, **row}


def measure_asyncio(workload: Workload, size: int, seconds: float) -> Iterator[Row]:
    """Measure requests in flight from one event loop, and how late the loop runs its timers."""
    shape = workload.shape(size)
    batches = [workload.batch(size, seed) for seed in range(8)]
    quiet_gc()
    with trtfast.Engine(workload.plan, lanes=LANES) as engine:
        engine.warmup(shape)
        for count in IN_FLIGHT:
            row = asyncio.run(_in_flight(engine, batches, count, seconds))
            yield {"id": f"{workload.name}/batch{size}/asyncio{count}", "lanes": LANES, **row}


def run_threads(call_of: Callable[[int], Call], count: int, seconds: float) -> Row:
    """Let so many threads call again and again; return their calls in a second, and times."""
    times: list[list[float]] = [[] for _ in range(count)]
    errors: list[BaseException] = []
    calls = [call_of(index) for index in range(count)]
    start = threading.Barrier(count + 1)

    def work(index: int) -> None:
        call, taken, clock = calls[index], times[index], time.perf_counter
        try:
            for _ in range(3):
                call()
            start.wait(60)
            now = clock()
            end = now + seconds
            while now < end:
                before, _ = now, call()
                now = clock()
                taken.append(now - before)
        except BaseException as error:
            errors.append(error)
            start.abort()

    threads = [threading.Thread(target=work, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    with suppress(threading.BrokenBarrierError):  # what a thread met is raised below
        start.wait(60)
    began, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.join()
    elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu
    if errors:
        raise errors[0]
    every = [value for taken in times for value in taken]
    return {"throughput": len(every) / elapsed, "cpu": cpu / len(every), **summary(every)}


def _counter_beside(call_of: Callable[[int], Call], count: int, seconds: float) -> float:
    """Return how fast a thread counts beside callers, over how fast it counts alone."""
    with _counting() as rate:
        alone = rate(seconds / 2)
        stop = threading.Event()

        def work(call: Call) -> None:
            while not stop.is_set():
                call()

        threads = [threading.Thread(target=work, args=(call_of(i),)) for i in range(count)]
        for thread in threads:
            thread.start()
        beside = rate(seconds / 2)
        stop.set()
        for thread in threads:
            thread.join()
    return beside / alone


@contextmanager
def _counting() -> Iterator[Callable[[float], float]]:
    """Run a thread that counts; what is given tells its counts in a second, over a time."""
    counted = [0]
    stop = threading.Event()

    def count() -> None:
        while not stop.is_set():
            for _ in range(100):
                counted[0] += 1

    def rate(seconds: float) -> float:
        start, before = time.perf_counter(), counted[0]
        time.sleep(seconds)
        return (counted[0] - before) / (time.perf_counter() - start)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield rate
    finally:
        stop.set()
        thread.join()


async def _in_flight(
    engine: trtfast.Engine, batches: list[np.ndarray], count: int, seconds: float
) -> Row:
    times: list[float] = []
    late: list[float] = []
    clock = time.perf_counter
    cpu = time.process_time()
    start = clock()
    end = start + seconds

    async def request(index: int) -> None:
        batch = batches[index % len(batches)]
        while clock() < end:
            before = clock()
            await engine.infer_async(batch)
            times.append(clock() - before)

    async def tick() -> None:
        while clock() < end:
            due = clock() + 1e-3
            await asyncio.sleep(1e-3)
            late.append(clock() - due)

    await asyncio.gather(tick(), *(request(index) for index in range(count)))
    elapsed = clock() - start
    return {
        "throughput": len(times) / elapsed,
        "cpu": (time.process_time() - cpu) / len(times),
        "loop_late_p99": float(np.percentile(late, 99)),
        **summary(times),
    }
