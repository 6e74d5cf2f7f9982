from __future__ import annotations

import threading
import time
from itertools import count, cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtfast.timing import interleaved, measure, settle, under_load


class Clock:
    """A clock that moves only in calls, each as long as its turn says; the last is for the rest."""

    def __init__(self, *durations: float) -> None:
        self.now = 100.0
        self.durations = list(durations)
        self.calls = 0

    def __call__(self) -> float:
        return self.now

    def call(self) -> None:
        self.now += self.durations[min(self.calls, len(self.durations) - 1)]
        self.calls += 1


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    class Set(Clock):
        def __init__(self, *durations: float) -> None:
            super().__init__(*durations)
            monkeypatch.setattr(time, "perf_counter", self)

    return Set


def test_warm_up_is_not_measured_and_lasts_until_it_is_stable(set_clock: type[Clock]) -> None:
    clock = set_clock(64.0, 64.0, 8.0, 8.0, 2.0, 2.0, 1.0)
    timing = measure(clock.call, warm_up=0, duration=0, least=4)
    assert (timing.median, timing.p90, timing.p99) == (1.0, 1.0, 1.0)
    # Parts of two calls, the last two of them alike; nine rounds of one call and one before it.
    assert clock.calls == 5 * 2 + 9 * 2
    assert timing.calls == 9


def test_a_warm_up_that_is_never_stable_ends(set_clock: type[Clock]) -> None:
    clock = set_clock(*(float(1 + turn % 7) for turn in range(1000)))
    timing = measure(clock.call, warm_up=0, duration=0, least=2)
    assert clock.calls <= 10 + 9 * 2
    assert timing.calls == 9


def test_both_parts_last_as_long_as_asked(set_clock: type[Clock]) -> None:
    clock = set_clock(0.25)
    timing = measure(clock.call, warm_up=2, duration=9, least=1)
    assert timing.calls == 9 * 4
    assert clock.calls == 2 * 4 + 9 + 9 * 4


def test_slow_calls_are_made_often_enough(set_clock: type[Clock]) -> None:
    clock = set_clock(32.0)
    assert measure(clock.call, warm_up=0.5, duration=2, least=10).calls == 9 * 2


def test_percentiles_and_rounds(set_clock: type[Clock]) -> None:
    # Rounds of 1 to 9 seconds, each of a call that is not measured and one that is.
    clock = set_clock(5.0, 5.0, *(float(turn) for turn in range(1, 10) for _ in range(2)))
    timing = measure(clock.call, warm_up=0, duration=0, least=1)
    assert (timing.median, timing.p90, timing.p99) == (5.0, 9.0, 9.0)
    assert (timing.low, timing.high) == (2.0, 8.0)


def test_calls_are_timed_by_turns(set_clock: type[Clock]) -> None:
    clock = set_clock(2.0)
    order: list[str] = []

    def call(name: str, seconds: float) -> None:
        order.append(name)
        clock.now += seconds

    timings = interleaved(
        [lambda: call("a", 1.0), lambda: call("b", 3.0)], warm_up=0, duration=0, least=9
    )
    assert [(timing.median, timing.calls) for timing in timings] == [(1.0, 9), (3.0, 9)]
    assert "".join(order) == "a" * 10 + "b" * 10 + "aabb" * 9


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=50))
def test_order_of_what_is_told(durations: list[int]) -> None:
    clock = Clock()
    turns = cycle(durations)

    def call() -> None:
        clock.now += next(turns)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "perf_counter", clock)
        timing = measure(call, warm_up=0, duration=0, least=len(durations))
    assert min(durations) <= timing.low <= timing.high <= max(durations)
    assert min(durations) <= timing.median <= timing.p90 <= timing.p99 <= max(durations)


def test_error_of_the_call_is_raised() -> None:
    def fail() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        measure(fail)


def test_real_clock() -> None:
    timing = measure(lambda: time.sleep(0.002), warm_up=0, duration=0, least=5)
    assert 0.002 <= timing.low <= timing.high
    assert timing.median <= timing.p99


def test_one_caller_under_load(set_clock: type[Clock]) -> None:
    clock = set_clock(*(float(turn) for turn in range(1, 10)))
    load = under_load([clock.call], duration=0, least=9)
    assert load.seconds == tuple(range(1, 10))
    assert (load.percentile(50), load.percentile(90), load.percentile(100)) == (5, 9, 9)
    assert (load.low, load.high) == (2, 8)
    assert (load.elapsed, load.rate) == (45, 9 / 45)
    assert (load.rate_low, load.rate_high) == (1 / 8, 1 / 2)


def test_a_load_lasts_as_long_as_asked_and_has_nine_parts(set_clock: type[Clock]) -> None:
    clock = set_clock(0.25)
    assert len(under_load([clock.call], duration=5, least=1).seconds) == 20
    assert len(under_load([clock.call], duration=0, least=1).seconds) == 9


@pytest.mark.parametrize("callers", [1, 3])
def test_a_load_is_never_told_as_shorter_than_asked(
    monkeypatch: pytest.MonkeyPatch, callers: int
) -> None:
    """Not even by what it takes from the beginning to the first call's begin."""
    ticks = count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))  # each look is a second
    assert under_load([lambda: None] * callers, duration=100, least=1).elapsed >= 100


def test_callers_call_at_once() -> None:
    """Each call waits for all the others, so they end only if they overlap."""
    together = threading.Barrier(4)
    load = under_load([lambda: together.wait(60)] * 4, duration=0, least=5)
    assert len(load.seconds) == 20
    assert load.rate == pytest.approx(20 / load.elapsed)
    assert load.rate_low <= load.rate_high


def test_callers_share_the_time() -> None:
    load = under_load([lambda: time.sleep(0.01)] * 3, duration=0.2, least=1)
    assert load.percentile(50) >= 0.01
    assert load.elapsed >= 0.2
    assert sum(load.seconds) > load.elapsed  # one caller alone could not


def test_an_error_of_one_caller_ends_all() -> None:
    def fail() -> None:
        raise RuntimeError("no")

    begin = time.perf_counter()
    with pytest.raises(RuntimeError, match="no"):
        under_load([lambda: time.sleep(0.001), fail], duration=60)
    assert time.perf_counter() - begin < 30


def test_settling_ends_as_times_are_stable(set_clock: type[Clock]) -> None:
    clock = set_clock(64.0, 64.0, 8.0, 8.0, 2.0, 2.0, 1.0)
    settle([clock.call], duration=0, least=4)
    assert clock.calls == 5 * 2
