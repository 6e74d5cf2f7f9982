"""Many threads at once, and closing, leaving and forking during traffic."""

from __future__ import annotations

import asyncio
import collections
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trtfast
from fake_gpu import TWICE, FakeGpu, answer, build, rows

SECONDS = 3
COUNTS = (1, 2, 3, 5, 8, 9, 17, 31, 32, 33, 64, 20_000)  # on both sides of buckets and thresholds


Call = Callable[[trtfast.Engine, np.ndarray, random.Random], Any]


def _calls(gpu: FakeGpu) -> list[Call]:
    def filled(engine: trtfast.Engine, batch: np.ndarray, _: random.Random) -> Any:
        return engine.infer(batch, out=np.empty_like(batch))

    def page_locked(engine: trtfast.Engine, batch: np.ndarray, _: random.Random) -> Any:
        given, out = engine.empty_input(batch.shape), engine.empty_output(batch.shape)
        given[...] = batch
        return engine.infer(given, out=out)

    def on_the_gpu(engine: trtfast.Engine, batch: np.ndarray, _: random.Random) -> Any:
        return engine.infer(gpu.array(batch)).copy_to_host()

    def hurried(engine: trtfast.Engine, batch: np.ndarray, rng: random.Random) -> Any:
        future = engine.infer_async(batch, deadline=rng.random() * 0.002)
        if rng.random() < 0.5:
            future.cancel()
        return future.result(60)

    def gathered(engine: trtfast.Engine, batch: np.ndarray, _: random.Random) -> Any:
        async def ask() -> list[Any]:
            return await asyncio.gather(*(engine.infer_async(batch) for _ in range(3)))

        return asyncio.run(ask())[-1]

    return [
        lambda engine, batch, _: engine.infer(batch),
        lambda engine, batch, _: engine.infer({"x": batch}, deadline=30)["y"],
        lambda engine, batch, _: engine.infer(batch.astype(np.float16)),
        lambda engine, batch, _: engine.infer(batch[::-1])[::-1],
        lambda engine, batch, _: engine.infer_async(batch).result(60),
        *(filled, page_locked, on_the_gpu, hurried, gathered),
    ]


def test_many_threads_of_all_kinds_of_calls(gpu: FakeGpu) -> None:
    buckets = [(count, count, count) for count in (1, 8, 32)]
    plan = build(gpu.libraries["11.1"], TWICE, *buckets, (1, 4, 40_000))
    engines = [
        trtfast.Engine(plan, lanes=3),
        trtfast.Engine(plan, wait="block", max_queue=4),
        trtfast.Engine(plan, activation_memory="shared"),
        trtfast.Engine(plan, cuda_graph=False, lanes=1),
        trtfast.Engine(plan, pad_to_bucket=True),
    ]
    engines[-1].warmup([(8, 2), (32, 2)])
    calls = _calls(gpu)
    outcomes: collections.Counter[str] = collections.Counter()
    end = time.monotonic() + SECONDS

    def work(seed: int) -> None:
        rng = random.Random(seed)
        while time.monotonic() < end:
            batch = rows(rng.choice(COUNTS), rng.randrange(1000))
            try:
                given = rng.choice(calls)(rng.choice(engines), batch, rng)
            except BaseException as error:
                outcomes[type(error).__name__] += 1
            else:
                outcomes["right" if np.array_equal(given, answer(batch)) else "wrong"] += 1

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.keys() <= {
        *("right", "CancelledError", "DeadlineExceededError", "QueueFullError")
    }, outcomes
    assert outcomes["right"] > 100
    assert engines[0].stats().graph_hits > 0
    assert engines[-1].stats().padded > 0
    for engine in engines:
        engine.close()


def test_a_closed_engine_says_so(engine: trtfast.Engine) -> None:
    engine.infer(rows(5))
    engine.close()
    engine.close()
    for call in (
        lambda: engine.infer(rows(5)),
        lambda: engine.infer_async(rows(5)).result(60),
        lambda: engine.warmup((5, 2)),
    ):
        with pytest.raises(trtfast.ClosedError):
            call()


def test_close_waits_for_the_call_under_way_and_refuses_those_that_wait(
    gpu: FakeGpu, narrow: trtfast.Engine
) -> None:
    with gpu.gate() as gate:
        first = narrow.infer_async(gate.held(rows(3)))
        gate.wait()
        waiting = narrow.infer_async(rows(4))
        closing = threading.Thread(target=narrow.close)
        closing.start()
        closing.join(0.05)
        assert closing.is_alive()
        gate.open()
        with pytest.raises(trtfast.ClosedError):
            waiting.result(60)
        closing.join(60)
        assert not closing.is_alive()
        np.testing.assert_array_equal(first.result(60).copy_to_host(), answer(rows(3)))


