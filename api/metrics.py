"""Metrics: what the service counts and times, as Prometheus reads it. Knows nothing of HTTP.

Every application has a registry of its own. What an index is (documents, bytes, generation) is read
when it is asked for, not kept beside.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from tamis.retriever.types import StageTimes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.core import Metric

    from tamis.api.memory import Memory
    from tamis.api.work.workers import Workers
    from tamis.retriever.searcher import Searcher

MEDIA_TYPE = CONTENT_TYPE_LATEST
REQUEST_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
STAGE_BUCKETS_S = (
    *(0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005),
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
STAGES = tuple(field.name.removesuffix("_ms") for field in fields(StageTimes))


class Metrics:
    """Counters and histograms of one application; safe to use from many threads."""

    def __init__(self) -> None:
        """Start counting from zero."""
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "tamis_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._request_seconds = Histogram(
            "tamis_request_duration_seconds",
            "From the request's head to the beginning of the answer.",
            ("route",),
            buckets=REQUEST_BUCKETS_S,
            registry=self._registry,
        )
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        stages = Histogram(
            "tamis_search_stage_duration_seconds",
            "Of one query, by stage; rerank counts reranked queries alone.",
            ("stage",),
            buckets=STAGE_BUCKETS_S,
            registry=self._registry,
        )
        self._stages = {stage: stages.labels(stage) for stage in STAGES}

    def report(
        self,
        searchers: Callable[[], Mapping[str, Searcher]],
        queues: Mapping[str, Workers],
        memory: Memory,
    ) -> None:
        """Tell of these indexes, queues and memory, as they are at each scrape.

        Args:
            searchers: gives them by name.
            queues: those that requests wait in, by name.
            memory: that requests hold.
        """
        self._registry.register(_State(searchers, queues, memory))

    def tell(
        self, name: str, meaning: str, label: str, values: Callable[[], Mapping[str, float]]
    ) -> None:
        """Tell of numbers as they are at each scrape.

        Args:
            name: of the metric.
            meaning: of the numbers.
            label: what the numbers' names are.
            values: gives them by name.
        """
        self._registry.register(_Numbers(name, meaning, label, values))

    def answered(self, method: str, route: str, status: int, took_s: float) -> None:
        """Count a request.

        Args:
            method: of HTTP.
            route: the path with parameters in braces: there are as many series as routes.
            status: that was answered.
            took_s: seconds.
        """
        series = self._series.get((method, route, status))
        if series is None:
            series = self._requests.labels(method, route, str(status)), self._durations(route)
            self._series[method, route, status] = series
        count, duration = series
        count.inc()
        duration.observe(took_s)

    def _durations(self, route: str) -> Histogram:
        return self._request_seconds.labels(route)

    def searched(self, times: StageTimes) -> None:
        """Count one query's stages."""
        for stage, histogram in self._stages.items():
            took_ms = getattr(times, f"{stage}_ms")
            if stage != "rerank" or took_ms > 0:
                histogram.observe(took_ms / 1000)

    def text(self) -> bytes:
        """All of them in Prometheus's text format; see `MEDIA_TYPE`."""
        found: bytes = generate_latest(self._registry)
        return found


class _State(Collector):
    """What is true now rather than what has been counted."""

    def __init__(
        self,
        searchers: Callable[[], Mapping[str, Searcher]],
        queues: Mapping[str, Workers],
        memory: Memory,
    ) -> None:
        self._searchers, self._queues, self._memory = searchers, queues, memory

    def collect(self) -> Iterator[Metric]:
        """Give the gauges; called at each scrape."""
        length = _gauge("tamis_queue_length", "Requests that wait for a thread.", "queue")
        for name, workers in self._queues.items():
            length.add_metric([name], workers.waiting)
        yield length
        yield from self._of_memory()
        documents = _gauge("tamis_index_documents", "Documents.", "index")
        size = _gauge("tamis_index_size_bytes", "Bytes of all files.", "index")
        generation = _gauge("tamis_index_generation", "Counts a collection's changes.", "index")
        for name, searcher in self._searchers().items():
            collection = searcher.collection
            documents.add_metric([name], len(collection))
            size.add_metric([name], collection.size_bytes)
            generation.add_metric([name], collection.generation)
        yield from (documents, size, generation)

    def _of_memory(self) -> Iterator[Metric]:
        held, bound, refused = (
            GaugeMetricFamily("tamis_memory_held_bytes", "Bytes that requests hold."),
            GaugeMetricFamily("tamis_memory_bound_bytes", "Bytes that they may hold."),
            CounterMetricFamily("tamis_memory_refused", "Times that there were no more."),
        )
        held.add_metric([], self._memory.used_bytes)
        bound.add_metric([], self._memory.bound_bytes)
        refused.add_metric([], self._memory.refused)
        yield from (held, bound, refused)


class _Numbers(Collector):
    """Numbers that are asked for at each scrape."""

    def __init__(
        self, name: str, meaning: str, label: str, values: Callable[[], Mapping[str, float]]
    ) -> None:
        self._name, self._meaning, self._label, self._values = name, meaning, label, values

    def collect(self) -> Iterator[Metric]:
        """Give the gauge; called at each scrape."""
        gauge = _gauge(self._name, self._meaning, self._label)
        for name, value in self._values().items():
            gauge.add_metric([name], value)
        yield gauge


def _gauge(name: str, meaning: str, label: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, meaning, labels=(label,))
