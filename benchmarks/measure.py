"""How contenders are timed: in turns, so that clocks, caches and neighbours are shared."""

from __future__ import annotations

import gc
import json
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]
Sample = Callable[[float], "list[float]"]

ROUNDS = 6
WARM_UP = 0.2  # seconds, and at least as many calls as torch.compile needs to record its graph
LEAST_CALLS = 10
SETTLE = 0.005  # seconds that a contender gets, unmeasured, when it takes over from another


@dataclass(frozen=True)
class Contender:
    """Something to time.

    ``sample(seconds)`` goes on for so long, at least once, and returns what each call took, in
    seconds. ``is_wall`` says that these are seconds of the clock on the wall, not of the GPU's.
    """

    name: str
    sample: Sample
    is_wall: bool = True


def timed(name: str, call: Callable[[], object]) -> Contender:
    """Make a contender of a function that returns only when its work is done."""

    def sample(duration: float) -> list[float]:
        clock = time.perf_counter
        times = []
        end = clock() + duration
        while True:
            start = clock()
            call()
            stop = clock()
            times.append(stop - start)
            if stop >= end:
                return times

    return Contender(name, sample)


def summary(times: Sequence[float]) -> Row:
    median, p90, p99 = np.percentile(times, [50, 90, 99])
    return {
        "median": float(median),
        "p90": float(p90),
        "p99": float(p99),
        "mean": float(np.mean(times)),
        "min": float(np.min(times)),
        "calls": len(times),
    }


def quiet_gc() -> None:
    """Take what the imports and models have left out of every later collection."""
    gc.collect()
    gc.freeze()


def round_robin(
    prefix: str, contenders: Iterable[Contender], seconds: float
) -> tuple[list[Row], list[Row]]:
    """Measure contenders in turns, each for ``seconds`` in all; return rows, and failures.

    A contender that fails is left out from there on, and the rest go on.
    """
    alive: dict[str, Contender] = {}
    failures: list[Row] = []

    def run(contender: Contender, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:
            alive.pop(contender.name, None)
            failures.append(failure(f"{prefix}/{contender.name}"))

    for contender in contenders:
        alive[contender.name] = contender
        run(contender, lambda c=contender: _warm_up(c))  # type: ignore[misc]
    times: dict[str, list[list[float]]] = {name: [] for name in alive}
    cpu = dict.fromkeys(alive, 0.0)

    def measure(contender: Contender) -> None:
        contender.sample(SETTLE)
        start = time.process_time()
        times[contender.name].append(contender.sample(seconds / ROUNDS))
        cpu[contender.name] += time.process_time() - start

    quiet_gc()
    for _ in range(ROUNDS):
        for contender in list(alive.values()):
            run(contender, lambda c=contender: measure(c))  # type: ignore[misc]
    rows = []
    for name, contender in alive.items():
        every = [value for chunk in times[name] for value in chunk]
        row = {"id": f"{prefix}/{name}", **summary(every)}
        row["rounds"] = [float(np.median(chunk)) for chunk in times[name]]
        if contender.is_wall:
            row["cpu"] = cpu[name] / len(every)
        rows.append(row)
    return rows, failures


def failure(name: str) -> Row:
    """Describe the exception in hand, and print it."""
    text = traceback.format_exc()
    print(f"FAILED {name}\n{text}", flush=True)
    return {"id": name, "error": text}


def report(result: Row, path: Path | None) -> None:
    """Print a result, and write it to a file if there is one."""
    text = json.dumps(result, indent=1)
    if path is not None:
        path.write_text(text + "\n")
    print(text, flush=True)


def _warm_up(contender: Contender) -> None:
    start = time.perf_counter()
    calls = 0
    while calls < LEAST_CALLS or time.perf_counter() < start + WARM_UP:
        calls += len(contender.sample(WARM_UP / LEAST_CALLS))
    print(f"  ready: {contender.name} ({time.perf_counter() - start:.1f} s)", flush=True)
