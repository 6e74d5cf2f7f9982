"""What was counted of each model, for Prometheus to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, UntypedMetricFamily
from prometheus_client.registry import Collector

from ..counts import FAILURES, TOLD, WAITING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client import Metric

    from ..counts import Counts

__all__ = ["registry_of"]

_LABELS = ("model", "version")


class _Models(Collector):
    def __init__(self, counts: Callable[[], Mapping[tuple[str, str], Counts]]) -> None:
        self._counts = counts

    def describe(self) -> Iterator[Metric]:
        return iter(())  # or the registry would count before there is a server

    def collect(self) -> Iterator[Metric]:
        families = {name: _family(name) for name in TOLD}
        for labels, counts in self._counts().items():
            for name, reason, value in counts.samples():
                families[name].add_metric((*labels, reason) if reason else labels, value)
        yield from families.values()


def _family(name: str) -> UntypedMetricFamily | GaugeMetricFamily:
    # As counters they would be written with the ending _total, which Triton's names have not.
    kind = GaugeMetricFamily if name == WAITING else UntypedMetricFamily
    return kind(name, TOLD[name], labels=(*_LABELS, "reason") if name == FAILURES else _LABELS)


def registry_of(counts: Callable[[], Mapping[tuple[str, str], Counts]]) -> CollectorRegistry:
    """Return what Prometheus reads: the counts of each model and version, at each call."""
    registry = CollectorRegistry()
    registry.register(_Models(counts))
    return registry
