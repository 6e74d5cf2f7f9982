"""Checks of an engine against itself: the same bits each time, and rows that stand alone."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from ..binding import check_profiles, largest_batch
from ..engine import Engine
from ..errors import InputError, QueueFullError
from .metrics import largest_error
from .report import BatchInvariance, Determinism

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..spec import Array, InferenceEngine, TensorSpec

    Arrays = dict[str, Array]
    # What was run, and what a first run of it gave.
    Probe = tuple[Arrays, Arrays]

__all__ = ["check_batch", "check_determinism"]

_THREADS = 4
_ROWS = 8


def check_determinism(
    engine: InferenceEngine, probes: Sequence[Probe], repeats: int
) -> Determinism:
    """Run the same inputs again in each way that an engine runs them, and compare the bits.

    Parameters
    ----------
    engine : InferenceEngine
    probes : sequence of (inputs, outputs)
    repeats : int
        How many runs of each: one after another, on each of several threads, and on another engine
        of the plan, with graphs where this one has none and without where it has.
    """
    found = [_Results(outputs) for _, outputs in probes]
    for (inputs, _), results in zip(probes, found, strict=True):
        for _ in range(repeats):
            results.add("repeated", engine.infer(inputs))
    lanes = None
    threads = _THREADS
    if isinstance(engine, Engine):
        threads = max(threads, 2 * engine.lanes)
    for (inputs, _), results in zip(probes, found, strict=True):
        _run_at_once(engine, inputs, results, threads, repeats)
    if isinstance(engine, Engine):
        lanes = len(engine.memory_report().lanes)
    if isinstance(engine, Engine) and engine.path is not None:
        kind = "no graphs" if engine.cuda_graph else "graphs"
        changed = {"cuda_graph": not engine.cuda_graph, "lanes": 1, "pad_to_bucket": False}
        with engine.reopened(**changed) as other:
            for (inputs, _), results in zip(probes, found, strict=True):
                for _ in range(repeats):
                    results.add(kind, other.infer(inputs))
    return Determinism(
        runs=dict(sum((results.runs for results in found), Counter[str]())),
        different={
            kind: sum(results.different[kind] for results in found) for kind in found[0].runs
        },
        results=max(len(results.digests) for results in found),
        largest=max(results.largest for results in found),
        lanes=lanes,
    )


def _run_at_once(
    engine: InferenceEngine, inputs: Arrays, results: _Results, threads: int, repeats: int
) -> None:
    barrier = threading.Barrier(threads)

    def run() -> None:
        barrier.wait()
        left = repeats
        while left:
            try:
                again = engine.infer(inputs)
            except QueueFullError:  # of an engine for which few calls may wait
                continue
            results.add("threads", again)
            left -= 1

    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(run) for _ in range(threads)]:
            future.result()


class _Results:
    """The results of runs with the same inputs; safe from several threads."""

    def __init__(self, first: Arrays) -> None:
        self.runs: Counter[str] = Counter()
        self.different: Counter[str] = Counter()
        self.largest = 0.0
        self.digests = {_digest(first)}
        self._first = first
        self._first_digest = _digest(first)
        self._lock = threading.Lock()

    def add(self, kind: str, again: Mapping[str, Array]) -> None:
        digest = _digest(again)
        apart = 0.0
        if digest != self._first_digest:
            apart = max(largest_error(again[name], first) for name, first in self._first.items())
        with self._lock:
            self.runs[kind] += 1
            self.different[kind] += digest != self._first_digest
            self.digests.add(digest)
            self.largest = max(self.largest, apart)


def _digest(outputs: Mapping[str, Array]) -> bytes:
    digest = hashlib.sha256()
    for array in outputs.values():
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()


def check_batch(engine: InferenceEngine, probes: Sequence[Probe]) -> BatchInvariance:
    """Run rows of the probes as one batch and each alone, and compare what each row gives.

    Parameters
    ----------
    engine : InferenceEngine
    probes : sequence of (inputs, outputs)
    """
    specs = engine.inputs
    if any(spec.shape[:1] != (-1,) for spec in specs):
        return BatchInvariance(0, "the batch is not dynamic", {})
    batch = _batch([inputs for inputs, _ in probes], min(_ROWS, *map(_most_rows, specs)))
    count = len(next(iter(batch.values())))
    if count < 2:
        return BatchInvariance(0, "there are no two rows that fit into one batch", {})
    rows = [{name: array[i : i + 1] for name, array in batch.items()} for i in range(count)]
    try:
        for inputs in (batch, rows[0]):
            check_profiles({name: array.shape for name, array in inputs.items()}, specs)
    except InputError:
        return BatchInvariance(0, f"no profile takes a batch of {count}, or of 1", {})
    together = engine.infer(batch)
    largest: dict[str, float] = {}
    for i, row in enumerate(rows):
        for name, alone in engine.infer(row).items():
            if together[name].shape[:1] == (count,) and alone.shape == (
                1,
                *together[name].shape[1:],
            ):
                error = _row_error(alone, together[name], i)
                largest[name] = max(largest.get(name, 0.0), error)
    reason = None if largest else "no output has a row for each of the inputs"
    return BatchInvariance(count if largest else 0, reason, largest)


def _most_rows(spec: TensorSpec) -> int:
    return largest_batch(spec) if spec.profiles else _ROWS


def _batch(inputs: Sequence[Arrays], most: int) -> Arrays:
    """Return rows of several inputs, as far as they are of the first one's shape."""
    counts = {len(array) for array in inputs[0].values()}
    if len(counts) != 1:  # what the inputs have as first axis is not one batch
        return {name: array[:1] for name, array in inputs[0].items()}
    shapes = {name: array.shape[1:] for name, array in inputs[0].items()}
    fitting = [each for each in inputs if {name: a.shape[1:] for name, a in each.items()} == shapes]
    return {name: np.concatenate([each[name] for each in fitting])[:most] for name in inputs[0]}


def _row_error(alone: Array, together: Array, row: int) -> float:
    """Return the error of a row as a share of the largest magnitude in the batch."""
    wanted = together.astype(np.float64)
    given = wanted.copy()
    given[row] = alone[0]
    return largest_error(given, wanted)
