"""What is known from outside: Prometheus metrics and one line of JSON a request on stderr. Never texts, never keys."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from adjudge.types import Judgment

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120)
JUDGMENT_BUCKETS_S = tuple(round(m * 10.0**e, 6) for e in range(-3, 3) for m in (1, 1.5, 2.2, 3.3, 4.7, 6.8))
"""The E6 series, each about 1.5 times the one before: fine enough to read quantiles from."""


class Metrics:
    """One registry for one gateway."""

    media = CONTENT_TYPE_LATEST.encode()

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()

        def counter(name: str, words: str, *labels: str) -> Counter:
            return Counter(f"adjudge_{name}", words, labels, registry=registry)

        self.requests = counter("requests", "Requests answered", "route", "status")
        self.seconds = Histogram(
            "adjudge_request_seconds", "Time to the end of the answer", ["route"], buckets=BUCKETS_S, registry=registry
        )
        self.open = Gauge("adjudge_requests_open", "Requests being answered", registry=registry)
        self.judgments = counter("judgments", "Judgments bought", "arm", "outcome")
        self.judgment_seconds = Histogram(
            "adjudge_judgment_seconds", "Time to buy a judgment", ["arm"], buckets=JUDGMENT_BUCKETS_S, registry=registry
        )
        self.cached = counter("judgments_cached", "Judgments that were known or shared", "arm")
        self.completions = counter("completions", "Chat completions passed on", "arm", "outcome")
        self.cost_usd = counter("cost_usd", "Dollars spent, where the price is known", "arm")
        self.tokens = counter("tokens", "Tokens billed", "arm", "kind")
        self.fallbacks = counter("fallbacks", "Arms that gave nothing, so that another was asked", "arm")
        self.faults = counter("faults", "What should not happen: see the log", "where")
        self._text: Callable[[], bytes] = lambda: generate_latest(registry)

    def gauge(self, name: str, words: str, value: Callable[[], float]) -> None:
        """A figure that is read when it is asked for."""
        Gauge(f"adjudge_{name}", words, registry=self.registry).set_function(value)

    def bought(self, arm: str, judgment: Judgment, seconds: float) -> None:
        """Enter a judgment that was bought, each call under the arm that made it."""
        self.judgments.labels(arm, judgment.outcome.value).inc()
        self.judgment_seconds.labels(arm).observe(seconds)
        for call in judgment.calls:
            if call.usage is not None:
                self.tokens.labels(call.arm, "prompt").inc(call.usage.prompt_tokens)
                self.tokens.labels(call.arm, "output").inc(call.usage.output_tokens)
            if call.cost_usd:
                self.cost_usd.labels(call.arm).inc(call.cost_usd)

    def text(self) -> bytes:
        return self._text()


class Log:
    """One JSON object a line."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._encode = msgspec.json.Encoder().encode

    def line(self, **fields: Any) -> None:
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
        self._stream.write(self._encode({"time": stamp, **fields}).decode() + "\n")
        self._stream.flush()


def collector_named(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the standard environment names a collector."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    return any(environ.get(name) for name in _ENDPOINTS) or environ.get("OTEL_TRACES_EXPORTER") == "otlp"
