"""Prometheus metrics of the service."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whichgen.service.request_advice import PATHS


class Metrics:
    """Prometheus metrics of one service."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "whichgen_requests", "Requests", ["path", "status"], registry=registry
        )
        self.latency = Histogram(
            "whichgen_request_seconds",
            "Seconds until the response starts",
            ["path"],
            registry=registry,
        )
        self.images = Counter(
            "whichgen_images", "Images by kind of verdict", ["kind"], registry=registry
        )
        self.batches = Histogram(
            "whichgen_batch_images",
            "Images per batch",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=registry,
        )
        self.seconds = Counter(
            "whichgen_compute_seconds", "Seconds spent on batches", registry=registry
        )
        self.queue_size = Gauge("whichgen_waiting_images", "Images in the queue", registry=registry)

    def record_batch(self, images: int, seconds: float) -> None:
        """Record the number of images in a batch and its duration in seconds."""
        self.batches.observe(images)
        self.seconds.inc(seconds)


class RequestMetrics:
    """ASGI middleware that counts requests and measures the time until the response starts."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request; count it, and record the seconds until its response starts."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Only known paths become labels: clients could otherwise create any number of labels.
        path = scope["path"] if scope["path"] in PATHS else "other"
        start = time.perf_counter()

        async def record(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.requests.labels(path, str(message["status"])).inc()
                self._metrics.latency.labels(path).observe(time.perf_counter() - start)
            await send(message)

        await self._app(scope, receive, record)
