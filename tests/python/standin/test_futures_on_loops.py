"""Futures that coroutines wait for: who completes them, and when their loop ends first."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import numpy as np
import pytest
import uvloop

import trtfast
from fake_gpu import FakeGpu, answer, rows

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> Any:
    loop = LOOPS[request.param]()
    yield loop
    loop.close()


def test_a_loop_completes_what_its_coroutines_wait_for(
    gpu: FakeGpu, narrow: trtfast.Engine, loop: asyncio.AbstractEventLoop
) -> None:
    completed: list[threading.Thread] = []

    async def ask(gate: Any) -> Any:
        future = _behind(gate, narrow)
        future.add_done_callback(lambda _: completed.append(threading.current_thread()))
        loop.call_later(0.02, gate.open)
        return await future

    with gpu.gate() as gate:
        np.testing.assert_array_equal(loop.run_until_complete(ask(gate)), answer(rows(4)))
    assert completed == [threading.current_thread()]


def test_a_thread_may_wait_for_the_same_future(
    gpu: FakeGpu, narrow: trtfast.Engine, loop: asyncio.AbstractEventLoop
) -> None:
    async def ask(gate: Any) -> tuple[Any, Any, Any]:
        future = _behind(gate, narrow)
        loop.call_later(0.02, gate.open)
        return await asyncio.gather(
            asyncio.ensure_future(_wait(future)),
            loop.run_in_executor(None, future.result, 60),
            asyncio.ensure_future(_wait(future)),
        )

    with gpu.gate() as gate:
        for found in loop.run_until_complete(ask(gate)):
            np.testing.assert_array_equal(found, answer(rows(4)))


def test_two_loops_may_wait_for_the_same_future(gpu: FakeGpu, narrow: trtfast.Engine) -> None:
    with gpu.gate() as gate, ThreadPoolExecutor(2) as pool:
        future = _behind(gate, narrow)
        found = [pool.submit(asyncio.run, _wait(future)) for _ in range(2)]
        while len(future._done_callbacks) < 2:  # type: ignore[attr-defined]
            time.sleep(0.001)
        gate.open()
        for each in found:
            np.testing.assert_array_equal(each.result(60), answer(rows(4)))


@pytest.mark.parametrize("stops", [0, 1])
def test_of_two_loops_neither_waits_for_the_other(
    gpu: FakeGpu, narrow: trtfast.Engine, loop: asyncio.AbstractEventLoop, stops: int
) -> None:
    async def begin(future: trtfast.InferenceFuture) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(_wait(future))
        await asyncio.sleep(0)
        return task

    loops = (loop, asyncio.new_event_loop())
    with gpu.gate() as gate:
        future = _behind(gate, narrow)
        tasks = [each.run_until_complete(begin(future)) for each in loops]
        threading.Timer(0.02, gate.open).start()
        for index in (1 - stops, stops):  # the one that stops runs again when the other has it all
            found = loops[index].run_until_complete(asyncio.wait_for(tasks[index], 60))
            np.testing.assert_array_equal(found, answer(rows(4)))
    loops[1].close()


@pytest.mark.parametrize("opened", ["before", "after"])
def test_a_call_outlives_the_loop_that_gave_it_up(
    gpu: FakeGpu, narrow: trtfast.Engine, loop: asyncio.AbstractEventLoop, opened: str
) -> None:
    async def give_up(gate: Any) -> Any:
        future = narrow.infer_async(gate.held(rows(4)))
        task = asyncio.ensure_future(_wait(future))
        await asyncio.sleep(0)
        gate.wait()
        if opened == "before":  # the call ends, and the loop has not taken it yet
            gate.open()
            narrow.infer(rows(1))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return future

    with gpu.gate() as gate:
        future = loop.run_until_complete(give_up(gate))
        loop.close()
        if opened == "after":
            gate.open()
        assert future.result(60).shape == (4, 2)


@pytest.mark.parametrize("ask", ["result", "exception"])
@pytest.mark.parametrize("ended", ["before", "after"])
def test_a_thread_waits_for_no_loop_that_stopped(
    gpu: FakeGpu, narrow: trtfast.Engine, loop: asyncio.AbstractEventLoop, ask: str, ended: str
) -> None:
    async def begin(gate: Any) -> tuple[trtfast.InferenceFuture, asyncio.Task[Any]]:
        future = _behind(gate, narrow)
        task = asyncio.ensure_future(_wait(future))
        await asyncio.sleep(0)
        return future, task

    with gpu.gate() as gate:
        future, task = loop.run_until_complete(begin(gate))
        if ended == "before":  # the call ends, and the loop does not run to take it
            gate.open()
            narrow.infer_async(rows(1)).result(60)
            assert not future.done()
        else:
            threading.Timer(0.02, gate.open).start()
        getattr(future, ask)(60)
        np.testing.assert_array_equal(future.result(), answer(rows(4)))
        np.testing.assert_array_equal(loop.run_until_complete(task), answer(rows(4)))


def test_a_loop_that_can_watch_no_files(gpu: FakeGpu, narrow: trtfast.Engine) -> None:
    async def ask(gate: Any) -> Any:
        future = _behind(gate, narrow)
        asyncio.get_running_loop().call_later(0.02, gate.open)
        return await future

    loop = asyncio.new_event_loop()
    with gpu.gate() as gate, mock.patch.object(loop, "add_reader", side_effect=NotImplementedError):
        np.testing.assert_array_equal(loop.run_until_complete(ask(gate)), answer(rows(4)))
    loop.close()


def test_an_awaited_future_is_one_of_the_standard_librarys(
    gpu: FakeGpu, narrow: trtfast.Engine, loop: asyncio.AbstractEventLoop
) -> None:
    async def ask() -> trtfast.InferenceFuture:
        future = narrow.infer_async(rows(4))
        np.testing.assert_array_equal(await future, answer(rows(4)))
        return future

    future = loop.run_until_complete(ask())
    assert isinstance(future, concurrent.futures.Future)
    assert future.done()
    assert not future.cancel()
    assert not future.cancelled()
    assert not future.running()
    called: list[Any] = []
    future.add_done_callback(called.append)
    assert called == [future]
    assert concurrent.futures.wait([future], 60).done == {future}
    assert next(concurrent.futures.as_completed([future], 60)) is future
    assert future.exception(60) is None
    np.testing.assert_array_equal(future.result(60), answer(rows(4)))
    np.testing.assert_array_equal(loop.run_until_complete(_wait(future)), answer(rows(4)))
    with pytest.raises(AttributeError, match="no attribute 'unknown'"):
        _ = future.unknown


def test_who_awaits_a_call_that_another_cancels(
    gpu: FakeGpu, narrow: trtfast.Engine, loop: asyncio.AbstractEventLoop
) -> None:
    async def ask(gate: Any) -> None:
        future = _behind(gate, narrow)
        tasks = [asyncio.ensure_future(_wait(future)) for _ in range(2)]
        await asyncio.sleep(0)
        assert future.cancel()
        for task in tasks:
            with pytest.raises(concurrent.futures.CancelledError):
                await asyncio.wait_for(task, 60)

    with gpu.gate() as gate:
        loop.run_until_complete(ask(gate))


def test_what_comes_while_a_call_ends_is_told_once(
    engine: trtfast.Engine, loop: asyncio.AbstractEventLoop
) -> None:
    """Callbacks, a coroutine and a thread, each as the call may be about to end, or has."""
    called: list[int] = []

    async def ask(seed: int, pool: ThreadPoolExecutor) -> None:
        future = engine.infer_async(rows(5, seed))
        callback = pool.submit(future.add_done_callback, lambda _: called.append(seed))
        result = pool.submit(future.result, 60)
        if seed % 2:
            await asyncio.sleep(0)
        np.testing.assert_array_equal(await future, answer(rows(5, seed)))
        await asyncio.wrap_future(callback)
        np.testing.assert_array_equal(await asyncio.wrap_future(result), answer(rows(5, seed)))

    async def ask_all() -> None:
        with ThreadPoolExecutor(4) as pool:
            for first in range(0, 1000, 10):
                await asyncio.gather(*(ask(first + each, pool) for each in range(10)))

    loop.run_until_complete(asyncio.wait_for(ask_all(), 60))
    _wait_for(called, 1000)
    assert sorted(called) == list(range(1000))


def test_threads_may_all_be_the_first_to_use_a_future(engine: trtfast.Engine) -> None:
    """Of the standard library's part of it, which is made for the first of them."""
    called: list[int] = []

    def use(barrier: threading.Barrier, future: trtfast.InferenceFuture, seed: int) -> Any:
        barrier.wait()
        future.add_done_callback(lambda _: called.append(seed))
        return future.result(60)

    often = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            for seed in range(300):
                barrier = threading.Barrier(4)
                future = engine.infer_async(rows(5, seed))
                used = [pool.submit(use, barrier, future, seed) for _ in range(4)]
                for each in used:
                    np.testing.assert_array_equal(each.result(60), answer(rows(5, seed)))
    finally:
        sys.setswitchinterval(often)
    _wait_for(called, 4 * 300)
    assert sorted(called) == sorted([*range(300)] * 4)


def _behind(gate: Any, narrow: trtfast.Engine) -> trtfast.InferenceFuture:
    """Begin a call that is held up by another."""
    narrow.infer_async(gate.held(rows(3)))
    gate.wait()
    return narrow.infer_async(rows(4))


def _wait_for(called: list[int], count: int) -> None:
    """Wait for callbacks, which come after those who wait for results have been woken."""
    end = time.monotonic() + 60
    while len(called) < count and time.monotonic() < end:
        time.sleep(0.001)


async def _wait(future: Any) -> Any:
    return await future
