"""``trtfast doctor``: what this machine has, and what it lacks."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from trtfast import __version__, _core
from trtfast import backend as backends

from .console import console, print_json

__all__ = ["run_doctor"]

_PACKAGES = ("numpy", "torch", "torchvision", "onnx", "onnxruntime", "opencv-python-headless")


def run_doctor(as_json: bool) -> bool:
    """Print what was found, and what to do; return whether an engine can run here."""
    devices, reason = _core.devices()
    attempts = backends.find()
    libraries = [attempt.library for attempt in attempts if attempt.library is not None]
    advice = _advice(libraries, devices)
    if as_json:
        print_json(_told(devices, reason, attempts, advice))
    else:
        _print(devices, reason, attempts, advice)
    return not advice


def _told(
    devices: list[_core.Device], reason: str, attempts: list[backends.Attempt], advice: str | None
) -> dict[str, Any]:
    return {
        "trtfast": __version__,
        "packages": {name: _version_of(name) for name in _PACKAGES},
        "driver": _core.driver_version() or None,
        "gpus": [
            {
                "index": gpu.index,
                "name": gpu.name,
                "compute_capability": gpu.compute_capability,
                "memory": gpu.total_memory,
            }
            for gpu in devices
        ],
        "no_gpu": None if devices else reason,
        "tensorrt": [
            {
                "product": found.product,
                "version": found.version,
                "generation": found.generation,
                "path": str(found.path),
                "supports": [g.index for g in devices if found.supports(g.compute_capability)],
            }
            for attempt in attempts
            if (found := attempt.library) is not None
        ],
        "advice": advice,
    }


def _print(
    devices: list[_core.Device], reason: str, attempts: list[backends.Attempt], advice: str | None
) -> None:
    console.print(f"trtfast {__version__}")
    console.print(
        "  " + ", ".join(f"{name} {_version_of(name) or 'not installed'}" for name in _PACKAGES)
    )
    driver = _core.driver_version()
    supported = f"CUDA {driver // 1000}.{driver % 1000 // 10}" if driver else "none"
    console.print(f"Driver: {supported}")
    for gpu in devices:
        console.print(
            f"GPU {gpu.index}: {gpu.name}, compute capability {_dotted(gpu.compute_capability)}, "
            f"{gpu.total_memory / 2**30:.0f} GiB"
        )
    if not devices:
        console.print(f"GPU: none ({reason})")
    found = [attempt for attempt in attempts if attempt.library is not None]
    for attempt in found or attempts:  # where else it was looked for matters only if there is none
        console.print(f"TensorRT, {attempt.source}, {attempt.path}: {attempt.result}")
    for library in (attempt.library for attempt in attempts):
        if library is None:
            continue
        console.print(f"Found {library.product} {library.version}, generation {library.generation}")
        if library.newer_than_tested:
            console.print("  it is newer than any that was tested with this trtfast")
        for gpu in devices:
            word = "supports" if library.supports(gpu.compute_capability) else "does not list"
            console.print(f"  it {word} GPU {gpu.index}")
    console.print(
        f"Next: {advice}" if advice else "All is well: engines can be built and run here."
    )


def _advice(libraries: list[_core.Library], devices: list[_core.Device]) -> str | None:
    if not libraries:
        package = "cu13" if devices else "rtx"
        return f'install TensorRT: pip install "trtfast[{package}]"'
    if not devices:
        return (
            "engines cannot run here. TensorRT-RTX builds them without a GPU; to run one, use a "
            "machine with an NVIDIA GPU and its driver. The reference engine runs anywhere."
        )
    if not any(lib.supports(gpu.compute_capability) for lib in libraries for gpu in devices):
        return (
            'no TensorRT found lists this GPU: pip install "trtfast[cu13]" for TensorRT, or set '
            "TRTFAST_ALLOW_UNSUPPORTED_GPU=1 and check the results"
        )
    return None


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _dotted(capability: int) -> str:
    return f"{capability // 10}.{capability % 10}"
