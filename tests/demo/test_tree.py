"""Spans drawn as text."""

from __future__ import annotations

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import Status, StatusCode, set_span_in_context

from otel_realtime.demo.tree import node_of, render


class _Kept(SpanProcessor):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


def test_children_stand_under_their_parent_in_order_of_their_start() -> None:
    """Names, kinds, durations and what the spans say, with lines that show who is under whom."""
    kept = _Kept()
    provider = TracerProvider()
    provider.add_span_processor(kept)
    tracer = provider.get_tracer("test")
    root = tracer.start_span("root", start_time=0, attributes={"langsmith.span.kind": "chain"})
    inside = set_span_in_context(root)
    late = tracer.start_span("late", inside, start_time=2_000_000)
    late.set_status(Status(StatusCode.ERROR, "it broke"))
    early = tracer.start_span(
        "early",
        inside,
        start_time=1_000_000,
        attributes={
            "langsmith.span.kind": "llm",
            "gen_ai.usage.input_tokens": 40,
            "gen_ai.usage.output_tokens": 7,
            "otel_realtime.voice_to_voice_ms": 840,
            "otel_realtime.interrupted": True,
            "otel_realtime.heard_ms": 1200,
            "otel_realtime.generated_ms": 5000,
        },
    )
    aside = {"otel_realtime.out_of_band": True}
    tracer.start_span("aside", inside, start_time=3_000_000, attributes=aside).end(4_000_000)
    tool = tracer.start_span("tool", set_span_in_context(early), start_time=1_500_000)
    tool.end(1_750_000)
    late.end(5_000_000)
    early.end(4_000_000)
    root.end(1_500_000_000)
    lines = [" ".join(line.split()) for line in render(node_of(span) for span in kept.spans)]
    assert lines == [
        "root chain 1.50 s",
        "├─ early llm 3.0 ms 40 -> 7 tokens, heard after 0.8 s, interrupted: 1.2 s heard of 5.0 s",
        "│ └─ tool chain 0.2 ms",
        "├─ late chain 3.0 ms ERROR it broke",
        "└─ aside chain 1.0 ms out of band",
    ]
