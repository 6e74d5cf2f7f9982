"""Finds the TensorRT that is installed, and chooses one."""

from __future__ import annotations

import importlib.util
import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import _core, _log
from .errors import (
    Error,
    InputError,
    TensorRTNotFoundError,
    UnsupportedDeviceError,
    UnsupportedVersionError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "Attempt",
    "can_run",
    "check_backend",
    "find",
    "gpu",
    "is_gpu_allowed",
    "libraries",
    "require_gpu",
    "select",
    "why_no_engine",
    "why_not_run",
]

# Newest first. The soname of TensorRT-RTX is the same for all its versions.
_SONAMES = ("libnvinfer.so.11", "libnvinfer.so.10", "libtensorrt_rtx.so.1")
_PACKAGES = ("tensorrt_libs", "tensorrt_rtx_libs")
_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/usr/local/tensorrt/lib",
    "/opt/tensorrt/lib",
)
_PRODUCTS = {"tensorrt": False, "tensorrt_rtx": True}  # → is it TensorRT-RTX?
_VERSION = re.compile(r"\d+(\.\d+){0,3}")

_INSTALL = (
    'Install one, as in pip install "trtfast[cu13]" (TensorRT, for data-centre and all other GPUs) '
    'or "trtfast[rtx]" (TensorRT-RTX), or set TRTFAST_TENSORRT_PATH to its folder.'
)


@dataclass(frozen=True)
class Attempt:
    """A place where a TensorRT library was looked for, and what came of it."""

    source: str
    path: str
    library: _core.Library | None
    result: str
    refused: bool = False  # it is a TensorRT, of a version that trtfast does not drive


def find() -> list[Attempt]:
    """Look for TensorRT everywhere it may be, in the order in which it is chosen.

    Where ``TRTFAST_TENSORRT_PATH`` is set, to a folder or a library, or several with colons
    between, that is the only place; else the pip packages, found without being imported, the
    system's loader, and the usual folders.
    """
    _log.connect()
    attempts: list[Attempt] = []
    for source, path in _candidates():
        try:
            library = _core.Library(path)
        except (TensorRTNotFoundError, UnsupportedVersionError) as error:  # noqa: PERF203
            refused = isinstance(error, UnsupportedVersionError)
            attempts.append(Attempt(source, str(path), None, str(error), refused))
        else:
            if all(
                found.library is None or found.library.path != library.path for found in attempts
            ):
                name = f"{library.product} {library.version}"
                attempts.append(Attempt(source, str(path), library, name))
    return attempts


def select(
    backend: str = "auto", *, device: _core.Device | None = None, version: str | None = None
) -> _core.Library:
    """Choose one of the TensorRT libraries that are installed.

    Parameters
    ----------
    backend : "auto", "tensorrt", "tensorrt_rtx", or a version as "10.16"
    device : the GPU it is for, if any
        Preferred is a library that lists it as supported.
    version : str, optional
        Preferred is a library of exactly this version, for a plan that was built by it.

    Raises
    ------
    TensorRTNotFoundError
        Naming each place that was looked at.
    UnsupportedVersionError
        If those found are all of versions that trtfast does not drive.
    """
    check_backend(backend)
    attempts = find()
    found = (attempt.library for attempt in attempts if attempt.library is not None)
    candidates = [library for library in found if _is_wanted(library, backend)]
    if not candidates:
        raise _not_found(backend, attempts)
    chosen = min(
        candidates,
        key=lambda library: (
            version is not None and library.version != version,
            device is not None and not library.supports(device.compute_capability),
        ),
    )
    if chosen.newer_than_tested:
        warnings.warn(
            f"{chosen.product} {chosen.version} is newer than any that this trtfast was tested "
            "with; upgrade trtfast if something is wrong",
            stacklevel=2,
        )
    return chosen


def check_backend(backend: str) -> None:
    """Raise InputError unless the name is one that :func:`select` takes."""
    if backend != "auto" and backend not in _PRODUCTS and not _VERSION.fullmatch(backend):
        raise InputError(
            f"backend {backend!r} is unknown: use 'auto', 'tensorrt', 'tensorrt_rtx', or a version "
            "as '10.16'"
        )


