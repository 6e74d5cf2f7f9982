"""Batching in the process, on the reference engine: to each caller his rows, or his own error."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import tiny
import trtfast
from imagery import random_image
from trtfast.errors import (
    ClosedError,
    DeadlineExceededError,
    Error,
    InputError,
    QueueFullError,
)


class Held:
    """An engine whose runs wait until they are let go."""

    def __init__(self, engine: trtfast.ReferenceEngine) -> None:
        self._engine = engine
        self.inputs = engine.inputs
        self.outputs = engine.outputs
        self.preprocess = engine.preprocess
        self.begun = threading.Event()
        self.released = threading.Event()
        self.released.set()

    def hold(self) -> None:
        self.released.clear()
        self.begun.clear()

    def infer(self, inputs: Any) -> Any:
        self.begun.set()
        assert self.released.wait(60)
        return self._engine.infer(inputs)

    infer_async = infer_images = close = __enter__ = __exit__ = None


@pytest.fixture
def engine() -> Iterator[Any]:
    with trtfast.ReferenceEngine(tiny.doubling("n", 3)) as reference:
        yield Held(reference)


def row(value: float, count: int = 1) -> np.ndarray[Any, Any]:
    return np.full((count, 3), value, np.float32)


def busy(engine: Any, batcher: trtfast.Batcher) -> trtfast.InferenceFuture:
    """Begin a request that keeps the engine busy."""
    engine.hold()
    first = batcher.infer_async(row(-1))
    assert engine.begun.wait(60)
    return first


@settings(max_examples=25, deadline=None)
@given(
    counts=st.lists(st.integers(1, 5), min_size=1, max_size=40),
    most=st.integers(5, 12),
    preferred=st.lists(st.integers(1, 5), max_size=2),
)
def test_each_request_gets_its_own_rows(counts: list[int], most: int, preferred: list[int]) -> None:
    with (
        trtfast.ReferenceEngine(tiny.doubling("n", 3)) as engine,
        trtfast.Batcher(engine, most, preferred_batch_sizes=preferred) as batcher,
    ):
        inputs = [row(number, count) for number, count in enumerate(counts)]
        futures = [batcher.infer_async(batch) for batch in inputs]
        for batch, future in zip(inputs, futures, strict=True):
            np.testing.assert_array_equal(future.result(60), 2 * batch)
        stats = batcher.stats()
    assert (stats.calls, stats.rows, stats.failures) == (len(counts), sum(counts), 0)
    assert sum(size * count for size, count in stats.batch_sizes.items()) == sum(counts)
    assert max(stats.batch_sizes) <= most
    assert stats.executions == sum(stats.batch_sizes.values())
    assert stats.queue.count == stats.total.count == len(counts)


def test_what_comes_while_the_engine_is_busy_is_one_batch(engine: Any) -> None:
    with trtfast.Batcher(engine, 8) as batcher:
        first = busy(engine, batcher)
        futures = [batcher.infer_async(row(n, 1 + n % 2)) for n in range(5)]
        assert batcher.stats().waiting == 5
        engine.released.set()
        assert (first.result(60) == -2).all()
        for n, future in enumerate(futures):
            np.testing.assert_array_equal(future.result(60), 2 * row(n, 1 + n % 2))
        assert batcher.stats().batch_sizes == {1: 1, 7: 1}


def test_forms_of_requests() -> None:
    nodes = [
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("Sub", ["a", "b"], ["difference"]),
    ]
    taken, made = (
        [tiny.value(name, "n", 2) for name in names]
        for names in (("a", "b"), ("sum", "difference"))
    )
    model = tiny.model_of(nodes, taken, made)
    a, b = np.float32([[5, 6]]), np.float32([[1, 2]])
    with trtfast.ReferenceEngine(model) as engine, trtfast.Batcher(engine, 4) as batcher:
        named = batcher.infer({"b": b, "a": a})
        assert list(named) == ["sum", "difference"]
        for given in (named.values(), batcher.infer((a, b)), batcher.infer([a.astype("f2"), b])):
            for got, wanted in zip(given, (a + b, a - b), strict=True):
                np.testing.assert_array_equal(got, wanted)
        strided = np.asfortranarray(np.float32([[1, 2], [3, 4]]))
        np.testing.assert_array_equal(batcher.infer((strided, strided))[0], 2 * strided)
        with pytest.raises(InputError, match="same number of rows"):
            batcher.infer((a, np.zeros((2, 2), np.float32)))
        with pytest.raises(InputError, match="missing inputs 'b'"):
            batcher.infer({"a": a})
    assert isinstance(batcher, trtfast.InferenceEngine)


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (np.zeros((1, 4), np.float32), "change axis 1"),
        (np.zeros(3, np.float32), "rank 1"),
        (np.zeros((1, 3)), "float64"),
        (np.zeros((0, 3), np.float32), "0 rows"),
        (np.zeros((9, 3), np.float32), "9 rows; expected 1 to 8"),
        ("text", "expected a NumPy array"),
    ],
)
def test_a_poisoned_request_fails_alone(engine: Any, bad: Any, match: str) -> None:
    with trtfast.Batcher(engine, 8) as batcher:
        busy(engine, batcher)
        good = batcher.infer_async(row(4))
        for infer in (batcher.infer, batcher.infer_async):
            with pytest.raises(InputError, match=match):
                infer(bad)
        engine.released.set()
        np.testing.assert_array_equal(good.result(60), row(8))


def test_a_request_that_the_model_refuses_fails_alone() -> None:
    node = helper.make_node("Gather", ["table", "x"], ["y"])
    table = helper.make_tensor("table", TensorProto.FLOAT, [2], [7, 8])
    index = tiny.value("x", "n", dtype=TensorProto.INT64)
    model = tiny.model_of([node], [index], [tiny.value("y", "n")], [table])
    with trtfast.ReferenceEngine(model) as reference:
        engine: Any = Held(reference)
        with trtfast.Batcher(engine, 8) as batcher:
            engine.hold()
            first = batcher.infer_async(np.array([1]))
            assert engine.begun.wait(60)
            futures = [batcher.infer_async(np.array([n])) for n in (0, 99, 1)]
            engine.released.set()
            assert first.result(60) == [8]
            assert futures[0].result(60) == [7]
            with pytest.raises(Error, match="ONNX Runtime failed"):
                futures[1].result(60)
            assert futures[2].result(60) == [8]


def test_an_error_that_is_not_ours_is_told(engine: Any) -> None:
    def fail(_: Any) -> Any:
        raise RuntimeError("of somebody else's")

    engine.infer = fail
    with (
        trtfast.Batcher(engine, 8) as batcher,
        pytest.raises(Error, match="RuntimeError: of somebody else's"),
    ):
        batcher.infer(row(1))


def test_a_full_queue_refuses_at_once(engine: Any) -> None:
    with trtfast.Batcher(engine, 8, max_queue=2) as batcher:
        busy(engine, batcher)
        futures = [batcher.infer_async(row(n)) for n in range(2)]
        for infer in (batcher.infer, batcher.infer_async):
            with pytest.raises(QueueFullError, match="max_queue=2 requests wait already"):
                infer(row(4))
        engine.released.set()
        for n, future in enumerate(futures):
            np.testing.assert_array_equal(future.result(60), row(2 * n))
        assert batcher.stats().rejected == 2


def test_deadlines_pass_while_the_engine_is_busy(engine: Any) -> None:
    with trtfast.Batcher(engine, 8, deadline=0.02) as batcher:
        busy(engine, batcher)
        late = batcher.infer_async(row(1))
        patient = batcher.infer_async(row(2), deadline=60)
        with pytest.raises(DeadlineExceededError):
            late.result(60)
        with pytest.raises(DeadlineExceededError):
            batcher.infer(row(3), deadline=0)
        engine.released.set()
        np.testing.assert_array_equal(patient.result(60), row(4))
        assert batcher.stats().expired == 2


def test_a_request_is_cancelled_while_it_waits(engine: Any) -> None:
    with trtfast.Batcher(engine, 8) as batcher:
        first = busy(engine, batcher)
        future = batcher.infer_async(row(1))
        assert future.cancel()
        assert not first.cancel()
        engine.released.set()
        assert first.result(60).shape == (1, 3)
        assert batcher.stats().cancelled == 1


def test_closing_answers_what_waits(engine: Any) -> None:
    batcher = trtfast.Batcher(engine, 2)
    first = busy(engine, batcher)
    futures = [batcher.infer_async(row(n)) for n in range(5)]
    threading.Timer(0.05, engine.released.set).start()
    batcher.close()
    assert first.result(60).shape == (1, 3)
    for n, future in enumerate(futures):
        np.testing.assert_array_equal(future.result(60), row(2 * n))
    batcher.close()
    for infer in (batcher.infer, batcher.infer_async):
        with pytest.raises(ClosedError, match="make another"):
            infer(row(1))


def test_awaited_from_asyncio(engine: Any) -> None:
    async def run(batcher: trtfast.Batcher) -> None:
        answers = await asyncio.gather(*(batcher.infer_async(row(n)) for n in range(200)))
        for n, got in enumerate(answers):
            np.testing.assert_array_equal(got, row(2 * n))
        engine.hold()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(batcher.infer_async(row(1)), 0.05)
        engine.released.set()
        np.testing.assert_array_equal(await batcher.infer_async(row(5)), row(10))

    with trtfast.Batcher(engine, 16) as batcher:
        asyncio.run(run(batcher))


def test_a_mark_in_each_request_shows_in_its_answer(engine: Any) -> None:
    wrong: list[Any] = []

    def call(batcher: trtfast.Batcher, first: int) -> None:
        for mark in range(first, first + 300):
            got = batcher.infer(row(mark, 1 + mark % 3))
            if not (got == 2 * row(mark, 1 + mark % 3)).all():
                wrong.append((mark, got))

    with trtfast.Batcher(engine, 7) as batcher:
        threads = [threading.Thread(target=call, args=(batcher, 1000 * n)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert batcher.stats().calls == 8 * 300
    assert wrong == []


def test_the_delay_fills_batches() -> None:
    with (
        trtfast.ReferenceEngine(tiny.doubling("n", 3)) as engine,
        trtfast.Batcher(engine, 3, max_queue_delay=60) as batcher,
    ):
        futures = [batcher.infer_async(row(n)) for n in range(3)]
        for n, future in enumerate(futures):
            np.testing.assert_array_equal(future.result(50), row(2 * n))
        assert batcher.stats().batch_sizes == {3: 1}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"max_batch_size": 0}, "max_batch_size is 0"),
        ({"max_queue_delay": -1}, "max_queue_delay is -1"),
        ({"deadline": float("nan")}, "deadline is nan"),
        ({"max_batch_size": 4, "preferred_batch_sizes": [5]}, "preferred_batch_sizes"),
    ],
)
def test_wrong_options(engine: Any, options: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        trtfast.Batcher(engine, **options)


def test_requests_for_a_fixed_batch_are_whole_ones() -> None:
    with trtfast.ReferenceEngine(tiny.doubling(4, 3)) as engine, trtfast.Batcher(engine) as batcher:
        assert batcher.max_batch_size == 4
        futures = [batcher.infer_async(row(n, 4)) for n in range(3)]
        for n, future in enumerate(futures):
            np.testing.assert_array_equal(future.result(60), row(2 * n, 4))
        assert batcher.stats().batch_sizes == {4: 3}
        with pytest.raises(InputError, match="change axis 0"):
            batcher.infer(row(1))
        batcher.warmup()


def test_a_model_without_rows_is_refused() -> None:
    node = helper.make_node("ReduceSum", ["x"], ["y"], keepdims=1)
    model = tiny.model_of([node], [tiny.value("x", "n", 3)], [tiny.value("y", 1, 1)])
    with (
        trtfast.ReferenceEngine(model) as engine,
        pytest.raises(InputError, match=r"first axis .* x \(-1, 3\), y \(1, 1\)"),
    ):
        trtfast.Batcher(engine)


def test_an_output_without_rows_is_told() -> None:
    node = helper.make_node("Concat", ["x", "x"], ["y"], axis=0)
    model = tiny.model_of([node], [tiny.value("x", "n", 3)], [tiny.value("y", "m", 3)])
    with (
        trtfast.ReferenceEngine(model) as engine,
        trtfast.Batcher(engine, 4) as batcher,
        pytest.raises(InputError, match=r"'y' has the shape \(4, 3\) for a batch of 2"),
    ):
        batcher.infer(row(1, 2))


def test_no_preprocessing_is_told(engine: Any) -> None:
    with trtfast.Batcher(engine) as batcher:
        for infer in (batcher.infer_images, batcher.infer_images_async):
            with pytest.raises(InputError, match="does not know how it takes images"):
                infer(random_image(5, 9))


def test_warmup_runs_the_sizes_of_batches(engine: Any) -> None:
    seen: list[int] = []
    run = engine.infer

    def watched(inputs: Any) -> Any:
        seen.append(len(inputs["x"]))
        return run(inputs)

    engine.infer = watched
    trtfast.Batcher(engine, 6).warmup()
    assert sorted(seen) == [1, 2, 4, 6]
    seen.clear()
    trtfast.Batcher(engine, 6, preferred_batch_sizes=[3]).warmup()
    assert sorted(seen) == [3, 6]
