"""Batches of an engine on a fake GPU: what the bindings add to the core's own tests."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

import fake_gpu
import trtfast
from fake_gpu import PAIR, FakeGpu, answer, rows
from imagery import random_image
from trtfast.errors import ClosedError, InputError
from trtfast.preprocess import Preprocess


def test_what_waits_for_a_lane_is_one_batch(gpu: FakeGpu, narrow: trtfast.Engine) -> None:
    with trtfast.Batcher(narrow, 100) as batcher, gpu.gate() as gate:
        held = narrow.infer_async(gate.held(rows(4)))
        gate.wait()
        futures = [batcher.infer_async(rows(1 + seed % 3, seed)) for seed in range(20)]
        gate.open()
        for seed, future in enumerate(futures):
            np.testing.assert_array_equal(future.result(60), answer(rows(1 + seed % 3, seed)))
        held.result(60)
        assert batcher.stats().batch_sizes == {sum(1 + seed % 3 for seed in range(20)): 1}
        assert batcher.stats().waiting == 0
    assert narrow.infer(rows(2)).shape == (2, 2)  # it stays open


def test_a_cancelled_request_is_in_no_batch(gpu: FakeGpu, narrow: trtfast.Engine) -> None:
    with trtfast.Batcher(narrow, 100) as batcher, gpu.gate() as gate:
        held = narrow.infer_async(gate.held(rows(4)))
        gate.wait()
        futures = [batcher.infer_async(rows(1, seed)) for seed in range(3)]
        assert futures[1].cancel()
        gate.open()
        for seed in (0, 2):
            np.testing.assert_array_equal(futures[seed].result(60), answer(rows(1, seed)))
        held.result(60)
        assert batcher.stats().batch_sizes == {2: 1}


def test_a_future_holds_the_array_it_was_given(gpu: FakeGpu, narrow: trtfast.Engine) -> None:
    with trtfast.Batcher(narrow, 100) as batcher, gpu.gate() as gate:
        narrow.infer_async(gate.held(rows(4)))
        gate.wait()
        future = batcher.infer_async(rows(6))
        overwriting = [np.full((6, 2), np.nan, np.float32) for _ in range(50)]
        gate.open()
        np.testing.assert_array_equal(future.result(60), answer(rows(6)))
        assert all(np.isnan(array).all() for array in overwriting)


def test_several_outputs_are_dealt(gpu: FakeGpu) -> None:
    async def ask(batcher: trtfast.Batcher) -> None:
        pairs = [(rows(1, seed), rows(1, seed + 50)) for seed in range(40)]
        answers = await asyncio.gather(*(batcher.infer_async({"a": a, "b": b}) for a, b in pairs))
        for (a, b), got in zip(pairs, answers, strict=True):
            np.testing.assert_array_equal(got["sum"], a + b)
            np.testing.assert_array_equal(got["twice"], 2 * a)

    plan = fake_gpu.build(gpu.libraries["10.16"], PAIR)
    with trtfast.Engine(plan) as engine, trtfast.Batcher(engine) as batcher:
        assert batcher.max_batch_size == 200
        asyncio.run(ask(batcher))


IMAGE_MODEL = b"""input x float32 -1,3,4,6
output y float32 -1,3,4,6
op node y = affine 2 1 x
"""


def test_images_of_many_callers_are_one_batch(gpu: FakeGpu) -> None:
    preprocess = Preprocess(size=(4, 6))
    shapes = [(count, 3, 4, 6) for count in (1, 2, 8)]
    plan = fake_gpu.build(gpu.libraries["rtx1.5"], IMAGE_MODEL, tuple(shapes))
    images = [random_image(5 + n, 9 + n, n) for n in range(8)]
    wanted = 2 * preprocess(images) + 1
    with (
        trtfast.Engine(plan, preprocess=preprocess) as engine,
        trtfast.Batcher(engine, max_queue_delay=60) as batcher,
    ):
        futures = [batcher.infer_images_async(image) for image in images[:7]]
        np.testing.assert_array_equal(batcher.infer_images(images[7]), wanted[7:])
        for n, future in enumerate(futures):
            np.testing.assert_array_equal(future.result(60), wanted[n : n + 1])
        assert batcher.stats().batch_sizes == {8: 1}
        on_gpu: Any = gpu.array(images[0])
        on_gpu.shape = images[0].shape
        with pytest.raises(InputError, match="images on the host"):
            batcher.infer_images(on_gpu)


def test_warmup_captures_the_preferred_sizes(gpu: FakeGpu) -> None:
    plan = fake_gpu.build(gpu.libraries["11.1"])
    with (
        trtfast.Engine(plan, pad_to_bucket=True, lanes=1) as engine,
        trtfast.Batcher(engine, 16, preferred_batch_sizes=[4]) as batcher,
    ):
        batcher.warmup()
        engine.reset_stats()
        for count in (1, 3, 4, 9, 16):
            np.testing.assert_array_equal(batcher.infer(rows(count)), answer(rows(count)))
        assert engine.stats().graph_misses == 0


def test_a_closed_engine_is_told(engine: trtfast.Engine) -> None:
    with trtfast.Batcher(engine, max_queue_delay=60) as batcher:
        future = batcher.infer_async(rows(1))
        engine.close()
        batcher.close()
        with pytest.raises(ClosedError):
            future.result(60)


def test_arrays_on_the_gpu_are_refused(gpu: FakeGpu, engine: trtfast.Engine) -> None:
    with trtfast.Batcher(engine) as batcher, pytest.raises(InputError, match="NumPy array"):
        batcher.infer(gpu.array(rows(2)))
