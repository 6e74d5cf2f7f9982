#!/usr/bin/env python3
"""Call several engines from many threads, in every way, and check every answer, bit for bit.

    python benchmarks/stress.py --minutes 10 --threads 64 --output stress.json

Shapes, host and device arrays, streams, deadlines, cancellations and bounded queues are mixed, and
every eighth thread runs asyncio. At the end the engines are closed under the traffic. The summary
is JSON; the exit status is 1 after a wrong answer, an error that has no place, memory that grew in
a run of five minutes or more by more than TensorRT itself loses, or threads that hung, whose stacks
are then printed.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import faulthandler
import os
import random
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

import trtfast
from environment import allocated_bytes, describe, device_bytes, resident_bytes
from measure import report
from stress_services import Request, Service, arrays_of, start
from trtfast import backend

PATIENCE = 60.0  # seconds after which a thread that finished nothing counts as hung
LONGEST_DEADLINE = 0.003
LONG = 300.0  # seconds until growth can be told from what is under way at a moment
IN_FLIGHT = 8
FAULTS_KEPT = 10
# Contexts that wear out hold some MB more than new ones, and threads have caches; ten bytes a call
# would show in ten minutes. What the process keeps resident is told, and not judged: the heaps of
# so many threads take minutes to reach their size.
HOST_SLACK = 24 * 2**20
DEVICE_SLACK = 4 * 2**20
# What TensorRT-RTX loses of host memory at most, whoever calls it: a context that ends leaves
# 617 KiB, and these small networks' contexts give way after 4096 plain runs that change shapes.
LOST_PER_PLAIN_RUN = 617 * 2**10 / 4096
# Second; bytes in use on the device, allocated on the host, resident there; plain runs so far.
Sample = tuple[float, int, int, int, int]
EXPECTED = {
    trtfast.DeadlineExceededError: "deadline",
    trtfast.QueueFullError: "queue full",
    trtfast.ClosedError: "closed",
}


class Traffic:
    """What all threads share, and what they found."""

    def __init__(self, services: list[Service], tolerance: float) -> None:
        self.services = services
        self.tolerance = tolerance
        self.is_closing = False
        self.fault_count = 0
        self.faults: list[str] = []  # the first of them
        self._lock = threading.Lock()

    def fault(self, text: str) -> None:
        with self._lock:
            self.fault_count += 1
            if len(self.faults) < FAULTS_KEPT:
                self.faults.append(text)


class Caller(threading.Thread):
    """A thread that makes requests of all kinds until every engine is closed."""

    def __init__(self, traffic: Traffic, seed: int) -> None:
        super().__init__(name=f"caller-{seed}", daemon=True)  # a hung one must not keep us
        self._traffic = traffic
        self._random = random.Random(seed)
        self._seed = seed
        self._open = list(traffic.services)
        self._pinned: dict[int, tuple[Any, Any]] = {}
        self.counts: Counter[str] = Counter()
        self.alive_at = time.monotonic()

    def run(self) -> None:
        try:
            if self._seed % 8 == 7:
                asyncio.run(self._run_loop())
            else:
                self._stream = torch.cuda.Stream()
                self._run_calls()
        except BaseException:
            self._traffic.fault(traceback.format_exc())

    def _run_calls(self) -> None:
        kinds = [self._host, self._page_locked, self._deadline, self._device, self._on_stream]
        kinds += [self._asynchronous, self._asynchronous, self._cancelled, self._callback]
        while self._open:
            service = self._random.choice(self._open)
            self._attempt(service, self._random.choice(kinds))

    def _attempt(self, service: Service, kind: Callable[[Service, Request], None]) -> None:
        request = self._random.choice(service.requests)
        try:
            kind(service, request)
        except tuple(EXPECTED) as error:
            self._refused(service, kind.__name__, error)
        except Exception:
            self._traffic.fault(f"{service.name}, {kind.__name__}: {traceback.format_exc()}")
        self.alive_at = time.monotonic()

    def _refused(self, service: Service, kind: str, error: Exception) -> None:
        """Count a refusal, if this request could be refused like that."""
        allowed = {
            trtfast.DeadlineExceededError: kind == "_deadline",
            trtfast.QueueFullError: service.is_bounded,
            trtfast.ClosedError: self._traffic.is_closing,
        }
        if not allowed[type(error)]:
            self._traffic.fault(f"{service.name}, {kind}: {error!r}")
        if isinstance(error, trtfast.ClosedError) and service in self._open:
            self._open.remove(service)
        self.counts[EXPECTED[type(error)]] += 1

    def _check(self, service: Service, request: Request, result: Any, kind: str) -> None:
        for want, got in zip(request.answer, arrays_of(result), strict=True):
            if got.shape == want.shape and got.tobytes() == want.tobytes():
                continue
            text = f"wrong answer: {service.name}, {kind}, shapes {request.shapes}, "
            if got.shape != want.shape:
                self._traffic.fault(text + f"{got.shape} for {want.shape}")
                return
            largest = float(np.abs(got - want).max() / np.abs(want).max())
            if not largest <= self._traffic.tolerance:
                differing = np.mean(got != want)
                text += (
                    f"{differing:.1%} of the values differ, by up to {largest:.2g} of the largest"
                )
                self._traffic.fault(text)
                return
        self.counts["ok"] += 1
        self.counts[f"ok {kind}"] += 1

    # The ways to make a request.

    def _host(self, service: Service, request: Request) -> None:
        self._check(service, request, service.engine.infer(request.host), "host")

    def _page_locked(self, service: Service, request: Request) -> None:
        if id(request) not in self._pinned:
            if len(self._pinned) >= 8:
                self._pinned.clear()
            engine = service.engine
            made = engine.empty_input(request.shapes), engine.empty_output(request.shapes)
            self._pinned[id(request)] = made
        given, out = self._pinned[id(request)]
        for to, source in zip(arrays_of(given), arrays_of(request.host), strict=True):
            to[...] = source
        for array in arrays_of(out):
            array[...] = np.nan
        service.engine.infer(given, out=out)
        self._check(service, request, out, "page-locked")

    def _deadline(self, service: Service, request: Request) -> None:
        deadline = self._random.uniform(1e-5, LONGEST_DEADLINE)
        if self._random.random() < 0.5:
            result = service.engine.infer(request.host, deadline=deadline)
        else:
            result = service.engine.infer_async(request.host, deadline=deadline).result(PATIENCE)
        self._check(service, request, result, "deadline")

    def _device(self, service: Service, request: Request) -> None:
        result = arrays_of(service.engine.infer(request.device))
        arrays = [torch.from_dlpack(array).cpu().numpy() for array in result]
        self._check(service, request, arrays, "device")

    def _on_stream(self, service: Service, request: Request) -> None:
        with torch.cuda.stream(self._stream):
            if isinstance(request.device, dict):
                given: Any = {name: array.clone() for name, array in request.device.items()}
            else:
                given = request.device.clone()
            result = arrays_of(service.engine.infer(given, stream=self._stream))
            arrays = [torch.from_dlpack(array).cpu().numpy() for array in result]
        self._check(service, request, arrays, "stream")

    def _asynchronous(self, service: Service, request: Request) -> None:
        requests = [request, *self._random.choices(service.requests, k=3)]
        futures = [service.engine.infer_async(request.host) for request in requests]
        for request, future in zip(requests, futures, strict=True):
            self._check(service, request, future.result(PATIENCE), "async")

    def _cancelled(self, service: Service, request: Request) -> None:
        futures = [service.engine.infer_async(request.host) for _ in range(4)]
        for future in reversed(futures):
            if future.cancel():
                try:
                    future.result(PATIENCE)
                except concurrent.futures.CancelledError:
                    self.counts["cancelled"] += 1
                else:
                    self._traffic.fault(f"{service.name}: a cancelled request gave a result")
            else:
                self._check(service, request, future.result(PATIENCE), "not cancelled")

    def _callback(self, service: Service, request: Request) -> None:
        called = threading.Event()
        future = service.engine.infer_async(request.host)
        future.add_done_callback(lambda _: called.set())
        if not called.wait(PATIENCE):
            self._traffic.fault(f"{service.name}: a callback was not called")
        self._check(service, request, future.result(0), "callback")

    async def _run_loop(self) -> None:
        async def client() -> None:
            while self._open:
                service = self._random.choice(self._open)
                request = self._random.choice(service.requests)
                try:
                    result = await service.engine.infer_async(request.host)
                    self._check(service, request, result, "asyncio")
                except tuple(EXPECTED) as error:
                    self._refused(service, "asyncio", error)
                    await asyncio.sleep(0)
                except Exception:
                    self._traffic.fault(f"{service.name}, asyncio: {traceback.format_exc()}")
                self.alive_at = time.monotonic()

        await asyncio.gather(*(client() for _ in range(IN_FLIGHT)))


def watch(services: list[Service], callers: list[Caller], seconds: float) -> list[Sample]:
    """Sample the memory in use until the time is up; end a run that hangs."""
    samples: list[Sample] = []
    began = time.monotonic()
    told = 0.0
    while (now := time.monotonic() - began) < seconds:
        time.sleep(0.25)
        plain_runs = sum(service.engine.stats().graph_misses for service in services)
        memory = device_bytes(), allocated_bytes(), resident_bytes()
        samples.append((now, *memory, plain_runs))
        end_if_hung(callers)
        if now - told >= max(2.0, seconds / 20):
            told = now
            count = sum(caller.counts["ok"] for caller in callers)
            used = " ".join(f"{size / 2**20:.0f}" for size in memory)
            print(f"  {now:6.1f} s: {count} right, device, host, resident MiB {used}", flush=True)
    return samples


def end_if_hung(callers: list[Caller]) -> None:
    now = time.monotonic()
    for caller in callers:
        if caller.is_alive() and now - caller.alive_at > PATIENCE:
            print(f"HUNG: {caller.name} has finished nothing for {PATIENCE:.0f} s", flush=True)
            faulthandler.dump_traceback(all_threads=True)
            os._exit(1)


def growth(samples: list[Sample]) -> dict[str, float]:
    """Return by how many bytes memory grew, from the second to the last quarter of the run.

    ``lost`` is what of the host's TensorRT-RTX loses in the plain runs between.
    """
    quarter = max(1, len(samples) // 4)
    early, late = samples[quarter : 2 * quarter] or samples, samples[-quarter:]
    grown = {
        name: float(np.median([sample[index] for sample in late]))
        - float(np.median([sample[index] for sample in early]))
        for index, name in enumerate(("device", "host", "resident", "plain_runs"), start=1)
    }
    is_rtx = backend.select(device=backend.require_gpu()).is_rtx
    return {**grown, "lost": LOST_PER_PLAIN_RUN * grown["plain_runs"] if is_rtx else 0.0}


def stress(
    services: list[Service], threads: int, seconds: float, tolerance: float
) -> dict[str, Any]:
    traffic = Traffic(services, tolerance)
    callers = [Caller(traffic, seed) for seed in range(threads)]
    for caller in callers:
        caller.start()
    samples = watch(services, callers, seconds)
    traffic.is_closing = True
    begun = time.monotonic()
    for service in services:
        service.engine.close()
    while any(caller.is_alive() for caller in callers):
        end_if_hung(callers)
        time.sleep(0.01)
    counts = sum((caller.counts for caller in callers), Counter())
    grown = growth(samples)
    return {
        **describe(),
        "seconds": seconds,
        "threads": threads,
        "tolerance": tolerance,
        "services": [service.name for service in services],
        "counts": dict(sorted(counts.items())),
        "right_per_second": counts["ok"] / seconds,
        "close_seconds": time.monotonic() - begun,
        "growth": grown,
        "memory": samples[:: max(1, len(samples) // 100)],
        "leaked": seconds >= LONG
        and (grown["device"] > DEVICE_SLACK or grown["host"] - grown["lost"] > HOST_SLACK),
        "fault_count": traffic.fault_count,
        "faults": traffic.faults,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        help="of the largest value of an answer; TensorRT-RTX 1.4 needs 5e-3",
    )
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message=".* does not list .* as supported")
    seconds = options.minutes * 60

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        faulthandler.dump_traceback_later(300, exit=True)
        services = start(Path(folder), stack)
        faulthandler.dump_traceback_later(seconds + 2 * PATIENCE, exit=True)
        result = stress(services, options.threads, seconds, options.tolerance)
    faulthandler.cancel_dump_traceback_later()
    report(result, options.output)
    return 1 if result["leaked"] or result["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
