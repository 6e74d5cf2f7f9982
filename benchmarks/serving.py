"""Requests in a second and their times, through HTTP on loopback.

    python benchmarks/serving.py model.engine --output serving.json

Three servers, in processes of their own, take turns; clients are in other processes, each with a
connection that it keeps, an input of its own, and one request at a time:

- ``batcher``: ``trtfast serve``.
- ``plain``: the same server, but each request is a call of the engine's, on one of as many lanes.
- ``kserve``: KServe's own server as it comes, whose handler calls ``engine.infer``. It listens at
  all addresses of the machine.

Each answer is held to what the engine alone gives for its input, and those that are not it are
counted; then the exit status is 1. It needs no registry and no network: the packages of
``trtfast[serve]``, and an engine, or an ONNX model for the CPU.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import trtfast
from measure import Row, summary
from trtfast import backend, binding
from trtfast.comparison.environment import cpu_name

CLIENTS = (1, 16, 64)
SERVERS = ("batcher", "plain", "kserve")
PATIENCE = 300.0  # seconds for a server to be ready
CLIENTS_A_PROCESS = 8  # of which one has the GIL at a time
TYPES = {np.dtype(np.float32): "FP32", np.dtype(np.float16): "FP16"}
LENGTH = "Inference-Header-Content-Length"


# The servers


def serve(kind: str, path: Path, port: int, options: argparse.Namespace) -> None:
    """Serve a model until SIGTERM, in this process."""
    if kind == "batcher":
        from trtfast.cli import main

        ports = ("--http-port", str(port), "--grpc-port", "0", "--lanes", str(options.lanes))
        delay = ("--max-queue-delay", str(options.delay))
        main(["serve", f"model={path}", *ports, *delay])
    engine = trtfast.load(path, lanes=options.lanes)
    if isinstance(engine, trtfast.Engine):
        engine.warmup(binding.with_batch(engine.inputs, 1))
    (_serve_plain if kind == "plain" else _serve_kserve)(engine, port)


def _serve_plain(engine: Any, port: int) -> None:
    import uvloop

    from trtfast import serving

    stats = trtfast.Batcher(engine).stats()

    class Unbatched:
        """A batcher that makes no batches."""

        inputs, outputs, preprocess = engine.inputs, engine.outputs, None

        def infer_async(self, inputs: Any, *, deadline: float | None = None) -> Any:
            return engine.infer_async(inputs, deadline=deadline)

        def stats(self) -> Any:
            return stats

        def close(self) -> None:
            """Nothing waits here."""

    opened = serving.Opened(engine, Unbatched(), None)  # type: ignore[arg-type]
    uvloop.run(
        serving.serve(
            {"model": lambda: opened},
            serving.Addresses("127.0.0.1", port, 0),
            serving.Limits(1 << 26, 5.0),
            on_listening=lambda _: None,
            on_ready=lambda: None,
        )
    )


def _serve_kserve(engine: Any, port: int) -> None:
    sys.argv = sys.argv[:1]  # which KServe reads when it is imported
    import kserve

    class Plain(kserve.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__("model")
            self.ready = True

        def get_input_types(self) -> list[dict[str, Any]]:
            return [_told(spec) for spec in engine.inputs]

        def get_output_types(self) -> list[dict[str, Any]]:
            return [_told(spec) for spec in engine.outputs]

        async def predict(self, payload: Any, headers: Any = None) -> Any:  # noqa: ARG002
            found = engine.infer({each.name: each.as_numpy() for each in payload.inputs})
            outputs = []
            for name, array in found.items():
                datatype = TYPES[array.dtype]
                outputs.append(kserve.InferOutput(name, list(array.shape), datatype))
                outputs[-1].set_data_from_numpy(array)
            return kserve.InferResponse(payload.id or "", "model", outputs, use_binary_outputs=True)

    kserve.ModelServer(
        http_port=port, workers=1, enable_grpc=False, enable_latency_logging=False
    ).start([Plain()])


def _told(spec: trtfast.TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": TYPES[spec.dtype], "shape": list(spec.shape)}


@contextmanager
def started(kind: str, options: argparse.Namespace) -> Iterator[int]:
    """Start a server in a process of its own, and give its port when it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    words: tuple[Any, ...] = (options.model, "--serve", kind, "--port", port)
    words += ("--lanes", options.lanes, "--delay", options.delay)
    with (
        tempfile.NamedTemporaryFile("w+") as log,
        subprocess.Popen(
            [sys.executable, __file__, *map(str, words)], stdout=log, stderr=log
        ) as process,
    ):
        try:
            end = time.monotonic() + PATIENCE
            while not _is_ready(port):
                assert process.poll() is None, Path(log.name).read_text()
                assert time.monotonic() < end, Path(log.name).read_text()
                time.sleep(0.1)
            print(f"  ready: {kind}", flush=True)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v2/models/model/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


# The clients


@dataclass(frozen=True)
class Given:
    """A client's request, and the answer that it is held to."""

    body: bytes
    head: int  # bytes of its JSON
    answer: bytes  # float32
    tolerance: float


@dataclass
class Taken:
    """What clients saw: how long each timed request took, and how many answers were not its own."""

    times: list[float]
    checked: int = 0
    wrong: int = 0


