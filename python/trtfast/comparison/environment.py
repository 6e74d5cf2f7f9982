"""What was measured on: devices, versions, clocks."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from .. import _core
from .. import backend as backends
from ..errors import Error

__all__ = ["clocks", "cpu_name", "describe"]

_PACKAGES = ("trtfast", "torch", "numpy", "onnx", "onnxruntime")
_CLOCKS = (
    "driver_version",
    "pstate",
    "clocks.sm",
    "clocks.mem",
    "clocks.max.sm",
    "power.draw",
    "temperature.gpu",
    "memory.used",
)


def describe(device: int) -> dict[str, Any]:
    """Name the GPU, the CPU and the versions of what takes part; null for what is not there."""
    gpu = backends.gpu(device)
    try:
        library = backends.select(device=gpu)
        tensorrt = f"{library.product} {library.version}"
    except Error:
        tensorrt = None
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "gpu": gpu.name if gpu else None,
        "cuda": _core.driver_version() or None,
        "tensorrt": tensorrt,
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def clocks(device: int = 0) -> dict[str, str]:
    """Ask nvidia-smi for clocks, power and temperature, in MHz, W, °C and MiB; or say why not."""
    gpu = backends.gpu(device)
    command = [
        "nvidia-smi",
        # CUDA may count them in another order, or fewer.
        f"--id=GPU-{UUID(bytes=gpu.uuid)}" if gpu else f"--id={device}",
        f"--query-gpu={','.join(_CLOCKS)}",
        "--format=csv,noheader,nounits",
    ]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError) as error:
        return {"unknown": str(error)}
    values = told.stdout.splitlines()[0].split(", ")
    return {"time": time.strftime("%H:%M:%S"), **dict(zip(_CLOCKS, values, strict=True))}


def cpu_name() -> str:
    """Return the CPU's name, as Linux tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
