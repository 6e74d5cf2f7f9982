"""An engine in a comparison, and what its passport remembers, on the stand-in."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import trtfast
from trtfast import Passport, passport
from trtfast.comparison.environment import clocks
from trtfast.passport import sha256


class Doubling(torch.nn.Module):
    """What the stand-in's plan computes: y = 2 x + 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x + 1


@pytest.fixture
def path(plan: bytes, tmp_path: Path) -> Path:
    """The plan as a file, with a passport."""
    path = tmp_path / "m.engine"
    path.write_bytes(plan)
    with trtfast.Engine(plan) as engine:
        product, version = engine.tensorrt.split()
        inputs = [passport.describe(spec) for spec in engine.inputs]
        outputs = [passport.describe(spec) for spec in engine.outputs]
    Passport(
        plan_sha256=sha256(plan),
        onnx_sha256="",
        product=product,
        version=version,
        generation="trt11",
        trtfast="0.1.0",
        gpu=None,
        compute_capability=None,
        options={},
        inputs=inputs,
        outputs=outputs,
        precision={"asked": "fp32"},
        build_seconds=1.5,
    ).write(path)
    return path


def test_an_engine_beside_pytorch(path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((24, 2)).astype(np.float32)
    with trtfast.Engine(path) as engine:
        report = trtfast.compare(
            Doubling(), engine, rows, batches=(1, 8), seconds=0.05, repeats=2, compiled=False
        )
        gpu = engine.gpu
    assert report.passed
    ours = report["engine fp32"]
    assert ours.outputs[0].max_absolute == 0
    assert ours.determinism is not None
    assert ours.determinism.results == 1
    assert [at.batch for at in ours.latency] == [1, 8]
    assert ours.build_seconds == 1.5
    assert ours.plan_bytes == path.stat().st_size
    assert ours.device_bytes is not None
    assert ours.device_bytes > ours.plan_bytes
    assert ours.layers
    assert ours.path == str(path)

    report.record()
    known = Passport.of(path)
    assert known is not None
    measured = known.measured["compare"]
    assert (measured["gpu"], measured["tensorrt"]) == (gpu, ours.runs_on)
    assert measured["median"] == {str(at.batch): at.median for at in ours.latency}
    trtfast.Engine(path).close()  # warns of nothing


def test_measured_elsewhere(path: Path) -> None:
    known = Passport.of(path)
    assert known is not None
    found = {"verify": {"gpu": "Another GPU", "tensorrt": "TensorRT 11.1"}}
    replace(known, measured=found).write(path)
    with pytest.warns(UserWarning, match="'verify' on Another GPU .*measure it again"):
        trtfast.Engine(path).close()


def test_clocks_are_those_of_the_gpu_that_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nvidia-smi counts GPUs in an order of its own, also those that CUDA does not see."""
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\necho "$1, P0, 1, 2, 3, 4, 5, 6"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    told = [clocks(device)["driver_version"] for device in range(2)]
    assert told == [
        "--id=GPU-f0f0f0f0-f0f0-f0f0-f0f0-f0f0f0f0f0f0",
        "--id=GPU-f1f1f1f1-f1f1-f1f1-f1f1-f1f1f1f1f1f1",
    ]
