"""When a process recovers what others left, and how long it waits for the app's exporters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_realtime.background import Worker
from otel_realtime.process import recoveries
from otel_realtime.process.recoveries import Recoveries
from otel_realtime.recovery import sweep
from otel_realtime.settings import Settings
from tests.support.waiting import wait_for


@pytest.mark.parametrize("comes", [True, False])
def test_it_waits_for_an_exporter_but_not_for_ever(
    comes: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The second recovery runs as soon as there is one, or when the time is up."""
    monkeypatch.setattr(recoveries, "DELAY_S", 0.0)
    monkeypatch.setattr(recoveries, "_LOOK_S", 0.01)
    monkeypatch.setattr(recoveries, "EXPORTERS_WITHIN_S", 30.0 if comes else 0.2)
    provider, waited = TracerProvider(shutdown_on_exit=False), []

    def recover(settings: Settings, **given: Any) -> sweep.Report:
        waited.append(given["awaits_exporters"])
        return sweep.Report(awaits_exporters=int(given["awaits_exporters"]))

    monkeypatch.setattr(sweep, "recover", recover)
    monkeypatch.setattr(sweep, "has_work", lambda state_dir: True)
    worker = Worker("otel-realtime-test")
    made = Recoveries(worker, set, lambda: provider)
    made.schedule(Settings(state_dir=tmp_path))
    wait_for(lambda: bool(waited), "first recovery")
    if comes:
        provider.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
    wait_for(lambda: 2 == len(waited), "second recovery")
    assert [True, False] == waited
    worker.stop(1)
