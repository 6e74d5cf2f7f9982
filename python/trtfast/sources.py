"""From what :class:`trtfast.Engine` is given to the plan that it loads."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from . import _plan, passport
from . import backend as backends
from .errors import EngineIncompatibleError, InputError
from .passport import Passport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._plan import Plan

__all__ = ["checking", "read", "rebuilt"]


def rebuilt(
    source: str | os.PathLike[str] | bytes,
    onnx: str | os.PathLike[str] | None,
    backend: str,
    device: int,
    allow_unsupported_gpu: bool | None,
) -> str | os.PathLike[str] | bytes:
    """Return the path of a plan that loads here: the one given, or one that is built again."""
    from .rebuild import resolve

    if isinstance(source, bytes):
        raise InputError("rebuild needs the path of a plan, beside which its passport lies")
    path = Path(source)
    if path.suffix == ".onnx" or not path.is_file():
        return source  # refused as without rebuild
    backends.require_gpu(device)
    return resolve(
        path,
        onnx=onnx,
        backend=backend,
        device=device,
        allow_unsupported_gpu=allow_unsupported_gpu,
    )


def read(source: str | os.PathLike[str] | bytes) -> tuple[Plan, Passport | None]:
    """Return a plan and what its passport says of it; :func:`checking` compares the two.

    Raises
    ------
    InputError
        If there is no such file.
    EngineIncompatibleError
        If the passport cannot be read.
    """
    if isinstance(source, bytes):
        return source, None
    path = Path(source)
    if path.suffix == ".onnx":
        raise InputError(
            f"{path} is an ONNX model: build it first, with trtfast.build({path.name!r})"
        )
    if not path.is_file():
        raise InputError(f"there is no engine file {path}")
    return _plan.mapped(path), Passport.of(path)


@contextmanager
def checking(
    source: str | os.PathLike[str] | bytes, plan: Plan, known: Passport | None
) -> Iterator[None]:
    """Check that a plan is that of its passport, while the body gets ready to load it.

    Hashing takes about as long as CUDA and TensorRT take to start. A plan that is damaged is told
    of first, whatever else is wrong.

    Raises
    ------
    EngineIncompatibleError
        If it is not.
    """
    if known is None:
        yield
        return
    with ThreadPoolExecutor(1) as pool:
        is_right = pool.submit(known.describes, plan)
        try:
            yield
        finally:
            if not is_right.result():
                path = Path(os.fsdecode(source))
                raise EngineIncompatibleError(
                    f"{path} is not the plan that its passport {passport.path_of(path).name} "
                    "describes: it is damaged or was replaced. Build it again, or delete the "
                    "passport."
                )
