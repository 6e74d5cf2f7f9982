"""``trtfast doctor``: what this machine has, and what it lacks."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from trtfast import __version__, _core
from trtfast import backend as backends

from .console import console

__all__ = ["run_doctor"]

_PACKAGES = ("numpy", "torch", "torchvision", "onnx", "onnxruntime", "opencv-python-headless")


def run_doctor() -> bool:
    """Print what was found, and what to do; return whether an engine can run here."""
    console.print(f"trtfast {__version__}")
    console.print("  " + ", ".join(f"{name} {_version_of(name)}" for name in _PACKAGES))

    devices, reason = _core.devices()
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

    attempts = backends.find()
    for attempt in attempts:
        console.print(f"TensorRT, {attempt.source}, {attempt.path}: {attempt.result}")
    libraries = [attempt.library for attempt in attempts if attempt.library is not None]
    for library in libraries:
        console.print(f"Found {library.product} {library.version}, generation {library.generation}")
        if library.newer_than_tested:
            console.print("  it is newer than any that was tested with this trtfast")
        for gpu in devices:
            word = "supports" if library.supports(gpu.compute_capability) else "does not list"
            console.print(f"  it {word} GPU {gpu.index}")

    advice = _advice(libraries, devices)
    console.print(
        f"Next: {advice}" if advice else "All is well: engines can be built and run here."
    )
    return not advice


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


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _dotted(capability: int) -> str:
    return f"{capability // 10}.{capability % 10}"
