"""How long calls take, after warm-up, by turns or from several callers at once."""

from __future__ import annotations

import math
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Load", "Timing", "interleaved", "measure", "settle", "under_load"]

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


@dataclass(frozen=True)
class Load:
    """What several callers at once got.

    Attributes
    ----------
    seconds : tuple of float
        What each call took, least first.
    low, high : float
        Between these the median lies, as of :class:`Timing`.
    rate, rate_low, rate_high : float
        Calls in a second, over all callers, and between what they lie in the same way.
    elapsed : float
        Seconds from the first call's begin to the last one's end.
    """

    seconds: tuple[float, ...]
    low: float
    high: float
    rate: float
    rate_low: float
    rate_high: float
    elapsed: float

    def percentile(self, percent: float) -> float:
        """Return what so many of a hundred calls took at most; 50 is the median."""
        if percent == 50:
            return statistics.median(self.seconds)
        return _percentile(self.seconds, percent / 100)


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


def under_load(
    calls: Sequence[Callable[[], object]], *, duration: float = 2.0, least: int = 10
) -> Load:
    """Call from as many threads as there are callables at once, each its own again and again.

    What was called is divided into nine parts of as many calls, in the order in which they ended,
    for the intervals.

    Parameters
    ----------
    calls : sequence of callable
        As of :func:`measure`; see :func:`settle` for the warm-up.
    duration : float
        Seconds, at least.
    least : int
        How often each is called at least.
    """
    made = _together(calls, duration, max(least, math.ceil(_ROUNDS / len(calls))))
    made.sort(key=lambda call: call.end)
    begin = min(call.begin for call in made)
    edges = [len(made) * number // _ROUNDS for number in range(_ROUNDS + 1)]
    parts = [made[start:end] for start, end in pairwise(edges)]
    medians = sorted(statistics.median(call.seconds for call in part) for part in parts)
    ends = [begin, *(part[-1].end for part in parts)]
    rates = sorted(
        len(part) / max(after - before, 1e-9)  # two calls may end in one tick
        for part, (before, after) in zip(parts, pairwise(ends), strict=True)
    )
    return Load(
        seconds=tuple(sorted(call.seconds for call in made)),
        low=medians[1],
        high=medians[-2],
        rate=len(made) / (ends[-1] - begin),
        rate_low=rates[1],
        rate_high=rates[-2],
        elapsed=ends[-1] - begin,
    )


def settle(
    calls: Sequence[Callable[[], object]], *, duration: float = 0.5, least: int = 10
) -> None:
    """Call from as many threads as there are callables at once, until their times are stable.

    Parameters
    ----------
    calls : sequence of callable
        As of :func:`under_load`.
    duration, least
        As ``warm_up`` and ``least`` of :func:`interleaved`.
    """
    _until_stable(
        lambda: [call.seconds for call in _together(calls, duration / 2, math.ceil(least / 2))]
    )


def _settle(call: Callable[[], object], duration: float, least: int) -> None:
    _until_stable(lambda: _repeat(call, duration, least))


def _until_stable(part: Callable[[], Sequence[float]]) -> None:
    before = math.nan  # which is like nothing
    for _ in range(_MOST_WARM_UP):
        now = statistics.median(part())
        if abs(now - before) <= _STABLE * before:
            return
        before = now


class _Call(NamedTuple):
    begin: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.begin


def _together(calls: Sequence[Callable[[], object]], duration: float, least: int) -> list[_Call]:
    if len(calls) == 1:
        return _calls(calls[0], duration, least, threading.Event())
    stop = threading.Event()
    ready = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> list[_Call]:
        ready.wait()
        try:
            return _calls(call, duration, least, stop)
        except BaseException:
            stop.set()  # the others' times are of no use
            raise

    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(partial(run, call)) for call in calls]
        try:
            return [made for future in futures for made in future.result()]
        finally:
            stop.set()  # of an interrupt, the pool would wait for their end


def _calls(
    call: Callable[[], object], duration: float, least: int, stop: threading.Event
) -> list[_Call]:
    made: list[_Call] = []
    # From the first begin to the last end, as of Load.elapsed, which is to be so long at least.
    while not stop.is_set() and (len(made) < least or made[-1].end - made[0].begin < duration):
        begin = time.perf_counter()
        call()
        made.append(_Call(begin, time.perf_counter()))
    return made


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
    return [made.seconds for made in _calls(call, duration, least, threading.Event())]
