"""A plan's passport: what is known of it beside its bytes, in ``<plan>.json``."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import threading
import time
import warnings
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from .errors import EngineIncompatibleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from typing_extensions import Buffer

    from ._plan import Plan
    from .spec import ShapeRange, TensorSpec

__all__ = [
    "Header",
    "Passport",
    "describe",
    "path_of",
    "plan_version",
    "record",
    "replacing",
    "sha256",
]

FORMAT = 1
# A plan begins with four letters; of its header, the rest that is used lies at these bytes.
_TAGS = {b"ftrt": "TensorRT", b"vtrt": "TensorRT-RTX"}
_SIZE_AT = 16
_VERSION_AT = 24


@dataclass(frozen=True)
class Passport:
    """What is known of a plan.

    Attributes
    ----------
    plan_sha256, onnx_sha256 : str
        Of the plan's bytes, and of the model given to the build with its external weights.
    product, version, generation : str
        The TensorRT that built it, as in ``"TensorRT-RTX"``, ``"1.5.0.114"``, ``"rtx15"``.
    trtfast : str
        The version of trtfast that built it.
    gpu, compute_capability : str and int, or None
        Of the GPU it was built on, where there was one.
    options : dict
        Those of the build.
    inputs, outputs : list of dict
        ``name``, ``dtype``, ``shape``; and ``profiles`` of the dynamic inputs.
    precision : dict
        ``asked``; ``layers``, how many layers of the network give each dtype; ``computed``, how
        many of its convolutions and matrix products take each; ``engine``, how many of the built
        engine's fused layers compute in each where there was a GPU to load it on, else None;
        ``time``, which share of its time those take, None where it was not run on samples; and
        ``tf32``, whether float32 may be computed in TF32: None where TensorRT alone decides.
    preprocess : dict or None
        ``Preprocess.to_dict()``.
    classes : list of str or None
    build_seconds : float or None
        How long the build took.
    measured : dict
        What was measured of the engine since, by command: ``verify`` and ``compare``. Each has
        ``date``, ``gpu`` and ``tensorrt``, which is to say on what.
    """

    plan_sha256: str
    onnx_sha256: str
    product: str
    version: str
    generation: str
    trtfast: str
    gpu: str | None
    compute_capability: int | None
    options: dict[str, Any]
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    precision: dict[str, Any]
    preprocess: dict[str, Any] | None = None
    classes: list[str] | None = None
    build_seconds: float | None = None
    measured: dict[str, dict[str, Any]] = field(default_factory=dict)
    format: int = field(default=FORMAT)

    @classmethod
    def of(cls, plan: Path) -> Passport | None:
        """Read the passport beside a plan; None if there is none.

        Raises
        ------
        EngineIncompatibleError
            If it cannot be read, or is of a newer trtfast.
        """
        path = path_of(plan)
        if not path.exists():
            return None
        try:
            values = json.loads(path.read_text())
            if values["format"] > FORMAT:
                raise EngineIncompatibleError(
                    f"{path} was written by a newer trtfast, {values['trtfast']}: upgrade trtfast"
                )
            return cls(**values)
        except (ValueError, TypeError, KeyError) as error:
            raise EngineIncompatibleError(
                f"{path} is damaged ({error}): delete it, or build the engine again"
            ) from error

    def describes(self, plan: Plan) -> bool:
        """Whether these are the bytes of the plan that it was written for."""
        return self.plan_sha256 == sha256(plan)

    def check_measured(self, gpu: str, tensorrt: str) -> None:
        """Warn of what was measured on another GPU or TensorRT than these."""
        others = [
            f"'{command}' on {found['gpu']} with {found['tensorrt']}"
            for command, found in self.measured.items()
            if (found["gpu"], found["tensorrt"]) != (gpu, tensorrt)
        ]
        if others:
            warnings.warn(
                f"this engine was measured by {', '.join(others)}, and now runs on {gpu} with "
                f"{tensorrt}: measure it again, with `trtfast verify` and `trtfast compare`",
                stacklevel=3,
            )

    def write(self, plan: Path) -> None:
        """Write the passport beside a plan, all of it or nothing."""
        with replacing(path_of(plan)) as partial:
            partial.write_text(json.dumps(asdict(self), indent=2) + "\n")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file to write that takes the place of ``path`` once it is whole."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def record(plan: Path, command: str, gpu: str, tensorrt: str, figures: Mapping[str, Any]) -> None:
    """Add to the passport beside a plan what was measured of it; nothing where there is none.

    Parameters
    ----------
    plan : Path
    command : str
        What measured, as ``"verify"``.
    gpu, tensorrt : str
        What ran it, as ``Engine.gpu`` and ``Engine.tensorrt`` say.
    figures : mapping
        As JSON takes it.
    """
    known = Passport.of(plan)
    if known is None:
        return
    entry = {"date": time.strftime("%Y-%m-%d %H:%M"), "gpu": gpu, "tensorrt": tensorrt}
    measured = known.measured | {command: entry | dict(figures)}
    dataclasses.replace(known, measured=measured).write(plan)


def describe(spec: TensorSpec, profiles: Sequence[Mapping[str, ShapeRange]] = ()) -> dict[str, Any]:
    """Return a tensor's specification as a passport holds it."""
    ranges = [asdict(profile[spec.name]) for profile in profiles if spec.name in profile]
    described = {"name": spec.name, "dtype": spec.dtype.name, "shape": list(spec.shape)}
    return described | ({"profiles": ranges} if ranges else {})


def path_of(plan: Path) -> Path:
    """Return where the passport of a plan lies."""
    return plan.with_name(plan.name + ".json")


def sha256(*parts: Buffer) -> str:
    """Return the SHA-256 of some bytes, in hexadecimal."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


@dataclass(frozen=True)
class Header:
    """What a plan's first bytes tell.

    Attributes
    ----------
    product : str
        ``"TensorRT"`` or ``"TensorRT-RTX"``.
    version : str
        Of the TensorRT that built it, as ``"1.5.0.114"``.
    size : int or None
        Bytes of the whole plan; only TensorRT-RTX writes it.
    """

    product: str
    version: str
    size: int | None

    @classmethod
    def of(cls, plan: Plan) -> Header | None:
        """Read the header; None if the bytes do not begin as a plan does."""
        product = _TAGS.get(bytes(plan[:4]))
        if product is None or len(plan) < _VERSION_AT + 4:
            return None
        version = ".".join(str(number) for number in plan[_VERSION_AT : _VERSION_AT + 4])
        size = int.from_bytes(plan[_SIZE_AT : _SIZE_AT + 8], "little")
        return cls(product, version, size if product == "TensorRT-RTX" else None)


def header_of(plan: Plan, path: Path) -> Header:
    """Read the header of a file that is to be a plan.

    Raises
    ------
    EngineIncompatibleError
        If it is none.
    """
    header = Header.of(plan)
    if header is None:
        is_onnx = path.suffix == ".onnx"
        advice = "build an engine of it" if is_onnx else "build the engine again, if it was one"
        raise EngineIncompatibleError(f"{path} is not a TensorRT plan: {advice}")
    return header


def plan_version(plan: Plan) -> str | None:
    """Return the version of the TensorRT that built a plan; None if the bytes are no plan."""
    header = Header.of(plan)
    return header.version if header else None
