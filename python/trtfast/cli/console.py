"""What the commands have in common: how they print, and how they show a build."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trtfast.build import Progress

__all__ = ["build_progress", "console"]

console = Console(highlight=False, markup=False, soft_wrap=True)


@contextmanager
def build_progress() -> Iterator[Progress]:
    """Show a build's phase and the time so far; TensorRT tells no honest percentage."""
    start = time.perf_counter()
    with console.status("building the engine") as status:

        def show(phase: str, parent: str, step: int, steps: int) -> None:
            where = f"{parent} · {phase}" if parent else phase
            seconds = time.perf_counter() - start
            status.update(f"building the engine, {seconds:.0f} s: {where} {max(step, 0)}/{steps}")

        yield show
