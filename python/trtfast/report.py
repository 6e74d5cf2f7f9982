"""What an engine tells of itself while it serves: counts, times and memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

__all__ = ["BatcherStats", "EngineStats", "LaneMemory", "LayerTime", "MemoryReport", "Times"]


@dataclass(frozen=True)
class Times:
    """How long something took, over all calls; in seconds.

    Percentiles are the upper ends of classes that are at most 1/32 wide.
    """

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    max: float


@dataclass(frozen=True)
class LayerTime:
    """How long one layer of an engine takes, on the GPU.

    Attributes
    ----------
    name : str
        TensorRT's: of several ONNX nodes where it fused them.
    milliseconds : float
        The mean over the runs.
    """

    name: str
    milliseconds: float


class _Counted:
    @classmethod
    def of(cls, counted: Mapping[str, Any]) -> Self:
        """Make it from what the core has counted."""
        parts = ("queue", "compute_input", "infer", "output", "total")
        return cls(**{**counted, **{part: Times(**counted[part]) for part in parts}})


@dataclass(frozen=True)
class EngineStats(_Counted):
    """What an engine has counted.

    The parts of a call are those of Triton's statistics.

    Attributes
    ----------
    calls, failures : int
        That ended well, and that raised.
    graph_hits, graph_misses : int
        Runs that were one launch of a graph, and runs that were submitted layer by layer.
    captures, uncapturable : int
        Graphs that were captured, and shapes that could not be: they run layer by layer for good.
    padded : int
        Calls that ran in a larger bucket.
    queue : Times
        From the call's arrival until it had a lane.
    compute_input : Times
        Until its inputs were on their way to the device: the copy into page-locked memory.
    infer : Times
        Until its outputs were in page-locked memory: transfers and layers.
    output : Times
        Until they were in the caller's arrays.
    total : Times
        All of it.
    """

    calls: int
    failures: int
    graph_hits: int
    graph_misses: int
    captures: int
    uncapturable: int
    padded: int
    queue: Times
    compute_input: Times
    infer: Times
    output: Times
    total: Times


@dataclass(frozen=True)
class BatcherStats(_Counted):
    """What a batcher has counted, by request.

    The parts of a request are those of Triton's statistics; `rows` and `executions` are Triton's
    counts of inferences and of executions.

    Attributes
    ----------
    calls, failures : int
        Requests that were answered, and that failed, also as they came too late.
    rows : int
        Of the requests that were answered.
    executions : int
        Batches that were run.
    batch_sizes : dict of int to int
        How many of them had how many rows.
    waiting : int
        Requests that wait now.
    rejected, expired, cancelled : int
        Requests that found the queue full, whose deadline passed before they were run, and that
        were taken back.
    queue : Times
        From a request's arrival until its batch had a lane.
    compute_input, infer, output, total : Times
        As in :class:`EngineStats`, of its batch.
    """

    calls: int
    failures: int
    rows: int
    executions: int
    batch_sizes: dict[int, int]
    waiting: int
    rejected: int
    expired: int
    cancelled: int
    queue: Times
    compute_input: Times
    infer: Times
    output: Times
    total: Times


@dataclass(frozen=True)
class LaneMemory:
    """What a lane holds: bytes of buffers on the device, of page-locked memory, and of activations.

    ``graphs`` is the number of its captured graphs, whose memory is the driver's.
    """

    device: int
    pinned: int
    activations: int
    graphs: int


@dataclass(frozen=True)
class MemoryReport:
    """What an engine holds, in bytes.

    Attributes
    ----------
    plan : int
        Bytes of the plan, which is mostly weights: about what TensorRT keeps on the device of them.
    shared_activations : int
        Memory for the layers' results that all lanes share; 0 where each has its own.
    lanes : tuple of LaneMemory
        Of the lanes that were made so far.
    """

    plan: int
    shared_activations: int
    lanes: tuple[LaneMemory, ...]

    @property
    def device(self) -> int:
        """All that is on the device, with the plan."""
        held = sum(lane.device + lane.activations for lane in self.lanes)
        return self.plan + self.shared_activations + held

    @property
    def pinned(self) -> int:
        """All page-locked host memory."""
        return sum(lane.pinned for lane in self.lanes)

    @classmethod
    def of(cls, held: Mapping[str, Any], plan: int) -> Self:
        """Make it from what the core holds."""
        lanes = tuple(LaneMemory(**lane) for lane in held["lanes"])
        return cls(plan, held["shared_activations"], lanes)