def libraries() -> list[_core.Library]:
    """Return the TensorRT libraries that can be used, in the order in which they were found."""
    return [attempt.library for attempt in find() if attempt.library is not None]


def gpu(device: int = 0) -> _core.Device | None:
    """Return a GPU of this machine, or None if there is none of that index."""
    devices, _ = _core.devices()
    return devices[device] if 0 <= device < len(devices) else None


def require_gpu(device: int = 0) -> _core.Device:
    """Return a GPU of this machine.

    Raises
    ------
    UnsupportedDeviceError
        If there is none of that index.
    """
    devices, reason = _core.devices()
    if 0 <= device < len(devices):
        return devices[device]
    if devices:
        raise UnsupportedDeviceError(f"there is no GPU {device}: use 0 to {len(devices) - 1}")
    raise UnsupportedDeviceError(
        f"no GPU can be used here: {reason}. Run `trtfast doctor`, or use trtfast.load() on the "
        "ONNX file for the reference engine, which needs none."
    )


def can_run(
    library: _core.Library, gpu: _core.Device, allow_unsupported_gpu: bool | None = None
) -> bool:
    """Whether a TensorRT may run on a GPU: it lists it, or the user allows it all the same."""
    return is_gpu_allowed(allow_unsupported_gpu) or library.supports(gpu.compute_capability)


def why_no_engine(device: int = 0, allow_unsupported_gpu: bool | None = None) -> str | None:
    """Return why no engine can run here, or None if one can."""
    try:
        gpu = require_gpu(device)
        library = select(device=gpu)
    except (UnsupportedDeviceError, TensorRTNotFoundError) as error:
        return str(error).partition("\n")[0].partition(". ")[0]
    return why_not_run(library, gpu, (), allow_unsupported_gpu)


def why_not_run(
    library: _core.Library,
    gpu: _core.Device,
    targets: Sequence[int],
    allow_unsupported_gpu: bool | None = None,
) -> str | None:
    """Return why an engine for these compute capabilities cannot run here; None if it can."""
    if not can_run(library, gpu, allow_unsupported_gpu):
        return f"{library.product} {library.version} does not list {gpu.name} as supported"
    if targets and gpu.compute_capability not in targets:
        return f"it is built for {', '.join(map(str, targets))}, and not for {gpu.name}"
    return None


def is_gpu_allowed(allow_unsupported_gpu: bool | None) -> bool:
    """Whether to run on a GPU that TensorRT does not list; unset, the environment decides."""
    if allow_unsupported_gpu is not None:
        return allow_unsupported_gpu
    return os.environ.get("TRTFAST_ALLOW_UNSUPPORTED_GPU", "") not in ("", "0")


def _candidates() -> Iterator[tuple[str, Path]]:
    if given := os.environ.get("TRTFAST_TENSORRT_PATH"):
        for path in map(Path, given.split(os.pathsep)):
            found = _libraries_in(path) if path.is_dir() else [path]
            yield from (("TRTFAST_TENSORRT_PATH", file) for file in found or [path / _SONAMES[0]])
        return
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            yield from (("pip package", file) for file in _libraries_in(Path(folder)))
    yield from (("system loader", Path(name)) for name in _SONAMES)
    for folder in _FOLDERS:
        yield from (("system folder", file) for file in _libraries_in(Path(folder)))


def _is_wanted(library: _core.Library, backend: str) -> bool:
    if backend in _PRODUCTS:
        return library.is_rtx == _PRODUCTS[backend]
    return backend == "auto" or f"{library.version}.".startswith(f"{backend}.")


def _libraries_in(folder: Path) -> list[Path]:
    return [folder / name for name in _SONAMES if (folder / name).is_file()]


def _not_found(backend: str, attempts: list[Attempt]) -> Error:
    lines = "".join(
        f"\n  {attempt.source}, {attempt.path}: {attempt.result}" for attempt in attempts
    )
    wanted = "TensorRT" if backend == "auto" else f"TensorRT for backend {backend!r}"
    if any(attempt.refused for attempt in attempts):
        return UnsupportedVersionError(f"no {wanted} of a supported version. Looked at:{lines}")
    return TensorRTNotFoundError(f"no {wanted} was found. {_INSTALL} Looked at:{lines}")
