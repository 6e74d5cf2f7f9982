"""Keeps the kernels that TensorRT-RTX compiles for an engine, for the next process."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from . import cache

if TYPE_CHECKING:
    from ._core import Engine

__all__ = ["Keeper", "read"]

logger = logging.getLogger("trtfast")


def read(key: str) -> bytes:
    """Return the kernels that an earlier process kept; empty if there are none."""
    return cache.read_runtime(key) or b""


class Keeper:
    """Writes what an engine has compiled to the cache, where that is news.

    Asking TensorRT for it takes as long as many calls do, so it happens on a thread of its own.
    """

    def __init__(self, engine: Engine, key: str, known: bytes) -> None:
        self._engine = engine
        self._key = key
        self._known = known
        self._thread: threading.Thread | None = None

    def keep_news(self) -> None:
        """Begin to write what was compiled since this was last called."""
        if self._engine.take_new_kernels():
            # Not a daemon: a process that ends after one call waits for it.
            self._thread = threading.Thread(target=self._write, name="trtfast-kernels")
            self._thread.start()

    def finish(self) -> None:
        """Write what is left, and wait until it is written."""
        if self._thread is not None:
            self._thread.join()
        if self._engine.take_new_kernels():
            self._write()

    def _write(self) -> None:
        kernels = self._engine.kernels()
        # TensorRT-RTX writes the same kernels in another order each time.
        if len(kernels) == len(self._known):
            return
        self._known = kernels
        try:
            cache.write_runtime(self._key, kernels)
        except OSError as error:
            logger.warning("compiled kernels are not kept for the next start: %s", error)
