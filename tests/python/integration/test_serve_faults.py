"""``trtfast serve`` under load, when a model is exchanged, and when something is wrong."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

import serving
from serving import KINDS, MODULES, Server, client, inputs, rows

ROUNDS = 600
"""Of the slow model: long enough for others to come meanwhile, also on a busy machine."""

TAKEN = 0.05
"""Seconds in which a request that waits is taken."""

SLOW = frozenset({("model", "slow"), ("version", "1")})

FULL = {"http": "503", "grpc": "StatusCode.UNAVAILABLE"}
"""The status of a request for which the queue has no room."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve")
    serving.save_scale(folder / "scale.onnx", 2)
    serving.save_slow(folder / "slow.onnx", ROUNDS)
    return folder


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def infer(server: Server, kind: str, model: str, given: np.ndarray, **options: Any) -> np.ndarray:
    with client(server, kind) as triton:
        result = triton.infer(model, inputs(MODULES[kind], x=given), **options)
        found: np.ndarray = result.as_numpy("y")
        return found


def until_they_came(server: Server, requests: int) -> None:
    """Wait until all requests for the slow model wait or are answered, but for one at work.

    One is answered then: before, that which is counted last might be no more than not yet taken.
    """
    end = time.monotonic() + serving.PATIENCE
    came = answered = 0.0
    while not answered or came < requests - 1:
        assert time.monotonic() < end
        time.sleep(0.005)
        found = serving.metrics(server)
        answered = found["request_success", SLOW]
        came = found["pending_request_count", SLOW] + answered


@pytest.mark.parametrize("kind", KINDS)
def test_a_swap_under_load_loses_nothing(kind: str, models: Path, tmp_path: Path) -> None:
    """Each answer is the one engine's or the other's, of its own request, and all come."""
    path = serving.save_scale(tmp_path / "scale.onnx", 2)
    stop = threading.Event()
    swapped = threading.Event()

    def ask(server: Server, thread: int) -> set[float]:
        factors = set()
        mark = first = thread * 5_000
        with client(server, kind) as triton:
            while not stop.is_set() or mark < first + 20:
                was_swapped = swapped.is_set()
                mark += 1
                given = rows(mark)
                result = triton.infer("scale", inputs(MODULES[kind], x=given))
                found = result.as_numpy("y")
                factor = float(found[0, 1] / given[0, 1])
                np.testing.assert_array_equal(found, given * np.float32(factor))
                assert factor == 3 or not was_swapped
                factors.add(factor)
        return factors

    with serving.served(tmp_path, "scale.onnx") as server:
        with ThreadPoolExecutor(6) as pool:
            asked = [pool.submit(ask, server, thread) for thread in range(6)]
            with client(server, kind) as triton:
                time.sleep(0.5)
                for factor in (3, 2, 3):  # again and again, and at last to what is held to
                    serving.save_scale(tmp_path / "new.onnx", factor)
                    (tmp_path / "new.onnx").replace(path)
                    triton.load_model("scale")
                swapped.set()
                time.sleep(0.5)
            stop.set()
            assert {factor for each in asked for factor in each.result(60)} == {2, 3}
        done = serving.metrics(server)
        labels = frozenset({("model", "scale"), ("version", "1")})
        # What the engines before have counted is not lost either.
        assert done["request_success", labels] == done["count", labels] >= 6 * 20
        reasons = {("reason", reason) for reason in ("BACKEND", "REJECTED", "CANCELED")}
        assert {done["request_failure", labels | {reason}] for reason in reasons} == {0}


def test_a_damaged_file_leaves_the_old_engine(kind: str, tmp_path: Path) -> None:
    path = serving.save_scale(tmp_path / "scale.onnx", 2)
    with serving.served(tmp_path, "scale.onnx") as server, client(server, kind) as triton:
        for damaged in (b"", b"none", path.read_bytes()[:-20]):
            path.write_bytes(damaged)
            with pytest.raises(InferenceServerException) as raised:
                triton.load_model("scale")
            assert "scale.onnx" in raised.value.message()
            assert triton.is_model_ready("scale")
            np.testing.assert_array_equal(infer(server, kind, "scale", rows(5)), rows(5) * 2)
        path.unlink()
        with pytest.raises(InferenceServerException):
            triton.load_model("scale")
        serving.save_scale(path, 3)
        triton.load_model("scale")
        np.testing.assert_array_equal(infer(server, kind, "scale", rows(5)), rows(5) * 3)


