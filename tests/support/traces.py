"""What became of conversations: the spans that ended here, and the runs that arrived."""

from __future__ import annotations

import json
import wave
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler

from otel_realtime.langsmith.ids import run_id
from otel_realtime.sandbox import Sandbox

ROOT = "realtime_session"


class Traces:
    """A tracer provider of the app's, with an exporter that keeps what it gets.

    Attributes:
        provider: what ``instrument`` and the app's own tracers get.
    """

    def __init__(self, sampler: Sampler | None = None) -> None:
        self._memory = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._memory))
        self.tracer = self.provider.get_tracer("app")

    @property
    def spans(self) -> list[ReadableSpan]:
        """Every span that has ended, by start; those of one start in the order they ended."""
        return sorted(self._memory.get_finished_spans(), key=lambda span: span.start_time or 0)

    def of(self, trace_id: str) -> list[ReadableSpan]:
        """The spans of one trace."""
        return [s for s in self.spans if s.context and f"{s.context.trace_id:032x}" == trace_id]

    @property
    def root(self) -> ReadableSpan:
        """The root of the only conversation there was."""
        (root,) = self.roots
        return root

    @property
    def roots(self) -> list[ReadableSpan]:
        """The roots of all conversations."""
        return [span for span in self.spans if span.name == ROOT]

    def one(self, name: str) -> ReadableSpan:
        """The only span of that name."""
        (span,) = self.named(name)
        return span

    def named(self, name: str) -> list[ReadableSpan]:
        """All spans of that name."""
        return [span for span in self.spans if span.name == name]


def outline(spans: Iterable[ReadableSpan]) -> list[str]:
    """The names as an indented tree, children by start; what has no parent here stands left."""
    ordered = sorted(spans, key=lambda span: span.start_time or 0)
    known = {span.context.span_id for span in ordered if span.context}
    children: dict[int | None, list[ReadableSpan]] = defaultdict(list)
    for span in ordered:
        above = span.parent.span_id if span.parent else None
        children[above if above in known else None].append(span)

    def lines(span: ReadableSpan, depth: int) -> Iterable[str]:
        yield "  " * depth + span.name
        assert span.context is not None
        for child in children[span.context.span_id]:
            yield from lines(child, depth + 1)

    return [line for top in children[None] for line in lines(top, 0)]


def facts(span: ReadableSpan) -> Mapping[str, Any]:
    """The span's attributes."""
    return span.attributes or {}


def turns(root: ReadableSpan) -> list[dict[str, Any]]:
    """The transcript of a conversation, of its root."""
    messages: list[dict[str, Any]] = json.loads(str(facts(root)["gen_ai.completion"]))["messages"]
    return messages


def parent_name(span: ReadableSpan, spans: Iterable[ReadableSpan]) -> str | None:
    """The name of the span above."""
    by_id = {other.context.span_id: other.name for other in spans if other.context}
    return by_id.get(span.parent.span_id) if span.parent else None


def run_of(root: ReadableSpan) -> str:
    """LangSmith's id of a conversation."""
    assert root.context is not None
    return run_id(root.context.span_id)


def arrived(sandbox: Sandbox, spans: Iterable[ReadableSpan]) -> dict[str, Any]:
    """The conversation of these spans in the sandbox: whole, once, and by the contract.

    Every span is a run with the same id, name, parent, trace and times; nothing else is there;
    the root came by the runs API and everything below it by OTLP; no rule was broken.
    """
    spans = list(spans)
    (root,) = [span for span in spans if span.name == ROOT]
    conversation = sandbox.conversation(run_of(root))
    assert conversation is not None, "the conversation has not arrived"
    assert [] == conversation["violations"], conversation["violations"]
    assert _as_runs(spans, root) == {
        run["id"]: (
            run["name"],
            run["parent_id"],
            run["trace_id"],
            run["start_ns"] // 1000,
            run["end_ns"] // 1000,
            run["delivered_by"],
        )
        for run in conversation["runs"]
    }
    return conversation


def _as_runs(spans: list[ReadableSpan], root: ReadableSpan) -> dict[str, Any]:
    return {
        run_of(span): (
            span.name,
            run_id(span.parent.span_id) if span.parent else None,
            run_of(root),
            (span.start_time or 0) // 1000,
            (span.end_time or 0) // 1000,
            "runs_api" if span is root else "otlp",
        )
        for span in spans
    }


def samples(path: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """User and agent of a recording: the two channels of a WAV with 16 bits at 24 kHz."""
    assert path is not None, "there is no recording"
    with wave.open(str(path), "rb") as file:
        assert (2, 2, 24_000) == (file.getnchannels(), file.getsampwidth(), file.getframerate())
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    return both[:, 0], both[:, 1]


def stretches(channel: np.ndarray) -> list[tuple[int, int]]:
    """Where a channel is not silent: (first, after last) sample of each stretch."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], channel != 0, [0]))))
    return [(int(first), int(after)) for first, after in edges.reshape(-1, 2)]
