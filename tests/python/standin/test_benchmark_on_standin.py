"""``benchmark`` of an engine with lanes, which counts the parts of its calls."""

from __future__ import annotations

import pytest

import trtfast


@pytest.mark.parametrize("memory", ["pageable", "pinned"])
def test_parts_of_the_measured_calls_alone(plan: bytes, memory: str) -> None:
    with trtfast.Engine(plan, lanes=3) as engine:
        report = trtfast.benchmark(
            engine,
            batch=7,
            threads=3,
            memory=memory,  # type: ignore[arg-type]
            seconds=0.05,
            warm_up=0.01,
        )
    assert report.engine == f"{engine.tensorrt} on {engine.gpu}"
    assert (report.batch, report.lanes, report.threads) == (7, 3, 3)
    assert report.parts is not None
    assert report.parts.calls == report.calls == report.parts.total.count
    assert report.parts.captures == 0  # which the warm-up did
    parts = (report.parts.queue, report.parts.compute_input, report.parts.infer)
    assert sum(part.mean for part in (*parts, report.parts.output)) <= report.parts.total.mean * 1.1
    assert report.parts.total.mean <= report.mean


def test_by_default_the_best_shapes(plan: bytes) -> None:
    with trtfast.Engine(plan) as engine:
        report = trtfast.benchmark(engine, seconds=0.01, warm_up=0.01)
        assert report.shapes == {"x": (4, 2)}
        with pytest.raises(trtfast.InputError, match="lie in no optimisation profile"):
            trtfast.benchmark(engine, batch=1000)
