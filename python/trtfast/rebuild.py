"""A plan of another TensorRT or another GPU, built again here from its ONNX model."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from . import backend as backends
from . import model, ultralytics
from .build import cached
from .check import other_gpu
from .errors import EngineIncompatibleError
from .passport import Header, Passport
from .precision.ranges import Calibration
from .preprocess import Preprocess
from .spec import ShapeRange

if TYPE_CHECKING:
    import os

    import onnx

    from . import _core

__all__ = ["beside", "is_source", "options_of", "resolve"]

logger = logging.getLogger("trtfast")


def resolve(
    path: Path,
    *,
    onnx: str | os.PathLike[str] | None = None,
    backend: str = "auto",
    device: int = 0,
    allow_unsupported_gpu: bool | None = None,
) -> Path:
    """Return the plan to load in the place of one; needs no GPU.

    Parameters
    ----------
    path : Path
        A plan, with its passport beside it.
    onnx : path, optional
        The model to build from, whatever its hash; by default that beside the plan, with the ending
        ``.onnx``, if it is the one that the plan was built from.
    backend, device, allow_unsupported_gpu
        As of :class:`trtfast.Engine`.

    Returns
    -------
    Path
        The plan itself where it can be loaded, or is damaged, or no TensorRT here lists the GPU: an
        engine says so better. Else that of an engine in the cache, built with the passport's
        options and profiles for the TensorRT and the GPU here.

    Raises
    ------
    EngineIncompatibleError
        If it has to be built again, and the passport or the model is missing or another.
    TensorRTNotFoundError, UnsupportedVersionError, BuildError, PrecisionError
    """
    plan, _ = ultralytics.opened(path)
    header, known = Header.of(plan), Passport.of(path)
    if header is None:
        return path
    gpu = backends.gpu(device)
    reason = _misfit(header, known, backend, gpu, allow_unsupported_gpu)
    if reason is None or (known is not None and not known.describes(plan)):
        return path
    library = backends.select(backend, device=gpu)
    if gpu is not None and not backends.can_run(library, gpu, allow_unsupported_gpu):
        return path
    if known is None:
        _refuse(path, reason, "it has no passport that tells how it was built: build it anew")
    source = _source(path, known, onnx, reason)
    logger.warning("%s cannot be loaded here: %s. It is built again from %s", path, reason, source)
    return cached(source, backend=backend, device=device, **options_of(known, library, gpu))


def _misfit(
    header: Header,
    known: Passport | None,
    backend: str,
    gpu: _core.Device | None,
    allow_unsupported_gpu: bool | None,
) -> str | None:
    """Return why the plan cannot be loaded here; None if it can, as far as is known before."""
    library = backends.select(backend, device=gpu, version=header.version)
    if (library.product, library.version) != (header.product, header.version):
        return (
            f"it needs {header.product} {header.version}, and {library.product} "
            f"{library.version} would load it"
        )
    if gpu is None:
        return None
    if not backends.can_run(library, gpu, allow_unsupported_gpu):
        return f"{library.product} {library.version} does not list {gpu.name}"
    targets = known.options.get("targets") if known is not None else None
    if targets and gpu.compute_capability not in targets:
        return f"it was built for {', '.join(map(str, targets))}, and not for {gpu.name}"
    return other_gpu(header, known, gpu)


def _source(path: Path, known: Passport, onnx: str | os.PathLike[str] | None, reason: str) -> Path:
    """Return the model to build from: the one that was named, or that of the passport."""
    source = beside(path) if onnx is None else Path(onnx)
    if not source.is_file():
        where = "put the model that it was built from there, or name it with onnx="
        _refuse(path, reason, f"there is no {source}: {where}")
    if onnx is None and not is_source(model.read(source)[0], known):
        _refuse(
            path,
            reason,
            f"{source} is not the model that it was built from, whose hash the passport has: put "
            "that one there, or name this one with onnx= to build from it all the same",
        )
    return source


def beside(path: Path) -> Path:
    """Return where the model that a plan was built from is looked for."""
    return path.with_suffix(".onnx")


def is_source(source: onnx.ModelProto, known: Passport) -> bool:
    """Whether a plan was built from this model, by the hash in its passport."""
    return model.sha256(source) == known.onnx_sha256


def _refuse(path: Path, reason: str, lack: str) -> NoReturn:
    raise EngineIncompatibleError(
        f"{path} cannot be loaded here: {reason}. It cannot be built again: {lack}."
    )


def options_of(known: Passport, library: _core.Library, gpu: _core.Device | None) -> dict[str, Any]:
    """Return the options of the build that made a plan, for the GPU here."""
    options = dict(known.options)
    targeted = bool(options.pop("targets", None)) and library.is_rtx
    if targeted and gpu is not None and library.supports(gpu.compute_capability):
        options["targets"] = [gpu.compute_capability]
    if options.get("calibration") is not None:
        options["calibration"] = Calibration.from_dict(options["calibration"])
    ranges = {spec["name"]: spec["profiles"] for spec in known.inputs if "profiles" in spec}
    profiles = [
        {
            name: ShapeRange(*(tuple(each[index][bound]) for bound in ("min", "opt", "max")))
            for name, each in ranges.items()
            if index < len(each)
        }
        for index in range(max(map(len, ranges.values()), default=0))
    ]
    return options | {
        "profiles": profiles or None,
        "preprocess": Preprocess.from_dict(known.preprocess) if known.preprocess else None,
        "classes": known.classes,
    }
