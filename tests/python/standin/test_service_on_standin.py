"""Warm-up, buckets, statistics, memory, and what is left when all is gone."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trtfast
from fake_gpu import PAIR, TWICE, FakeGpu, answer, build, rows


@pytest.mark.parametrize(
    ("shapes", "counts"),
    [
        (None, [4]),
        ((5, 2), [5]),
        ([5, 2], [5]),
        ({"x": (5, 2)}, [5]),
        ([(5, 2), (7, 2)], [5, 7]),
        ([{"x": (5, 2)}, (7, 2), None], [5, 7, 4]),
    ],
)
def test_warmup_captures_every_lane(plan: bytes, shapes: Any, counts: list[int]) -> None:
    with trtfast.Engine(plan, lanes=3) as engine:
        engine.warmup(shapes)
        before = engine.stats()
        assert before.captures == 3 * len(counts)
        assert [lane.graphs for lane in engine.memory_report().lanes] == [len(counts)] * 3
        for count in counts:
            np.testing.assert_array_equal(engine.infer(rows(count)), answer(rows(count)))
        after = engine.stats()
        assert (after.graph_hits - before.graph_hits, after.graph_misses) == (
            *(len(counts), before.graph_misses),
        )


def test_warmup_takes_the_best_shape_of_each_profile(gpu: FakeGpu) -> None:
    ranges = [(1, 1, 1), (2, 8, 16)]
    with trtfast.Engine(build(gpu.libraries["11.1"], PAIR, *ranges), lanes=1) as engine:
        engine.warmup()
        before = engine.stats()
        assert before.captures == 2
        for count in (1, 8):
            total, _ = engine.infer((rows(count, 1), rows(count, 2)))
            np.testing.assert_array_equal(total, rows(count, 1) + rows(count, 2))
        assert engine.stats().graph_misses == before.graph_misses


def test_warmup_refuses_what_does_not_fit(engine: trtfast.Engine) -> None:
    for wrong in ((5, 3), (201, 2), [(5, 2), (5, 3)]):
        with pytest.raises(trtfast.InputError):
            engine.warmup(wrong)
    with pytest.raises(trtfast.InputError, match=r"unknown inputs \['z'\]"):
        engine.warmup({"z": (5, 2)})
    assert engine.stats().captures == 0


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
def test_a_bucket_takes_a_smaller_batch(gpu: FakeGpu, plan: bytes, late: bool) -> None:
    with trtfast.Engine(plan, pad_to_bucket=True) as engine:
        gpu.set_late(late)
        engine.warmup([(8, 2), (32, 2)])
        before = engine.stats()
        for seed, count in enumerate((1, 5, 8, 9, 31, 32, 5)):
            batch = rows(count, seed)
            np.testing.assert_array_equal(engine.infer(batch), answer(batch))
            np.testing.assert_array_equal(engine.infer_async(batch).result(60), answer(batch))
        after = engine.stats()
        assert after.graph_misses == before.graph_misses
        assert after.padded == 10
        np.testing.assert_array_equal(engine.infer(rows(33)), answer(rows(33)))  # beyond all
        assert engine.stats().padded == 10


def test_a_batch_between_buckets_needs_no_range(gpu: FakeGpu) -> None:
    plan = build(gpu.libraries["11.1"], TWICE, (1, 1, 1), (8, 8, 8))
    between = rows(5)
    calls: list[Callable[[trtfast.Engine], Any]] = [
        lambda engine: engine.infer(between),
        lambda engine: engine.infer(between.astype(np.float16)),
        lambda engine: engine.infer(between[::-1])[::-1],
        lambda engine: engine.infer(between, out=engine.empty_output((5, 2))),
        lambda engine: engine.infer_async(between.astype(np.float16)).result(60),
    ]
    with trtfast.Engine(plan, pad_to_bucket=True, lanes=1) as engine:
        for call in calls:
            with pytest.raises(trtfast.InputError, match="no optimisation profile"):
                call(engine)  # no bucket is captured
        engine.warmup()
        for call in calls:
            np.testing.assert_array_equal(call(engine), answer(between))
        given = engine.empty_input((5, 2))
        given[...] = between
        np.testing.assert_array_equal(engine.infer(given), answer(between))
        assert engine.inputs[0].profiles[1].min == (8, 2)
        for wrong in (np.zeros((9, 2), np.float16), np.zeros((5, 3), np.float16)):
            with pytest.raises(trtfast.InputError):
                engine.infer(wrong)
        with pytest.raises(trtfast.InputError):
            engine.warmup((5, 2))
    with trtfast.Engine(plan) as engine:
        engine.warmup()
        for call in calls:
            with pytest.raises(trtfast.InputError, match="no optimisation profile"):
                call(engine)


def test_stats_count_calls_graphs_and_failures(engine: trtfast.Engine) -> None:
    engine.warmup([(4, 2), (6, 2)])
    engine.reset_stats()
    for count in (4, 6, 4, 4, 6):
        engine.infer(rows(count))
    engine.infer_async(rows(9)).result(60)
    stats = engine.stats()
    assert (stats.calls, stats.failures, stats.padded, stats.uncapturable) == (6, 0, 0, 0)
    assert (stats.graph_hits, stats.graph_misses, stats.captures) == (5, 1, 1)
    for part in ("queue", "compute_input", "infer", "output", "total"):
        times = getattr(stats, part)
        assert times.count == 6
        assert 0 <= times.p50 <= times.p90 <= times.p99 <= times.max
    assert 0 < stats.infer.mean <= stats.total.mean < 60
    engine.reset_stats()
    assert (engine.stats().calls, engine.stats().total.count) == (0, 0)


def test_memory_report_counts_lanes_and_what_they_share(plan: bytes) -> None:
    def held(**options: Any) -> trtfast.MemoryReport:
        with trtfast.Engine(plan, **options) as engine:
            engine.warmup((200, 2))
            return engine.memory_report()

    one, four = held(lanes=1), held(lanes=4)
    assert one.plan == four.plan == len(plan)
    assert [len(one.lanes), len(four.lanes)] == [1, 4]
    assert set(four.lanes) == set(one.lanes)
    batch = rows(200).nbytes
    lane = one.lanes[0]
    assert lane.device >= 2 * batch
    assert lane.pinned >= 2 * batch
    assert lane.activations > 0
    assert (four.device - four.plan, four.pinned) == (4 * (one.device - one.plan), 4 * one.pinned)
    shared = held(lanes=4, activation_memory="shared")
    assert shared.shared_activations == lane.activations
    assert [lane.activations for lane in shared.lanes] == [0] * 4
    assert shared.device < four.device


def test_kernels_are_kept_for_the_next_engine(
    gpu: FakeGpu, plan: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "trtfast"):
        for _ in range(2):
            with trtfast.Engine(plan) as engine:
                np.testing.assert_array_equal(engine.infer(rows(5)), answer(rows(5)))
    assert caplog.messages == []


def test_nothing_is_left_of_an_engine(gpu: FakeGpu, plan: bytes) -> None:
    def serve() -> None:
        with trtfast.Engine(plan, device=1) as engine:
            given = engine.infer(gpu.array(rows(5), device=1))
            engine.infer(given, out=gpu.array(rows(5), device=1))
            inputs, out = engine.empty_input((5, 2)), engine.empty_output((5, 2))
            engine.infer(inputs, out=out)
            asyncio.run(_gathered(engine))
            engine.infer_async(rows(9)).result(60)
            engine.infer_async(np.ones((9, 2), np.float16)).cancel()
            for wrong in (np.ones((5, 3), np.float32), gpu.array(rows(5), device=0)):
                with pytest.raises(trtfast.InputError):
                    engine.infer_async(wrong)
            del given, inputs, out

    serve()  # makes what the process keeps
    gc.collect()
    gpu.keep()
    before = Counter(gpu.leaks().splitlines())  # memory of others' engines, which are still there
    serve()
    gc.collect()
    assert Counter(gpu.leaks().splitlines()) - before == Counter()


async def _gathered(engine: trtfast.Engine) -> None:
    await asyncio.gather(*(engine.infer_async(rows(3, seed)) for seed in range(10)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wait": "sleep"}, "wait is 'sleep'; expected 'spin' or 'block'"),
        ({"activation_memory": "all"}, "activation_memory is 'all'; expected 'lane' or 'shared'"),
        ({"max_queue": -1}, "max_queue is -1: give 0 or more"),
        ({"onnx": "model.onnx"}, "give rebuild=True with it"),
        ({"rebuild": True}, "rebuild needs the path of a plan"),
        ({"lanes": 0}, "lanes"),
    ],
)
def test_options_that_cannot_be(plan: bytes, options: Any, message: str) -> None:
    with pytest.raises(trtfast.InputError, match=message):
        trtfast.Engine(plan, **options)


def test_a_gpu_that_is_not_there(plan: bytes) -> None:
    with pytest.raises(trtfast.UnsupportedDeviceError, match="there is no GPU 2: use 0 to 1"):
        trtfast.Engine(plan, device=2)


def test_what_is_no_plan(plan: bytes) -> None:
    for wrong in (b"", plan[:40], b"text" * 100):
        with pytest.raises(trtfast.EngineIncompatibleError):
            trtfast.Engine(wrong)


TRACED = """
import os, sys
from pathlib import Path
import fake_gpu, trtfast

