"""Calls of the reference engine in the background, as those of an engine on a GPU."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import tiny
from trtfast.errors import ClosedError, DeadlineExceededError, Error, InputError
from trtfast.reference import ReferenceEngine

WEIGHT = np.maximum(np.random.default_rng(0).standard_normal((8, 4)) * 0.1, -9).astype(np.float32)


def rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 8)).astype(np.float32)


def answer(batch: np.ndarray) -> np.ndarray:
    return np.maximum(batch @ WEIGHT, 0)


@pytest.fixture
def engine() -> Iterator[ReferenceEngine]:
    with ReferenceEngine(tiny.dense()) as engine:
        yield engine


@contextmanager
def held(engine: ReferenceEngine) -> Iterator[None]:
    """Keep the engine's thread busy."""
    release = threading.Event()
    engine._pool.submit(release.wait, 60)
    try:
        yield
    finally:
        release.set()


def test_results_are_those_of_infer(engine: ReferenceEngine) -> None:
    batches = [rows(count, count) for count in range(1, 30)]
    futures = [engine.infer_async(batch) for batch in batches]
    for batch, future in zip(batches, futures, strict=True):
        np.testing.assert_array_equal(future.result(60), engine.infer(batch))
        np.testing.assert_allclose(future.result(0), answer(batch), rtol=1e-5, atol=1e-6)
    (named,) = engine.infer_async({"x": batches[0]}).result(60).items()
    assert named[0] == "y"
    np.testing.assert_array_equal(named[1], futures[0].result())


def test_calls_are_awaited_together(engine: ReferenceEngine) -> None:
    async def run() -> list[np.ndarray]:
        return await asyncio.gather(*(engine.infer_async(rows(3, seed)) for seed in range(20)))

    for seed, given in enumerate(asyncio.run(run())):
        np.testing.assert_array_equal(given, engine.infer(rows(3, seed)))


def test_wrong_inputs_are_refused_at_once(engine: ReferenceEngine) -> None:
    with pytest.raises(InputError, match="rank 1"):
        engine.infer_async(rows(1)[0])


def test_a_failure_while_running_is_the_futures() -> None:
    # Only the static shape is known before: MatMul finds that 9 columns do not fit 8 rows.
    model = tiny.dense("batch", 8)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "columns"
    with ReferenceEngine(model) as engine:
        future = engine.infer_async(np.zeros((2, 9), np.float32))
        with pytest.raises(Error, match="ONNX Runtime failed to run the model"):
            future.result(60)
        np.testing.assert_array_equal(engine.infer_async(rows(2)).result(60), engine.infer(rows(2)))


def test_a_call_that_has_not_begun_can_be_taken_back(engine: ReferenceEngine) -> None:
    with held(engine):
        waiting, kept = engine.infer_async(rows(1)), engine.infer_async(rows(2))
        assert waiting.cancel()
        assert waiting.cancel()
        assert waiting.cancelled()
    np.testing.assert_array_equal(kept.result(60), engine.infer(rows(2)))
    assert not kept.cancel()


def test_a_cancelled_task_takes_its_call_back(engine: ReferenceEngine) -> None:
    async def run() -> bool:
        with held(engine):
            future = engine.infer_async(rows(1))
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(future, 0.01)
            return future.cancelled()

    assert asyncio.run(run())


def test_a_deadline_is_to_the_beginning(engine: ReferenceEngine) -> None:
    with held(engine):
        late = engine.infer_async(rows(1), deadline=0.0)
        in_time = engine.infer_async(rows(1), deadline=60)
    with pytest.raises(DeadlineExceededError, match="before the call began"):
        late.result(60)
    np.testing.assert_array_equal(in_time.result(60), engine.infer(rows(1)))


def test_closing_waits_for_what_was_begun() -> None:
    engine = ReferenceEngine(tiny.dense())
    wanted = engine.infer(rows(100))
    futures = [engine.infer_async(rows(100)) for _ in range(20)]
    engine.close()
    assert all(future.done() for future in futures)
    assert all(np.array_equal(future.result(), wanted) for future in futures)
    with pytest.raises(ClosedError, match="make a new ReferenceEngine"):
        engine.infer_async(rows(1))
    engine.close()
