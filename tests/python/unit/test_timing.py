from __future__ import annotations

import time
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtfast.timing import interleaved, measure


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
