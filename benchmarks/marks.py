#!/usr/bin/env python3
"""A million requests through one batcher: does each end once, and with the answer to its own mark?

    python benchmarks/marks.py --backend reference --output benchmarks/results/marks-reference.json
    python benchmarks/marks.py --backend tensorrt --output marks.json

The model is ``y = x + x``. Each request has 1 to 3 rows, in every one of which are its number, the
row's and how many there are, so that no two requests have the same answer, and each is held to its
own, bit for bit. Threads that call, threads that have several requests under way, and coroutines
send them. Some are taken back, some have a deadline, and some are of a wrong shape.

Each must end in exactly one way: it is answered, cancelled, expired or rejected, and only one that
was taken back, late or wrong may end as such. What the batcher has counted must agree. The summary
is JSON; the exit status is 1 after anything else, or when nothing ends for a minute, where the
stacks are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import faulthandler
import itertools
import os
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import trtfast
from environment import describe, host
from measure import report
from trtfast import backend
from workloads import doubling

Rows = NDArray[np.float32]

WIDTH = 4  # the number's upper and lower part, the row, and the rows
PART = 1 << 12  # of a number, so that float32 has both parts exactly
MOST_ROWS = 3
BLOCK = 256  # requests that a sender takes at once
SEVERAL = 8  # that a thread has under way
BUCKETS = (1, 2, 4, 8, 16, 32)
LONGEST_DEADLINE = 0.002
PATIENCE = 60.0  # seconds in which something must end
FAULTS_KEPT = 10


class Kind(IntEnum):
    """What is done with a request."""

    PLAIN = 0
    TAKEN_BACK = 1
    HURRIED = 2
    WRONG_SHAPE = 3


class End(IntEnum):
    """How a request ends."""

    OPEN = 0
    ANSWERED = 1
    CANCELLED = 2
    EXPIRED = 3
    REJECTED = 4
    FAILED = 5


SHARES = {Kind.PLAIN: 0.80, Kind.TAKEN_BACK: 0.08, Kind.HURRIED: 0.08, Kind.WRONG_SHAPE: 0.04}
ALLOWED = {
    Kind.PLAIN: {End.ANSWERED},
    Kind.TAKEN_BACK: {End.ANSWERED, End.CANCELLED},
    Kind.HURRIED: {End.ANSWERED, End.EXPIRED},
    Kind.WRONG_SHAPE: {End.REJECTED},
}
END_OF = {
    concurrent.futures.CancelledError: End.CANCELLED,
    trtfast.DeadlineExceededError: End.EXPIRED,
    trtfast.InputError: End.REJECTED,
}


class Request(NamedTuple):
    """A marked request, and its answer."""

    number: int
    kind: Kind
    rows: Rows
    answer: Rows
    deadline: float | None


class Ledger:
    """Deals requests out to all senders, and keeps how each ended."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.ends = bytearray(count)
        self.kinds = np.zeros(count, np.uint8)
        self.rows = np.zeros(count, np.uint8)
        self.wrong = 0
        self.fault_count = 0
        self.faults: list[str] = []  # the first of them
        self._blocks = itertools.count()
        self._lock = threading.Lock()

    def requests(self) -> Iterator[Request]:
        """Deal requests to a sender, until there are no more."""
        while (first := next(self._blocks) * BLOCK) < self.count:
            yield from self._block(first, min(first + BLOCK, self.count))

    def _block(self, first: int, end: int) -> Iterator[Request]:
        rng, count = np.random.default_rng(first), end - first
        kinds = rng.choice(len(SHARES), count, p=list(SHARES.values()))
        rows = rng.integers(1, MOST_ROWS + 1, count)
        self.kinds[first:end], self.rows[first:end] = kinds, rows
        numbers = np.arange(first, end)[:, None]
        marks = np.empty((count, MOST_ROWS, WIDTH), np.float32)
        marks[..., 0], marks[..., 1] = numbers // PART, numbers % PART
        marks[..., 2], marks[..., 3] = np.arange(MOST_ROWS), rows[:, None]
        answers = marks * 2
        deadlines = rng.uniform(0, LONGEST_DEADLINE, count).tolist()
        each = zip(map(Kind, kinds.tolist()), rows.tolist(), deadlines, strict=True)
        for index, (kind, size, deadline) in enumerate(each):
            given = marks[index, :size]
            if kind is Kind.WRONG_SHAPE:
                given = np.concatenate([given, given], axis=1)
            seconds = deadline if kind is Kind.HURRIED else None
            yield Request(first + index, kind, given, answers[index, :size], seconds)

    def settle(self, request: Request, ask: Callable[..., Any], *arguments: Any) -> None:
        """Keep how a request ends, whose answer a function returns."""
        try:
            answer = ask(*arguments)
        except Exception as error:
            self.refused(request, error)
        else:
            self.answered(request, answer)

    def answered(self, request: Request, answer: Any) -> None:
        """Keep that a request was answered, or failed as it is not its own answer."""
        wanted = request.answer
        if answer.shape == wanted.shape and answer.tobytes() == wanted.tobytes():
            self._end(request, End.ANSWERED)
            return
        self._end(request, End.FAILED)
        with self._lock:
            self.wrong += 1
        self.fault(f"{_told(request)}: wrong answer {answer.tolist()} for {wanted.tolist()}")

    def refused(self, request: Request, error: Exception) -> None:
        """Keep that a request ended in an exception."""
        end = END_OF.get(type(error), End.FAILED)
        self._end(request, end)
        if end not in ALLOWED[request.kind]:
            self.fault(f"{_told(request)}: {error!r}")

    def _end(self, request: Request, end: End) -> None:
        if self.ends[request.number]:
            self.fault(f"{_told(request)}: it ended before, and again as {end.name.lower()}")
        self.ends[request.number] = end

    def fault(self, text: str) -> None:
        with self._lock:
            self.fault_count += 1
            if len(self.faults) < FAULTS_KEPT:
                self.faults.append(text)

    def left(self) -> int:
        """Return how many requests have not ended."""
        return self.count - int(np.count_nonzero(np.frombuffer(self.ends, np.uint8)))