def test_a_model_that_is_unloaded_comes_back(kind: str, models: Path) -> None:
    with serving.served(models, "scale.onnx") as server, client(server, kind) as triton:
        triton.unload_model("scale")
        assert not triton.is_model_ready("scale")
        assert not triton.is_server_ready()
        with pytest.raises(InferenceServerException, match="not ready"):
            infer(server, kind, "scale", rows(1))
        triton.load_model("scale")
        assert triton.is_server_ready()
        np.testing.assert_array_equal(infer(server, kind, "scale", rows(1)), rows(1) * 2)


@pytest.fixture(scope="module")
def narrow(models: Path) -> Iterator[Server]:
    """A server of a slow model, one request at a time, for which one more may wait."""
    options = ("--max-batch-size", "1", "--max-queue", "1")
    with serving.served(models, "slow.onnx", "scale.onnx", *options) as server:
        yield server


@contextmanager
def crowded(server: Server, kind: str) -> Iterator[list[Future[np.ndarray]]]:
    """Ask the slow model more than it takes: some are answered, and the others are refused."""
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(infer, server, kind, "slow", rows(mark)) for mark in range(8)]
        yield asked
    errors = [future.exception() for future in asked]
    assert None in errors
    for mark, (future, error) in enumerate(zip(asked, errors, strict=True)):
        if error is None:
            np.testing.assert_array_equal(future.result(), rows(mark))
        else:
            assert isinstance(error, InferenceServerException)
            assert error.status() == FULL[kind]


def test_a_full_queue_is_told_at_once(narrow: Server, kind: str) -> None:
    with crowded(narrow, kind) as asked:
        first = next(as_completed(asked)).exception()
        assert isinstance(first, InferenceServerException)
        assert first.status() == FULL[kind]
        assert "max_queue=1" in first.message()
        assert not all(future.done() for future in asked)


def test_a_request_that_comes_too_late(narrow: Server, kind: str) -> None:
    with crowded(narrow, kind) as asked:
        next(as_completed(asked))  # one is refused, so another waits or runs
        status = FULL[kind]
        while status == FULL[kind]:
            with pytest.raises(InferenceServerException) as raised:
                infer(narrow, kind, "slow", rows(2), timeout=1000)  # microseconds
            status = raised.value.status()
    assert status == {"http": "504", "grpc": "StatusCode.DEADLINE_EXCEEDED"}[kind]


def connected(at: str) -> socket.socket:
    host, _, port = at.rpartition(":")
    return socket.create_connection((host, int(port)))


@contextmanager
def leaving(server: Server, kind: str, given: np.ndarray) -> Iterator[None]:
    """Ask the slow model, and leave before it has answered."""
    tensors = inputs(MODULES[kind], x=given)
    if kind == "http":
        body, length = tritonclient.http.InferenceServerClient.generate_request_body(tensors)
        head = f"Inference-Header-Content-Length: {length}\r\nContent-Length: {len(body)}\r\n\r\n"
        with connected(server.http) as connection:
            post = "POST /v2/models/slow/infer HTTP/1.1\r\nHost: localhost\r\n"
            connection.sendall((post + head).encode() + body)
            yield
        return
    with client(server, kind) as triton:
        call = triton.async_infer("slow", tensors, callback=lambda **_: None)
        yield
        call.cancel()


def test_a_client_that_leaves_takes_its_request_back(narrow: Server, kind: str) -> None:
    """Of two that leave, one runs and the other waits: that one never runs."""
    taken_back = "request_failure", SLOW | {("reason", "CANCELED")}
    before = serving.metrics(narrow)

    def grown(key: Any) -> float:
        return serving.metrics(narrow)[key] - before[key]

    asked = 0
    end = time.monotonic() + serving.PATIENCE
    # On a busy machine the second may be refused, as the first has not left the queue, or may have
    # begun before the server noticed that its client left.
    while not grown(taken_back):
        assert time.monotonic() < end
        with leaving(narrow, kind, rows(1)):
            time.sleep(TAKEN)
            with leaving(narrow, kind, rows(2)):
                time.sleep(TAKEN)
        asked += 2
        time.sleep(TAKEN)
    np.testing.assert_array_equal(infer(narrow, kind, "slow", rows(3)), rows(3))
    assert grown(taken_back) + grown(("count", SLOW)) <= asked + 1


def half_a_request(server: Server) -> socket.socket:
    """Begin a request that promises a body, and send none of it."""
    connection = connected(server.http)
    head = (
        "POST /v2/models/scale/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{{"
    )
    connection.sendall(head.encode())
    return connection


