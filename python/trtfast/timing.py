"""How long calls take, after warm-up and by turns."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Timing", "interleaved", "measure"]

# The median lies between the second least and the second greatest of the medians of nine rounds,
# with a probability of 1 - 2 (1 + 9) / 2**9: 96 %, whatever the distribution.
_ROUNDS = 9
_STABLE = 0.02  # a warm-up ends as its medians differ by no more than this,
_MOST_WARM_UP = 10  # or after as many parts


@dataclass(frozen=True)
class Timing:
    """Seconds that a call took.

    Attributes
    ----------
    median, p90, p99 : float
    low, high : float
        Between these the median lies with a confidence of 96 %, from the medians of nine rounds.
    calls : int
        How many were measured.
    """

    median: float
    p90: float
    p99: float
    low: float
    high: float
    calls: int


def measure(
    call: Callable[[], object], *, warm_up: float = 0.5, duration: float = 2.0, least: int = 10
) -> Timing:
    """Call again and again, and time each call that follows the warm-up.

    Parameters
    ----------
    call : callable
        Returns only when its work is done.
    warm_up, duration, least
        As of :func:`interleaved`.
    """
    return interleaved([call], warm_up=warm_up, duration=duration, least=least)[0]


def interleaved(
    calls: Sequence[Callable[[], object]],
    *,
    warm_up: float = 0.5,
    duration: float = 2.0,
    least: int = 10,
) -> list[Timing]:
    """Time several calls by turns, so that what else the machine does meets them alike.

    Each is warmed up until its time is stable. Then come nine rounds, in which each in turn is
    called once unmeasured, for the caches that the one before it has filled, and then measured.

    Parameters
    ----------
    calls : sequence of callable
        As of :func:`measure`.
    warm_up, duration : float
        Seconds for each, the first at least, and at most five times as many.
    least : int
        How often each is called at least in either part.
    """
    for call in calls:
        _settle(call, warm_up / 2, math.ceil(least / 2))
    rounds: list[list[list[float]]] = [[] for _ in calls]
    for _ in range(_ROUNDS):
        for call, own in zip(calls, rounds, strict=True):
            call()
            own.append(_repeat(call, duration / _ROUNDS, math.ceil(least / _ROUNDS)))
    return [_timing(own) for own in rounds]


def _settle(call: Callable[[], object], duration: float, least: int) -> None:
    before = math.nan  # which is like nothing
    for _ in range(_MOST_WARM_UP):
        now = statistics.median(_repeat(call, duration, least))
        if abs(now - before) <= _STABLE * before:
            return
        before = now


def _timing(rounds: Sequence[Sequence[float]]) -> Timing:
    ordered = sorted(seconds for own in rounds for seconds in own)
    medians = sorted(map(statistics.median, rounds))
    return Timing(
        median=statistics.median(ordered),
        p90=_percentile(ordered, 0.9),
        p99=_percentile(ordered, 0.99),
        low=medians[1],
        high=medians[-2],
        calls=len(ordered),
    )


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _repeat(call: Callable[[], object], duration: float, least: int) -> list[float]:
    times: list[float] = []
    end = time.perf_counter() + duration
    while len(times) < least or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times
