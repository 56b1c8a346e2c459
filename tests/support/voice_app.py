"""An app in a process of its own: it holds conversations and reports what it traced.

``python -m tests.support.voice_app URL [--setup ...] [--calls N]`` writes two lines of JSON: the
spans that have ended when the calls are over, and, when everything has arrived or ``--flush`` seconds
are over, what became of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import time
from collections.abc import Callable
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import otel_realtime
from otel_realtime import diagnostics
from tests.support import failing, minute
from tests.support.talking import weather_call


class Ended(SpanProcessor):
    """Keeps the spans that end."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        """Keep it."""
        self.spans.append(span)


class Said(logging.Handler):
    """Keeps what is logged as a warning or worse, by whomever."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.lines.append(f"{record.name}: {record.getMessage()}")


def by_processor() -> None:
    """An app that set up LangSmith's own span processor."""
    from langsmith.integrations.otel import OtelSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(OtelSpanProcessor())
    trace.set_tracer_provider(provider)


def by_exporter() -> None:
    """An app that exports to LangSmith's OTLP endpoint."""
    endpoint = os.environ["LANGSMITH_ENDPOINT"] + "/otel/v1/traces"
    headers = {
        "x-api-key": os.environ["LANGSMITH_API_KEY"],
        "Langsmith-Project": os.environ["LANGSMITH_PROJECT"],
    }
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint, headers=headers)))
    trace.set_tracer_provider(provider)


SETUPS: dict[str, Callable[[], Any]] = {
    "configure": otel_realtime.configure,
    "processor": by_processor,
    "exporter": by_exporter,
}


async def hold(url: str, calls: int) -> None:
    """Hold all calls at once, each in a thread of LangSmith's of its own."""

    async def one(number: int) -> None:
        with otel_realtime.using(thread_id=f"caller-{number}", metadata={"tier": "gold"}):
            await weather_call(url)

    await asyncio.gather(*map(one, range(calls)))


def plain(span: ReadableSpan) -> dict[str, Any]:
    """What every backend must say of a span."""
    assert span.context is not None
    return {
        "name": span.name,
        "trace": f"{span.context.trace_id:032x}",
        "id": f"{span.context.span_id:016x}",
        "parent": f"{span.parent.span_id:016x}" if span.parent else None,
        "start_ns": span.start_time,
        "end_ns": span.end_time,
        "error": not span.status.is_ok,
    }


def main() -> None:
    """Set up, talk, report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--setup", choices=SETUPS, default="configure")
    parser.add_argument("--calls", type=int, default=1)
    parser.add_argument("--flush", type=float, default=30.0)
    parser.add_argument("--minute", action="store_true", help="one synthetic call, no server")
    parser.add_argument("--failing", action="store_true", help="one in which everything fails")
    parser.add_argument("--stay", type=float, default=0.0, help="seconds it runs after its report")
    options = parser.parse_args()
    said, ended = Said(), Ended()
    logging.getLogger().addHandler(said)
    SETUPS[options.setup]()
    provider: Any = trace.get_tracer_provider()
    provider.add_span_processor(ended)
    otel_realtime.instrument()
    if options.minute:
        minute.hold("caller-0")
    elif options.failing:
        failing.hold("caller-0")
    else:
        asyncio.run(hold(options.url, options.calls))
    print(json.dumps([plain(span) for span in ended.spans]), flush=True)
    meters: Any = metrics.get_meter_provider()
    report = {
        "delivered": otel_realtime.flush(options.flush),
        "exported": provider.force_flush(),
        "measured": meters.force_flush() if hasattr(meters, "force_flush") else None,
        "said": said.lines,
        "faults": diagnostics.faults(),
    }
    print(json.dumps(report), flush=True)
    time.sleep(options.stay)


if __name__ == "__main__":
    main()
