"""``trtfast profile``, on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner, Result

import recorded
import tiny
from trtfast.cli import profile as shown
from trtfast.cli.app import app
from trtfast.errors import InputError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the model lies, and its inputs."""
    monkeypatch.chdir(tmp_path)
    onnx.save(tiny.dense(), "dense.onnx")
    np.save("five.npy", np.ones((5, 8), np.float32))
    np.savez("six.npz", x=np.ones((6, 8), np.float32))
    return tmp_path


def profile(*options: str) -> Result:
    arguments = ["profile", "dense.onnx", "--backend", "reference", "--runs", "2", *options]
    done = CliRunner().invoke(app, arguments)
    if not isinstance(done.exception, (SystemExit, type(None))):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


def test_a_table() -> None:
    printed = profile().stdout
    assert printed.startswith("dense.onnx on the CPU (ReferenceEngine), x:1x8\n")
    assert "│ project" in printed
    assert "MatMul float32 1x4" in printed
    assert "of the roof" not in printed
    assert "time by dtype: 100.0% in float32" in printed
    assert "ms in 2 layers, one by one, mean of 2 runs, 0.00 GFLOP" in printed


def test_top() -> None:
    printed = profile("--top", "1").stdout
    assert ("│ project" in printed) != ("│ clip" in printed)


@pytest.mark.parametrize(
    ("options", "batch"),
    [
        (("--inputs", "five.npy"), 5),
        (("--inputs", "six.npz"), 6),
        (("--shapes", "x:7x8"), 7),
        ((), 1),
    ],
)
def test_inputs_and_json(options: tuple[str, ...], batch: int) -> None:
    told = json.loads(profile("--json", *options).stdout)
    assert told["inputs"] == {"x": [batch, 8]}
    assert told["runs"] == 2
    assert told["flops"] == 2 * batch * 8 * 4
    assert [layer["name"] for layer in told["layers"]] == ["project", "clip"]
    assert told["milliseconds"] == pytest.approx(
        sum(layer["milliseconds"] for layer in told["layers"])
    )


def test_trace(folder: Path) -> None:
    printed = profile("--trace", "traces/dense.json").stdout
    assert "traces/dense.json: open it in https://ui.perfetto.dev" in printed
    events = json.loads((folder / "traces" / "dense.json").read_text())["traceEvents"]
    assert [event["name"] for event in events if event["ph"] == "X"] == ["project", "clip"]


def test_wrong_options() -> None:
    with pytest.raises(InputError, match="give one of them"):
        profile("--inputs", "five.npy", "--shapes", "x:7x8")
    with pytest.raises(InputError, match=r"there is no file nine\.npy"):
        profile("--inputs", "nine.npy")
    with pytest.raises(InputError, match="is not a list of shapes"):
        profile("--shapes", "7x8")
    with pytest.raises(InputError, match="leave onnx= out"):
        profile("--onnx", "dense.onnx")


def test_a_table_of_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    shown._print(Path("vit.engine"), recorded.report("vit_b_16", "fp8"), 4)
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert lines[0].startswith("vit.engine on NVIDIA H100 80GB HBM3 (TensorRT-RTX 1.5.0.114), ")
    assert any("node_Conv_1077" in line and "1% memory" in line for line in lines)
    assert any("node_MatMul_100" in line and "6% compute" in line for line in lines)
    assert "DequantizeLinear" not in printed
    assert "281.02 GFLOP" in lines[-1]


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("/conv1/Conv", "/conv1/Conv"),
        ("/model/encoder/layers.11/attention/self/MatMul_1", "…/attention/self/MatMul_1"),
        ("a" * 40, "…" + "a" * 32),
    ],
)
def test_long_names_keep_their_end(name: str, short: str) -> None:
    assert shown._shortened(name) == short
