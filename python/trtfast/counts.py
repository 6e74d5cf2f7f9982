"""What was counted of a model's requests: under the names of Triton's metrics."""

from __future__ import annotations

import operator
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from typing_extensions import Self

    from .report import BatcherStats, Times

__all__ = ["FAILURES", "TOLD", "WAITING", "Counts"]

FAILURES = "nv_inference_request_failure"
WAITING = "nv_inference_pending_request_count"

TOLD: Mapping[str, str] = {
    "nv_inference_request_success": "Requests that were answered",
    "nv_inference_count": "Rows that were run",
    "nv_inference_exec_count": "Batches that were run",
    "nv_inference_request_duration_us": "Time of requests from end to end, in microseconds",
    "nv_inference_queue_duration_us": (
        "Time that requests waited for their batch and a lane, in microseconds"
    ),
    "nv_inference_compute_input_duration_us": (
        "Time until inputs were on their way, in microseconds"
    ),
    "nv_inference_compute_infer_duration_us": "Time of transfers and layers, in microseconds",
    "nv_inference_compute_output_duration_us": (
        "Time until outputs were the request's own, in microseconds"
    ),
    FAILURES: "Requests that failed, were refused or came too late, or were taken back",
    WAITING: "Requests that wait",
}
"""What each metric is. Only the last may fall; failures have a label more, their ``reason``."""


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

    def samples(self) -> Iterator[tuple[str, str | None, float]]:
        """Give the name of each metric, for failures a reason, and the value."""
        for name in TOLD:
            if name != FAILURES:
                yield name, None, getattr(self, name.removeprefix("nv_inference_"))
        yield FAILURES, "BACKEND", self.failed
        yield FAILURES, "REJECTED", self.rejected
        yield FAILURES, "CANCELED", self.cancelled


def _sum(times: Times) -> float:
    return times.count * times.mean * 1e6
