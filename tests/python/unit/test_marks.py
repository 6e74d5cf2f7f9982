"""Marked requests through a batcher: each ends once, with its own answer, and a fault is found."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import trtfast

MARKS = Path(__file__).parents[3] / "benchmarks" / "marks.py"


@pytest.fixture
def marks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(MARKS.parent))
    return importlib.import_module("marks")


def test_each_request_ends_once_with_the_answer_to_its_mark(tmp_path: Path) -> None:
    output = tmp_path / "marks.json"
    command = [sys.executable, str(MARKS), "--requests", "5000", "--backend", "reference"]
    done = subprocess.run(
        [*command, "--output", str(output)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{done.stdout[-5000:]}\n{done.stderr[-5000:]}"
    found = json.loads(output.read_text())
    ended, sent = found["ended"], found["sent"]
    assert sum(ended.values()) == sum(sent.values()) == 5000
    assert (ended["open"], ended["failed"], found["wrong"]) == (0, 0, 0)
    assert ended["rejected"] == sent["wrong_shape"] > 0
    assert sent["taken_back"] >= ended["cancelled"] > 0
    assert sent["hurried"] >= ended["expired"]
    assert sum(int(size) * count for size, count in found["batch_sizes"].items()) == found["rows"]


def sent(marks: ModuleType, engine: trtfast.InferenceEngine, requests: int) -> dict[str, Any]:
    ledger = marks.Ledger(requests)
    with trtfast.Batcher(engine) as batcher:
        marks.send(batcher, ledger, threads=4, coroutines=4)
    found: dict[str, Any] = marks.summary(ledger, batcher.stats())
    return found


class Faulty(trtfast.ReferenceEngine):
    """Does wrong in every tenth batch."""

    def __init__(self, model: Any, fault: str) -> None:
        super().__init__(model)
        self._fault, self._batches = fault, 0

    def infer(self, inputs: Any) -> Any:
        self._batches += 1
        answers = super().infer(inputs)
        if self._batches % 10:
            return answers
        if self._fault == "fails":
            raise trtfast.CudaError("a batch failed")
        (name,) = answers
        rows = answers[name]
        return {name: np.roll(rows, 1, axis=0) if self._fault == "mixes" else rows + 1}


@pytest.mark.parametrize("fault", ["mixes", "adds"])
def test_an_answer_to_another_mark_is_found(marks: ModuleType, fault: str) -> None:
    with Faulty(marks.doubling("n", marks.WIDTH), fault) as engine:
        found = sent(marks, engine, 1000)
    assert found["wrong"] == found["ended"]["failed"] > 0
    assert "wrong answer" in found["faults"][0]
    assert found["ended"]["answered"] > 0


def test_a_batch_that_fails_is_found(marks: ModuleType) -> None:
    with Faulty(marks.doubling("n", marks.WIDTH), "fails") as engine:
        found = sent(marks, engine, 1000)
    assert found["wrong"] == 0
    assert found["fault_count"] == found["ended"]["failed"] > 0
    assert "a batch failed" in found["faults"][0]


def test_a_request_that_has_not_ended_or_ends_twice_is_found(marks: ModuleType) -> None:
    ledger = marks.Ledger(10)
    first, *_ = ledger.requests()
    ledger.answered(first, first.answer)
    ledger.answered(first, first.answer)
    with (
        trtfast.ReferenceEngine(marks.doubling("n", marks.WIDTH)) as engine,
        trtfast.Batcher(engine) as batcher,
    ):
        faults = " ".join(marks.summary(ledger, batcher.stats())["faults"])
    assert "request 0, " in faults
    assert "it ended before" in faults
    assert "9 requests have not ended" in faults
    assert "the batcher counted calls 0, and there were 1" in faults
