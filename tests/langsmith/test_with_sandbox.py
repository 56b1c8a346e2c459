"""The whole way into a LangSmith that reports every broken rule: no rule is broken."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_realtime.delivery.model import Closing, Opening, Recording
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.langsmith.delivery import Deliveries
from otel_realtime.langsmith.exporter import DirectExporter
from otel_realtime.langsmith.statuses import Backoff
from tests.support.rig import Rig

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from otel_realtime.sandbox.server import Sandbox


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(data_dir=tmp_path / "sandbox", port=0) as running:
        yield running


def stereo(path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes(b"\x01\x00\x02\x00" * 24_000)
    return path


def test_a_conversation_arrives_whole_and_breaks_no_rule(
    sandbox: Sandbox, rig: Rig, tmp_path: Path
) -> None:
    """Root by the runs API, children by OTLP, the recording attached; nothing is reported."""
    config = LangSmithConfig(api_url=sandbox.url, api_key="k", project="voice")
    quick = Backoff(first_s=0.01, ceiling_s=0.05)
    exporter = DirectExporter(config, backoff=quick, linger_s=0.01)
    deliveries = Deliveries(config, backoff=quick)
    rig.outlet = exporter
    root = rig.root()
    trace = rig.trace
    opening = Opening(
        trace_id=trace.trace_id,
        span_id=trace.root_span_id,
        name="realtime_session",
        start_ns=trace.start_ns,
        metadata={"thread_id": trace.thread_id},
    )
    run = deliveries.open(opening)
    event = rig.child(rig.ours, "response.done", root, start_time=trace.start_ns + 1_000_000)
    query = rig.child(rig.foreign, "SELECT", event, start_time=trace.start_ns + 2_000_000)
    query.end(trace.start_ns + 3_000_000)
    event.end(trace.start_ns + 4_000_000)
    root.set_attribute("otel_realtime.langsmith.root", "runs_api")
    root.end(trace.start_ns + 10**9)
    closing = Closing(
        end_ns=trace.start_ns + 10**9,
        inputs={"session": {}},
        outputs={"messages": [{"role": "user", "content": "hi"}]},
        metadata={"turns": 1},
    )
    run.finish(closing, lambda: Recording(path=stereo(tmp_path / "call.wav")))
    assert deliveries.flush(10) is True
    assert exporter.flush(10) is True
    deliveries.shutdown(0)
    exporter.shutdown(0)
    found = sandbox.conversation(trace.root_run_id)
    assert sandbox.violations() == []
    assert found is not None
    names = {item["id"]: item["name"] for item in found["runs"]}
    assert {item["name"]: names.get(item["parent_id"]) for item in found["runs"]} == {
        "realtime_session": None,
        "response.done": "realtime_session",
        "SELECT": "response.done",
    }
    [run_found] = [item for item in found["runs"] if item["parent_id"] is None]
    assert run_found["metadata"]["ls_audio_attach_status"] == "attached"
    assert run_found["metadata"]["turns"] == 1


def test_a_wrong_key_is_refused_by_both_ways(rig: Rig, tmp_path: Path) -> None:
    """Neither spans nor runs get through, and both flushes say so."""
    with Sandbox(data_dir=tmp_path / "sandbox", port=0, keys={"right"}) as sandbox:
        config = LangSmithConfig(api_url=sandbox.url, api_key="wrong", project="voice")
        exporter, deliveries = DirectExporter(config, linger_s=0.01), Deliveries(config)
        rig.outlet = exporter
        root = rig.root()
        rig.child(rig.ours, "session.created", root).end()
        opening = Opening(
            trace_id=rig.trace.trace_id,
            span_id=rig.trace.root_span_id,
            name="realtime_session",
            start_ns=rig.trace.start_ns,
        )
        run = deliveries.open(opening)
        assert deliveries.shutdown(5) is False
        assert exporter.shutdown(5) is False
        assert run.status == "refused"
        assert sandbox.conversations() == []
