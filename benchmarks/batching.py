#!/usr/bin/env python3
"""Many callers with a single image each, in one process: what batching them gives, and costs.

    python benchmarks/batching.py --output benchmarks/results/batching-h100.json
    python benchmarks/batching.py --models mobilenet_v3_large --reference --seconds 0.3 \
        --in-flight 1 16 --output rehearsal.json

trtfast's Batcher stands against a loop that queues and stacks in Python, and against the batching
of Ray Serve and of LitServe, where they are installed, on the same engine, in turns. A batch has at
most half of what is under way, for all of them. A first round, that is not timed, compares every
answer with that of its row from the engine alone. ``--models tiny`` tells what batching itself
costs, of a model and rows that take no time.

The file is written after each number in flight. The exit status is 1 if something failed, or an
answer was another's.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import tempfile
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import trtfast
from batchers import CONTENDERS, Plan, Rows
from callers import Taken, ask_from_asyncio, ask_from_threads, wake_coroutines
from concurrency import run_threads
from environment import clocks, describe, host
from measure import Row, failure, quiet_gc
from trtfast import binding
from trtfast.cli.models import load_model
from workloads import doubling

IN_FLIGHT = (1, 16, 64, 256)
MODELS = ("efficientnet_lite0", "resnet50")
TINY, TINY_WIDTH = "tiny", 8
ROUNDS = 3
NEEDS = {"ray-serve-batch": "ray", "litserve-batching": "litserve"}
DIFFERENT = 64  # rows


Run = Callable[[float, Taken, Plan], None]


class Bench:
    """An engine, its rows and their answers, and what it does alone."""

    def __init__(self, engine: trtfast.InferenceEngine, lanes: int, options: argparse.Namespace):
        (spec,) = engine.inputs
        rng = np.random.default_rng(0)
        shape = (DIFFERENT, *spec.shape[1:])
        self.engine, self.lanes, self.options = engine, lanes, options
        self.rows: Rows = rng.standard_normal(shape, np.float32)
        self.answers = np.stack([engine.infer(row[None]).ravel() for row in self.rows])
        self._alone: dict[tuple[int, int], Row] = {}
        for thread in threading.enumerate():
            if thread.name == "trtfast-kernels":  # writes what was compiled to the cache
                thread.join()

    def alone(self, size: int, in_flight: int) -> Row:
        """Measure plain calls of so many rows, which are the same as callers give.

        One thread calls, or one for each lane, of which each may have a batch under way.
        """
        if (size, in_flight) not in self._alone:
            different = min(in_flight, DIFFERENT)
            rows = [np.arange(first, first + size) for first in range(0, different, size)]
            batches = [np.ascontiguousarray(self.rows[each % different]) for each in rows]

            def caller(index: int) -> Callable[[], object]:
                turns = itertools.cycle(batches[index % len(batches) :] + batches)
                return lambda: self.engine.infer(next(turns))

            counts = sorted({1, min(self.lanes, -(-in_flight // size))})
            found = [run_threads(caller, count, self.options.seconds / 4) for count in counts]
            best = max(found, key=lambda row: float(row["throughput"]))
            self._alone[size, in_flight] = {
                "batch": size,
                "batch_seconds": found[0]["median"],
                "rows_per_second": best["throughput"] * size,
                "cpu_per_row": best["cpu"] / size,
                "cpu_per_row_of_one_caller": found[0]["cpu"] / size,
                "callers": counts[found.index(best)],
                "batch_seconds_of_best": best["median"],
            }
        return self._alone[size, in_flight]

    def cpu_alone(self, sizes: Counter[int], in_flight: int) -> float:
        """Return the CPU time that the same batches take in plain calls, over their rows."""
        rows = sum(size * count for size, count in sizes.items())
        cpu = sum(
            size * count * self.alone(self._measured(size, in_flight), in_flight)["cpu_per_row"]
            for size, count in sizes.items()
        )
        return float(cpu / rows)

    def _measured(self, size: int, in_flight: int) -> int:
        """Return the next power of two, for which there are kernels and a graph of their own."""
        return min(1 << (size - 1).bit_length(), limit(in_flight))

    def is_right(self, index: int, answer: Any) -> bool:
        """Whether an answer is that of a row, and of no other."""
        distances = np.abs(self.answers - np.reshape(answer, -1)).max(axis=1)
        return int(distances.argmin()) == index and bool(
            distances[index] < 0.01 * np.abs(self.answers[index]).max() + 1e-3
        )

    def plan(self, in_flight: int) -> Plan:
        return Plan(self.engine, self.lanes, limit(in_flight), self.options.delay)


def measure(bench: Bench, name: str, in_flight: int) -> Iterator[Row]:
    """Measure all contenders with so many requests under way, in turns."""
    options, prefix = bench.options, f"{name}/in-flight{in_flight}"
    alone = bench.alone(limit(in_flight), in_flight)
    shared = bench.alone(share(in_flight, bench.lanes), in_flight)
    yield {"id": f"{prefix}/engine-alone", **alone}
    yield {"id": f"{prefix}/engine-shared", **shared}
    runs: dict[str, Run] = {
        contender: lambda seconds, taken, plan, make=make: ask_from_asyncio(  # type: ignore[misc]
            make, plan, bench.rows, in_flight, seconds, taken
        )
        for contender, make in CONTENDERS.items()
        if installed(contender)
    }
    runs["batcher-threads"] = lambda seconds, taken, plan: ask_from_threads(
        plan, bench.rows, in_flight, seconds, taken
    )
    contenders = list(runs)

    def wake(seconds: float, taken: Taken, plan: Plan) -> None:
        size = round(sum(sizes["batcher"].elements()) / sizes["batcher"].total())
        rate = found["batcher"].row()["throughput"]
        wake_coroutines(replace(plan, limit=size), rate, in_flight, seconds, taken)

    runs["wake-coroutines"] = wake
    found = {contender: Taken() for contender in runs}
    sizes: dict[str, Counter[int]] = {contender: Counter() for contender in runs}
    checks: dict[str, Row] = {}
    quiet_gc()
    for turn in range(1 + ROUNDS):
        for contender, run in list(runs.items()):
            try:
                if turn:
                    plan = bench.plan(in_flight)
                    run(options.seconds / ROUNDS, found[contender], plan)
                    sizes[contender] += plan.sizes
                elif contender in contenders:
                    checks[contender] = check(bench, run, in_flight)
            except Exception:  # noqa: PERF203
                yield failure(f"{prefix}/{contender}")
                del runs[contender]
    for contender in runs:
        row = {"id": f"{prefix}/{contender}", **found[contender].row(), **checks.get(contender, {})}
        if contender in contenders:
            row["of_best"] = row["throughput"] / alone["rows_per_second"]
            row["of_shared"] = row["throughput"] / shared["rows_per_second"]
            row["p99_bound"] = options.delay + 2 * alone["batch_seconds"]
            row["p99_bound_of_best"] = options.delay + 2 * alone["batch_seconds_of_best"]
            row["batch_sizes"] = dict(sorted(sizes[contender].items()))
            row["cpu_of_engine"] = bench.cpu_alone(sizes[contender], in_flight)
            row["cpu_of_batching"] = row["cpu"] - row["cpu_of_engine"]
            if contender != "batcher-threads" and "wake-coroutines" in runs:
                row["cpu_of_callers"] = found["wake-coroutines"].row()["cpu"]
                row["cpu_of_batching"] -= row["cpu_of_callers"]
        yield row


def check(bench: Bench, run: Run, in_flight: int) -> Row:
    """Run a round that is not timed, and count the answers that are not their rows'."""
    answers: list[tuple[int, Any]] = []
    run(bench.options.seconds / ROUNDS, Taken(answers), bench.plan(in_flight))
    wrong = sum(not bench.is_right(index, answer) for index, answer in answers)
    return {"checked": len(answers), "wrong": wrong}


