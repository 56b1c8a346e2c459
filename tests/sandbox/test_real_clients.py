"""The clients that will talk to it: LangSmith's own, and OpenTelemetry's exporter."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from langsmith import Client, traceable, tracing_context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.trace import format_span_id

from otel_realtime.sandbox import Sandbox
from tests.support.sandbox_client import HEADERS, START_NS, dotted, iso, run_id, wav


def test_traceable_functions(sandbox: Sandbox) -> None:
    """Nested @traceable functions arrive as one finished trace that breaks nothing."""
    client = Client(api_url=sandbox.url, api_key="key")

    @traceable(run_type="tool")
    def inner(x: int) -> int:
        return x + 1

    @traceable(metadata={"thread_id": "t-1"})
    def outer(x: int) -> int:
        return inner(x)

    with tracing_context(enabled=True, client=client, project_name="native"):
        outer(1)
    client.flush()
    conversation = sandbox.conversation(sandbox.conversations()[0]["id"])
    assert conversation is not None
    assert [(run["name"], run["run_type"], run["status"]) for run in conversation["runs"]] == [
        ("outer", "chain", "success"),
        ("inner", "tool", "success"),
    ]
    assert conversation["root"]["outputs"] == {"output": 2}
    assert conversation["project"] == "native"
    assert sandbox.violations() == []


def test_client_patches_with_an_attachment_from_disk(sandbox: Sandbox, tmp_path: Path) -> None:
    """create_run, then update_run with a WAV file: pending, then finished with a recording."""
    client = Client(api_url=sandbox.url, api_key="key")
    identity = run_id(1)
    order = dotted((START_NS, identity))
    common: dict[str, Any] = {"trace_id": identity, "dotted_order": order}
    client.create_run(
        "call",
        {},
        "chain",
        id=UUID(identity),
        project_name="calls",
        extra={"metadata": {"thread_id": "t-1"}},
        start_time=datetime.fromisoformat(iso(0)),
        **common,
    )
    client.flush()
    assert sandbox.conversations()[0]["status"] == "pending"
    path = tmp_path / "call.wav"
    path.write_bytes(wav())
    client.update_run(
        identity,
        **common,
        outputs={"messages": []},
        attachments={"conversation": ("audio/wav", path)},
        dangerously_allow_filesystem=True,
    )
    client.flush()
    recording = sandbox.recording(identity)
    assert recording is not None
    assert wav() == recording.read_bytes()
    assert wav() == client.read_run(identity).attachments["conversation"]["reader"].read()
    assert sandbox.conversations()[0]["status"] == "success"
    assert sandbox.violations() == []


def test_client_reads_project_and_run(sandbox: Sandbox) -> None:
    """What LangSmith's client reads back has the shape it expects."""
    client = Client(api_url=sandbox.url, api_key="key")
    client.create_project("calls-read", upsert=True)
    project = client.read_project(project_name="calls-read")
    assert project.name == "calls-read"
    assert project.tenant_id is not None


@pytest.mark.parametrize(("key", "expected"), [("right", "SUCCESS"), ("wrong", "FAILURE")])
def test_exporter_with_keys(key: str, expected: str, tmp_path: Path) -> None:
    """OpenTelemetry's exporter succeeds with a configured key and fails with another."""
    with Sandbox(tmp_path, keys={"right"}) as sandbox:
        exporter = OTLPSpanExporter(
            endpoint=f"{sandbox.url}/otel/v1/traces",
            headers={**HEADERS, "x-api-key": key},
        )
        results: list[SpanExportResult] = []
        provider = TracerProvider(shutdown_on_exit=False)
        export = exporter.export
        exporter.export = lambda spans: results.append(export(spans)) or results[-1]  # type: ignore[method-assign,func-returns-value]
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        thread = {"langsmith.metadata.thread_id": "t-1"}
        with provider.get_tracer("t").start_as_current_span("root", attributes=thread) as root:
            with provider.get_tracer("t").start_as_current_span("child", attributes=thread):
                pass
        provider.shutdown()
        assert [expected, expected] == [result.name for result in results]
        padded = UUID(format_span_id(root.get_span_context().span_id).rjust(32, "0"))
        shown = [str(padded)] if expected == "SUCCESS" else []
        assert shown == [found["id"] for found in sandbox.conversations()]
        assert sandbox.violations() == []
