"""``trtfast check``: can an engine be loaded here."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import trtfast

from .console import console, print_json

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["run_check"]


def run_check(path: Path, device: int, as_json: bool) -> bool:
    """Print a verdict, and return whether the engine can be loaded."""
    verdict = trtfast.check(path, device=device)
    if as_json:
        print_json({"path": str(path), "loads": verdict.loads, **asdict(verdict)})
        return verdict.loads
    console.print(f"{path}: plan of {verdict.product} {verdict.version}")
    if verdict.gpu:
        console.print(f"built on {verdict.gpu}")
    for problem in verdict.problems:
        console.print(f"  {problem}")
    console.print(f"Next: {verdict.advice}" if verdict.advice else "It can be loaded here.")
    return verdict.loads