def test_clients_that_hang_hold_up_none(models: Path) -> None:
    """Neither others' requests nor the server's end; nor is it a fault to leave in the middle."""
    with serving.served(models, "scale.onnx") as server, ExitStack() as stack:
        with half_a_request(server):
            time.sleep(0.05)  # its beginning arrives
        hanging = [stack.enter_context(half_a_request(server)) for _ in range(20)]
        for at in (server.http, server.grpc):
            for _ in range(20):
                stack.enter_context(connected(at))
        with client(server, "grpc") as triton:
            triton.start_stream(lambda **_: None)  # and asks for nothing
            for kind in KINDS:
                np.testing.assert_array_equal(infer(server, kind, "scale", rows(3)), rows(3) * 2)
            assert server.end() < 10
        assert b"408" in hanging[0].recv(1000)


def test_a_request_that_is_too_long(models: Path, kind: str) -> None:
    options = ("--max-request-bytes", "10K", "--max-batch-size", "10000")
    with serving.served(models, "scale.onnx", *options) as server:
        with pytest.raises(InferenceServerException) as raised:
            infer(server, kind, "scale", rows(0, 1000))
        status = {"http": "413", "grpc": "StatusCode.RESOURCE_EXHAUSTED"}[kind]
        assert raised.value.status() == status
        np.testing.assert_array_equal(infer(server, kind, "scale", rows(0, 100)), rows(0, 100) * 2)
        if kind == "http":  # also where its length is not told beforehand
            chunks = (b"x" * 1000 for _ in range(100))
            answer = httpx.post(f"http://{server.http}/v2/models/scale/infer", content=chunks)
            assert (answer.status_code, "10240 bytes" in answer.text) == (413, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_answers_what_is_under_way(number: signal.Signals, kind: str, models: Path) -> None:
    """Those that run and those that wait; then the status is 0."""
    with (
        serving.served(models, "slow.onnx", "--max-batch-size", "1") as server,
        ThreadPoolExecutor(4) as pool,
    ):
        begun = [pool.submit(infer, server, kind, "slow", rows(mark)) for mark in range(4)]
        until_they_came(server, 4)
        server.end(number)
        for mark, future in enumerate(begun):
            np.testing.assert_array_equal(future.result(1), rows(mark))
        with pytest.raises((InferenceServerException, OSError)):
            infer(server, kind, "slow", rows(0))


def test_the_end_does_not_wait_for_ever(kind: str, models: Path) -> None:
    """What is not answered in time is told so, and what waits is not run."""
    options = ("--max-batch-size", "1", "--drain", "1")
    with (
        serving.served(models, "slow.onnx", *options) as server,
        ThreadPoolExecutor(30) as pool,
    ):
        begun = [pool.submit(infer, server, kind, "slow", rows(mark)) for mark in range(30)]
        until_they_came(server, 30)
        server.end()
        failed = [each.exception(5) for each in begun]
    assert any(isinstance(error, (InferenceServerException, OSError)) for error in failed)
    for mark, (each, error) in enumerate(zip(begun, failed, strict=True)):
        if error is None:
            np.testing.assert_array_equal(each.result(), rows(mark))


def test_a_stream_is_answered_at_the_end(models: Path) -> None:
    """What was read is, in order; and that there is no more is said, for a client may have sent."""
    answers: list[Any] = []
    with (
        serving.served(models, "slow.onnx", "--max-batch-size", "1") as server,
        client(server, "grpc") as triton,
    ):
        triton.start_stream(lambda result, error: answers.append((result, error)))
        for mark in range(3):
            triton.async_stream_infer("slow", inputs(tritonclient.grpc, x=rows(mark)))
        until_they_came(server, 3)
        server.end()
        triton.stop_stream()
    *answered, (_, told) = answers
    assert [error for _, error in answered] == [None] * 3
    for mark, (result, _) in enumerate(answered):
        np.testing.assert_array_equal(result.as_numpy("y"), rows(mark))
    assert told.status() == "StatusCode.UNAVAILABLE"
    assert "the server ends" in told.message()


def test_it_is_ready_when_all_models_are(models: Path, tmp_path: Path) -> None:
    """It listens before, and says so; a model that cannot be opened ends it."""
    with (
        serving.served(models, "slow.onnx", "--max-batch-size", "4", wait=False) as server,
        client(server, "http") as triton,
    ):
        assert triton.is_server_live()
        assert not triton.is_server_ready()  # its warm-up takes seconds
        assert not triton.is_model_ready("slow")
        with pytest.raises(InferenceServerException, match="not ready"):
            infer(server, "http", "slow", rows(0))
        assert server.line() == {"ready": ["slow"]}
        assert triton.is_server_ready()
        np.testing.assert_array_equal(infer(server, "http", "slow", rows(0)), rows(0))
    (tmp_path / "none.onnx").write_bytes(b"none")
    with serving.served(tmp_path, "none.onnx", wait=False) as server:
        assert server.process.wait(serving.PATIENCE) == 1
        assert server.log.read_text().startswith("trtfast: InputError: none.onnx: ")
