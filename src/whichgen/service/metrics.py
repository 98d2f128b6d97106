"""What a service counts, for Prometheus."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whichgen.service.schemas import ImageOut

#: Paths that are counted by name; all others are one, or clients could make as many as they like.
_PATHS = ("/attribute", "/explain", "/report", "/enroll", "/model", "/health", "/metrics")


class Metrics:
    """The counters of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "whichgen_requests", "Requests", ["path", "status"], registry=self.registry
        )
        self.latency = Histogram(
            "whichgen_request_seconds", "Time to an answer", ["path"], registry=self.registry
        )
        self.images = Counter(
            "whichgen_images", "Images by kind of verdict", ["kind"], registry=self.registry
        )
        self.batches = Histogram(
            "whichgen_batch_images",
            "Images answered together",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=self.registry,
        )
        self.seconds = Counter(
            "whichgen_compute_seconds", "Time spent on batches", registry=self.registry
        )
        self.waiting = Gauge("whichgen_waiting_images", "Images that wait", registry=self.registry)

    def on_batch(self, images: int, seconds: float) -> None:
        """Counts a batch."""
        self.batches.observe(images)
        self.seconds.inc(seconds)

    def on_answer(self, answer: ImageOut) -> None:
        """Counts an answer."""
        self.images.labels(answer.verdict.kind).inc()


class Counted:
    """ASGI middleware that counts requests and times them."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in _PATHS else "other"
        start = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.requests.labels(path, str(message["status"])).inc()
                self._metrics.latency.labels(path).observe(time.perf_counter() - start)
            await send(message)

        await self._app(scope, receive, counted)
