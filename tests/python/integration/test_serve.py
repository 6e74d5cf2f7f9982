"""NVIDIA's client, unchanged, in conversation with ``trtfast serve``, over HTTP and gRPC."""

from __future__ import annotations

import asyncio
import json
import os
import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import cv2
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from tritonclient.utils import InferenceServerException

import serving
import trtfast
import zoo
from command import Command
from serving import KINDS, MODULES, Server, client, inputs, metrics, rows

STATUSES = {"http": ("400", "404"), "grpc": ("INVALID_ARGUMENT", "NOT_FOUND")}


@pytest.fixture(scope="module")
def server(folder: Path, classifier: Path) -> Iterator[Server]:
    serving.save_scale(folder / "scale.onnx", 2)
    zoo.CASES["two_in_two_out"].make(folder / "two.onnx")
    spec = trtfast.Preprocess(size=(32, 32))
    (folder / "preprocess.json").write_text(json.dumps(spec.to_dict()))
    options = ("--max-queue-delay", "0.002", "--preprocess", "preprocess.json")
    with serving.served(folder, "scale.onnx", "pair=two.onnx", classifier, *options) as server:
        yield server


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def triton(server: Server, kind: str) -> Iterator[Any]:
    with client(server, kind) as opened:
        yield opened


def as_dict(answer: Any) -> dict[str, Any]:
    """Return what a client of HTTP or gRPC gives, as JSON has it."""
    if isinstance(answer, dict):
        return answer
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(answer)


def test_health(triton: Any) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("scale")
    assert triton.is_model_ready("scale", "1")


def test_metadata_of_the_server(triton: Any) -> None:
    told = as_dict(triton.get_server_metadata())
    assert told["name"] == "trtfast"
    assert told["version"] == trtfast.__version__
    assert set(told["extensions"]) == {"binary_tensor_data", "classification", "model_repository"}


def test_metadata_of_a_model(triton: Any) -> None:
    told = as_dict(triton.get_model_metadata("pair"))
    assert (told["name"], told["versions"]) == ("pair", ["1"])
    found = [
        (each["name"], each["datatype"], list(map(int, each["shape"]))) for each in told["inputs"]
    ]
    assert found == [("left", "FP32", [-1, 16]), ("right", "FP32", [-1, 8])]
    assert [each["name"] for each in told["outputs"]] == ["bounded", "mean"]


def test_the_repository(triton: Any) -> None:
    answer = triton.get_model_repository_index()
    models = answer if isinstance(answer, list) else as_dict(answer)["models"]
    states = {each["name"]: (each["version"], each["state"]) for each in models}
    assert states == dict.fromkeys(("scale", "pair", "classifier"), ("1", "READY"))


def test_inference(triton: Any, kind: str) -> None:
    given = rows(7, 3)
    result = triton.infer("scale", inputs(MODULES[kind], x=given), request_id="seven")
    np.testing.assert_array_equal(result.as_numpy("y"), given * 2)
    response = as_dict(result.get_response())
    assert response["id"] == "seven"
    assert (response.get("model_name") or response["modelName"]) == "scale"


def test_two_inputs_and_chosen_outputs(
    triton: Any, kind: str, folder: Path, server: Server
) -> None:
    arrays = {"left": zoo.rng().random((5, 16), np.float32), "right": rows(0, 5) / 100}
    with trtfast.ReferenceEngine(folder / "two.onnx") as engine:
        expected = engine.infer(arrays)
    module = MODULES[kind]
    tensors = inputs(module, **arrays)[::-1]  # the order is the client's
    both = triton.infer("pair", tensors)
    one = triton.infer("pair", tensors, outputs=[module.InferRequestedOutput("mean")])
    for name, array in expected.items():
        np.testing.assert_allclose(both.as_numpy(name), array, rtol=1e-5)
    np.testing.assert_allclose(one.as_numpy("mean"), expected["mean"], rtol=1e-5)
    assert one.as_numpy("bounded") is None


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_tensors_in_json_and_as_bytes(binary_in: bool, binary_out: bool, server: Server) -> None:
    tensor = tritonclient.http.InferInput("x", [2, 8], "FP32")
    tensor.set_data_from_numpy(rows(3, 2), binary_data=binary_in)
    asked = tritonclient.http.InferRequestedOutput("y", binary_data=binary_out)
    with client(server, "http") as triton:
        result = triton.infer("scale", [tensor], outputs=[asked])
    np.testing.assert_array_equal(result.as_numpy("y"), rows(3, 2) * 2)
    assert ("data" in result.get_output("y")) is not binary_out


