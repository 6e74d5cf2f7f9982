"""How fast an engine answers: latency, throughput, and where the time of a call goes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from .binding import bind, with_batch
from .comparison import environment
from .engine import Engine
from .errors import InputError
from .profiling.inputs import arrays_of
from .timing import settle, under_load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .binding import Shapes
    from .report import EngineStats
    from .spec import Array, InferenceEngine, Inputs, TensorSpec

__all__ = ["BenchmarkReport", "benchmark"]


@dataclass(frozen=True)
class BenchmarkReport:
    """How fast an engine is; times in seconds.

    Attributes
    ----------
    engine : str
        What ran, and where.
    shapes : dict of str to tuple of int
        Of the inputs.
    batch : int
        Rows in each call.
    threads : int
        How many callers there were at once.
    lanes : int or None
        How many calls the engine runs at once, where it has lanes.
    memory : "pageable" or "pinned"
        What the inputs were read from, and the outputs written to.
    calls : int
        How many were measured.
    elapsed : float
        In which time.
    mean, median, least, most : float
        Of the times of the calls, from NumPy arrays to NumPy arrays.
    low, high : float
        Between these the median lies with a confidence of 96 %.
    percentiles : dict of float to float
        Those that were asked for.
    throughput, throughput_low, throughput_high : float
        Rows in a second, over all callers, and between what they lie with the same confidence.
    parts : EngineStats or None
        What the engine counted meanwhile, with the parts of a call; None of what does not count.
    environment : dict
        ``date``, ``gpu``, ``cuda``, ``tensorrt``, ``cpu``, ``cores``, ``python``, ``packages``.
    clocks : tuple of dict
        The GPU's clocks, power and temperature before and after, in MHz, W and °C.
    """

    engine: str
    shapes: dict[str, tuple[int, ...]]
    batch: int
    threads: int
    lanes: int | None
    memory: str
    calls: int
    elapsed: float
    mean: float
    median: float
    least: float
    most: float
    low: float
    high: float
    percentiles: dict[float, float]
    throughput: float
    throughput_low: float
    throughput_high: float
    parts: EngineStats | None
    environment: dict[str, Any]
    clocks: tuple[dict[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self) | {"percentiles": {f"{p:g}": t for p, t in self.percentiles.items()}}

    def to_json(self) -> str:
        """Return it as JSON text."""
        return json.dumps(self.to_dict())


def benchmark(
    engine: InferenceEngine,
    inputs: Inputs | None = None,
    *,
    batch: int | None = None,
    shapes: Shapes = None,
    threads: int = 1,
    memory: Literal["pageable", "pinned"] = "pageable",
    percentiles: Sequence[float] = (90, 99),
    seconds: float = 2.0,
    warm_up: float = 0.5,
    iterations: int = 10,
) -> BenchmarkReport:
    """Measure how fast an engine answers, from NumPy arrays to NumPy arrays.

    Parameters
    ----------
    engine : InferenceEngine
        What it has counted is reset.
    inputs : array, sequence of arrays, or mapping from name to array, optional
        As ``infer`` takes them. By default floats and bytes are random, other integers 0 and bools
        True.
    batch : int, optional
        Rows in each call, instead of ``inputs``; all else is as in the first profile's best shapes.
    shapes : shape of the single input, or mapping from name to shape, optional
        Instead of ``inputs`` and ``batch``.
    threads : int
        How many callers there are at once. Of more than the engine has lanes, some wait.
    memory : "pageable" or "pinned"
        Whether calls take and give usual arrays, or reuse page-locked ones of
        :meth:`Engine.empty_input` and :meth:`Engine.empty_output`.
    percentiles : sequence of float
        Which ones to tell, each more than 0 and at most 100.
    seconds, warm_up : float
        For how long it is measured, and called before that. The warm-up lasts until times are
        stable: this long at least, and at most five times as long.
    iterations : int
        How often each caller calls at least.

    Raises
    ------
    InputError
        If an option is out of its range, the engine does not take such inputs, or has no
        page-locked memory.
    """
    _check(batch, threads, percentiles, seconds, warm_up, iterations)
    arrays = _arrays(engine.inputs, inputs, batch, shapes)
    calls = [_call(engine, arrays, memory) for _ in range(threads)]
    device = engine.device if isinstance(engine, Engine) else 0
    clocks = environment.clocks(device)
    if isinstance(engine, Engine) and not _makes_shapes(engine.inputs):
        engine.warmup({name: array.shape for name, array in arrays.items()})  # on every lane
    settle(calls, duration=warm_up, least=iterations)
    if isinstance(engine, Engine):
        engine.reset_stats()
    load = under_load(calls, duration=seconds, least=iterations)
    parts = engine.stats() if isinstance(engine, Engine) else None
    first = next(iter(arrays.values()))
    rows = len(first) if first.ndim else 1
    return BenchmarkReport(
        engine=f"{engine.tensorrt} on {engine.gpu}"
        if isinstance(engine, Engine)
        else f"{type(engine).__name__} on {environment.cpu_name()}",
        shapes={name: array.shape for name, array in arrays.items()},
        batch=rows,
        threads=threads,
        lanes=engine.lanes if isinstance(engine, Engine) else None,
        memory=memory,
        calls=len(load.seconds),
        elapsed=load.elapsed,
        mean=sum(load.seconds) / len(load.seconds),
        median=load.percentile(50),
        least=load.seconds[0],
        most=load.seconds[-1],
        low=load.low,
        high=load.high,
        percentiles={percent: load.percentile(percent) for percent in percentiles},
        throughput=load.rate * rows,
        throughput_low=load.rate_low * rows,
        throughput_high=load.rate_high * rows,
        parts=parts,
        environment=environment.describe(device),
        clocks=(clocks, environment.clocks(device)),
    )


def _check(
    batch: int | None,
    threads: int,
    percentiles: Sequence[float],
    seconds: float,
    warm_up: float,
    iterations: int,
) -> None:
    for name, value, least in (
        ("batch", 1 if batch is None else batch, 1),
        ("threads", threads, 1),
        ("iterations", iterations, 1),
        ("seconds", seconds, 0),
        ("warm_up", warm_up, 0),
    ):
        if not value >= least:
            raise InputError(f"{name} is {value}; expected {least} or more")
    for percent in percentiles:
        if not 0 < percent <= 100:
            raise InputError(f"percentile {percent} is not one: give more than 0, and at most 100")


def _makes_shapes(specs: Sequence[TensorSpec]) -> bool:
    """Whether the values of an input make shapes, which a warm-up does not know."""
    return any(spec.profiles and -1 not in spec.shape for spec in specs)


def _arrays(
    specs: Sequence[TensorSpec], inputs: Inputs | None, batch: int | None, shapes: Shapes
) -> dict[str, Array]:
    if sum(given is not None for given in (inputs, batch, shapes)) > 1:
        raise InputError("inputs, batch and shapes each say the shapes: give one of them")
    if inputs is not None:
        return bind(inputs, specs)
    if batch is not None:
        shapes = with_batch(specs, batch)
    return arrays_of(specs, shapes)


def _call(engine: InferenceEngine, arrays: dict[str, Array], memory: str) -> Callable[[], object]:
    if memory == "pageable":
        return partial(engine.infer, arrays)
    if memory != "pinned":
        raise InputError(f"memory is {memory!r}; expected 'pageable' or 'pinned'")
    if not isinstance(engine, Engine):
        raise InputError(
            "page-locked memory is the GPU's, and this engine runs on the CPU: leave it pageable"
        )
    shapes = {name: array.shape for name, array in arrays.items()}
    ready, results = engine.empty_input(shapes), engine.empty_output(shapes)
    if len(arrays) == 1:
        ready[...] = next(iter(arrays.values()))
    else:
        for name, array in arrays.items():
            ready[name][...] = array
    return partial(engine.infer, ready, out=results)
