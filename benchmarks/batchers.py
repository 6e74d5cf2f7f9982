"""Ways of making batches of single requests, all in this process and on one engine.

Each is given rows and gives answers. Those of others run as they are told to in their own
documentation, but for what is between processes, which they are spared.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

import trtfast

Rows = NDArray[np.float32]
Ask = Callable[[Rows], Awaitable[Any]]


@dataclass
class Plan:
    """What every contender is told, and where it counts the sizes of the batches that it ran."""

    engine: trtfast.InferenceEngine
    lanes: int
    limit: int
    delay: float
    sizes: Counter[int] = field(default_factory=Counter)

    def run(self, rows: list[Rows]) -> list[Rows]:
        """Stack rows, run them, and give each its answer: what all but the batcher do."""
        self.sizes[len(rows)] += 1
        return list(self.engine.infer(np.stack(rows)))


Contender = Callable[[Plan], AbstractAsyncContextManager[Ask]]


@contextmanager
def batching(plan: Plan) -> Iterator[trtfast.Batcher]:
    """Open trtfast's batcher; what it counted is in the plan at the end."""
    with trtfast.Batcher(plan.engine, plan.limit, plan.delay) as batcher:
        yield batcher
        plan.sizes.update(batcher.stats().batch_sizes)


@asynccontextmanager
async def trtfast_batcher(plan: Plan) -> AsyncIterator[Ask]:
    with batching(plan) as batcher:
        yield lambda row: batcher.infer_async(row[None])


@asynccontextmanager
async def queue_and_stack(plan: Plan) -> AsyncIterator[Ask]:
    """Gather in a queue of asyncio's, stack, and run in a thread: one task for each lane."""
    waiting: asyncio.Queue[tuple[Rows, asyncio.Future[Rows]]] = asyncio.Queue()

    async def work() -> None:
        while True:
            batch = [await waiting.get()]
            end = time.perf_counter() + plan.delay
            while len(batch) < plan.limit:
                if not waiting.empty():
                    batch.append(waiting.get_nowait())
                    continue
                left = end - time.perf_counter()
                if left <= 0:
                    break
                try:
                    batch.append(await asyncio.wait_for(waiting.get(), left))
                except asyncio.TimeoutError:  # another class than TimeoutError in 3.10
                    break
            answers = await asyncio.to_thread(plan.run, [row for row, _ in batch])
            for (_, future), answer in zip(batch, answers, strict=True):
                future.set_result(answer)

    async def ask(row: Rows) -> Rows:
        future = asyncio.get_running_loop().create_future()
        waiting.put_nowait((row, future))
        answer: Rows = await future
        return answer

    tasks = [asyncio.create_task(work()) for _ in range(plan.lanes)]
    try:
        yield ask
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def ray_serve_batch(plan: Plan) -> AsyncIterator[Ask]:
    """Ray Serve's decorator, in no replica: it asks one only how many requests there may be."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of its own use of pydantic
        from ray import serve

    @serve.batch(  # type: ignore[untyped-decorator]
        max_batch_size=plan.limit,
        batch_wait_timeout_s=plan.delay,
        max_concurrent_batches=plan.lanes,
    )
    async def ask(rows: list[Rows]) -> list[Rows]:
        return await asyncio.to_thread(plan.run, rows)

    context = SimpleNamespace(_deployment_config=SimpleNamespace(max_ongoing_requests=10**6))
    with mock.patch.object(serve, "get_replica_context", return_value=context):
        yield ask


@asynccontextmanager
async def litserve_batching(plan: Plan) -> AsyncIterator[Ask]:
    """LitServe's batching loop, one for each lane as it has one for each worker."""
    import litserve
    from litserve.callbacks import CallbackRunner
    from litserve.loops.simple_loops import BatchedLoop
    from litserve.transport.base import MessageTransport

    loop = asyncio.get_running_loop()
    waiting: queue.Queue[Any] = queue.Queue()
    futures: dict[int, asyncio.Future[Rows]] = {}

    class Api(litserve.LitAPI):  # type: ignore[misc]
        def predict(self, batch: Rows) -> Rows:
            plan.sizes[len(batch)] += 1
            return plan.engine.infer(batch)  # type: ignore[no-any-return]

    class Back(MessageTransport):  # type: ignore[misc]
        def send(self, item: Any, consumer_id: int) -> None:  # noqa: ARG002
            loop.call_soon_threadsafe(arrive, *item)

        async def areceive(self, timeout: int | None = None, consumer_id: int | None = None) -> Any:
            raise NotImplementedError

    def arrive(number: int, response: tuple[Any, ...]) -> None:
        futures.pop(number).set_result(response[0])

    async def ask(row: Rows) -> Rows:
        future = loop.create_future()
        futures[id(future)] = future
        waiting.put((0, id(future), time.monotonic(), row))
        answer: Rows = await future
        return answer

    api = Api(max_batch_size=plan.limit, batch_timeout=plan.delay)
    api.request_timeout = -1
    api.pre_setup()
    runner = CallbackRunner([])
    loops = [BatchedLoop() for _ in range(plan.lanes)]
    threads = [
        threading.Thread(
            target=lambda index=index, each=each: each(
                api, "cpu", index, waiting, Back(), {}, runner
            )
        )
        for index, each in enumerate(loops)
    ]
    for thread in threads:
        thread.start()
    try:
        yield ask
    finally:
        for _ in threads:
            waiting.put((None,) * 4)  # which ends a loop
        for thread in threads:
            thread.join()


CONTENDERS: dict[str, Contender] = {
    "batcher": trtfast_batcher,
    "queue-and-stack": queue_and_stack,
    "ray-serve-batch": ray_serve_batch,
    "litserve-batching": litserve_batching,
}
