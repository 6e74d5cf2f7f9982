"""Requests in a second and their times, through HTTP on loopback.

    python benchmarks/serving.py model.engine --output serving.json
    python benchmarks/serving.py --output serving.json

Servers, in processes of their own, take turns; clients are in other processes, each with a
connection that it keeps, an input of its own, and one request at a time:

- ``batcher``: ``trtfast serve``.
- ``plain``: the same server, but each request is a call of the engine's, on one of as many lanes.
- ``kserve``: KServe's own server as it comes, whose handler calls ``engine.infer``. It listens at
  all addresses of the machine.
- ``ray``: Ray Serve's proxy before one replica of ``trtfast.integrations.ray``, where Ray is
  installed. Arrays go as ``numpy.save`` writes them.

Each answer is held to what the engine alone gives for its input, and those that are not it are
counted; then the exit status is 1. Without a model, it is one of next to no time, the means of an
image's channels, and what is measured is what the servers themselves take. It needs no registry and
no network: the packages of ``trtfast[serve]``, and an engine, or an ONNX model for the CPU.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import multiprocessing
import os
import platform
import socket
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

import trtfast
from measure import Row, summary
from servers import KINDS, PATIENCE, described, started
from trtfast import backend
from trtfast.comparison.environment import cpu_name

CLIENTS = (1, 16, 64)
CLIENTS_A_PROCESS = 8  # of which one has the GIL at a time
LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class Given:
    """A client's request, and the answer that it is held to."""

    body: bytes  # of the Open Inference Protocol
    head: int  # bytes of its JSON
    npy: bytes  # what numpy.save makes of the array alone
    answer: bytes  # float32
    tolerance: float


@dataclass
class Taken:
    """What clients saw: how long each timed request took, and how many answers were not its own."""

    times: list[float]
    checked: int = 0
    wrong: int = 0


def ask(kind: str, port: int, given: list[Given], seconds: float, gate: Any, results: Any) -> None:
    """Be some clients, in this process: a thread and a connection for each."""
    taken = [Taken([]) for _ in given]
    errors: list[BaseException] = []

    def one(index: int) -> None:
        try:
            _ask(kind, port, given[index], seconds, gate, taken[index])
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


def _ask(kind: str, port: int, given: Given, seconds: float, gate: Any, taken: Taken) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    path, body, headers = "/v2/models/model/infer", given.body, {LENGTH: str(given.head)}
    if kind == "ray":
        path, body, headers = "/", given.npy, {}
    wanted = np.frombuffer(given.answer, np.float32)

    def call() -> None:
        connection.request(
            "POST", path, body, {**headers, "Content-Type": "application/octet-stream"}
        )
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        found = _found(content, answer.headers.get(LENGTH), wanted.size)
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


def _found(content: bytes, head: str | None, size: int) -> Any:
    """Return an answer's numbers, behind the JSON of the Open Inference Protocol or in an .npy."""
    if head is None:
        return np.load(io.BytesIO(content)).ravel()
    told = json.loads(content[: int(head)])
    datatype = np.dtype({"FP32": "f4", "FP16": "f2"}[told["outputs"][0]["datatype"]])
    return np.frombuffer(content, datatype, size, int(head))


def measure(kind: str, port: int, given: list[Given], seconds: float) -> Taken:
    """Let all clients ask for some seconds; return what they saw."""
    context = multiprocessing.get_context("spawn")
    parts = [given[at : at + CLIENTS_A_PROCESS] for at in range(0, len(given), CLIENTS_A_PROCESS)]
    gate, results = context.Barrier(len(given)), context.Queue()
    processes = [
        context.Process(target=ask, args=(kind, port, part, seconds, gate, results))
        for part in parts
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


def make_means(folder: Path) -> Path:
    """Make a model of next to no time: the means of an image's channels."""
    path = folder / "means.onnx"
    node = helper.make_node("ReduceMean", ["image"], ["means"], axes=[2, 3], keepdims=0)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 224, 224])
    means = helper.make_tensor_value_info("means", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph([node], "means", [image], [means])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


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
                        **described(spec),
                        "shape": shape,
                        "parameters": {"binary_data_size": array.nbytes},
                    }
                ],
                "outputs": [{"name": name, "parameters": {"binary_data": True}}],
                "parameters": {"binary_data_output": True},
            }
            head = json.dumps(told).encode()
            tolerance = 0.02 * float(np.abs(output).max())  # of half precision, in other batches
            file = io.BytesIO()
            np.save(file, array)
            body = head + array.tobytes()
            made.append(Given(body, len(head), file.getvalue(), output.tobytes(), tolerance))
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
        "packages": {
            name: version(name)
            for name in ("kserve", "numpy", "ray", "uvicorn", "uvloop")
            if find_spec(name) is not None
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, nargs="?", help="an engine, or an ONNX model")
    parser.add_argument("--seconds", type=float, default=5, help="for each measurement of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds, of the batcher's queue")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        options.model = options.model or make_means(Path(scratch))
        return compare(options)


def compare(options: argparse.Namespace) -> int:
    """Measure all servers, and write what was found; return the exit status."""
    given = requests_of(options.model, max(options.clients), options.lanes)
    found: dict[tuple[int, str], list[Taken]] = {}
    with ExitStack() as stack:
        how = (options.model, options.lanes, options.delay)
        ports = {kind: stack.enter_context(started(kind, *how)) for kind in KINDS}
        for _ in range(options.rounds):
            for clients in options.clients:
                for kind, port in ports.items():
                    try:
                        taken = measure(kind, port, given[:clients], options.seconds)
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
