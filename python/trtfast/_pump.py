"""Threads that bring what the core has to tell to Python, without making the core wait."""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pump"]


class Pump:
    """A thread of the whole process, started by the first who needs it.

    Parameters
    ----------
    name : str
        The thread's.
    run : callable
        Forwards until there is nothing more to come.
    close : callable
        Makes ``run`` return for good.
    """

    def __init__(self, name: str, run: Callable[[], None], close: Callable[[], None]) -> None:
        self._name = name
        self._run = run
        self._close = close
        self._reset()
        os.register_at_fork(after_in_child=self._reset)  # where its thread is not

    def _reset(self) -> None:
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the thread, unless it was; of several that come at once, one does."""
        if self._is_started():
            return
        with self._lock:
            if self._is_started():
                return
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
            # It must end before the interpreter does, which it could not re-enter.
            atexit.register(self._stop)

    def _is_started(self) -> bool:
        return self._thread is not None

    def _stop(self) -> None:
        if self._thread is not None:
            self._close()
            self._thread.join()