gpu = fake_gpu.FakeGpu(Path(os.environ["TRTFAST_STANDIN"]))
with trtfast.Engine(Path(sys.argv[1]), nvtx=True) as engine:
    for call in range(2):
        engine.infer(fake_gpu.rows(5))
    engine.infer_async(fake_gpu.rows(5)).result(60)
for options in {}, {"nvtx": False}:
    trtfast.Engine(Path(sys.argv[1]), **options).infer(fake_gpu.rows(5))
"""


def test_calls_are_ranges_in_a_profiler(fake: FakeGpu, plan: bytes, tmp_path: Path) -> None:
    path = tmp_path / "doubling.engine"
    path.write_bytes(plan)
    recorder = Path(os.environ["TRTFAST_STANDIN"]) / "libnvtx_recorder.so"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, sys.path)),
        "NVTX_INJECTION64_PATH": str(recorder),
    }
    done = subprocess.run(
        [sys.executable, "-c", TRACED, path],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    parts = ["queue", "compute_input", "launch", "wait", "output"]
    first = [*parts[:-1], "capture", "output"]
    wanted = [
        line
        for call in (first, parts, parts)
        for line in ("trtfast: doubling.engine", *("  " + part for part in call))
    ]
    assert done.stdout.splitlines() == wanted


@pytest.mark.parametrize("memory", ["lane", "shared"])
def test_closing_frees_all_that_is_on_the_gpu(gpu: FakeGpu, plan: bytes, memory: Any) -> None:
    with trtfast.Engine(plan, lanes=2, activation_memory=memory) as first:
        first.infer(rows(5))  # makes what the process keeps
    before = Counter(gpu.leaks().splitlines())
    engine = trtfast.Engine(plan, lanes=2, activation_memory=memory)
    engine.warmup()
    inspected = engine.inspect()
    assert Counter(gpu.leaks().splitlines()) - before
    engine.close()
    assert Counter(gpu.leaks().splitlines()) - before == Counter()
    assert engine.memory_report() == trtfast.MemoryReport(plan=0, shared_activations=0, lanes=())
    assert engine.inputs[0].name == "x"
    assert inspected
    for call in (engine.inspect, engine.warmup, engine.empty_output, lambda: engine.infer(rows(1))):
        with pytest.raises(trtfast.ClosedError):
            call()
    engine.close()
