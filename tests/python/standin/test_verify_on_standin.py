"""``verify`` with an engine, whose plan it opens once more, with graphs or without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trtfast
from fake_gpu import TWICE, FakeGpu, answer, build, rows

X = rows(20)


@pytest.fixture
def path(gpu: FakeGpu, tmp_path: Path) -> Path:
    plan = tmp_path / "twice.plan"
    plan.write_bytes(build(gpu.libraries["11.1"]))
    return plan


@pytest.mark.parametrize("cuda_graph", [True, False])
@pytest.mark.parametrize("lanes", [1, 3])
def test_an_engine_that_is_right(cuda_graph: bool, lanes: int, path: Path) -> None:
    with trtfast.Engine(path, cuda_graph=cuda_graph, lanes=lanes) as engine:
        report = trtfast.verify(engine, {"y": answer(X)}, X, repeats=3)
    assert report.failures == ()
    assert report.engine.startswith("TensorRT 11.1")
    assert report.outputs[0].equal == 1
    same = report.determinism
    assert same is not None
    other = "no graphs" if cuda_graph else "graphs"
    assert same.runs == {"repeated": 3, "threads": 3 * max(4, 2 * lanes), other: 3}
    assert same.results == 1
    assert same.lanes is not None
    assert 1 <= same.lanes <= lanes  # calls here are so short that they may not overlap
    assert report.batch.largest == {"y": 0}


def test_rows_fit_the_largest_batch(gpu: FakeGpu, path: Path) -> None:
    path.write_bytes(build(gpu.libraries["11.1"], TWICE, (1, 4, 8)))
    with trtfast.Engine(path) as engine:
        assert trtfast.verify(engine, {"y": answer(X)}, X, repeats=0).samples == 3


def test_a_plan_that_takes_no_single_row(gpu: FakeGpu, path: Path) -> None:
    path.write_bytes(build(gpu.libraries["11.1"], TWICE, (4, 4, 8)))
    with trtfast.Engine(path) as engine:
        report = trtfast.verify(engine, {"y": answer(X)}, X, repeats=0)
    assert report.passed
    assert report.batch.reason == "no profile takes a batch of 8, or of 1"


def test_an_engine_that_is_wrong(path: Path) -> None:
    wrong = answer(X)
    wrong[7, 1] += 100
    with trtfast.Engine(path) as engine:
        report = trtfast.verify(engine, {"y": wrong}, X, repeats=1, scores=())
    (failure,) = report.failures
    assert "largest error, 100 in sample 0" in failure


class Other(trtfast.Engine):
    """An engine whose plan without graphs is another's."""

    def reopened(self, **options: Any) -> trtfast.Engine:
        other = super().reopened(**options)
        infer = other.infer
        other.infer = lambda x: {"y": infer(x)["y"] + 1}  # type: ignore[method-assign]
        return other


def test_graphs_that_give_other_bits_are_caught(path: Path) -> None:
    with Other(path) as engine:
        report = trtfast.verify(engine, {"y": answer(X)}, X, repeats=2)
    assert report.determinism is not None
    assert report.determinism.different == {"repeated": 0, "threads": 0, "no graphs": 2}
    assert "2 of 12 runs differ from the first" in report.failures[0]


def test_bytes_cannot_be_opened_again(path: Path) -> None:
    with trtfast.Engine(path.read_bytes()) as engine:
        assert engine.path is None
        with pytest.raises(trtfast.InputError, match="given as bytes"):
            engine.reopened(cuda_graph=False)
        report = trtfast.verify(engine, {"y": answer(X)}, X, repeats=1)
    assert report.determinism is not None
    assert set(report.determinism.runs) == {"repeated", "threads"}


def test_what_an_engine_was_opened_with_stays(path: Path) -> None:
    with trtfast.Engine(path, device=1, lanes=3, wait="block") as engine:
        assert (engine.path, engine.lanes, engine.cuda_graph) == (path, 3, True)
        with engine.reopened(cuda_graph=False) as other:
            assert (other.path, other.lanes, other.cuda_graph) == (path, 3, False)
            np.testing.assert_array_equal(other.infer(X), answer(X))


def test_an_engine_that_pads(gpu: FakeGpu, path: Path) -> None:
    path.write_bytes(build(gpu.libraries["11.1"], TWICE, (4, 4, 4), (1, 1, 1), (20, 20, 20)))
    with trtfast.Engine(path, pad_to_bucket=True) as engine:
        report = trtfast.verify(engine, {"y": answer(X)}, X, repeats=2)
    assert report.passed
    assert report.determinism is not None
    assert report.determinism.runs["no graphs"] == 2


def test_an_engine_for_which_no_call_may_wait(path: Path) -> None:
    with trtfast.Engine(path, lanes=2, max_queue=0) as engine:
        report = trtfast.verify(engine, {"y": answer(X)}, X, repeats=20)
    assert report.passed
    assert report.determinism is not None
    assert report.determinism.runs == {"repeated": 20, "threads": 80, "no graphs": 20}