def test_json_by_hand(server: Server) -> None:
    """As curl sends it, with rows as lists in a list."""
    body = {
        "inputs": [{"name": "x", "shape": [2, 8], "datatype": "FP32", "data": rows(1, 2).tolist()}]
    }
    with urlopen(f"http://{server.http}/v2/models/scale/infer", json.dumps(body).encode()) as got:
        told = json.load(got)
    (output,) = told["outputs"]
    assert (output["datatype"], output["shape"]) == ("FP32", [2, 8])
    assert output["data"] == (rows(1, 2) * 2).ravel().tolist()
    assert (told["model_name"], told["model_version"]) == ("scale", "1")


def test_classes_of_scores(triton: Any, kind: str) -> None:
    module = MODULES[kind]
    scores = np.array([[0, 5, 1, 2, 3, 4, 0, 0], [9, 8, 7, 0, 0, 0, 0, 0]], np.float32)
    asked = [module.InferRequestedOutput("y", class_count=2)]
    found = triton.infer("scale", inputs(module, x=scores), outputs=asked).as_numpy("y")
    expected = [[b"10.000000:1", b"8.000000:5"], [b"18.000000:0", b"16.000000:1"]]
    assert found.tolist() == expected


def test_image_files(triton: Any, kind: str, folder: Path, classifier: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 48, 40, 3), np.uint8)
    files = [cv2.imencode(".png", image)[1].tobytes() for image in pixels]
    spec = trtfast.Preprocess(size=(32, 32))
    with trtfast.ReferenceEngine(classifier, preprocess=spec) as engine:
        expected = engine.infer_images(files)
    given = inputs(MODULES[kind], image=np.array(files, np.object_))
    found = triton.infer("classifier", given).as_numpy("y")
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    with pytest.raises(InferenceServerException) as raised:
        triton.infer("classifier", inputs(MODULES[kind], image=np.array([b"none"], np.object_)))
    assert STATUSES[kind][0] in raised.value.status()


@pytest.mark.parametrize(
    ("model", "arrays", "told"),
    [
        ("scale", {"z": rows(0)}, "the request has the inputs 'z', and the model takes 'x'"),
        ("scale", {"x": rows(0).astype(np.float64)}, "'x' is FP64, and the model takes FP32"),
        ("scale", {"x": np.zeros((1, 9), np.float32)}, "(1, 9)"),
        ("scale", {"x": np.array([b"a"], np.object_)}, "does not take images"),
        ("pair", {"left": np.zeros((1, 16), np.float32)}, "'left', 'right'"),
    ],
)
def test_what_is_wrong_is_told(
    model: str, arrays: dict[str, np.ndarray], told: str, triton: Any, kind: str
) -> None:
    with pytest.raises(InferenceServerException) as raised:
        triton.infer(model, inputs(MODULES[kind], **arrays))
    assert STATUSES[kind][0] in raised.value.status()
    assert told in raised.value.message()


