"""A folder for each module in which commands run, and small models in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import tiny
from command import Command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def trt(folder: Path) -> Command:
    return Command(folder)


@pytest.fixture(scope="module")
def dense(folder: Path) -> Path:
    onnx.save(tiny.dense(), folder / "dense.onnx")
    return folder / "dense.onnx"


@pytest.fixture(scope="module")
def classifier(folder: Path) -> Path:
    """A model of images, whose two outputs are the means of red and of blue."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"], name="pool"),
        helper.make_node("Flatten", ["mean"], ["flat"], name="flatten"),
        helper.make_node("Gather", ["flat", "channels"], ["y"], name="choose", axis=1),
    ]
    channels = onnx.numpy_helper.from_array(np.array([0, 2]), "channels")
    inputs = [tiny.value("image", "batch", 3, 32, 32)]
    onnx.save(
        tiny.model_of(nodes, inputs, [tiny.value("y", "batch", 2)], [channels]),
        folder / "classifier.onnx",
    )
    return folder / "classifier.onnx"
