"""Engines of Ultralytics: the plan is loaded from where it lies, and the description is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import fake_gpu
import plans
import trtfast
from fake_gpu import FakeGpu, answer, rows
from imagery import random_image
from trtfast.cli.app import app

METADATA = {"task": "detect", "imgsz": [4, 6], "names": {"0": "cat", "1": "dog"}, "batch": 4}


@pytest.mark.parametrize("as_bytes", [False, True], ids=["path", "bytes"])
@pytest.mark.parametrize("padding", range(16))
def test_the_plan_may_lie_anywhere(
    padding: int, as_bytes: bool, plan: bytes, tmp_path: Path
) -> None:
    metadata = METADATA | {"description": "x" * padding}
    path = tmp_path / "yolo.engine"
    path.write_bytes(plans.of_ultralytics(plan, metadata))
    source = path.read_bytes() if as_bytes else path
    with trtfast.Engine(source) as engine, trtfast.Engine(plan) as alone:
        assert engine.metadata == metadata
        assert engine.classes == ("cat", "dog")
        assert engine.passport is None
        assert engine.memory_report().plan == len(plan)
        assert np.array_equal(engine.infer(rows(3)), answer(rows(3)))
        assert alone.metadata is None
        assert alone.classes is None


def test_images_are_prepared_as_the_description_says(gpu: FakeGpu) -> None:
    model = b"input x float32 -1,3,4,6\noutput y float32 -1,3,4,6\nop node y = affine 2 1 x\n"
    shapes = tuple((count, 3, 4, 6) for count in (1, 2, 4))
    plan = fake_gpu.build(gpu.libraries["11.1"], model, shapes)
    image = random_image(8, 6)
    with trtfast.Engine(plans.of_ultralytics(plan, METADATA)) as engine:
        given = (engine.infer_images(image) - 1) / 2
    # It shrinks to 4 x 3, and lies between a column of grey and two.
    grey = np.float32(114 / 255)
    np.testing.assert_allclose(given[0, :, :, [0, 4, 5]], grey, rtol=1e-6)
    shrunk = given[0, :, :, 1:4].transpose(1, 2, 0)
    means = image.reshape(4, 2, 3, 2, 3).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(shrunk, means, atol=0.6 / 255)


def test_what_the_caller_says_of_images_counts_more(plan: bytes) -> None:
    own = trtfast.Preprocess((8, 8))
    with trtfast.Engine(plans.of_ultralytics(plan, METADATA), preprocess=own) as engine:
        assert engine.preprocess == own


def test_run_takes_a_classifiers_outputs_as_probabilities(gpu: FakeGpu, tmp_path: Path) -> None:
    model = b"input x float32 -1,3\noutput y float32 -1,3\nop same y = affine 1 0 x\n"
    plan = fake_gpu.build(gpu.libraries["11.1"], model, tuple((count, 3) for count in (1, 1, 4)))
    metadata = {"task": "classify", "names": {"0": "cat", "1": "dog", "2": "bird"}}
    (tmp_path / "cls.engine").write_bytes(plans.of_ultralytics(plan, metadata))
    np.save(tmp_path / "x.npy", np.array([[0.25, 0.75, 0]], np.float32))
    done = CliRunner().invoke(app, ["run", str(tmp_path / "cls.engine"), str(tmp_path / "x.npy")])
    assert [line.strip("█· ") for line in done.stdout.splitlines()[-3:]] == [
        "class: dog, confidence: 75.00 %, index: 1",
        "class: cat, confidence: 25.00 %, index: 0",
        "class: bird, confidence: 0.00 %, index: 2",
    ]