def test_what_does_not_exist(triton: Any, kind: str) -> None:
    asked = [MODULES[kind].InferRequestedOutput("z")]
    given = inputs(MODULES[kind], x=rows(0))
    for status, call in (
        (1, lambda: triton.get_model_metadata("none")),
        (1, lambda: triton.infer("none", given)),
        (1, lambda: triton.load_model("none")),
        (0, lambda: triton.infer("scale", given, outputs=asked)),
        (0, lambda: triton.load_model("scale", config="{}")),
    ):
        with pytest.raises(InferenceServerException) as raised:
            call()
        assert STATUSES[kind][status] in raised.value.status()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"inputs": 3}',
        b'{"inputs": [{"name": "x", "shape": [1, 8], "datatype": "FP32"}]}',
        b'{"inputs": [{"name": "x", "shape": [1, "8"], "datatype": "FP32", "data": [1]}]}',
        b'{"inputs": [{"name": "x", "shape": [1, 8], "datatype": "FP32", "data": [1, 2]}]}',
        b'{"inputs": [{"name": "x", "shape": [-1, 8], "datatype": "FP32", "data": []}]}',
        b'{"inputs": [{"name": "x", "shape": [1, 8], "datatype": "FP32", "data": ["a"]}]}',
        b'{"inputs": [{"name": "x", "shape": [8], "datatype": "FP32", "parameters": []}]}',
        b'{"inputs": [{"name": "x", "shape": [1], "datatype": 7, "data": [1]}], "id": 5}',
    ],
)
def test_damaged_requests(body: bytes, server: Server) -> None:
    import httpx

    answer = httpx.post(f"http://{server.http}/v2/models/scale/infer", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_threads(triton: Any, kind: str, server: Server) -> None:
    """Each request has a mark, and its answer has it too."""

    def one(mark: int) -> None:
        with client(server, kind) as own:
            for index in range(10):
                given = rows(mark * 10 + index, 1 + index % 3)
                result = own.infer("scale", inputs(MODULES[kind], x=given))
                np.testing.assert_array_equal(result.as_numpy("y"), given * 2)

    with ThreadPoolExecutor(16) as pool:
        assert len(list(pool.map(one, range(16)))) == 16


@pytest.mark.parametrize(
    ("module", "kind"),
    [(tritonclient.http.aio, "http"), (tritonclient.grpc.aio, "grpc")],
    ids=KINDS,
)
def test_asyncio(module: Any, kind: str, server: Server) -> None:
    async def all_at_once() -> None:
        async with module.InferenceServerClient(getattr(server, kind)) as triton:
            marks = range(100)
            results = await asyncio.gather(
                *(triton.infer("scale", inputs(module, x=rows(mark))) for mark in marks)
            )
            for mark, result in zip(marks, results, strict=True):
                np.testing.assert_array_equal(result.as_numpy("y"), rows(mark) * 2)

    asyncio.run(all_at_once())


def test_streams(server: Server) -> None:
    """Several at once; each has its answers in order, and one that is wrong ends none."""
    count = 40

    def one(stream: int) -> None:
        answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
        with client(server, "grpc") as triton:
            triton.start_stream(lambda result, error: answers.put((result, error)))
            for index in range(count):
                name = "none" if index == 5 else "scale"
                given = inputs(tritonclient.grpc, x=rows(stream * 100 + index))
                triton.async_stream_infer(name, given, request_id=str(index))
            for index in range(count):
                result, error = answers.get(timeout=30)
                if index == 5:
                    assert "none" in str(error)
                    continue
                assert error is None
                assert result.get_response().id == str(index)
                expected = rows(stream * 100 + index) * 2
                np.testing.assert_array_equal(result.as_numpy("y"), expected)
            triton.stop_stream()

    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(one, range(4)))) == 4


def test_metrics(triton: Any, kind: str, server: Server) -> None:
    before = metrics(server)
    for count in (1, 4):
        triton.infer("scale", inputs(MODULES[kind], x=rows(1, count)))
    with pytest.raises(InferenceServerException):
        triton.infer("scale", inputs(MODULES[kind], x=rows(0)), timeout=1)  # a microsecond
    after = metrics(server)

    def grown(name: str, *more: tuple[str, str]) -> float:
        key = (name, frozenset({("model", "scale"), ("version", "1"), *more}))
        return after[key] - before[key]

    assert grown("request_success") == 2
    assert grown("count") == 5
    assert grown("exec_count") == 2
    failures = {r: grown("request_failure", ("reason", r)) for r in ("BACKEND", "REJECTED")}
    assert failures == {"BACKEND": 0, "REJECTED": 1}
    assert grown("pending_request_count") == 0
    parts = ("queue", "compute_input", "compute_infer", "compute_output")
    spent = [grown(f"{part}_duration_us") for part in parts]
    assert min(spent) >= 0
    assert sum(spent) == pytest.approx(grown("request_duration_us"), rel=0.01, abs=10)
    assert grown("queue_duration_us") >= 1500  # of the delay of 2 ms that the first waited


def test_wrong_usage(trt: Command, dense: Path) -> None:
    assert "two models have the name dense" in trt.fails("InputError", "serve", dense, dense)
    assert "no name for a model" in trt.fails("InputError", "serve", f"a b={dense}")
    assert "there is no" in trt.fails(
        "InputError", "serve", "none.onnx", "--http-port", "0", "--grpc-port", "0"
    )
    assert "--max-request-bytes" in trt.fails(
        "InputError", "serve", dense, "--max-request-bytes", "x"
    )


def test_kserve_is_not_installed(trt: Command, dense: Path) -> None:
    (trt.folder / "without" / "kserve").mkdir(parents=True)
    (trt.folder / "without" / "kserve" / "__init__.py").write_text("raise ImportError('none')")
    path = os.pathsep.join([str(trt.folder / "without"), os.environ.get("PYTHONPATH", "")])
    done = trt("serve", dense, status=1, PYTHONPATH=path)
    assert done.stderr == (
        'trtfast: Error: the server is not installed (none): pip install "trtfast[serve]"\n'
    )


def test_a_port_that_is_taken(trt: Command, dense: Path, server: Server) -> None:
    for kind, other in (("http", "grpc"), ("grpc", "http")):
        port = getattr(server, kind).rpartition(":")[2]
        told = trt.fails("Error", "serve", dense, f"--{kind}-port", port, f"--{other}-port", "0")
        assert f"port {port}" in told
