"""``trtfast serve`` in a process of its own, and small models for it.

No test imports ``trtfast.serving``: the messages of KServe's and those of NVIDIA's client have the
same names, so that one process has the one or the other.
"""

from __future__ import annotations

import json
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import onnx
import tritonclient.grpc
import tritonclient.http
from onnx import helper, numpy_helper
from prometheus_client.parser import text_string_to_metric_families

import tiny
from command import PROGRAM, environment

WIDTH = 8
PATIENCE = 60.0


@dataclass
class Server:
    """A server that listens."""

    process: subprocess.Popen[str]
    http: str
    grpc: str
    log: Path

    def line(self) -> Any:
        """Return the next line that it prints, which is JSON."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        assert ready, self.log.read_text()
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        return json.loads(line)

    def end(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Tell it to end, and return how long that took; its status must be 0."""
        start = time.monotonic()
        self.process.send_signal(number)
        assert self.process.wait(PATIENCE) == 0, self.log.read_text()
        return time.monotonic() - start


@contextmanager
def served(
    folder: Path, *arguments: str | Path, wait: bool = True, backend: str = "reference"
) -> Iterator[Server]:
    """Serve models at free ports."""
    log = folder / "serve.log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [
                *(PROGRAM, "serve", *arguments),
                *("--backend", backend, "--http-port", "0", "--grpc-port", "0", "--json"),
            ],
            cwd=folder,
            env=environment(folder),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    with process:
        try:
            server = Server(process, "", "", log)
            at = server.line()
            server.http, server.grpc = (f"127.0.0.1:{at[f'{kind}_port']}" for kind in KINDS)
            if wait:
                assert "ready" in server.line()
            yield server
            if process.poll() is None:
                server.end()
        finally:
            process.kill()
    assert "Traceback" not in log.read_text(), log.read_text()


KINDS = ("http", "grpc")
MODULES = {"http": tritonclient.http, "grpc": tritonclient.grpc}


@contextmanager
def client(server: Server, kind: str) -> Iterator[Any]:
    """Give NVIDIA's client, of HTTP or gRPC."""
    with MODULES[kind].InferenceServerClient(getattr(server, kind)) as opened:
        yield opened


def inputs(module: Any, **arrays: np.ndarray) -> list[Any]:
    """Return tensors of a request, of a module of NVIDIA's client."""
    found = []
    for name, array in arrays.items():
        datatype = tritonclient.http.np_to_triton_dtype(array.dtype)
        tensor = module.InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array)
        found.append(tensor)
    return found


def rows(mark: int, count: int = 1) -> np.ndarray:
    """Return rows that no other mark has, and that floats hold when they are tripled."""
    return (np.arange(count * WIDTH, dtype=np.float32) + mark * 100).reshape(count, WIDTH)


def metrics(server: Server) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return what Prometheus reads: by name, without Triton's prefix, and labels."""
    with urlopen(f"http://{server.http}/metrics") as got:
        families = text_string_to_metric_families(got.read().decode())
    return {
        (sample.name.removeprefix("nv_inference_"), frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def save_scale(path: Path, factor: float) -> Path:
    """Save a model that multiplies its rows."""
    node = helper.make_node("Mul", ["x", "factor"], ["y"], name="scale")
    return _save(path, [node], [numpy_helper.from_array(np.float32(factor), "factor")])


def save_slow(path: Path, rounds: int) -> Path:
    """Save a model that gives its rows back, after some milliseconds for each round."""
    nodes = [helper.make_node("MatMul", ["x", "spread"], ["h0"], name="spread")]
    for index in range(rounds):
        nodes += [
            helper.make_node("MatMul", [f"h{index}", "mixed"], [f"m{index}"], name=f"mix{index}"),
            helper.make_node("Tanh", [f"m{index}"], [f"h{index + 1}"], name=f"bound{index}"),
        ]
    nodes += [
        helper.make_node("ReduceMin", [f"h{rounds}"], ["low"], name="low", axes=[1]),
        helper.make_node("Mul", ["low", "zero"], ["none"], name="hide"),
        helper.make_node("Add", ["x", "none"], ["y"], name="give"),
    ]
    weights = [
        tiny.weight("spread", WIDTH, 2048),
        tiny.weight("mixed", 2048, 2048),
        numpy_helper.from_array(np.float32(0), "zero"),
    ]
    return _save(path, nodes, weights)


def _save(path: Path, nodes: Sequence[onnx.NodeProto], weights: Sequence[onnx.TensorProto]) -> Path:
    values = (tiny.value(name, "batch", WIDTH) for name in "xy")
    onnx.save(tiny.model_of(nodes, [next(values)], [next(values)], weights), path)
    return path
