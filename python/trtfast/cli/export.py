"""``trtfast export``: a PyTorch model to ONNX."""

from __future__ import annotations

from pathlib import Path

import trtfast

from .console import console, print_json, working
from .models import load_model

__all__ = ["run_export"]


def run_export(name: str, output: Path | None, opset: int | None, as_json: bool) -> None:
    """Export a model that is known by its name, and say where it lies."""
    with working(f"exporting {name}"):
        model = load_model(name)
        path = trtfast.export(
            model.module,
            model.sample,
            output or Path(f"{name}.onnx"),
            input_names=["image"],
            opset=opset,
        )
    if as_json:
        size = path.stat().st_size
        print_json({"path": str(path), "model": name, "weights": model.note, "bytes": size})
        return
    console.print(f"{path}: {model.note}, equal to PyTorch")
