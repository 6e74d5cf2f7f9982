"""Examples with an engine, whose outputs on the stand-in are the pixels."""

from __future__ import annotations

import asyncio
import runpy
import sys
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

import fake_gpu
import plans
import trtfast
from fake_gpu import FakeGpu
from running import EXAMPLES, as_file


def write(path: Path, image: np.ndarray) -> None:
    assert cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: Path) -> None:
    script = str(EXAMPLES / "ultralytics_engine.py")
    monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
    runpy.run_path(script, run_name="__main__")


def test_a_classifier_names_the_best(
    gpu: FakeGpu,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of one pixel, whose red, green and blue are the three probabilities."""
    model = b"input x float32 -1,3,1,1\noutput y float32 -1,3,1,1\nop same y = affine 1 0 x\n"
    plan = fake_gpu.build(gpu.libraries["11.1"], model, tuple((n, 3, 1, 1) for n in (1, 1, 4)))
    names = {"0": "red", "1": "green", "2": "blue"}
    metadata = {"task": "classify", "imgsz": [1, 1], "names": names}
    engine = tmp_path / "cls.engine"
    engine.write_bytes(plans.of_ultralytics(plan, metadata))
    for name, colour in (("leaf.png", (51, 204, 102)), ("sea.png", (0, 51, 153))):
        write(tmp_path / name, np.full((7, 9, 3), colour, np.uint8))
    run(monkeypatch, engine, tmp_path / "leaf.png", tmp_path / "sea.png")
    assert capsys.readouterr().out == "leaf.png: green, 80.00%\nsea.png: blue, 60.00%\n"


def test_a_detector_finds_boxes_in_the_photograph(
    gpu: FakeGpu,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of 4x8 pixels, whose planes are the six rows of 16 boxes."""
    model = b"input x float32 -1,3,4,8\noutput y float32 -1,3,4,8\nop same y = affine 1 0 x\n"
    plan = fake_gpu.build(gpu.libraries["11.1"], model, tuple((n, 3, 4, 8) for n in (1, 1, 4)))
    metadata = {"task": "detect", "imgsz": [4, 8], "names": {"0": "cat", "1": "dog"}}
    engine = tmp_path / "yolo.engine"
    engine.write_bytes(plans.of_ultralytics(plan, metadata))
    boxes = np.zeros((6, 16))
    boxes[:, 2] = [0.6, 0.8, 0.4, 0.2, 0.8, 0.2]
    boxes[:, 3] = [0.6, 0.8, 0.4, 0.2, 0.4, 0.0]  # the same again, which is dropped
    boxes[:, 4] = [0.6, 0.8, 0.4, 0.2, 0.0, 0.6]  # but not of another class
    boxes[:, 10] = [0.2, 0.2, 0.2, 0.2, 0.2, 0.2]  # not sure enough
    planes = np.rint(255 * boxes).astype(np.uint8).reshape(3, 4, 8)
    # A photograph of 400x400 shrinks to the middle 4x4; beside it, grey makes boxes of cats.
    write(tmp_path / "pets.png", planes[:, :, 2:6].transpose(1, 2, 0).repeat(100, 0).repeat(100, 1))
    run(monkeypatch, engine, tmp_path / "pets.png")
    assert sorted(capsys.readouterr().out.splitlines()) == [
        "pets.png: cat, 44.71%, at -178, 22, 45, 45",
        "pets.png: cat, 80.00%, at -160, 70, 40, 20",
        "pets.png: dog, 60.00%, at -160, 70, 40, 20",
    ]


def test_a_plan_of_another_kind_is_told(
    plan: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tmp_path / "plain.engine"
    engine.write_bytes(plan)
    with pytest.raises(SystemExit, match=r"plain\.engine is not described as a classifier"):
        run(monkeypatch, engine, tmp_path / "pets.png")


def test_a_service_that_is_too_busy_says_so(gpu: FakeGpu) -> None:
    model = b"input x float32 -1,3,224,224\noutput y float32 -1,3,224,224\nop n y = affine 1 0 x\n"
    shapes = tuple((count, 3, 224, 224) for count in (1, 1, 2))
    plan = fake_gpu.build(gpu.libraries["11.1"], model, shapes)
    make_app = runpy.run_path(str(EXAMPLES / "service.py"))["make_app"]

    async def ask(app: Any, data: bytes) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.post("/classify", content=data)

    data = as_file("coffee")
    spec = trtfast.Preprocess()
    for room, deadline, status, message in (
        (0, 5.0, 503, "max_queue"),
        (1, 0.001, 504, "deadline"),
    ):
        with (
            trtfast.Engine(plan, lanes=1, preprocess=spec) as engine,
            gpu.gate() as gate,
        ):
            engine.infer_async(gate.held(np.zeros((1, 3, 224, 224), np.float32)))
            gate.wait()
            app = make_app(trtfast.Batcher(engine, max_queue=room), None, deadline)
            answer = asyncio.run(ask(app, data))
            assert answer.status_code == status
            assert message in answer.json()["detail"]
            # Where no request may wait, none is decoded either.
            assert asyncio.run(ask(app, b"no image")).status_code == (400 if room else 503)