def _told(request: Request) -> str:
    return f"request {request.number}, {request.kind.name.lower()}"


# The senders


def call(batcher: trtfast.Batcher, ledger: Ledger) -> None:
    """Send requests one after the other from a thread."""

    def answer_to(request: Request) -> Any:
        if request.kind is not Kind.TAKEN_BACK:
            return batcher.infer(request.rows, deadline=request.deadline)
        future = batcher.infer_async(request.rows)
        future.cancel()
        return future.result(PATIENCE)

    for request in ledger.requests():
        ledger.settle(request, answer_to, request)


def call_several(batcher: trtfast.Batcher, ledger: Ledger) -> None:
    """Send several requests at once from a thread, and look at no answer before all are there."""
    requests = ledger.requests()
    while group := list(itertools.islice(requests, SEVERAL)):
        begun: list[tuple[Request, trtfast.InferenceFuture]] = []
        for request in group:
            try:
                future = batcher.infer_async(request.rows, deadline=request.deadline)
                begun.append((request, future))
            except Exception as error:  # noqa: PERF203
                ledger.refused(request, error)
        for request, future in reversed(begun):
            if request.kind is Kind.TAKEN_BACK:
                future.cancel()
        concurrent.futures.wait([future for _, future in begun], PATIENCE)
        for request, future in begun:
            ledger.settle(request, future.result, 0)


async def ask(batcher: trtfast.Batcher, ledger: Ledger) -> None:
    """Send requests one after the other from a coroutine."""
    for request in ledger.requests():
        try:
            future = batcher.infer_async(request.rows, deadline=request.deadline)
            if request.kind is Kind.TAKEN_BACK:
                await _give_up(future)
            answer = await future
        except Exception as error:  # noqa: PERF203
            ledger.refused(request, error)
        else:
            ledger.answered(request, answer)


async def _give_up(future: trtfast.InferenceFuture) -> None:
    """Cancel a task that waits for an answer, which takes its request back if it waits as well."""

    async def wait() -> None:
        await future

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])


