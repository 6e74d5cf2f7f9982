"""``trtfast view``: a model's graph in the browser, with Netron."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from trtfast import model
from trtfast.errors import Error, InputError
from trtfast.passport import Passport

from .console import console

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["run_view"]


def run_view(path: Path, port: int, browser: bool) -> None:
    """Serve the graph until the user interrupts it."""
    try:
        import netron
    except ImportError as error:
        raise Error('the viewer Netron is not installed: pip install "trtfast[view]"') from error
    onnx = _model_of(path)
    logging.getLogger("netron").setLevel(logging.ERROR)  # where it serves is said here
    try:
        host, port = netron.start(str(onnx), address=("localhost", port), browse=browser)
    except OSError as error:
        raise Error(f"nothing can be served at port {port} ({error}): choose another") from error
    # At once, also for a program that reads it: the command ends only when it is interrupted.
    console.print(f"{onnx} at http://{host}:{port}, until Ctrl-C")
    console.file.flush()
    netron.wait()


def _model_of(path: Path) -> Path:
    """Return the ONNX model to show: that of the path, or the one that an engine was built from."""
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    if path.suffix == ".onnx":
        return path
    known, onnx = Passport.of(path), path.with_suffix(".onnx")
    expected = known.onnx_sha256 if known is not None and onnx.is_file() else None
    if expected is None or model.sha256(model.read(onnx)[0]) != expected:
        raise InputError(
            f"{path} holds no graph to show, and the ONNX model that it was built from is not "
            f"beside it as {onnx.name}: give that model"
        )
    return onnx
