"""Futures, deadlines, bounded queues, cancellation and asyncio, with runs that are held back."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import Any

import numpy as np
import pytest

import trtfast
from fake_gpu import FakeGpu, answer, rows


def test_futures_give_their_own_answers(engine: trtfast.Engine) -> None:
    futures = [engine.infer_async(rows(1 + seed % 32, seed)) for seed in range(200)]
    for seed, future in reversed(list(enumerate(futures))):
        np.testing.assert_array_equal(future.result(60), answer(rows(1 + seed % 32, seed)))
        assert future.done()
        assert not future.cancel()
        assert not future.cancelled()
        assert future.exception(0) is None


def test_a_future_holds_the_array_it_was_given(gpu: FakeGpu, narrow: trtfast.Engine) -> None:
    with gpu.gate() as gate:
        narrow.infer_async(gate.held(rows(4)))
        gate.wait()
        future = narrow.infer_async(rows(6))
        overwriting = [np.full((6, 2), np.nan, np.float32) for _ in range(50)]
        gate.open()
        np.testing.assert_array_equal(future.result(60), answer(rows(6)))
        assert all(np.isnan(array).all() for array in overwriting)


def test_callbacks_are_called_once_each(gpu: FakeGpu, narrow: trtfast.Engine) -> None:
    called: list[Any] = []
    ready = threading.Event()
    with gpu.gate() as gate:
        future = narrow.infer_async(gate.held(rows(6)))
        future.add_done_callback(called.append)
        future.add_done_callback(lambda _: ready.set())
        gate.wait()
        assert called == []
        gate.open()
        assert ready.wait(60)
    assert called == [future]
    future.add_done_callback(called.append)  # is done, so at once
    assert called == [future, future]


def test_a_callback_that_raises_harms_no_other_future(
    engine: trtfast.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    called = threading.Event()

    def fail(_: Any) -> None:
        called.set()
        raise RuntimeError("of the callback")

    engine.infer_async(rows(3)).add_done_callback(fail)
    assert called.wait(60)
    np.testing.assert_array_equal(engine.infer_async(rows(6)).result(60), answer(rows(6)))
    assert "of the callback" in caplog.text  # which the standard library logs


def test_a_full_queue_refuses(gpu: FakeGpu, narrow: trtfast.Engine) -> None:
    with gpu.gate() as gate:
        first = narrow.infer_async(gate.held(rows(3)))
        gate.wait()
        futures = [narrow.infer_async(rows(4, seed)) for seed in range(2)]
        for refused in (narrow.infer, narrow.infer_async):
            with pytest.raises(trtfast.QueueFullError, match="max_queue"):
                refused(rows(4))
        gate.open()
        np.testing.assert_array_equal(first.result(60).copy_to_host(), answer(rows(3)))
        for seed, future in enumerate(futures):
            np.testing.assert_array_equal(future.result(60), answer(rows(4, seed)))
    np.testing.assert_array_equal(narrow.infer(rows(4)), answer(rows(4)))  # there is room again


def test_a_queue_of_none(gpu: FakeGpu, plan: bytes) -> None:
    with trtfast.Engine(plan, lanes=1, max_queue=0) as engine:
        np.testing.assert_array_equal(engine.infer(rows(4)), answer(rows(4)))
        with gpu.gate() as gate:
            engine.infer_async(gate.held(rows(3)))
            gate.wait()
            with pytest.raises(trtfast.QueueFullError):
                engine.infer(rows(4))


def test_a_deadline_that_passes_in_the_queue(gpu: FakeGpu, narrow: trtfast.Engine) -> None:
    np.testing.assert_array_equal(narrow.infer(rows(3), deadline=60), answer(rows(3)))
    with gpu.gate() as gate:
        narrow.infer_async(gate.held(rows(3)))
        gate.wait()
        for seconds in (0, 0.001):
            with pytest.raises(trtfast.DeadlineExceededError, match="deadline"):
                narrow.infer(rows(4), deadline=seconds)
        late = narrow.infer_async(rows(4), deadline=0)
        kept = narrow.infer_async(rows(5), deadline=1e300)
        gate.open()
        with pytest.raises(trtfast.DeadlineExceededError, match="deadline"):
            late.result(60)
        np.testing.assert_array_equal(kept.result(60), answer(rows(5)))


def test_a_waiting_call_can_be_cancelled(gpu: FakeGpu, narrow: trtfast.Engine) -> None:
    with gpu.gate() as gate:
        first = narrow.infer_async(gate.held(rows(3)))
        gate.wait()
        assert not first.cancel()  # it has begun
        cancelled, kept = narrow.infer_async(rows(4)), narrow.infer_async(rows(5))
        called: list[Any] = []
        cancelled.add_done_callback(called.append)
        assert cancelled.cancel()
        assert cancelled.cancel()  # as the standard library's
        assert cancelled.cancelled()
        assert called == [cancelled]
        with pytest.raises(concurrent.futures.CancelledError):
            cancelled.result(60)
        successor = narrow.infer_async(rows(6))  # in the place that was given up
        with pytest.raises(trtfast.QueueFullError):
            narrow.infer_async(rows(7))
        gate.open()
        np.testing.assert_array_equal(kept.result(60), answer(rows(5)))
        np.testing.assert_array_equal(successor.result(60), answer(rows(6)))
    assert narrow.stats().calls == 3


def test_one_who_waits_for_a_cancelled_call_is_woken(gpu: FakeGpu, narrow: trtfast.Engine) -> None:
    with gpu.gate() as gate, concurrent.futures.ThreadPoolExecutor(1) as pool:
        narrow.infer_async(gate.held(rows(3)))
        gate.wait()
        future = narrow.infer_async(rows(4))
        waiting = pool.submit(concurrent.futures.wait, [future], 60)
        future.cancel()
        assert waiting.result(60).done == {future}
        gate.open()


def test_calls_from_an_event_loop(engine: trtfast.Engine) -> None:
    async def ask_all() -> list[np.ndarray]:
        return await asyncio.gather(*(engine.infer_async(rows(5, seed)) for seed in range(100)))

    for _ in range(2):  # each run has a loop of its own
        for seed, given in enumerate(asyncio.run(ask_all())):
            np.testing.assert_array_equal(given, answer(rows(5, seed)))


def test_an_error_reaches_who_awaits(engine: trtfast.Engine, gpu: FakeGpu) -> None:
    async def ask(batch: np.ndarray) -> Any:
        return await engine.infer_async(batch)

    gpu.fail("launch")
    with pytest.raises(trtfast.Error):
        asyncio.run(ask(rows(6)))
    np.testing.assert_array_equal(asyncio.run(ask(rows(6))), answer(rows(6)))


def test_a_wait_that_is_given_up_frees_the_place(gpu: FakeGpu, narrow: trtfast.Engine) -> None:
    async def ask() -> np.ndarray:
        with gpu.gate() as gate:
            first = asyncio.wrap_future(narrow.infer_async(gate.held(rows(3))))
            gate.wait()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(_awaited(narrow.infer_async(rows(4))), 0.01)
            kept = [narrow.infer_async(rows(5)), narrow.infer_async(rows(6))]
            assert not first.done()  # the loop has gone on meanwhile
            gate.open()
            await asyncio.gather(*kept)
            await first
            return await kept[1]

    np.testing.assert_array_equal(asyncio.run(ask()), answer(rows(6)))


async def _awaited(future: trtfast.InferenceFuture) -> Any:
    return await future
