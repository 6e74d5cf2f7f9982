"""The table of TensorRT's slots is generated, and stays what its sources give."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ABI = Path(__file__).parents[3] / "csrc" / "tensorrt" / "abi"


def generate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, folder / "generate.py", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ABI, tmp_path / "abi"))


def test_table_is_up_to_date() -> None:
    checked = generate(ABI, "--check")
    assert (checked.returncode, checked.stderr) == (0, "")


def _change_a_slot(folder: Path) -> None:
    table = folder / "slots.inc"
    text = table.read_text()
    assert "{2, " in text
    table.write_text(text.replace("{2, ", "{3, ", 1))


def _drop_a_line(folder: Path) -> None:
    table = folder / "slots.inc"
    table.write_text(table.read_text().rpartition("TRTFAST_SLOTS")[0])


def _move_a_method(folder: Path) -> None:
    source = folder / "tensorrt-abi.json"
    abi = json.loads(source.read_text())
    for vtable in abi["VRuntime"].values():
        if isinstance(vtable, list):
            vtable.insert(0, "unknown")
    source.write_text(json.dumps(abi))


@pytest.mark.parametrize("change", [_change_a_slot, _drop_a_line, _move_a_method])
def test_a_table_that_differs_is_refused(change: Callable[[Path], None], copy: Path) -> None:
    assert generate(copy, "--check").returncode == 0
    change(copy)
    checked = generate(copy, "--check")
    assert checked.returncode == 1
    assert "is out of date: run generate.py" in checked.stderr


def test_writing_restores_it(copy: Path) -> None:
    original = (copy / "slots.inc").read_text()
    _change_a_slot(copy)
    assert generate(copy).returncode == 0
    assert (copy / "slots.inc").read_text() == original


def test_method_of_no_generation_is_refused(copy: Path) -> None:
    with (copy / "methods.def").open("a") as file:
        file.write("\nTRTFAST_METHOD(VRuntime, inventedMethod, void, ())\n")
    done = generate(copy, "--check")
    assert done.returncode == 1
    assert "VRuntime::inventedMethod is in no generation" in done.stderr
