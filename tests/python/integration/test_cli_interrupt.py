"""Ctrl-C: it ends each command with status 130, and leaves no half file."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import tiny
from command import Command, interrupt


@pytest.fixture(scope="module")
def deep(folder: Path) -> str:
    """A model whose build takes some seconds."""
    onnx.save(tiny.convolutions(1000, 8), folder / "deep.onnx")
    return "deep.onnx"


def test_a_build_leaves_no_half_file(trt: Command, deep: str) -> None:
    out = trt.folder / "out"
    with trt.begun("build", deep, "-o", "out/deep.engine") as build:
        # The plan's file is begun just before TensorRT is.
        printed, told = interrupt(build, lambda: out.exists() and any(out.iterdir()))
    assert build.returncode == 130
    assert list(out.iterdir()) == []
    assert printed == ""
    assert told == "stopping, at TensorRT's next step\ntrtfast: interrupted\n"


def test_what_was_built_before_stays(trt: Command, deep: str, dense: Path) -> None:
    folder = trt.folder / "kept"
    trt("build", dense, "-o", "kept/m.engine")
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    with trt.begun("build", deep, "-o", "kept/m.engine") as build:
        interrupt(build, lambda: any(".partial" in path.name for path in folder.iterdir()))
    assert build.returncode == 130
    assert {path: path.read_bytes() for path in folder.iterdir()} == kept


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_measurement(threads: str, trt: Command, dense: Path) -> None:
    """It ends at once, though it was to take an hour."""
    options = ("--seconds", "3600", "--threads", threads, "--backend", "reference", "-v")
    with trt.begun("bench", dense, *options) as bench:
        assert bench.stderr is not None
        lines = iter(bench.stderr.readline, "")
        assert "trtfast: info: measuring dense.onnx\n" in lines  # reads as far as that
        _, told = interrupt(bench, lambda: True)
    assert bench.returncode == 130
    assert told == "trtfast: interrupted\n"
