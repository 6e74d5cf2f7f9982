"""``trtfast export-triton``: a model in a repository of Triton's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trtfast import triton
from trtfast.passport import Passport

from .console import console, print_json

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["run_export_triton"]


def run_export_triton(model: Path, repository: Path, as_json: bool, **options: Any) -> None:
    """Write the model, and say where it lies and what Triton needs to run it."""
    folder = triton.export(model, repository, **options)
    known = Passport.of(model)
    if as_json:
        print_json(
            {
                "path": str(folder),
                "config": str(folder.parent / "config.pbtxt"),
                "tensorrt": known.version if known else None,
                "gpu": known.gpu if known else None,
            }
        )
        return
    console.print(f"{folder}: version {folder.name} of {folder.parent.name}")
    if known:
        console.print(
            f"It needs a Triton with TensorRT {known.version}"
            + (f", and {known.gpu}" if known.gpu else "")
        )
