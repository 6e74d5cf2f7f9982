"""On a GPU: futures, deadlines, bounded queues, cancellation and asyncio."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trtfast
import zoo

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.* does not list .* as supported"),
]


def test_futures_give_their_own_answers(engine: trtfast.Engine) -> None:
    futures = [engine.infer_async(zoo.rows(1 + seed % 32, seed)) for seed in range(200)]
    for seed, future in reversed(list(enumerate(futures))):
        assert np.array_equal(future.result(60), 2 * zoo.rows(1 + seed % 32, seed))
        assert future.done()
        assert not future.cancel()


def test_a_future_holds_the_array_it_was_given(engine: trtfast.Engine) -> None:
    futures = [engine.infer_async(zoo.rows(6, seed)) for seed in range(50)]
    overwriting = [np.full((6, 8), np.nan, np.float32) for _ in range(50)]
    for seed, future in enumerate(futures):
        assert np.array_equal(future.result(60), 2 * zoo.rows(6, seed))
    assert all(np.isnan(array).all() for array in overwriting)


def test_callbacks_are_called_once_each(engine: trtfast.Engine) -> None:
    called: list[Any] = []
    ready = threading.Event()
    future = engine.infer_async(zoo.rows(6))
    future.add_done_callback(called.append)
    future.add_done_callback(lambda _: ready.set())
    assert ready.wait(60)
    assert called == [future]
    future.add_done_callback(called.append)  # is done, so at once
    assert called == [future, future]
    assert np.array_equal(future.result(0), 2 * zoo.rows(6))


def test_bad_input_of_a_future_says_so(engine: trtfast.Engine) -> None:
    with pytest.raises(trtfast.InputError, match="shape"):
        engine.infer_async(np.zeros((6, 9), np.float32)).result(60)


def test_a_result_may_be_waited_for_in_vain(busy: trtfast.Engine) -> None:
    batch = zoo.images(32)["image"]
    futures = [busy.infer_async(batch) for _ in range(20)]
    with pytest.raises(TimeoutError):
        futures[-1].result(0.0001)
    assert np.array_equal(futures[-1].result(60), futures[0].result(60))


def test_a_deadline_that_passes_in_the_queue(busy: trtfast.Engine) -> None:
    batch = zoo.images(32)["image"]
    wanted = busy.infer(batch, deadline=60)
    futures = [busy.infer_async(batch) for _ in range(20)]
    with pytest.raises(trtfast.DeadlineExceededError, match="deadline"):
        busy.infer(batch, deadline=0.0005)
    with pytest.raises(trtfast.DeadlineExceededError, match="deadline"):
        busy.infer_async(batch, deadline=0.0005).result(60)
    for future in futures:
        assert np.array_equal(future.result(60), wanted)


def test_a_full_queue_refuses(engine_of: Callable[[str], Path]) -> None:
    batch = zoo.images(32)["image"]
    with trtfast.Engine(engine_of("vit_b_16"), lanes=1, max_queue=3) as engine:
        wanted = engine.infer(batch)
        futures, refusals = [], []
        for _ in range(12):
            try:
                futures.append(engine.infer_async(batch))
            except trtfast.QueueFullError as error:  # noqa: PERF203
                refusals.append(str(error))
        assert refusals
        assert all("max_queue" in refusal for refusal in refusals)
        assert len(futures) >= 3
        for future in futures:
            assert np.array_equal(future.result(60), wanted)
        assert np.array_equal(engine.infer(batch), wanted)  # there is room again


def test_a_waiting_request_can_be_cancelled(busy: trtfast.Engine) -> None:
    batch = zoo.images(32)["image"]
    wanted = busy.infer(batch)
    futures = [busy.infer_async(batch) for _ in range(20)]
    assert futures[-1].cancel()
    assert futures[10].cancel()
    for index, future in enumerate(futures):
        if index in (10, 19):
            assert future.done()
            with pytest.raises(concurrent.futures.CancelledError):
                future.result(60)
        else:
            assert np.array_equal(future.result(60), wanted)


def test_requests_of_an_event_loop(engine: trtfast.Engine) -> None:
    async def ask(seed: int) -> bool:
        given = await engine.infer_async(zoo.rows(1 + seed % 32, seed))
        return np.array_equal(given, 2 * zoo.rows(1 + seed % 32, seed))

    async def ask_all() -> list[bool]:
        return await asyncio.gather(*(ask(seed) for seed in range(300)))

    for _ in range(2):  # each run has a loop of its own
        assert all(asyncio.run(ask_all()))


def test_an_event_loop_goes_on_while_requests_wait(busy: trtfast.Engine) -> None:
    batch = zoo.images(32)["image"]

    async def ask() -> int:
        turns = 0
        task = asyncio.gather(*(busy.infer_async(batch) for _ in range(20)))
        while not task.done():
            turns += 1
            await asyncio.sleep(0.001)
        answers = await task
        assert all(np.array_equal(answer, answers[0]) for answer in answers)
        return turns

    assert asyncio.run(ask()) > 20


def test_a_wait_that_is_given_up_leaves_the_engine_well(busy: trtfast.Engine) -> None:
    batch = zoo.images(32)["image"]
    wanted = busy.infer(batch)

    async def ask() -> np.ndarray:
        others = [asyncio.ensure_future(_awaited(busy.infer_async(batch))) for _ in range(10)]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(_awaited(busy.infer_async(batch)), 0.002)
        for other in others:
            assert np.array_equal(await other, wanted)
        return await busy.infer_async(batch)

    assert np.array_equal(asyncio.run(ask()), wanted)


async def _awaited(future: Any) -> Any:
    return await future