def installed(contender: str) -> bool:
    needed = NEEDS.get(contender)
    return needed is None or importlib.util.find_spec(needed) is not None


def exported(name: str, folder: Path) -> Path:
    """Export a model, unless the folder has it."""
    path = folder / f"{name}.onnx"
    if path.exists():
        return path
    if name == TINY:
        onnx.save(doubling("n", TINY_WIDTH), path)
    else:
        model = load_model(name)
        trtfast.export(model.module, model.sample, path)
    return path


def built(name: str, folder: Path, sizes: Collection[int]) -> Path:
    """Export and build a model for the sizes of batches, unless the folder has it."""
    plan = folder / f"{name}.batches{'-'.join(map(str, sizes))}.engine"
    if not plan.exists():
        trtfast.build(exported(name, folder), plan, precision="fp16", buckets=sizes)
    return plan


def share(in_flight: int, of: int) -> int:
    """Return the largest of so many even parts of what is under way."""
    return -(-in_flight // of)


def limit(in_flight: int) -> int:
    """Return the rows of a batch at most, where so many are under way."""
    return share(in_flight, 2)


def sizes_of(options: argparse.Namespace) -> list[int]:
    """Return the sizes that have kernels of their own: powers of two, limits, and lanes' shares."""
    limits = {limit(in_flight) for in_flight in options.in_flight}
    shares = {share(in_flight, options.lanes) for in_flight in options.in_flight}
    return sorted(limits | shares | {1 << power for power in range(max(limits).bit_length())})


def open_engine(
    name: str, folder: Path, options: argparse.Namespace, stack: ExitStack
) -> tuple[trtfast.InferenceEngine, int]:
    """Open the engine of a model; return its lanes too."""
    if options.reference:
        return stack.enter_context(trtfast.ReferenceEngine(exported(name, folder))), 1
    sizes = sizes_of(options)
    plan = built(name, folder, sizes)
    engine = trtfast.Engine(
        plan, lanes=options.lanes, wait=options.wait, pad_to_bucket=len(sizes) > 1
    )
    stack.enter_context(engine)
    engine.warmup([binding.with_batch(engine.inputs, size) for size in sizes])
    return engine, options.lanes


def told(row: Row) -> str:
    if "throughput" not in row:
        return f"{row['id']:<48} {row.get('rows_per_second', 0):9.0f}/s"
    text = f"{row['id']:<48} {row['throughput']:9.0f}/s"
    text += f" p50 {row['median'] * 1e3:8.3f} ms p99 {row['p99'] * 1e3:8.3f} ms"
    if "of_best" in row:
        text += f" of best {row['of_best']:.2f}, CPU {row['cpu_of_batching'] * 1e6:7.1f} µs"
        text += f", wrong {row['wrong']} of {row['checked']}"
    return text


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--in-flight", nargs="+", type=int, default=list(IN_FLIGHT))
    parser.add_argument("--delay", type=float, default=0.002, help="seconds that a row may wait")
    parser.add_argument("--lanes", type=int, default=4)
    parser.add_argument("--wait", choices=("spin", "block"), default="block")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each contender, in all")
    parser.add_argument("--reference", action="store_true", help="a rehearsal on the CPU")
    parser.add_argument("--folder", type=Path, help="where models and engines are kept")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message=".* does not list .* as supported")
    left_out = [contender for contender in CONTENDERS if not installed(contender)]
    content: dict[str, Any] = {
        **(host() if options.reference else describe()),
        "options": {k: v for k, v in vars(options).items() if k not in ("folder", "output")},
        "left_out": left_out,
        "failures": [],
        "results": [],
    }
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder: Path = options.folder or scratch
        folder.mkdir(parents=True, exist_ok=True)
        for name in options.models:
            run_model(name, folder, options, content)
    for contender in left_out:
        print(f"LEFT OUT {contender}: it is not installed")
    wrong = [row["id"] for row in content["results"] if row.get("wrong")]
    for name in (*wrong, *(row["id"] for row in content["failures"])):
        print(f"FAILED {name}")
    return 1 if wrong or content["failures"] else 0


def run_model(
    name: str, folder: Path, options: argparse.Namespace, content: dict[str, Any]
) -> None:
    with ExitStack() as stack:
        bench = Bench(*open_engine(name, folder, options, stack), options)
        for in_flight in options.in_flight:
            for row in measure(bench, name, in_flight):
                content["failures" if "error" in row else "results"].append(row)
                print(told(row), flush=True)
            if not options.reference:
                with suppress(Exception):
                    content["clocks"] = clocks()
            options.output.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
