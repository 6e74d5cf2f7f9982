from __future__ import annotations

import statistics
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtfast.timing import interleaved, measure


class Clock:
    """A clock that moves only in calls, each as long as its turn says."""

    def __init__(self, *durations: float) -> None:
        self.now = 100.0
        self.durations = list(durations)
        self.calls = 0

    def __call__(self) -> float:
        return self.now

    def call(self) -> None:
        self.now += self.durations[self.calls % len(self.durations)]
        self.calls += 1


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    class Set(Clock):
        def __init__(self, *durations: float) -> None:
            super().__init__(*durations)
            monkeypatch.setattr(time, "perf_counter", self)

    return Set


def test_warm_up_is_not_measured(set_clock: type[Clock]) -> None:
    clock = set_clock(*[64.0] * 3, *[1.0] * 8)
    timing = measure(clock.call, warm_up=0, duration=8, least=3)
    assert (timing.median, timing.p99, timing.calls) == (1.0, 1.0, 8)
    assert clock.calls == 11


def test_both_parts_last_as_long_as_asked(set_clock: type[Clock]) -> None:
    clock = set_clock(0.25)
    timing = measure(clock.call, warm_up=1, duration=2, least=1)
    assert timing.calls == 8
    assert clock.calls == 4 + 8


def test_slow_calls_are_made_often_enough(set_clock: type[Clock]) -> None:
    clock = set_clock(32.0)
    timing = measure(clock.call, warm_up=0.5, duration=2, least=10)
    assert timing.calls == 10
    assert clock.calls == 20


def test_median_and_p99(set_clock: type[Clock]) -> None:
    clock = set_clock(1.0, *(float(seconds) for seconds in range(1, 101)))
    timing = measure(clock.call, warm_up=0, duration=5050, least=1)
    assert timing.calls == 100
    assert timing.median == statistics.median(range(1, 101))
    assert timing.p99 == 100.0  # 99 of 100 calls took less


def test_calls_are_timed_by_turns(set_clock: type[Clock]) -> None:
    clock = set_clock(2.0)
    order: list[str] = []

    def call(name: str, seconds: float) -> None:
        order.append(name)
        clock.now += seconds

    timings = interleaved(
        [lambda: call("a", 1.0), lambda: call("b", 3.0)], warm_up=0, duration=8, least=2
    )
    assert [(timing.median, timing.calls) for timing in timings] == [(1.0, 4), (3.0, 4)]
    assert "".join(order) == "aabb" + "ab" * 4


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=50))
def test_p99_is_no_less_than_the_median(durations: list[int]) -> None:
    clock = Clock(*map(float, durations))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "perf_counter", clock)
        timing = measure(clock.call, warm_up=0, duration=0, least=len(durations))
    assert min(durations) <= timing.median <= timing.p99 <= max(durations)
    assert timing.calls == len(durations)


def test_error_of_the_call_is_raised() -> None:
    def fail() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        measure(fail)


def test_real_clock() -> None:
    timing = measure(lambda: time.sleep(0.002), warm_up=0, duration=0, least=5)
    assert 0.002 <= timing.median <= timing.p99
