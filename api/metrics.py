"""What Prometheus reads at `/metrics`: how many requests of each route, how long they took, how many are under way."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10, 30)  # seconds


class Metrics:
    """Of one application. A route is its template: ids never become labels."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "cdp_api_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "cdp_api_request_seconds",
            "Time to the whole answer",
            ["method", "route"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.under_way = Gauge("cdp_api_requests_under_way", "Requests being answered", registry=self.registry)
        self.events = Counter(
            "cdp_api_events_accepted", "Events made durable, repeats among them", ["source"], registry=self.registry
        )
        self.unaudited = Gauge("cdp_api_audit_rows_waiting", "Reads noted and not written yet", registry=self.registry)
        self.as_of = Gauge(
            "cdp_api_data_as_of_seconds", "The clock of the run that published last, Unix time", registry=self.registry
        )

    def text(self) -> bytes:
        """In the exposition format."""
        return generate_latest(self.registry)
