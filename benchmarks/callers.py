"""Callers with one row each, who ask again as soon as they are answered."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from batchers import Ask, Contender, Plan, Rows, batching
from measure import Row, summary

SETTLE = 0.1  # seconds at the start of each round that are not counted


class Taken:
    """What callers saw: how long each call of a round took; and where asked, whose answer it gave.

    ``answers`` has the number of the row that was given, and the answer, to be checked when the
    clock has stopped.
    """

    def __init__(self, answers: list[tuple[int, Any]] | None = None) -> None:
        self.times: list[float] = []
        self.answers = answers
        self.seconds = 0.0
        self.cpu = 0.0

    def row(self) -> Row:
        count = len(self.times)
        return {
            "throughput": count / self.seconds,
            "cpu": self.cpu / count,
            **summary(self.times),
        }


def ask_from_asyncio(
    contender: Contender, plan: Plan, rows: Rows, in_flight: int, seconds: float, taken: Taken
) -> None:
    """Keep so many requests under way from one event loop."""
    answers = taken.answers

    async def call(ask: Ask, index: int, start: float, end: float) -> None:
        row = rows[index]
        now, clock = time.perf_counter(), time.perf_counter
        while now < end:
            before, answer = now, await ask(row)
            now = clock()
            if before >= start:
                taken.times.append(now - before)
            if answers is not None:
                answers.append((index, answer))

    async def run() -> None:
        async with contender(plan) as ask:
            start = time.perf_counter() + SETTLE
            calls = [
                asyncio.create_task(call(ask, index % len(rows), start, start + seconds))
                for index in range(in_flight)
            ]
            await asyncio.sleep(SETTLE)
            began, cpu = time.perf_counter(), time.process_time()
            await asyncio.gather(*calls)
            taken.seconds += time.perf_counter() - began
            taken.cpu += time.process_time() - cpu

    asyncio.run(run())


def ask_from_threads(plan: Plan, rows: Rows, in_flight: int, seconds: float, taken: Taken) -> None:
    """Let so many threads call the batcher."""
    with batching(plan) as batcher:

        def ask(caller: int) -> None:
            index = caller % len(rows)
            answer = batcher.infer(rows[index][None])
            if taken.answers is not None:
                taken.answers.append((index, answer))

        _run(ask, in_flight, seconds, taken)


def wake_coroutines(plan: Plan, rate: float, in_flight: int, seconds: float, taken: Taken) -> None:
    """Have so many coroutines do nothing but wait, and be woken by batches, so many in a second.

    That is what a call costs in any case whose answer comes from another thread than the loop's.
    """

    @asynccontextmanager
    async def answering_nothing(_: Plan) -> AsyncIterator[Ask]:
        waiting: deque[asyncio.Future[None]] = deque()
        loop = asyncio.get_running_loop()

        def wake() -> None:
            os.eventfd_read(bell)
            for _ in range(min(plan.limit, len(waiting))):
                waiting.popleft().set_result(None)

        def ask(_: Rows) -> asyncio.Future[None]:
            waiting.append(loop.create_future())
            return waiting[-1]

        loop.add_reader(bell, wake)
        yield ask
        loop.remove_reader(bell)

    stopped = threading.Event()

    def ring() -> None:
        while not stopped.wait(plan.limit / rate):
            os.eventfd_write(bell, 1)

    bell = os.eventfd(0, os.EFD_CLOEXEC)
    ringer = threading.Thread(target=ring)
    ringer.start()
    try:
        rows = np.zeros((1, 1), np.float32)
        ask_from_asyncio(answering_nothing, plan, rows, in_flight, seconds, taken)
    finally:
        stopped.set()
        ringer.join()
        os.close(bell)


def _run(ask: Callable[[int], object], count: int, seconds: float, taken: Taken) -> None:
    """Let so many threads ask."""
    errors: list[BaseException] = []
    times: list[list[float]] = [[] for _ in range(count)]
    go = threading.Event()

    def call(caller: int) -> None:
        clock, taken_here = time.perf_counter, times[caller]
        try:
            go.wait()
            start = clock() + SETTLE
            end, now = start + seconds, clock()
            while now < end:
                before, _ = now, ask(caller)
                now = clock()
                if before >= start:
                    taken_here.append(now - before)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=call, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    go.set()
    time.sleep(SETTLE)
    began, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.join()
    taken.seconds += time.perf_counter() - began
    taken.cpu += time.process_time() - cpu
    if errors:
        raise errors[0]
    taken.times += [value for part in times for value in part]
