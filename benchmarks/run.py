#!/usr/bin/env python3
"""Measure everything that the other files here ask, in one run on one GPU.

    python benchmarks/run.py --output benchmarks/results/h100.json
    python benchmarks/run.py --models resnet50 --batches 1 --parts floor,infer,loop --quick \
        --output quick.json

The file is written after each part, and a part that fails is named in it while the rest go on; the
exit status is then 1.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import bindings
import ceiling
import concurrency
import engines
import floor
import memory
import overhead
import preprocess
import pytorch
import startup
import steady
import targets
from environment import clocks, describe
from measure import Contender, Row, failure, round_robin
from trtfast.cli.models import load_model
from trtfast.errors import Error
from workloads import MODELS, Workload, prepare

# Those that are timed in turns.
TIMED = {
    "floor": floor.contenders,
    "loop": bindings.contenders,
    "infer": engines.contenders,
    "torch": pytorch.contenders,
}
PER_BATCH = ("images", "ceiling", "threads", "asyncio")
PER_MODEL = ("steady", "memory", "startup")
PARTS = (*TIMED, *PER_BATCH, *PER_MODEL, "overhead")


class Report:
    """What was measured so far; on disk after each part."""

    def __init__(self, path: Path, options: argparse.Namespace) -> None:
        self._path = path
        self._start = time.perf_counter()
        paths = ("folder", "output")
        settings = {key: value for key, value in vars(options).items() if key not in paths}
        self._content: dict[str, Any] = {
            **describe(),
            "options": json.loads(json.dumps(settings, default=str)),
            "clocks": [{"after": "nothing", **clocks()}],
            "failures": [],
            "skipped": [],
            "results": [],
        }

    def part(self, name: str, measure: Callable[[], Iterable[Row]]) -> None:
        """Measure, print and write what a part yields, and go on if it fails."""
        print(f"[{time.perf_counter() - self._start:6.1f} s] {name}", flush=True)
        try:
            for row in measure():
                (self._content["failures"] if "error" in row else self._results).append(row)
                told = list(targets.latencies({row["id"]: row}))[1:]
                print(*(told or [row["id"]]), sep="\n", flush=True)
        except Exception:
            self._content["failures"].append(failure(name))
        self._content["clocks"].append({"after": name, **clocks()})
        self._write()

    def skip(self, name: str, reason: Exception) -> None:
        print(f"SKIPPED {name}: {reason}", flush=True)
        self._content["skipped"].append({"id": name, "reason": str(reason)})
        self._write()

    @property
    def _results(self) -> list[Row]:
        results: list[Row] = self._content["results"]
        return results

    @property
    def rows(self) -> dict[str, Row]:
        return {row["id"]: row for row in self._results}

    @property
    def failures(self) -> list[str]:
        return [row["id"] for row in self._content["failures"]]

    def _write(self) -> None:
        self._content["seconds"] = time.perf_counter() - self._start
        draft = self._path.with_name(self._path.name + ".part")
        draft.write_text(json.dumps(self._content, indent=1) + "\n")
        draft.replace(self._path)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--parts", type=_parts, default=list(PARTS), help=f"of {','.join(PARTS)}")
    parser.add_argument("--seconds", type=float, default=0.6, help="for each contender, in all")
    parser.add_argument("--quick", action="store_true", help="a rehearsal: 0.1 s, few repeats")
    parser.add_argument("--folder", type=Path, help="where models and engines are kept")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    if options.quick:
        options.seconds = min(options.seconds, 0.1)

    warnings.filterwarnings("ignore", message=".* does not list .* as supported")
    report = Report(options.output, options)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        calls = 1000 if options.quick else steady.CALLS
        if "overhead" in options.parts:
            report.part("overhead", lambda: overhead.measure(folder, calls, options.seconds))
        if "images" in options.parts:  # what no model takes part in
            report.part("kernels", lambda: preprocess.measure_kernels(2 if options.quick else 5))
        for name in options.models:
            measure_model(report, name, folder, options, calls)
    print("\n" + "\n".join(targets.latencies(report.rows)))
    print("\n" + targets.table(report.rows))
    for name in report.failures:
        print(f"FAILED {name}")
    return 1 if report.failures else 0


def measure_model(
    report: Report, name: str, folder: Path, options: argparse.Namespace, calls: int
) -> None:
    try:
        model = load_model(name)
    except Error as error:
        report.skip(name, error)
        return
    print(f"{name}: {model.note}", flush=True)
    made: list[Workload] = []

    def make() -> Iterator[Row]:
        workload = prepare(model, folder)
        made.append(workload)
        for part, seconds in (
            ("export", workload.export_seconds),
            ("build", workload.build_seconds),
        ):
            if seconds is not None:
                yield {"id": f"{name}/{part}", "seconds": seconds}

    report.part(f"{name}/build", make)
    if not made:
        return
    (workload,) = made
    for size in options.batches:
        measure_batch(report, workload, size, options)
    repeats = 1 if options.quick else 2
    parts: dict[str, Callable[[], Iterable[Row]]] = {
        "steady": lambda: steady.measure(workload, calls),
        "memory": lambda: memory.measure(workload, options.batches),
        "startup": lambda: startup.measure(workload, repeats),
    }
    for part in PER_MODEL:
        if part in options.parts:
            report.part(f"{name}/{part}", parts[part])


def measure_batch(
    report: Report, workload: Workload, size: int, options: argparse.Namespace
) -> None:
    prefix = f"{workload.name}/batch{size}"
    chosen = [part for part in TIMED if part in options.parts]
    lost: list[Row] = []

    def contenders(stack: ExitStack) -> Iterator[Contender]:
        for part in chosen:
            try:
                yield from TIMED[part](workload, size, stack)
            except Exception:  # noqa: PERF203
                lost.append(failure(f"{prefix}/{part}"))

    def latency() -> Iterator[Row]:
        with ExitStack() as stack:
            rows, failures = round_robin(prefix, contenders(stack), options.seconds)
            yield from (*rows, *failures, *lost)

    if chosen:
        report.part(prefix, latency)
    seconds = min(options.seconds, 0.5)
    parts: dict[str, Callable[[], Iterable[Row]]] = {
        "images": lambda: preprocess.measure(workload, size, options.seconds),
        "ceiling": lambda: ceiling.measure(workload, size, seconds),
        "threads": lambda: concurrency.measure_threads(workload, size, seconds),
        "asyncio": lambda: concurrency.measure_asyncio(workload, size, seconds),
    }
    for part in PER_BATCH:
        if part in options.parts:
            report.part(f"{prefix}/{part}", parts[part])


def _parts(text: str) -> list[str]:
    parts = text.split(",")
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise argparse.ArgumentTypeError(f"no such part: {', '.join(unknown)}; use {PARTS}")
    return parts


if __name__ == "__main__":
    raise SystemExit(main())
