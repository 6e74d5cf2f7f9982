"""On a GPU: batches of an engine, with each caller's rows bit for bit those of a call alone."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trtfast
import zoo
from imagery import random_image
from trtfast.errors import ClosedError, InputError, QueueFullError

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.* does not list .* as supported"),
]


def test_each_request_gets_its_own_rows(engine: trtfast.Engine) -> None:
    """Of the model that doubles: the mark in each request must show in its answer."""
    wrong: list[Any] = []

    def call(batcher: trtfast.Batcher, seed: int) -> None:
        for turn in range(300):
            batch = zoo.rows(1 + turn % 4, seed * 1000 + turn)
            if not np.array_equal(batcher.infer(batch), 2 * batch):
                wrong.append((seed, turn))

    # Without a delay, calls as short as these could each be over before the next begins.
    with trtfast.Batcher(engine, 16, max_queue_delay=0.01) as batcher:
        batcher.warmup()
        threads = [threading.Thread(target=call, args=(batcher, seed)) for seed in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        stats = batcher.stats()
    assert wrong == []
    assert stats.calls == 16 * 300
    assert stats.executions < stats.calls
    assert max(stats.batch_sizes) <= 16


def test_a_batch_of_requests_has_the_bits_of_the_batch(engine_of: Any) -> None:
    """In one batch of the same size, gathering changes nothing."""
    with trtfast.Engine(engine_of("resnet50"), lanes=1) as engine:
        images = np.random.default_rng(0).standard_normal((8, 3, 224, 224), np.float32)
        wanted = engine.infer(images)
        with trtfast.Batcher(engine, 8, max_queue_delay=60) as batcher:
            for _ in range(3):  # plainly, captured, and as a graph
                futures = [batcher.infer_async(images[n : n + 1]) for n in range(8)]
                for n, future in enumerate(futures):
                    assert future.result(60).tobytes() == wanted[n : n + 1].tobytes()
            assert batcher.stats().batch_sizes == {8: 3}


def test_images_of_many_sizes_share_a_batch(engine_of: Any) -> None:
    spec = trtfast.Preprocess()
    images = [random_image(100 + 30 * n, 200 + 7 * n, n) for n in range(8)]
    with trtfast.Engine(engine_of("resnet50"), lanes=1, preprocess=spec) as engine:
        wanted = engine.infer_images(images)
        with trtfast.Batcher(engine, 8, max_queue_delay=60) as batcher:
            futures = [batcher.infer_images_async(image) for image in images]
            for n, future in enumerate(futures):
                assert future.result(60).tobytes() == wanted[n : n + 1].tobytes()


def test_the_sizes_of_batches_run_as_graphs(doubling: Path) -> None:
    with (
        trtfast.Engine(doubling, pad_to_bucket=True) as engine,
        trtfast.Batcher(engine, 16, preferred_batch_sizes=[4, 8]) as batcher,
    ):
        batcher.warmup()
        before = engine.stats().graph_misses

        async def burst() -> None:
            batches = [zoo.rows(1, seed) for seed in range(100)]
            answers = await asyncio.gather(*map(batcher.infer_async, batches))
            for batch, got in zip(batches, answers, strict=True):
                np.testing.assert_array_equal(got, 2 * batch)

        asyncio.run(burst())
        assert engine.stats().graph_misses == before


def test_a_full_queue_and_a_closed_engine_are_told(doubling: Path) -> None:
    engine = trtfast.Engine(doubling)
    with trtfast.Batcher(engine, 8, max_queue_delay=60, max_queue=3) as batcher:
        futures = [batcher.infer_async(zoo.rows(1, seed)) for seed in range(3)]
        with pytest.raises(QueueFullError):
            batcher.infer(zoo.rows(1))
        engine.close()
        batcher.close()
        for future in futures:
            with pytest.raises(ClosedError):
                future.result(60)


def test_arrays_on_the_gpu_are_for_the_engine(engine: trtfast.Engine) -> None:
    torch = pytest.importorskip("torch")
    with trtfast.Batcher(engine) as batcher, pytest.raises(InputError, match="NumPy array"):
        batcher.infer(torch.zeros(1, 8, device="cuda"))
