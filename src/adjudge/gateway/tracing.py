"""OpenTelemetry spans, where somebody collects them: one per request, and within it one per question to a model.

Names and attributes are those of the semantic conventions for HTTP servers and for GenAI clients. No texts and no keys.
"""

import os
from contextvars import Token
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import context, trace
from opentelemetry.propagate import extract
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from adjudge.config import Server
from adjudge.errors import BackendError
from adjudge.gateway.asgi import Call
from adjudge.judging.backends.base import Backend
from adjudge.types import Ask, Reply

_TOKENS = (("prompt_tokens", "input_tokens"), ("output_tokens", "output_tokens"))
_SAMPLING = ("temperature", "top_p", "max_tokens", "seed")


class Tracing:
    """Spans of one gateway. `close` sends what is left."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self._tracer: Tracer = provider.get_tracer("adjudge.gateway")
        self._open: dict[int, tuple[Span, Token[context.Context]]] = {}

    def began(self, call: Call, method: str, route: str) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in call.headers.items()}
        told = {"http.request.method": method, "http.route": route, "adjudge.request.id": call.id}
        span = self._tracer.start_span(
            f"{method} {route}", context=extract(headers), kind=SpanKind.SERVER, attributes=told
        )
        self._open[id(call)] = (span, context.attach(trace.set_span_in_context(span)))

    def ended(self, call: Call, status: int) -> None:
        span, token = self._open.pop(id(call))
        span.set_attribute("http.response.status_code", status)
        for note, value in call.notes.items():
            if value is not None:
                span.set_attribute(f"adjudge.{note}", value)
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end()
        context.detach(token)

    def traced(self, backend: Backend, server: Server) -> Backend:
        """The backend, with a span around each question."""
        return _Traced(backend, self._tracer, server)

    def close(self) -> None:
        self._provider.shutdown()


class _Traced:
    def __init__(self, backend: Backend, tracer: Tracer, server: Server) -> None:
        self._backend, self._tracer = backend, tracer
        where = urlsplit(server.url)
        self._told: dict[str, Any] = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": server.kind}
        if where.hostname:
            self._told["server.address"] = where.hostname
            self._told["server.port"] = where.port or (443 if where.scheme == "https" else 80)

    async def send(self, ask: Ask) -> Reply:
        model = str(ask.body.get("model", ""))
        told = self._told | {"gen_ai.request.model": model, "adjudge.arm": ask.arm, "adjudge.kind": ask.kind}
        told |= {f"gen_ai.request.{name}": ask.body[name] for name in _SAMPLING if ask.body.get(name) is not None}
        with self._tracer.start_as_current_span(
            f"chat {model}".strip(), kind=SpanKind.CLIENT, attributes=told, record_exception=False
        ) as span:
            try:
                reply = await self._backend.send(ask)
            except BackendError as error:
                span.set_attribute("error.type", type(error).__name__)
                raise
            if reply.model:
                span.set_attribute("gen_ai.response.model", reply.model)
            if reply.finish_reason:
                span.set_attribute("gen_ai.response.finish_reasons", [reply.finish_reason])
            for ours, theirs in _TOKENS:
                if reply.usage is not None:
                    span.set_attribute(f"gen_ai.usage.{theirs}", getattr(reply.usage, ours))
            return reply

    async def close(self) -> None:
        await self._backend.close()


def exporting() -> Tracing:
    """Spans to the collector that the standard environment names (by default the one on this machine), as OTLP."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = os.environ.get("OTEL_SERVICE_NAME", "adjudge")
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)
