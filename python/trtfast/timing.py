"""How long a call takes, after warm-up."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Timing", "measure"]


@dataclass(frozen=True)
class Timing:
    """Seconds that a call took.

    Attributes
    ----------
    median, p99 : float
        Seconds.
    calls : int
        How many were measured.
    """

    median: float
    p99: float
    calls: int


def measure(
    call: Callable[[], object], *, warm_up: float = 0.5, duration: float = 2.0, least: int = 10
) -> Timing:
    """Call again and again, and time each call that follows the warm-up.

    Parameters
    ----------
    call : callable
        Returns only when its work is done.
    warm_up, duration : float
        Seconds; both parts make at least ``least`` calls.
    """
    _repeat(call, warm_up, least)
    times = sorted(_repeat(call, duration, least))
    rank = min(len(times) - 1, int(0.99 * len(times)))
    return Timing(statistics.median(times), times[rank], len(times))


def _repeat(call: Callable[[], object], duration: float, least: int) -> list[float]:
    times: list[float] = []
    end = time.perf_counter() + duration
    while len(times) < least or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times
