"""A loopback LangSmith, and a provider with our processor; the fixtures of several folders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer, set_span_in_context

from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.langsmith.stamping import TraceStamp
from otel_realtime.langsmith.statuses import Backoff
from otel_realtime.tracing.members import (
    Membership,
    MembershipProcessor,
    MemberTable,
    admit_root,
)
from tests.support.langsmith_server import LangSmithServer, serving

KEY = "lsv2_pt_secret"
QUICK = Backoff(first_s=0.01, ceiling_s=0.05)


@pytest.fixture
def server() -> Iterator[LangSmithServer]:
    yield from serving()


@pytest.fixture
def config(server: LangSmithServer) -> LangSmithConfig:
    return LangSmithConfig(api_url=server.url, api_key=KEY, project="voice", workspace_id="ws-1")


@dataclass
class Rig:
    """A provider with our processor, an in-memory exporter and one tracer of each kind."""

    provider: TracerProvider
    table: MemberTable
    processor: MembershipProcessor
    finished: InMemorySpanExporter
    ours: Tracer
    foreign: Tracer
    outlet: object = None

    def root(self, *, leg: str = "direct", explicit: bool = True, **given: object) -> Span:
        """Start and stamp a root in a new trace."""
        from opentelemetry.context import Context

        span = self.ours.start_span("realtime_session", context=Context(), start_time=10**18)
        return self.stamp(span, leg=leg, explicit=explicit, **given)

    def stamp(self, span: object, *, leg: str, explicit: bool, **given: object) -> Span:
        assert isinstance(span, Span)
        context = span.get_span_context()
        shared = {
            "root_span_id": context.span_id,
            "trace_id": context.trace_id,
            "start_ns": span.start_time or 0,
            "thread_id": "thread-1",
            "leg": leg,
            "ambient": bool(given.get("ambient")),
            "outlet": self.outlet if leg == "direct" else None,
        }
        made = TraceStamp(project="voice", **shared) if explicit else Membership(**shared)
        self.trace = made
        admit_root(span, made, self.table)
        return span

    def child(self, tracer: Tracer, name: str, parent: Span, **given: object) -> Span:
        span = tracer.start_span(name, context=set_span_in_context(parent), **given)  # type: ignore[arg-type]
        assert isinstance(span, Span)
        return span


def make_rig() -> Rig:
    table, finished = MemberTable(), InMemorySpanExporter()
    processor = MembershipProcessor(table=table)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    provider.add_span_processor(SimpleSpanProcessor(finished))
    ours = provider.get_tracer("otel_realtime.tracing")
    return Rig(provider, table, processor, finished, ours, provider.get_tracer("some.library"))


@pytest.fixture
def rig() -> Rig:
    return make_rig()
