"""NVIDIA's compute-sanitizer on the kernels: no access out of bounds, no race in shared memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_nothing_is_found_in_the_preprocessing(tool: str) -> None:
    sanitizer = shutil.which("compute-sanitizer")
    assert sanitizer, "compute-sanitizer is not on PATH: it comes with the CUDA toolkit"
    command = [sanitizer, "--tool", tool, "--error-exitcode", "3", "--launch-timeout", "60"]
    done = subprocess.run(
        [*command, sys.executable, str(FOLDER / "preprocess_all.py")],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(FOLDER.parent), *sys.path])},
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert "done" in done.stdout.splitlines()
