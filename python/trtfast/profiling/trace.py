"""A profile in the trace event format of Chrome, which Perfetto reads too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    from .report import ProfileReport

__all__ = ["events", "write"]

_PROCESS = _THREAD = 1


def events(report: ProfileReport) -> list[dict[str, Any]]:
    """Return a complete event for each layer, one after another, in microseconds.

    Layers are timed one by one, so when each began is not known: each begins here as the one before
    it ends.
    """
    shapes = ", ".join(f"{name} {_text(shape)}" for name, shape in report.inputs.items())
    found = [
        _named("process_name", f"{report.engine} on {report.gpu or 'the CPU'}"),
        _named("thread_name", f"layers, one by one: {shapes}"),
    ]
    start = 0.0
    for layer in report.layers:
        position = layer.position
        known = {
            "ONNX nodes": ", ".join(layer.nodes) or None,
            "kind": layer.kind,
            "dtype": layer.dtype,
            "output shapes": ", ".join(map(_text, layer.shapes)) or None,
            "share": layer.share,
            "bytes": layer.bytes,
            "flops": layer.flops,
            "TFLOP/s": layer.tflops,
            "GB/s": layer.bandwidth,
            "bound": position.bound if position else None,
            "share of the roof": position.share if position else None,
        }
        duration = layer.milliseconds * 1e3
        found.append(
            {
                "name": layer.name,
                "cat": layer.dtype or "unknown",
                "ph": "X",
                "ts": start,
                "dur": duration,
                "pid": _PROCESS,
                "tid": _THREAD,
                "args": {key: value for key, value in known.items() if value is not None},
            }
        )
        start += duration
    return found


def write(report: ProfileReport, path: str | os.PathLike[str]) -> None:
    """Write the events as a JSON object, the form that all viewers read."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {"traceEvents": events(report), "displayTimeUnit": "ms"}
    path.write_text(json.dumps(whole), encoding="utf-8")


def _named(what: str, name: str) -> dict[str, Any]:
    return {
        "name": what,
        "ph": "M",
        "ts": 0,
        "pid": _PROCESS,
        "tid": _THREAD,
        "args": {"name": name},
    }


def _text(shape: tuple[int, ...] | None) -> str:
    return "?" if shape is None else "x".join(map(str, shape)) or "scalar"