@pytest.mark.parametrize("wait", ["spin", "block"])
def test_close_during_traffic(plan: bytes, wait: Any) -> None:
    engine = trtfast.Engine(plan, wait=wait)
    started = threading.Barrier(9)
    outcomes: list[str] = []

    def call(seed: int) -> None:
        batch = rows(5, seed)
        started.wait(60)
        try:
            while True:
                for given in (engine.infer(batch), engine.infer_async(batch).result(60)):
                    np.testing.assert_array_equal(given, answer(batch))
        except trtfast.ClosedError:
            outcomes.append("closed")
        except BaseException as error:
            outcomes.append(repr(error))

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    started.wait(60)
    time.sleep(0.05)
    engine.close()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert outcomes == ["closed"] * 8


def run(script: str, *arguments: object) -> str:
    """Run a script in a process of its own, which has to end well, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORTS + script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), f"{done.stdout}\n{done.stderr}"
    return done.stdout


IMPORTS = """
import logging, os, signal, sys, threading, time
from pathlib import Path
import fake_gpu, trtfast

gpu = fake_gpu.FakeGpu(Path(os.environ["TRTFAST_STANDIN"]))
batch = fake_gpu.rows(5)
wanted = fake_gpu.answer(batch)
"""

ENGINE = """
plan = fake_gpu.build(gpu.libraries["11.1"])
engine = trtfast.Engine(plan, lanes=3)
"""

EXIT = """
is_daemon = sys.argv[1] == "daemon"
running = threading.Barrier(9)

def call():
    running.wait(60)
    turns = 0
    while is_daemon or turns < 200:
        turns += 1
        assert (engine.infer(batch) == wanted).all()
        assert (engine.infer_async(batch).result(60) == wanted).all()

for _ in range(8):
    threading.Thread(target=call, daemon=is_daemon).start()
running.wait(60)
time.sleep(0.1)
waiting = [engine.infer_async(batch) for _ in range(100)]
waiting[0].add_done_callback(lambda future: None)
print("leaving", flush=True)
"""


@pytest.mark.parametrize("kind", ["daemon", "thread"])
def test_interpreter_exit_during_traffic(kind: str) -> None:
    assert run(ENGINE + EXIT, kind) == "leaving\n"


HELD = """
gate = gpu.gate()
threading.Thread(target=engine.infer, args=(gate.held(batch),), daemon=True).start()
gate.wait()
print("leaving", flush=True)
"""


def test_interpreter_exit_while_a_daemon_thread_is_inside_a_call() -> None:
    assert run(ENGINE + HELD) == "leaving\n"


FORK = """
action = sys.argv[1]
assert (engine.infer_async(batch).result(60) == wanted).all()
child = os.fork()
if child == 0:
    signal.alarm(30)
    actions = {
        "infer": lambda: engine.infer(batch),
        "infer_async": lambda: engine.infer_async(batch).result(10),
        "empty_input": engine.empty_input,
        "load": lambda: trtfast.Engine(plan),
        "devices": trtfast._core.devices,
    }
    if action in actions:
        try:
            actions[action]()
        except trtfast.CudaError as error:
            print(error, flush=True)
            os._exit(0)
        os._exit(3)
    if action == "close":
        engine.close()
    sys.exit(0)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert (engine.infer(batch) == wanted).all()
assert (engine.infer_async(batch).result(60) == wanted).all()
engine.close()
sys.exit(status)
"""


@pytest.mark.parametrize("action", ["infer", "infer_async", "empty_input", "load", "devices"])
def test_a_forked_child_is_told_and_its_parent_goes_on(action: str) -> None:
    assert "does not survive a fork" in run(ENGINE + FORK, action)


@pytest.mark.parametrize("action", ["exit", "close"])
def test_a_forked_child_may_leave(action: str) -> None:
    assert run(ENGINE + FORK, action) == ""


UNUSED = """
plan, before = Path(sys.argv[1]).read_bytes(), sys.argv[2]
logging.basicConfig(stream=sys.stdout, format="%(name)s")
if before == "finds TensorRT":
    assert trtfast.backend.find()
elif before == "another library uses CUDA":
    gpu.gate()
child = os.fork()
if child == 0:
    signal.alarm(30)
    try:
        with trtfast.Engine(plan, lanes=3) as engine:
            given = [engine.infer(batch), engine.infer_async(batch).result(10)]
            given.append(engine.infer(gpu.array(batch)).copy_to_host())
    except trtfast.CudaError as error:
        sys.exit(f"{type(error).__name__}: {error}" if "a fork" not in str(error) else 42)
    assert all((answer == wanted).all() for answer in given)
    try:
        trtfast.Engine(plan[:-20])
    except trtfast.EngineIncompatibleError:
        sys.exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) - 42 * (before[0] == "a"))
"""


@pytest.mark.parametrize("before", ["imports trtfast", "finds TensorRT"])
def test_a_child_works_wholly_where_its_parent_had_not_used_cuda(
    tmp_path: Path, plan: bytes, before: str
) -> None:
    path = tmp_path / "model.plan"
    path.write_bytes(plan)
    assert run(UNUSED, path, before) == "trtfast.tensorrt\n"  # a line of its log, too


def test_a_child_is_told_where_another_library_had_used_cuda(tmp_path: Path, plan: bytes) -> None:
    path = tmp_path / "model.plan"
    path.write_bytes(plan)
    assert run(UNUSED, path, "another library uses CUDA") == ""
