"""What a server counts, for Prometheus, under TensorFlow Serving's names where it has them."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

# Microseconds.
LATENCIES = [10 * 1.8**power for power in range(33)]
ROWS = [2**power for power in range(11)]


class Metrics:
    """The counters of one server.

    Args:
        names: Of its bundles. What is asked of others is counted under no name, so that nobody can
            make new series.
    """

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self, names):
        self._names = set(names)
        self._registry = CollectorRegistry()
        self._requests = Counter(
            ":tensorflow:serving:request_count",
            "Requests.",
            ["model_name", "status"],
            registry=self._registry,
        )
        self._latency = Histogram(
            ":tensorflow:serving:request_latency",
            "Microseconds from the first byte of a request to its answer.",
            ["model_name", "API", "entrypoint"],
            buckets=LATENCIES,
            registry=self._registry,
        )
        self._rows = Histogram(
            "mmkeras:batch_rows", "Rows of a batch.", buckets=ROWS, registry=self._registry
        )
        self._waiting = Gauge(
            "mmkeras:waiting_rows", "Rows that wait for the model.", registry=self._registry
        )

    def count(self, name, status, entrypoint, seconds):
        """Counts a request to a bundle, answered by `"REST"` or `"GRPC"`."""
        name = name if name in self._names else ""
        self._requests.labels(name, status).inc()
        self._latency.labels(name, "Predict", entrypoint).observe(1e6 * seconds)

    def count_batch(self, rows):
        self._rows.observe(rows)

    def page(self, waiting):
        """What Prometheus reads, as bytes."""
        self._waiting.set(waiting)
        return generate_latest(self._registry)
