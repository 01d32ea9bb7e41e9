"""OpenTelemetry spans: one per request, one per question to a model, none of their texts."""

import asyncio

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from adjudge.gateway.telemetry import collector_named
from adjudge.gateway.tracing import Tracing
from tests.gateways import PAIR, Model, gateway, serving_model, settings, verdict

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_spans_are_off_unless_the_environment_names_a_collector():
    assert not collector_named({})
    assert not collector_named({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"})
    assert not collector_named({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"})
    assert collector_named({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"})


def test_a_request_and_its_questions_are_one_trace_that_goes_on_from_the_callers(tmp_path):
    async def work():
        kept = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(kept))
        tracing = Tracing(provider)
        async with (
            serving_model(Model(verdict())) as model,
            gateway(settings({"plain": model.url}), tmp_path / "g.db", tracing=tracing) as client,
        ):
            caller = f"00-{TRACE}-00f067aa0ba902b7-01"
            await client.post("/v1/judge", {"arm": "plain", **PAIR}, traceparent=caller)
            chat = {"model": "adjudge/plain", "messages": [{"role": "user", "content": "secret words"}]}
            await client.post("/v1/chat/completions", chat)
            await client.get("/v1/nothing")
        tracing.close()
        judged, request, asked, passed, nothing = kept.get_finished_spans()
        assert {format(span.context.trace_id, "032x") for span in (judged, request)} == {TRACE}
        assert (judged.name, judged.parent.span_id) == ("chat m", request.context.span_id)
        assert dict(judged.attributes) | {"server.port": 0} == {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "m",
            "gen_ai.request.max_tokens": 64,
            "gen_ai.response.model": "scripted",
            "gen_ai.response.finish_reasons": ("stop",),
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 10,
            "server.address": "127.0.0.1",
            "server.port": 0,
            "adjudge.arm": "plain",
            "adjudge.kind": "verdict",
        }
        assert (request.name, request.attributes["http.response.status_code"]) == ("POST /v1/judge", 200)
        assert (asked.parent.span_id, asked.name) == (passed.context.span_id, "chat m")
        assert nothing.attributes["http.response.status_code"] == 404
        whole = "".join(span.to_json() for span in kept.get_finished_spans())
        assert "secret words" not in whole
        assert PAIR["prompt"] not in whole

    asyncio.run(work())
