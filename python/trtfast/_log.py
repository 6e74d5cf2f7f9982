"""Brings TensorRT's log lines to Python's logging, without making TensorRT wait."""

from __future__ import annotations

import atexit
import functools
import logging
import threading

from . import _core

_starting = threading.Lock()

logger = logging.getLogger("trtfast.tensorrt")

# TensorRT's severities: internal error, error, warning, info, verbose.
_LEVELS = (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)


def connect() -> None:
    """Start forwarding; from now on, lines less severe than the logger's level are not made.

    The level is that of the logger ``trtfast.tensorrt`` at this moment, which is called before each
    load and build.
    """
    _start()
    level = logger.getEffectiveLevel()
    wanted = [severity for severity, value in enumerate(_LEVELS) if value >= level]
    _core.set_log_threshold(max(wanted, default=-1))


def _start() -> None:
    with _starting:  # of several that come at once, one starts it
        _start_once()


@functools.cache
def _start_once() -> None:
    thread = threading.Thread(target=_forward, name="trtfast-log", daemon=True)
    thread.start()
    # The thread must end before the interpreter does, which it could not re-enter.
    atexit.register(_stop, thread)


def _forward() -> None:
    while lines := _core.take_log():
        for severity, text in lines:
            logger.log(_LEVELS[severity], text)


def _stop(thread: threading.Thread) -> None:
    _core.close_log()
    thread.join()