def send(batcher: trtfast.Batcher, ledger: Ledger, threads: int, coroutines: int) -> None:
    """Let all senders send until every request has ended."""

    async def ask_all() -> None:
        await asyncio.gather(*(ask(batcher, ledger) for _ in range(coroutines)))

    def run(index: int) -> None:
        try:
            if index == threads:
                asyncio.run(ask_all())
            else:
                (call_several if index % 2 else call)(batcher, ledger)
        except BaseException:
            ledger.fault(traceback.format_exc())

    # A daemon, as one that hangs must not keep us.
    senders = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(threads + 1)]
    for sender in senders:
        sender.start()
    left, moved, told = ledger.count, time.monotonic(), 0
    while any(sender.is_alive() for sender in senders):
        time.sleep(0.05)
        before, left = left, ledger.left()
        if left != before:
            moved = time.monotonic()
        elif time.monotonic() - moved > PATIENCE:
            print(f"HUNG: nothing has ended for {PATIENCE:.0f} s, and {left} are open", flush=True)
            faulthandler.dump_traceback(all_threads=True)
            os._exit(1)
        if (tenths := 10 * (ledger.count - left) // ledger.count) > told:
            told = tenths
            print(f"  {ledger.count - left} have ended", flush=True)


# What is asked, and what came of it


def open_engine(kind: str, lanes: int, stack: ExitStack) -> trtfast.InferenceEngine:
    if kind == "reference":
        return stack.enter_context(trtfast.ReferenceEngine(doubling("n", WIDTH)))
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    plan = folder / "marks.engine"
    trtfast.build(doubling("n", WIDTH), plan, precision="fp32", buckets=BUCKETS)
    return stack.enter_context(trtfast.Engine(plan, lanes=lanes, pad_to_bucket=True))


def summary(ledger: Ledger, stats: trtfast.BatcherStats) -> dict[str, Any]:
    """Count how requests ended, and hold what the batcher has counted to that."""
    ends = np.frombuffer(ledger.ends, np.uint8)
    found = {end: int((ends == end).sum()) for end in End}
    if left := found[End.OPEN]:
        ledger.fault(f"{left} requests have not ended")
    rows = int(ledger.rows[ends == End.ANSWERED].sum())
    for name, counted, wanted in (
        ("calls", stats.calls, found[End.ANSWERED]),
        ("rows", stats.rows, rows),
        ("cancelled", stats.cancelled, found[End.CANCELLED]),
        ("expired", stats.expired, found[End.EXPIRED]),
        ("waiting", stats.waiting, 0),
    ):
        if counted != wanted:
            ledger.fault(f"the batcher counted {name} {counted}, and there were {wanted}")
    kinds = np.bincount(ledger.kinds, minlength=len(Kind)).tolist()
    return {
        "sent": {kind.name.lower(): kinds[kind] for kind in Kind},
        "ended": {end.name.lower(): count for end, count in found.items()},
        "rows": rows,
        "batches": stats.executions,
        "batch_sizes": dict(sorted(stats.batch_sizes.items())),
        "wrong": ledger.wrong,
        "fault_count": ledger.fault_count,
        "faults": ledger.faults,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=32)
    parser.add_argument("--coroutines", type=int, default=64)
    parser.add_argument("--lanes", type=int, default=2, help="of TensorRT's engine")
    parser.add_argument("--backend", choices=("reference", "tensorrt"), help="by default, by GPU")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message=".* does not list .* as supported")
    kind = options.backend or ("reference" if backend.gpu() is None else "tensorrt")
    ledger = Ledger(options.requests)
    with ExitStack() as stack:
        engine = open_engine(kind, options.lanes, stack)
        with trtfast.Batcher(engine) as batcher:
            batcher.warmup()
            began = time.perf_counter()
            send(batcher, ledger, options.threads, options.coroutines)
            seconds = time.perf_counter() - began
        stats = batcher.stats()
    result = {
        **(host() if kind == "reference" else describe()),
        "backend": kind,
        "requests": options.requests,
        "threads": options.threads,
        "coroutines": options.coroutines,
        "seconds": seconds,
        "per_second": options.requests / seconds,
        **summary(ledger, stats),
    }
    report(result, options.output)
    return 1 if result["fault_count"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
