"""What is to be reached on an H100 with ResNet-50 in FP16, and what a run reached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Rows = Mapping[str, Mapping[str, Any]]

MODEL = "resnet50"  # the one that the bounds are for; ratios of others are shown beside them


@dataclass(frozen=True)
class Reached:
    """A figure, its bound if one was set for the model, and whether more or less is better."""

    name: str
    value: float
    unit: str
    bound: float | None
    at_least: bool

    @property
    def verdict(self) -> str:
        if self.bound is None:
            return ""
        if self.value >= self.bound if self.at_least else self.value <= self.bound:
            return "met"
        if self.bound == 0:
            return f"missed by {self.value:.3g}"
        return f"missed by {abs(self.value / self.bound - 1):.1%}"

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        bound = "" if self.bound is None else f"{sign} {self.bound:g}"
        return f"{self.name:<66} {self.value:10.3f} {self.unit:<9} {bound:<8} {self.verdict}"


@dataclass(frozen=True)
class _Ratio:
    """The ratio of two rows of one model and batch size."""

    what: str
    over: str
    under: str
    bounds: Mapping[int, float]
    at_least: bool = False
    key: str = "median"
    models: tuple[str, ...] = (MODEL,)  # that the bounds are for


_IMAGES = (f"{MODEL}/480x640",)
_PEERS: Mapping[str, Mapping[int, float]] = {
    "albumentations-1core": {32: 20},
    "albumentations-arithmetic-1core": {32: 20},
    "albumentations-16threads": {},
    "albumentations-arithmetic-16threads": {},
    "torchvision-gpu": {},
}
_RATIOS = (
    _Ratio("infer from NumPy / floor", "trtfast-numpy", "floor", {1: 1.06, 32: 1.10}),
    _Ratio("infer from page-locked / floor", "trtfast-pinned", "floor", {1: 1.02, 32: 1.02}),
    _Ratio("the same with out= / floor", "trtfast-pinned-out", "floor", {1: 1.02, 32: 1.02}),
    _Ratio("replay and synchronise / floor", "floor-wall", "floor", {}),
    _Ratio("copy, replay and synchronise / floor", "floor-copied", "floor", {}),
    _Ratio("infer / NVIDIA's bindings", "trtfast-numpy", "bindings-loop", {1: 0.88, 32: 0.7}),
    _Ratio("eager FP32 / infer", "torch-fp32", "trtfast-numpy", {1: 7, 32: 5.5}, at_least=True),
    _Ratio(
        "reduce-overhead FP16 / infer",
        "torch-fp16-reduce-overhead",
        "trtfast-numpy",
        {1: 1.25, 32: 1},
        at_least=True,
    ),
    _Ratio(
        "preprocessing / floor",
        "trtfast",
        "floor",
        {128: 1.5},
        models=("kernels/linear/480x640", "kernels/linear/1080x1920"),
    ),
    _Ratio(
        "infer_images / page-locked", "infer-images", "engine-pinned", {32: 1.25}, models=_IMAGES
    ),
    _Ratio("infer_images / transfer", "infer-images", "transfer-floor", {}),
    _Ratio("albumentations / the engine alone", "albumentations-1core", "engine-pinned", {}),
    _Ratio(
        "albumentations' arithmetic / the engine alone",
        "albumentations-arithmetic-1core",
        "engine-pinned",
        {},
    ),
    *(
        _Ratio(
            f"{peer} / infer_images", peer, "infer-images", bounds, at_least=True, models=_IMAGES
        )
        for peer, bounds in _PEERS.items()
    ),
)
_THREADS = ("threads8", "threads8-lanes2", "threads8-lanes4", "threads8-pinned-out")


def reached(rows: Rows) -> Iterator[Reached]:
    """Compute every figure that a run's rows allow."""
    for prefix in sorted({name.rsplit("/", 1)[0] for name in rows if "/batch" in name}):
        model, batch = prefix.split("/batch")
        for ratio in _RATIOS:
            over, under = (rows.get(f"{prefix}/{name}") for name in (ratio.over, ratio.under))
            if over is not None and under is not None:
                bound = ratio.bounds.get(int(batch)) if model in ratio.models else None
                value = over[ratio.key] / under[ratio.key]
                yield Reached(f"{prefix}: {ratio.what}", value, "x", bound, ratio.at_least)
        ceiling = rows.get(f"{prefix}/ceiling")
        for name in _THREADS:
            threads = rows.get(f"{prefix}/{name}")
            if ceiling is not None and threads is not None:
                value = threads["throughput"] / ceiling["throughput"]
                what = f"{prefix}: {name} ({threads['lanes']} lanes) / ceiling"
                yield Reached(what, value, "x", 0.95 if model == MODEL else None, at_least=True)
    for name, row in rows.items():
        yield from _single(name, row)


def _single(name: str, row: Mapping[str, Any]) -> Iterator[Reached]:
    if name.endswith("/steady/trtfast-numpy"):
        bound = 1.15 if name.startswith(f"{MODEL}/") else None
        yield Reached(f"{name}: p99 / p50", row["p99_over_p50"], "x", bound, at_least=False)
    elif "/steady/floor-" in name:
        yield Reached(f"{name}: p99 / p50", row["p99_over_p50"], "x", None, at_least=False)
    elif name == "tiny/cpu":
        yield Reached(f"{name}: CPU beside the core", row["beside_core"] * 1e6, "µs", 10, False)
    elif name.startswith("tiny/bytes/"):
        # The system counts host memory in pages, so that less than a byte a call is none.
        for key in ("host_growth", "device_growth", "python_growth"):
            yield Reached(f"{name}: {key.replace('_', ' ')}", row[key], "B/call", 1, False)
        peak = row["python_peak_beyond_result"]
        yield Reached(f"{name}: Python's peak beyond the result", peak, "B", None, False)


def table(rows: Rows) -> str:
    return "\n".join(map(str, reached(rows)))


def latencies(rows: Rows) -> Iterator[str]:
    """Format all latencies and throughputs, each batch size with its ratio to the floor."""
    heads = f"{'p50 ms':>9} {'p90 ms':>9} {'p99 ms':>9} {'CPU ms':>8} {'/floor':>7} {'/s':>9}"
    yield f"{'ID':<52} {heads}"
    for name, row in rows.items():
        floor = rows.get(f"{name.rsplit('/', 1)[0]}/floor")
        over = f"{row['median'] / floor['median']:7.2f}" if floor and "median" in row else " " * 7
        rate = f"{row['throughput']:9.0f}" if "throughput" in row else ""
        cpu = f"{row['cpu'] * 1e3:8.3f}" if "cpu" in row and "median" in row else " " * 8
        if "median" in row:
            keys = ("median", "p90", "p99")
            times = " ".join(f"{row.get(key, float('nan')) * 1e3:9.3f}" for key in keys)
            counter = f" counter {row['counter']:.2f}" if "counter" in row else ""
            yield f"{name:<52} {times} {cpu} {over} {rate}{counter}".rstrip()
        elif rate:
            yield f"{name:<52} {'':>29} {'':>8} {'':>7} {rate}"
        elif "seconds" in row:
            yield f"{name:<52} {row['seconds']:9.3f} s"
        elif "bytes" in row:
            yield f"{name:<52} {row['bytes'] / 2**20:9.1f} MiB"
