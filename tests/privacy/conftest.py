"""A process with two destinations, and every byte it leaves or sends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import otel_realtime
from tests.support.isolation import langsmith_variables
from tests.support.langsmith_server import LangSmithServer, Reply, attributes
from tests.support.planted import Told, on_disk, on_the_wire
from tests.support.waiting import wait_for


@dataclass
class Rig:
    """A process that delivers to LangSmith and, by an exporter of the app's, to another backend."""

    langsmith: LangSmithServer
    backend: LangSmithServer
    provider: TracerProvider
    folder: Path
    log: pytest.LogCaptureFixture

    def told(self, call: Callable[[], None]) -> Told:
        """Hold a call while LangSmith is down, look at the disk, let it be delivered, look again."""
        self.langsmith.judge = lambda _: Reply(503)
        call()
        settled = self.folder / "state" / "conversations"
        wait_for(lambda: self._is_written(settled), "journal and recording", timeout_s=10)
        left = on_disk(self.folder)
        self.langsmith.judge = lambda _: None
        assert otel_realtime.flush(20)
        assert self.provider.force_flush()
        sent = on_the_wire(self.langsmith, self.backend)
        left += on_disk(self.folder)
        return Told(b"\n".join((left, sent, self.log.text.encode())))

    @staticmethod
    def _is_written(folder: Path) -> bool:
        journals = list(folder.glob("*/journal.jsonl"))
        return bool(journals) and all(
            b'["close"' in path.read_bytes() and b'["ended"' in path.read_bytes()
            for path in journals
        )

    def shape(self) -> list[tuple[Any, ...]]:
        """What remains of a call whatever is hidden: names, statuses, usage, models."""
        kept = (
            "otel_realtime.event.type",
            "otel_realtime.response.status",
            "gen_ai.usage.input_tokens",
            "gen_ai.usage.output_tokens",
            "otel_realtime.transcription.seconds",
            "gen_ai.request.model",
            "gen_ai.tool.name",
            "error.type",
            "otel_realtime.turns",
            "otel_realtime.responses",
            "otel_realtime.event_count",
            "otel_realtime.close_code",
            "otel_realtime.item.id",
        )
        found = []
        for span in self.backend.spans():
            facts = attributes(span)
            found.append((span.name, span.status.code, *(facts.get(key) for key in kept)))
            assert span.end_time_unix_nano >= span.start_time_unix_nano > 0
        return sorted(found, key=repr)


@pytest.fixture
def rig(
    process: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> Iterator[Rig]:
    """The process; tests set variables and settings on top."""
    caplog.set_level(logging.DEBUG, "otel_realtime")
    provider = TracerProvider(shutdown_on_exit=False)
    with LangSmithServer() as langsmith, LangSmithServer() as backend:
        for name, value in langsmith_variables(langsmith.url).items():
            process.setenv(name, value)
        exporter = OTLPSpanExporter(
            endpoint=backend.url + "/otel/v1/traces", compression=Compression.Gzip
        )
        provider.add_span_processor(BatchSpanProcessor(exporter))
        yield Rig(langsmith, backend, provider, tmp_path, caplog)
        provider.shutdown()
