"""Runs one client in its environment, and prints what was traced: ``python -m tests.matrix.scenario CLIENT URL``.

Configured only by ``instrument()``, as an app would be.
"""

from __future__ import annotations

import json
import logging
import platform
import sys
import tempfile
import wave
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

if sys.argv[1].startswith("gevent"):
    from gevent import monkey

    monkey.patch_all()

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_realtime
from otel_realtime import diagnostics
from otel_realtime.conversation.frames import Frames
from otel_realtime.core.protocol import events as wire
from tests.matrix.clients import CLIENTS
from tests.matrix.flow import Talk
from tests.matrix.frameworks import FRAMEWORKS

FLUSH_S = 20.0


class Told:
    """What the tap told conversations: the type of each frame, in both directions."""

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        received, sent, send = Frames.frame_received, Frames.frame_sent, Frames.send

        def frame_received(frames: Frames, frame: wire.Frame) -> None:
            self.received[_kind(frame)] += 1
            received(frames, frame)

        def frame_sent(frames: Frames, frame: wire.Frame) -> None:
            before = self.sent.total()
            sent(frames, frame)
            if self.sent.total() == before:  # sound is queued, and does not come to ``send``
                self.sent[_kind(frame)] += 1

        def send_(frames: Frames, frame: wire.Frame, moment: Any) -> None:
            self.sent[_kind(frame)] += 1
            send(frames, frame, moment)

        patched: Any = Frames
        patched.frame_received, patched.frame_sent, patched.send = (
            frame_received,
            frame_sent,
            send_,
        )


def _kind(frame: wire.Frame) -> str:
    return str(json.loads(frame)["type"])


class Warned(logging.Handler):
    """Keeps what the package warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def main() -> None:
    name, url = sys.argv[1:]
    exporter, provider, warned = InMemorySpanExporter(), TracerProvider(), Warned()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    logging.getLogger("otel_realtime").addHandler(warned)
    told, talk, recorded = Told(), Talk(url), []

    def keep(path: Path, info: Any) -> None:
        with wave.open(str(path)) as file:
            recorded.append([file.getnchannels(), any(file.readframes(file.getnframes()))])

    with tempfile.TemporaryDirectory() as folder:
        settings = otel_realtime.Settings(
            state_dir=Path(folder), recover_on_start=False, on_recording=keep
        )
        otel_realtime.instrument(settings=settings)
        {**CLIENTS, **FRAMEWORKS}[name](talk)
        otel_realtime.shutdown(FLUSH_S)
    report = {
        "spans": [_span(span) for span in exporter.get_finished_spans()],
        "received": told.received,
        "sent": told.sent,
        "asked": talk.asked,
        "recorded": recorded,
        "faults": [str(fault) for fault in diagnostics.faults()],
        "warned": warned.messages,
        "versions": {each.name.lower(): each.version for each in metadata.distributions()},
        "python": platform.python_version(),
    }
    print("\n" + json.dumps(report), flush=True)


def _span(span: Any) -> dict[str, Any]:
    return {
        "name": span.name,
        "id": span.context.span_id,
        "trace": f"{span.context.trace_id:032x}",
        "parent": span.parent.span_id if span.parent is not None else None,
        "status": span.status.status_code.name,
        "attributes": {
            key: value
            for key, value in span.attributes.items()
            if isinstance(value, str | int | float | bool)
        },
    }


if __name__ == "__main__":
    main()
