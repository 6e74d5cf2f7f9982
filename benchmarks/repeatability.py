#!/usr/bin/env python3
"""Is an engine's answer bit for bit the same each time, whatever else runs on the GPU?

    python benchmarks/repeatability.py --output repeatability.json
    python benchmarks/repeatability.py --models model.engine --rows 1 4 --seconds 20 \
        --output repeatability.json

A GPU that TensorRT does not list needs ``TRTFAST_ALLOW_UNSUPPORTED_GPU=1``. The same rows are given
again and again, and each answer is held to what the same engine gives for them alone:

- ``alone``: a caller, and an engine of one lane.
- ``vector``: the same, beside an elementwise kernel of PyTorch's on a stream of its own.
- ``lanes``: two callers of an engine of two lanes.
- ``engines``: two engines of one lane, each with its caller.

The file is written after each number of rows. The exit status is 1 if an answer differed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

import trtfast
from batching import MODELS, built
from environment import describe
from measure import Row
from trtfast import binding
from trtfast.profiling.inputs import arrays_of

ROWS = (1, 2, 4, 8, 16, 32)
ALONE = 21  # calls of which the most frequent answer is the one that others are held to
VALUES = 1 << 22  # of the vector
LAUNCHES = 10  # between which nobody waits for the GPU

Answers = dict[str, np.ndarray[Any, Any]]


class Caller:
    """Who calls an engine with the same rows again and again, and counts the answers."""

    def __init__(self, engine: trtfast.Engine, rows: int) -> None:
        self._engine = engine
        self._inputs = arrays_of(engine.inputs, binding.with_batch(engine.inputs, rows))
        found = [engine.infer(self._inputs) for _ in range(ALONE)]
        (usual, _), *_ = Counter(map(_bits, found)).most_common(1)
        self._usual = next(answers for answers in found if _bits(answers) == usual)
        self._bits = usual
        self.calls = 0
        self.differing = 0
        self.largest = 0.0  # difference, of the largest value

    def run(self, end: float) -> None:
        while time.perf_counter() < end:
            answers = self._engine.infer(self._inputs)
            self.calls += 1
            if _bits(answers) != self._bits:
                self.differing += 1
                self.largest = max(self.largest, _difference(answers, self._usual))


def _bits(answers: Answers) -> tuple[bytes, ...]:
    return tuple(array.tobytes() for array in answers.values())


def _difference(answers: Answers, usual: Answers) -> float:
    """Return the largest difference of an output's values, over the largest of them."""
    found = 0.0
    for name, array in answers.items():
        wanted = usual[name].astype(np.float64)
        differences = np.abs(array.astype(np.float64) - wanted)
        largest = np.nanmax(np.abs(wanted), initial=0.0) or 1.0
        found = max(found, float(np.nanmax(differences, initial=0.0) / largest))
    return found


def count(
    callers: list[Caller], seconds: float, beside: AbstractContextManager[None] | None = None
) -> Row:
    """Let callers call at once for some seconds; return what they counted."""
    with beside or nullcontext(), ThreadPoolExecutor(len(callers)) as pool:
        end = time.perf_counter() + seconds
        list(pool.map(lambda caller: caller.run(end), callers))
    return {
        "calls": sum(caller.calls for caller in callers),
        "differing": sum(caller.differing for caller in callers),
        "largest": max(caller.largest for caller in callers),
    }


@contextmanager
def vector_kernel() -> Iterator[None]:
    """Run an elementwise kernel of PyTorch's on a stream of its own, again and again."""
    stream, stop = torch.cuda.Stream(), threading.Event()
    with torch.cuda.stream(stream):
        values = torch.ones(VALUES, device="cuda")
        product = torch.empty_like(values)

    def launch() -> None:
        with torch.cuda.stream(stream):
            for _ in range(LAUNCHES):
                torch.mul(values, 1.5, out=product)
        stream.synchronize()

    def work() -> None:
        while not stop.is_set():
            launch()

    launch()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        try:
            yield
        finally:
            stop.set()
        working.result()


def measure(plan: Path, name: str, options: argparse.Namespace) -> Iterator[Row]:
    """Call a model's engines in every case, for all numbers of rows that they take."""
    with ExitStack() as stack:
        one, other, two = (
            stack.enter_context(trtfast.Engine(plan, lanes=lanes)) for lanes in (1, 1, 2)
        )
        most = min(map(binding.largest_batch, one.inputs))
        rows = [number for number in options.rows if number <= most]
        if not rows:
            raise SystemExit(f"{plan} takes up to {most} rows: give --rows that it takes")
        for engine in (one, other, two):
            engine.warmup([binding.with_batch(engine.inputs, number) for number in rows])
        for number in rows:
            cases: list[tuple[str, tuple[trtfast.Engine, ...]]] = [
                ("alone", (one,)),
                ("vector", (one,)),
                ("lanes", (two, two)),
                ("engines", (one, other)),
            ]
            for case, engines in cases:
                callers = [Caller(engine, number) for engine in engines]
                beside = vector_kernel() if case == "vector" else None
                found = count(callers, options.seconds, beside)
                yield {"id": f"{name}/rows{number}/{case}", "rows": number, **found}


def told(row: Row) -> str:
    text = f"{row['id']:<36} {row['calls']:7} calls, {row['differing']:4} differ"
    if row["differing"]:
        text += f", by up to {row['largest']:.2%} of the largest value"
    return text


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="or engines' files")
    parser.add_argument("--rows", nargs="+", type=int, default=list(ROWS))
    parser.add_argument("--seconds", type=float, default=2.0, help="for each case")
    parser.add_argument("--folder", type=Path, help="where models and engines are kept")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message=".* does not list .* as supported")
    results: list[Row] = []
    content = {
        **describe(),
        "options": {k: v for k, v in vars(options).items() if k not in ("folder", "output")},
        "results": results,
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for model in options.models:
            given = Path(model)
            plan = given if given.is_file() else built(model, folder, ROWS)
            for row in measure(plan, given.stem, options):
                results.append(row)
                print(told(row), flush=True)
                options.output.write_text(json.dumps(content, indent=1) + "\n")
    return 1 if any(row["differing"] for row in results) else 0


if __name__ == "__main__":
    raise SystemExit(main())
