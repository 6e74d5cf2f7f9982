"""The examples, run by their commands, and photographs for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import skimage.data

from imagery import encoded

EXAMPLES = Path(__file__).parents[2] / "examples"
PHOTOGRAPHS = {"coffee": ("espresso", 967), "cat": ("Egyptian cat", 285)}
ESPRESSO = 0.6992
"""How sure EfficientNet-Lite0 in float32 is of the coffee."""


def run(
    script: str, *arguments: str | Path, folder: Path, status: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run an example as a user does, in a folder."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / script, *arguments],
        cwd=folder,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},  # all that is needed is installed
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


def as_file(name: str, ending: str = ".png") -> bytes:
    """Return a photograph of scikit-image as a file."""
    image: np.ndarray = getattr(skimage.data, name)()
    return encoded(ending, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
