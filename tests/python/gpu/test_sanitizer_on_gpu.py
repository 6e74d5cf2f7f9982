"""NVIDIA's compute-sanitizer on the kernels: no access out of bounds, no race in shared memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SANITIZER = shutil.which("compute-sanitizer")
FOLDER = Path(__file__).parent

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(SANITIZER is None, reason="compute-sanitizer is not installed"),
]


@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_nothing_is_found_in_the_preprocessing(tool: str) -> None:
    command = [str(SANITIZER), "--tool", tool, "--error-exitcode", "3", "--launch-timeout", "60"]
    done = subprocess.run(
        [*command, sys.executable, str(FOLDER / "preprocess_all.py")],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(FOLDER.parent), *sys.path])},
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert "done" in done.stdout.splitlines()
