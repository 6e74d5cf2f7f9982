#!/usr/bin/env python3
"""Fetch the other releases of TensorRT-RTX that are tested; print their folders, colons between.

    python tools/other_versions.py FOLDER

They go beside each other and not into the environment, which has one of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

VERSIONS = ("1.4", "1.6", "1.7")


def main() -> None:
    folders = []
    for version in VERSIONS:
        target = Path(sys.argv[1]).resolve() / version
        libraries = target / "tensorrt_rtx_libs"
        if not libraries.exists():
            package = f"tensorrt-rtx-cu13-libs=={version}.*"
            command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target"]
            subprocess.run([*command, str(target), package], check=True)
        folders.append(str(libraries))
    print(":".join(folders))


if __name__ == "__main__":
    main()
