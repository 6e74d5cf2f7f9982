"""Repositories for Triton: versions of models, and what cannot become one."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import plans
import trtfast
from command import Command
from triton_repository import CLASSES, LOGITS, plan_of, read
from trtfast import passport, triton
from trtfast.passport import Passport


def test_versions(tmp_path: Path) -> None:
    plan, models = plan_of(tmp_path), tmp_path / "models"
    assert triton.export(plan, models).name == "1"
    data = plan.read_bytes() + b"more"
    plan.write_bytes(data)
    known = Passport.of(plan)
    assert known is not None
    dataclasses.replace(known, plan_sha256=passport.sha256(data), classes=CLASSES[::-1]).write(plan)
    second = triton.export(plan, models, max_batch_size=4)
    assert second.name == "2"
    assert (second / "model.plan").read_bytes() == data
    assert (models / "model" / "1" / "model.plan").read_bytes() == data[:-4]
    assert read(second).max_batch_size == 4
    assert (models / "model" / "labels.txt").read_text("utf-8").splitlines() == CLASSES[::-1]
    assert triton.export(plan, models, version=7).name == "7"
    assert triton.export(plan, models).name == "8"
    assert sorted(path.name for path in (models / "model").iterdir()) == [
        *("1", "2", "7", "8"),
        *("config.pbtxt", "labels.txt"),
    ]


def test_a_version_is_never_replaced(tmp_path: Path) -> None:
    plan, models = plan_of(tmp_path), tmp_path / "models"
    folder = triton.export(plan, models, version=3)
    before = {path: path.stat().st_mtime_ns for path in models.rglob("*")}
    with pytest.raises(trtfast.InputError, match="has a version 3: leave version out"):
        triton.export(plan, models, version=3, max_batch_size=1)
    with pytest.raises(trtfast.InputError, match="version is 0"):
        triton.export(plan, models, version=0)
    assert {path: path.stat().st_mtime_ns for path in models.rglob("*")} == before
    assert read(folder).max_batch_size == 32


def test_versions_of_a_model_take_and_give_the_same(tmp_path: Path) -> None:
    models = tmp_path / "models"
    folder = triton.export(plan_of(tmp_path), models)
    other = plan_of(tmp_path, outputs=[{**LOGITS, "dtype": "float16"}])
    with pytest.raises(trtfast.InputError, match=r"has outputs .* choose another name"):
        triton.export(other, models)
    (folder.parent / "config.pbtxt").write_text("no configuration {")
    with pytest.raises(trtfast.InputError, match=r"config\.pbtxt is no configuration of Triton's"):
        triton.export(plan_of(tmp_path), models)


@pytest.mark.parametrize("is_new", [True, False])
def test_nothing_is_left_of_what_failed(
    is_new: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, models = plan_of(tmp_path), tmp_path / "models"
    if not is_new:
        triton.export(plan, models)
    before = {path: path.stat().st_mtime_ns for path in models.rglob("*") if path.is_file()}

    def full(self: object, data: memoryview) -> None:
        raise trtfast.BuildError("disk full")

    monkeypatch.setattr("trtfast._plan.Writer.write", full)
    with pytest.raises(trtfast.BuildError):
        triton.export(plan, models)
    after = {path: path.stat().st_mtime_ns for path in models.rglob("*") if path.is_file()}
    assert after == before
    assert [path.name for path in models.iterdir()] == ([] if is_new else ["model"])


def test_others_may_read_it(tmp_path: Path) -> None:
    folder = triton.export(plan_of(tmp_path), tmp_path / "models")
    assert folder.parent.stat().st_mode & 0o777 == 0o755
    assert os.access(folder / "model.plan", os.R_OK)
    again = triton.export(plan_of(tmp_path), tmp_path / "models")
    assert again.stat().st_mode & 0o777 == 0o755


def test_plan_of_tensorrt_rtx(engine_of: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(
        trtfast.EngineIncompatibleError,
        match=r"is a plan of TensorRT-RTX .* --backend tensorrt`\), or export the ONNX model",
    ):
        triton.export(engine_of("two_in_two_out"), tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_engine_behind_a_description_of_ultralytics(tmp_path: Path) -> None:
    """The plan alone is written: Triton reads no description."""
    plan = plan_of(tmp_path)
    data = plan.read_bytes()
    plan.write_bytes(plans.of_ultralytics(data, {"task": "classify"}))
    folder = triton.export(plan, tmp_path / "models")
    assert (folder / "model.plan").read_bytes() == data


def test_plans_that_cannot_be_described(tmp_path: Path) -> None:
    models = tmp_path / "models"
    with pytest.raises(trtfast.InputError, match="there is no file"):
        triton.export(tmp_path / "none.engine", models)
    plan = plan_of(tmp_path)
    whole = plan.read_bytes()
    plan.write_bytes(b"something else")
    with pytest.raises(trtfast.EngineIncompatibleError, match="is not a TensorRT plan"):
        triton.export(plan, models)
    plan.write_bytes(whole[:-1])
    with pytest.raises(trtfast.EngineIncompatibleError, match="not the plan that its passport"):
        triton.export(plan, models)
    plan_of(tmp_path, [{"name": "x", "dtype": "float32"}])
    with pytest.raises(trtfast.EngineIncompatibleError, match="passport, is damaged"):
        triton.export(plan, models)
    passport.path_of(plan).unlink()
    with pytest.raises(trtfast.InputError, match=r"no passport, model\.engine\.json"):
        triton.export(plan, models)
    assert not models.exists()


def test_dtypes_that_triton_has_not(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, outputs=[{**LOGITS, "dtype": "float8_e4m3fn"}])
    with pytest.raises(trtfast.InputError, match="'logits' is of float8_e4m3fn"):
        triton.export(plan, tmp_path / "models")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch_size": -1}, "max_batch_size is -1"),
        ({"max_batch_size": 33}, "takes batches of 1 to 32"),
        ({"max_queue_delay": -0.1}, "max_queue_delay is"),
        ({"max_queue_delay": math.nan}, "max_queue_delay is"),
        ({"preferred_batch_sizes": [8, 33]}, r"has \[33\]: give sizes from 1 to .* 32"),
        ({"preferred_batch_sizes": [1], "max_batch_size": 0}, "needs a model that Triton batches"),
        ({"max_queue": 0}, "max_queue is 0"),
        ({"deadline": 0.0}, "deadline is 0"),
        ({"deadline": math.inf}, "deadline is inf"),
        ({"instances": 0}, "instances is 0"),
        ({"name": "a/b"}, "no name for a model"),
        ({"name": ".hidden"}, "no name for a model"),
        ({"name": ""}, "no name for a model"),
        ({"classes": ["one", "two"]}, "2 names, and no output's last axis is as long"),
        ({"classes": ["one", "two", "th\nree"]}, "cannot be a label"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(trtfast.InputError, match=message):
        triton.export(plan_of(tmp_path), tmp_path / "models", **options)
    assert not (tmp_path / "models").exists()


def test_without_the_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tritonclient.grpc", None)
    with pytest.raises(trtfast.Error, match=r'pip install "trtfast\[triton\]"'):
        triton.export(plan_of(tmp_path), tmp_path / "models")


def test_command(tmp_path: Path) -> None:
    trt = Command(tmp_path)
    plan_of(tmp_path)
    printed = trt("export-triton", "model.engine", "models", "--max-batch-size", "8").stdout
    assert "models/model/1: version 1 of model" in printed
    assert "needs a Triton with TensorRT 10.13.3.9, and NVIDIA L4" in printed
    options = ["--preferred-batch-sizes", "4,8", "--max-queue", "0"]
    told = trt.json("export-triton", "model.engine", "models", *options, "--instances", "1")
    assert told == {
        "path": "models/model/2",
        "config": "models/model/config.pbtxt",
        "tensorrt": "10.13.3.9",
        "gpu": "NVIDIA L4",
    }
    config = read(tmp_path / told["path"])
    assert list(config.dynamic_batching.preferred_batch_size) == [4, 8]
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 0
    assert config.instance_group[0].count == 1
    message = trt.fails("InputError", "export-triton", "model.engine", "models", "--version", "2")
    assert "has a version 2" in message
