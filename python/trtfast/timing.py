"""How long a call takes, after warm-up."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Timing", "interleaved", "measure"]


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
    return _timing(_repeat(call, duration, least))


def interleaved(
    calls: Sequence[Callable[[], object]],
    *,
    warm_up: float = 0.5,
    duration: float = 2.0,
    least: int = 10,
) -> list[Timing]:
    """Time several calls by turns, so that what else the machine does meets them alike.

    Parameters
    ----------
    calls : sequence of callable
        As of :func:`measure`.
    warm_up, duration : float
        Seconds for each; each is called at least ``least`` times.
    """
    for call in calls:
        _repeat(call, warm_up, least)
    times: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + duration * len(calls)
    while len(times[0]) < least or time.perf_counter() < end:
        for call, own in zip(calls, times, strict=True):
            own += _repeat(call, 0.0, 1)
    return [_timing(own) for own in times]


def _timing(times: list[float]) -> Timing:
    ordered = sorted(times)
    rank = min(len(ordered) - 1, int(0.99 * len(ordered)))
    return Timing(statistics.median(ordered), ordered[rank], len(ordered))


def _repeat(call: Callable[[], object], duration: float, least: int) -> list[float]:
    times: list[float] = []
    end = time.perf_counter() + duration
    while len(times) < least or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times
