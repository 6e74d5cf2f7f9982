"""Can this machine load a plan? A verdict from its header and passport, before TensorRT sees it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import backend as backends
from . import ultralytics
from .errors import InputError
from .passport import Header, Passport, header_of

if TYPE_CHECKING:
    import os

    from . import _core
    from ._plan import Plan

__all__ = ["Verdict", "check", "other_gpu"]


@dataclass(frozen=True)
class Verdict:
    """What is known of a plan, and whether it can be loaded here.

    Attributes
    ----------
    product, version : str
        The TensorRT that built the plan.
    gpu, compute_capability : str and int, or None
        The GPU that it was built on, where the passport tells.
    problems : tuple of str
        What stands against loading it here; empty if nothing does.
    advice : str or None
        What to do about them.
    """

    product: str
    version: str
    gpu: str | None
    compute_capability: int | None
    problems: tuple[str, ...]
    advice: str | None

    @property
    def loads(self) -> bool:
        """Whether nothing stands against loading it."""
        return not self.problems


def check(path: str | os.PathLike[str], *, device: int = 0) -> Verdict:
    """Say whether a plan can be loaded on this machine; needs no GPU to say so.

    Parameters
    ----------
    path : path
        The plan's; its passport is read where there is one.
    device : int
        The GPU that it is to run on.

    Raises
    ------
    InputError
        If there is no such file.
    EngineIncompatibleError
        If it is no plan at all, or its passport or description is damaged.
    """
    plan_path = Path(path)
    if not plan_path.is_file():
        raise InputError(f"there is no engine file {plan_path}")
    plan, _ = ultralytics.opened(plan_path)
    header = header_of(plan, plan_path)
    known = Passport.of(plan_path)

    problems = _damage(plan, header, known)
    advice = (
        "build the engine again, or copy it again from where it was built" if problems else None
    )
    if not problems:
        problems, advice = _mismatch(header, known, device)
    return Verdict(
        header.product,
        header.version,
        known.gpu if known else None,
        known.compute_capability if known else None,
        tuple(problems),
        advice,
    )


def _damage(plan: Plan, header: Header, known: Passport | None) -> list[str]:
    if header.size is not None and len(plan) < header.size:
        return [f"it is cut short: {len(plan)} of {header.size} bytes"]
    if known is not None and not known.describes(plan):
        return ["it is not the plan that its passport describes"]
    return []


def _mismatch(header: Header, known: Passport | None, device: int) -> tuple[list[str], str | None]:
    libraries = backends.libraries()
    same = [
        lib for lib in libraries if (lib.product, lib.version) == (header.product, header.version)
    ]
    if not same:
        have = ", ".join(f"{lib.product} {lib.version}" for lib in libraries) or "none"
        return (
            [f"it needs {header.product} {header.version}, and installed is {have}"],
            f"build it again here from its ONNX file, or install {header.product} {header.version}",
        )
    gpu = backends.gpu(device)
    if gpu is None:
        return ([f"there is no GPU {device} here"], "run it on a machine with an NVIDIA GPU")
    problems = []
    if not backends.can_run(same[0], gpu):
        problems.append(f"{header.product} {header.version} does not list {gpu.name}")
    if (problem := other_gpu(header, known, gpu)) is not None:
        problems.append(problem)
    return problems, "build it again on this GPU" if problems else None


def other_gpu(header: Header, known: Passport | None, gpu: _core.Device) -> str | None:
    """Return that a plan of TensorRT was built for another GPU; None if not, or if none knows."""
    if header.product != "TensorRT" or known is None:
        return None
    if known.compute_capability in (None, gpu.compute_capability):
        return None
    return f"it was built for {known.gpu}, and this is {gpu.name}"
