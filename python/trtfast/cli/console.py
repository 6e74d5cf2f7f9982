"""What the commands have in common: how they print, and how they show long work and the log."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trtfast.build import Progress

__all__ = [
    "bar",
    "build_progress",
    "console",
    "fail",
    "note",
    "print_json",
    "set_verbosity",
    "working",
]

console = Console(highlight=False, markup=False, soft_wrap=True)
_aside = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def note(text: str) -> None:
    """Say something beside what was asked for, on the standard error."""
    _aside.print(text)


def print_json(value: Any) -> None:
    """Print one line of JSON, and not through the console, which would break it for the eye."""
    from trtfast.verification.report import plain

    print(json.dumps(plain(value)))


def bar(share: float, width: int = 20) -> str:
    """Return a bar of a share from 0 to 1."""
    return ("█" * round(share * width)).ljust(width, "·")


@contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Show that work goes on, its phase and the time so far, on a terminal; give what tells it."""
    from rich.progress import Progress as Display
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    logging.getLogger("trtfast").info("%s", what)
    columns = (SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Display(
        *columns, console=_aside, transient=True, disable=not _aside.is_terminal
    ) as display:
        task = display.add_task(what, total=None)
        yield lambda phase: display.update(task, description=f"{what}: {phase}")


@contextmanager
def build_progress(what: str = "building the engine") -> Iterator[Progress]:
    """Show a build's phase and the time so far; TensorRT tells no honest percentage."""
    with working(what) as tell:

        def show(phase: str, parent: str, step: int, steps: int) -> None:
            where = f"{parent} · {phase}" if parent else phase
            tell(f"{where} {max(step, 0)}/{steps}")

        with _saying_that_it_stops():
            yield show


@contextmanager
def _saying_that_it_stops() -> Iterator[None]:
    """Answer Ctrl-C at once, since TensorRT may take seconds to come to where it can stop."""
    if threading.current_thread() is not threading.main_thread():  # which alone gets signals
        yield
        return

    def stop(*_: object) -> None:
        note("stopping, at TensorRT's next step")
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Handler(logging.Handler):
    """Prints what is logged above the spinner."""

    verbosity = 0

    def emit(self, record: logging.LogRecord) -> None:
        of_tensorrt = record.name == "trtfast.tensorrt"
        if of_tensorrt and record.levelno >= logging.ERROR and not self.verbosity:
            return  # it is in the error that is raised
        source = "TensorRT" if of_tensorrt else "trtfast"
        _aside.print(f"{source}: {record.levelname.lower()}: {record.getMessage()}")


_handler = _Handler()


def set_verbosity(verbosity: int) -> None:
    """Print what trtfast and TensorRT log: 0 warnings, 1 what is being done, 2 all."""
    _handler.verbosity = verbosity
    logger = logging.getLogger("trtfast")
    logger.addHandler(_handler)
    if verbosity:
        logger.setLevel(logging.INFO if verbosity == 1 else logging.DEBUG)


def fail(text: str, status: int) -> int:
    """Print an error in one line, and return the status to end with."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    ends = (":", ";", ",", ".")
    joined = [line if line.endswith(ends) else f"{line};" for line in lines[:-1]] + lines[-1:]
    print(f"trtfast: {' '.join(joined)}", file=sys.stderr)
    return status
