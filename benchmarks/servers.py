"""Servers of a model over HTTP, of which benchmarks/serving.py compares the speed.

python benchmarks/servers.py KIND MODEL PORT LANES DELAY
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import trtfast
from trtfast import backend, binding

KINDS = tuple(
    kind
    for kind in ("batcher", "plain", "kserve", "ray")
    if kind != "ray" or find_spec("ray") is not None
)
PATIENCE = 300.0  # seconds for a server to be ready
TYPES = {np.dtype(np.float32): "FP32", np.dtype(np.float16): "FP16"}


def serve(kind: str, path: Path, port: int, lanes: int, delay: float) -> None:
    """Serve a model until SIGTERM, in this process."""
    if kind == "batcher":
        from trtfast.cli import main

        ports = ("--http-port", str(port), "--grpc-port", "0", "--lanes", str(lanes))
        main(["serve", f"model={path}", *ports, "--max-queue-delay", str(delay)])
    if kind == "ray":
        _serve_ray(path, port, lanes, delay)
        return
    engine = trtfast.load(path, lanes=lanes)
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
            return [described(spec) for spec in engine.inputs]

        def get_output_types(self) -> list[dict[str, Any]]:
            return [described(spec) for spec in engine.outputs]

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


def _serve_ray(path: Path, port: int, lanes: int, delay: float) -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray import serve

    from trtfast.integrations.ray import deployment

    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    # As many processes as Ray wants for itself may be placed, whatever there is.
    ray.init(num_cpus=16, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    serve.start(
        http_options={"host": "127.0.0.1", "port": port}, logging_config={"log_level": "ERROR"}
    )
    where = "auto" if backend.gpu() is not None else "reference"
    made = deployment(path, backend=where, lanes=lanes, max_queue_delay=delay)
    serve.run(made.options(graceful_shutdown_wait_loop_s=0.1).bind(), name="model")
    ended.wait()
    serve.shutdown()
    ray.shutdown()


def described(spec: trtfast.TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": TYPES[spec.dtype], "shape": list(spec.shape)}


@contextmanager
def started(kind: str, path: Path, lanes: int, delay: float) -> Iterator[int]:
    """Start a server in a process of its own, and give its port when it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    words = map(str, (kind, path, port, lanes, delay))
    with (
        tempfile.NamedTemporaryFile("w+") as log,
        subprocess.Popen([sys.executable, __file__, *words], stdout=log, stderr=log) as process,
    ):
        try:
            end = time.monotonic() + PATIENCE
            while not _is_ready(kind, port):
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


def _is_ready(kind: str, port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/-/routes" if kind == "ray" else "/v2/models/model/ready")
        answer = connection.getresponse()
        return answer.status == 200 and (kind != "ray" or b"model" in answer.read())
    except OSError:
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    kind, path, port, lanes, delay = sys.argv[1:]
    serve(kind, Path(path), int(port), int(lanes), float(delay))
