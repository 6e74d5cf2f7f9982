"""What was counted of a model's requests: as Triton's metrics name it, for Prometheus to read."""

from __future__ import annotations

import operator
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, UntypedMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client import Metric
    from typing_extensions import Self

    from ..report import BatcherStats, Times

__all__ = ["Counts", "registry_of"]

_TOLD = {
    "request_success": "Requests that were answered",
    "count": "Rows that were run",
    "exec_count": "Batches that were run",
    "request_duration_us": "Time of requests from end to end, in microseconds",
    "queue_duration_us": "Time that requests waited for their batch and a lane, in microseconds",
    "compute_input_duration_us": "Time until inputs were on their way, in microseconds",
    "compute_infer_duration_us": "Time of transfers and layers, in microseconds",
    "compute_output_duration_us": "Time until outputs were the request's own, in microseconds",
}
_LABELS = ("model", "version")


@dataclass(frozen=True)
class Counts:
    """Sums since the server began."""

    request_success: int = 0
    failed: int = 0
    rejected: int = 0
    cancelled: int = 0
    count: int = 0
    exec_count: int = 0
    request_duration_us: float = 0
    queue_duration_us: float = 0
    compute_input_duration_us: float = 0
    compute_infer_duration_us: float = 0
    compute_output_duration_us: float = 0
    pending_request_count: int = 0

    @classmethod
    def of(cls, stats: BatcherStats) -> Self:
        """Make it from what a batcher has counted."""
        return cls(
            request_success=stats.calls,
            failed=stats.failures - stats.expired,
            rejected=stats.rejected + stats.expired,
            cancelled=stats.cancelled,
            count=stats.rows,
            exec_count=stats.executions,
            request_duration_us=_sum(stats.total),
            queue_duration_us=_sum(stats.queue),
            compute_input_duration_us=_sum(stats.compute_input),
            compute_infer_duration_us=_sum(stats.infer),
            compute_output_duration_us=_sum(stats.output),
            pending_request_count=stats.waiting,
        )

    def __add__(self, other: Self) -> Self:
        return type(self)(*map(operator.add, astuple(self), astuple(other)))


class _Models(Collector):
    def __init__(self, counts: Callable[[], Mapping[tuple[str, str], Counts]]) -> None:
        self._counts = counts

    def describe(self) -> Iterator[Metric]:
        return iter(())  # or the registry would count before there is a server

    def collect(self) -> Iterator[Metric]:
        counted = self._counts()
        # As counters they would be written with the ending _total, which Triton's names have not.
        for name, told in _TOLD.items():
            family = UntypedMetricFamily(f"nv_inference_{name}", told, labels=_LABELS)
            for labels, counts in counted.items():
                family.add_metric(labels, getattr(counts, name))
            yield family
        failures = UntypedMetricFamily(
            "nv_inference_request_failure",
            "Requests that failed, were refused or came too late, or were taken back",
            labels=(*_LABELS, "reason"),
        )
        waiting = GaugeMetricFamily(
            "nv_inference_pending_request_count", "Requests that wait", labels=_LABELS
        )
        for labels, counts in counted.items():
            failures.add_metric((*labels, "BACKEND"), counts.failed)
            failures.add_metric((*labels, "REJECTED"), counts.rejected)
            failures.add_metric((*labels, "CANCELED"), counts.cancelled)
            waiting.add_metric(labels, counts.pending_request_count)
        yield failures
        yield waiting


def registry_of(counts: Callable[[], Mapping[tuple[str, str], Counts]]) -> CollectorRegistry:
    """Return what Prometheus reads: the counts of each model and version, at each call."""
    registry = CollectorRegistry()
    registry.register(_Models(counts))
    return registry


def _sum(times: Times) -> float:
    return times.count * times.mean * 1e6
