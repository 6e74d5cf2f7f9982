"""``benchmark`` on the reference engine, which has neither lanes nor a GPU."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tiny
import trtfast
from trtfast import InputError, ReferenceEngine

QUICK: dict[str, Any] = {"seconds": 0.05, "warm_up": 0.01}


@pytest.fixture(scope="module")
def engine() -> Iterator[ReferenceEngine]:
    with ReferenceEngine(tiny.dense().SerializeToString()) as engine:
        yield engine


def test_what_is_told(engine: ReferenceEngine) -> None:
    report = trtfast.benchmark(engine, batch=3, percentiles=(50, 95.5), **QUICK)
    assert report.engine.startswith("ReferenceEngine on ")
    assert (report.shapes, report.batch, report.threads) == ({"x": (3, 8)}, 3, 1)
    assert (report.lanes, report.parts, report.memory) == (None, None, "pageable")
    assert 0 < report.least <= report.low <= report.high <= report.most
    assert report.least <= report.median <= report.percentiles[95.5] <= report.most
    assert report.percentiles[50] == report.median
    assert report.least <= report.mean <= report.most
    assert report.elapsed >= 0.05
    assert report.throughput == pytest.approx(3 * report.calls / report.elapsed)
    assert 0 < report.throughput_low <= report.throughput_high
    told = json.loads(report.to_json())
    assert told["percentiles"] == {"50": report.median, "95.5": report.percentiles[95.5]}
    assert told["shapes"] == {"x": [3, 8]}
    assert told["environment"]["packages"]["trtfast"] == trtfast.__version__


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (1, 8)),
        ({"batch": 5}, (5, 8)),
        ({"shapes": (2, 8)}, (2, 8)),
        ({"shapes": {"x": (4, 8)}}, (4, 8)),
        ({"inputs": np.ones((6, 8), np.float32)}, (6, 8)),
    ],
)
def test_shapes(engine: ReferenceEngine, options: dict[str, Any], shape: tuple[int, ...]) -> None:
    report = trtfast.benchmark(engine, **options, **QUICK)
    assert report.shapes == {"x": shape}
    assert report.batch == shape[0]


class Counting:
    """An engine that counts who calls it, and how many at once."""

    def __init__(self, engine: ReferenceEngine) -> None:
        self._engine = engine
        self._together = threading.Barrier(3)
        self.callers: set[int] = set()
        self.given: list[np.ndarray] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def infer(self, inputs: dict[str, np.ndarray]) -> Any:
        self._together.wait(60)  # which only three callers at once get over
        self.callers.add(threading.get_ident())
        self.given.append(inputs["x"])
        return self._engine.infer(inputs)


def test_callers_at_once(engine: ReferenceEngine) -> None:
    counting: Any = Counting(engine)
    report = trtfast.benchmark(
        counting, threads=3, seconds=0, warm_up=0, iterations=4, percentiles=()
    )
    assert report.threads == 3
    assert report.calls == 3 * 4
    assert len(counting.callers) >= 3
    assert np.ptp(counting.given[0]) > 0  # random, and not zeros


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"threads": 0}, "threads is 0"),
        ({"seconds": -1}, "seconds is -1"),
        ({"warm_up": float("nan")}, "warm_up is nan"),
        ({"iterations": 0}, "iterations is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"percentiles": (0,)}, "percentile 0"),
        ({"percentiles": (101,)}, "percentile 101"),
        ({"memory": "device"}, "expected 'pageable' or 'pinned'"),
        ({"memory": "pinned"}, "runs on the CPU"),
        ({"batch": 2, "shapes": (2, 8)}, "give one of them"),
        ({"shapes": (2, 9)}, "expected"),
    ],
)
def test_wrong_options(engine: ReferenceEngine, options: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        trtfast.benchmark(engine, **options, **{k: v for k, v in QUICK.items() if k not in options})


def test_a_fixed_batch() -> None:
    with ReferenceEngine(tiny.dense(2, 8).SerializeToString()) as engine:
        assert trtfast.benchmark(engine, batch=2, **QUICK).batch == 2
        with pytest.raises(InputError, match="the batch is fixed, and not 3"):
            trtfast.benchmark(engine, batch=3, **QUICK)
