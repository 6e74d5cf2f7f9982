"""Brings TensorRT's log lines to Python's logging, without making TensorRT wait."""

from __future__ import annotations

import logging

from . import _core
from ._pump import Pump

logger = logging.getLogger("trtfast.tensorrt")

# TensorRT's severities: internal error, error, warning, info, verbose.
_LEVELS = (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)


# TensorRT may warn of the same a hundred times in a build: each warning is told once in each.
_told: set[str] = set()
_MOST_TOLD = 1000


def connect() -> None:
    """Start forwarding; from now on, lines less severe than the logger's level are not made.

    The level is that of the logger ``trtfast.tensorrt`` at this moment, which is called before each
    load and build.
    """
    _pump.start()
    _told.clear()
    level = logger.getEffectiveLevel()
    wanted = [severity for severity, value in enumerate(_LEVELS) if value >= level]
    _core.set_log_threshold(max(wanted, default=-1))


def _forward() -> None:
    while lines := _core.take_log():
        for severity, text in lines:
            if _LEVELS[severity] == logging.WARNING:
                if text in _told:
                    continue
                if len(_told) == _MOST_TOLD:
                    _told.clear()
                _told.add(text)
            logger.log(_LEVELS[severity], text)


_pump = Pump("trtfast-log", _forward, _core.close_log)
