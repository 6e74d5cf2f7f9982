"""What the numbers were measured on."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

import trtfast
from trtfast import _core, backend
from trtfast.comparison.environment import clocks, cpu_name

__all__ = ["allocated_bytes", "clocks", "describe", "device_bytes", "host", "resident_bytes"]

_PACKAGES = (
    "numpy",
    "onnx",
    "torchvision",
    "triton",
    "cupy-cuda13x",
    "cupy-cuda12x",
    "albumentations",
    "opencv-python",
    "opencv-python-headless",
    "litserve",
    "ray",
)


def describe() -> dict[str, Any]:
    """Name the GPU, the CPU and the version of everything that takes part."""
    gpu = backend.require_gpu()
    library = backend.select(device=gpu)
    return {
        **host(),
        "gpu": gpu.name,
        "driver": _core.driver_version(),
        "tensorrt": f"{library.product} {library.version}",
        "torch": torch.__version__,
        "torch_settings": {
            "cudnn": torch.backends.cudnn.version(),
            "cudnn.benchmark": torch.backends.cudnn.benchmark,
            "cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
            "matmul.allow_tf32": torch.backends.cuda.matmul.allow_tf32,
        },
    }


def host() -> dict[str, Any]:
    """Name the machine but for its GPU, and the versions."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "trtfast": trtfast.__version__,
        "packages": _versions(),
    }


def resident_bytes() -> int:
    """Return the host memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class _Mallinfo(ctypes.Structure):
    """glibc's ``struct mallinfo2``."""

    _fields_ = (
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd")),
        *((name, ctypes.c_size_t) for name in ("usmblks", "fsmblks", "uordblks", "fordblks")),
        ("keepcost", ctypes.c_size_t),
    )


def allocated_bytes() -> int:
    """Return what malloc has given this process and not got back, whatever it keeps for later."""
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = _Mallinfo
    found = mallinfo2()
    return int(found.uordblks + found.hblkhd)


def device_bytes() -> int:
    """Return the memory in use on the GPU, by whomever."""
    free, total = torch.cuda.mem_get_info()
    return total - free


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # noqa: PERF203
            continue
    return found