def ask(port: int, given: list[Given], seconds: float, gate: Any, results: Any) -> None:
    """Be some clients, in this process: a thread and a connection for each."""
    taken = [Taken([]) for _ in given]
    errors: list[BaseException] = []

    def one(index: int) -> None:
        try:
            _ask(port, given[index], seconds, gate, taken[index])
        except BaseException as error:
            gate.abort()
            if not isinstance(error, threading.BrokenBarrierError):  # another's fault
                errors.append(error)

    threads = [threading.Thread(target=one, args=(index,)) for index in range(len(given))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put((taken, [repr(error) for error in errors]))


def _ask(port: int, given: Given, seconds: float, gate: Any, taken: Taken) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    headers = {LENGTH: str(given.head), "Content-Type": "application/octet-stream"}
    wanted = np.frombuffer(given.answer, np.float32)

    def call() -> None:
        connection.request("POST", "/v2/models/model/infer", given.body, headers)
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        told = json.loads(content[: int(answer.headers[LENGTH])])
        datatype = np.dtype({"FP32": "f4", "FP16": "f2"}[told["outputs"][0]["datatype"]])
        found = np.frombuffer(content, datatype, wanted.size, int(answer.headers[LENGTH]))
        taken.checked += 1
        taken.wrong += not np.abs(found - wanted).max() <= given.tolerance  # nor is it with NaN

    for _ in range(3):
        call()
    gate.wait(PATIENCE)
    clock = time.perf_counter
    end = clock() + seconds
    while (start := clock()) < end:
        call()
        taken.times.append(clock() - start)
    connection.close()


def measure(port: int, given: list[Given], seconds: float) -> Taken:
    """Let all clients ask for some seconds; return what they saw."""
    context = multiprocessing.get_context("spawn")
    parts = [given[at : at + CLIENTS_A_PROCESS] for at in range(0, len(given), CLIENTS_A_PROCESS)]
    gate, results = context.Barrier(len(given)), context.Queue()
    processes = [
        context.Process(target=ask, args=(port, part, seconds, gate, results)) for part in parts
    ]
    for process in processes:
        process.start()
    found = [results.get(timeout=PATIENCE + seconds) for _ in parts]
    for process in processes:
        process.join()
    if errors := [error for _, told in found for error in told]:
        raise RuntimeError("; ".join(errors))
    every = [taken for clients, _ in found for taken in clients]
    times = [each for taken in every for each in taken.times]
    return Taken(times, sum(taken.checked for taken in every), sum(taken.wrong for taken in every))


def requests_of(path: Path, count: int, lanes: int) -> list[Given]:
    """Make a request for each client, and compute its answer on the engine alone."""
    made = []
    rng = np.random.default_rng(0)
    with trtfast.load(path, lanes=lanes) as engine:
        (spec,), name = engine.inputs, engine.outputs[0].name
        shape = (1, *spec.shape[1:])
        if min(shape) < 1:
            raise SystemExit(f"{path} takes {spec.shape}: expected one input, dynamic in its batch")
        for _ in range(count):
            array = rng.standard_normal(shape).astype(spec.dtype)
            output = np.asarray(engine.infer({spec.name: array})[name], np.float32)
            told = {
                "inputs": [
                    {
                        **_told(spec),
                        "shape": shape,
                        "parameters": {"binary_data_size": array.nbytes},
                    }
                ],
                "outputs": [{"name": name, "parameters": {"binary_data": True}}],
                "parameters": {"binary_data_output": True},
            }
            head = json.dumps(told).encode()
            tolerance = 0.02 * float(np.abs(output).max())  # of half precision, in other batches
            made.append(Given(head + array.tobytes(), len(head), output.tobytes(), tolerance))
    return made


def describe(path: Path) -> Row:
    gpu = backend.gpu()
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "model": path.name,
        "gpu": None if gpu is None else gpu.name,
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "trtfast": trtfast.__version__,
        "packages": {name: version(name) for name in ("kserve", "numpy", "uvicorn", "uvloop")},
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="an engine, or an ONNX model")
    parser.add_argument("--seconds", type=float, default=5, help="for each measurement of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds, of the batcher's queue")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--serve", choices=SERVERS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.model, options.port, options)
        return 0
    given = requests_of(options.model, max(options.clients), options.lanes)
    found: dict[tuple[int, str], list[Taken]] = {}
    with ExitStack() as stack:
        ports = {kind: stack.enter_context(started(kind, options)) for kind in SERVERS}
        for _ in range(options.rounds):
            for clients in options.clients:
                for kind, port in ports.items():
                    try:
                        taken = measure(port, given[:clients], options.seconds)
                    except RuntimeError as error:
                        raise SystemExit(f"{kind}, {clients} clients: {error}") from error
                    found.setdefault((clients, kind), []).append(taken)
    rows = []
    for (clients, kind), rounds in found.items():
        every = [each for taken in rounds for each in taken.times]
        row = {"id": f"{options.model.stem}/http{clients}/{kind}", **summary(every)}
        row["throughput"] = len(every) / (options.seconds * options.rounds)
        row["rounds"] = [len(taken.times) / options.seconds for taken in rounds]
        row["checked"] = sum(taken.checked for taken in rounds)
        row["wrong"] = sum(taken.wrong for taken in rounds)
        rows.append(row)
        print(
            f"{row['id']}: {row['throughput']:.0f} in a second, "
            f"p50 {row['median'] * 1e3:.2f} ms, p99 {row['p99'] * 1e3:.2f} ms, "
            f"wrong {row['wrong']} of {row['checked']}"
        )
    result = {**describe(options.model), "lanes": options.lanes, "delay": options.delay}
    text = json.dumps({**result, "rows": rows}, indent=1)
    if options.output:
        options.output.write_text(text + "\n")
    else:
        print(text)
    return 1 if any(row["wrong"] for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
