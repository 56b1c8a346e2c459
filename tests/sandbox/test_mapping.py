"""How attributes become the fields of a run."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest
import requests

from otel_realtime.sandbox import Sandbox
from tests.support.sandbox_client import HEADERS, SECOND, START_NS, TRACE_ID, S, export, run_id, wav


def only_run(sandbox: Sandbox, span: S) -> dict[str, Any]:
    export(sandbox.url, span)
    found = sandbox.conversation(run_id(span.span_id))
    assert found is not None
    return dict(found["root"])


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, "chain"),
        ({"langsmith.span.kind": "LLM"}, "llm"),
        ({"langsmith.span.kind": "nonsense", "gen_ai.operation.name": "chat"}, "chain"),
        ({"gen_ai.operation.name": "chat"}, "llm"),
        ({"gen_ai.operation.name": "execute_tool"}, "chain"),
        ({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "f"}, "tool"),
        ({"langsmith.span.kind": "llm", "gen_ai.tool.name": "f"}, "tool"),
        ({"llm.request.type": "chat"}, "llm"),
        ({"openinference.span.kind": "AGENT"}, "chain"),
        ({"traceloop.span.kind": "tool"}, "tool"),
    ],
)
def test_run_type(attributes: dict[str, Any], expected: str, sandbox: Sandbox) -> None:
    """The kind attributes count in LangSmith's order, a tool name over all."""
    assert expected == only_run(sandbox, S(attributes=attributes))["run_type"]


@pytest.mark.parametrize(
    ("attributes", "inputs", "outputs"),
    [
        ({"gen_ai.prompt": '{"event": {"a": 1}}'}, {"event": {"a": 1}}, None),
        ({"gen_ai.prompt": "hello", "gen_ai.completion": "hi"}, {"input": "hello"}, {"text": "hi"}),
        (
            {"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "x", "gen_ai.prompt": "{}"},
            {"messages": [{"role": "user", "content": "x"}]},
            None,
        ),
        (
            {"input.value": '{"a": 1}', "gen_ai.prompt": "{}", "output.value": "o"},
            {"a": 1},
            {"output": "o"},
        ),
        ({"gen_ai.output.messages": "[1]"}, None, {"messages": [1]}),
    ],
)
def test_inputs_and_outputs(
    attributes: dict[str, Any], inputs: Any, outputs: Any, sandbox: Sandbox
) -> None:
    """The first source present counts; an object stays as it is, a text gets a key."""
    run = only_run(sandbox, S(attributes=attributes))
    assert (inputs, outputs) == (run["inputs"], run["outputs"])


def test_fields_of_a_full_span(sandbox: Sandbox) -> None:
    """Metadata, tags, usage, errors and invocation parameters land where LangSmith has them."""
    usage = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
    span = S(
        name="chat m",
        attributes={
            "langsmith.span.kind": "llm",
            "langsmith.span.tags": "a, b",
            "langsmith.metadata.turn": 3,
            "langsmith.usage_metadata": json.dumps(usage),
            "gen_ai.usage.input_tokens": 99,
            "gen_ai.completion": '{"messages": []}',
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "m",
            "gen_ai.request.temperature": 0.5,
            "otel_realtime.interrupted": True,
        },
        events=[("exception", SECOND, {"exception.message": "no", "exception.stacktrace": "at"})],
        error=True,
    )
    run = only_run(sandbox, span)
    metadata = run["metadata"]
    assert {
        "tags": ["a", "b"],
        "usage": usage,
        "error": "no\n\nStacktrace:\nat",
        "status": "error",
        "extra": {"invocation_params": {"model": "m", "temperature": 0.5}},
        "start_ns": START_NS,
        "end_ns": START_NS + SECOND,
        "delivered_by": "otlp",
        "project": "calls",
    }.items() <= run.items()
    assert {
        "thread_id": "t-1",
        "turn": 3,
        "ls_provider": "openai",
        "ls_model_name": "m",
        "OTEL_TRACE_ID": TRACE_ID,
        "OTEL_SPAN_ID": f"{1:016x}",
    } == metadata
    assert True is run["attributes"]["otel_realtime.interrupted"]
    assert sandbox.violations() == []


def test_names_and_messages_from_events(sandbox: Sandbox) -> None:
    """Span events come before attributes, and a trace name before the span's."""
    run = only_run(
        sandbox,
        S(
            attributes={"langsmith.trace.name": "better", "gen_ai.prompt": "{}"},
            events=[
                ("gen_ai.user.message", 1, {"content": "hi"}),
                ("gen_ai.assistant.message", 2, {"content": "ho"}),
            ],
        ),
    )
    assert run["name"] == "better"
    assert run["inputs"] == {"messages": [{"role": "user", "content": "hi"}]}
    assert run["outputs"] == {"messages": [{"role": "assistant", "content": "ho"}]}


def test_json_and_gzip_are_the_same_as_protobuf(sandbox: Sandbox) -> None:
    """A zipped OTLP/JSON request yields the run its protobuf form would."""
    span = {
        "name": "session.created",
        "traceId": TRACE_ID,
        "spanId": f"{1:016x}",
        "startTimeUnixNano": str(START_NS),
        "endTimeUnixNano": str(START_NS + SECOND),
        "status": {"code": 2},
        "attributes": [
            {"key": "langsmith.metadata.thread_id", "value": {"stringValue": "t-1"}},
            {"key": "langsmith.metadata.turn", "value": {"intValue": "3"}},
            {"key": "list", "value": {"arrayValue": {"values": [{"doubleValue": 1.5}]}}},
            {
                "key": "map",
                "value": {"kvlistValue": {"values": [{"key": "a", "value": {"boolValue": True}}]}},
            },
        ],
        "events": [
            {
                "name": "exception",
                "timeUnixNano": str(START_NS),
                "attributes": [{"key": "exception.message", "value": {"stringValue": "no"}}],
            }
        ],
    }
    request = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    headers = {**HEADERS, "Content-Type": "application/json", "Content-Encoding": "gzip"}
    body = gzip.compress(json.dumps(request).encode())
    url = f"{sandbox.url}/api/v1/otel/v1/traces"
    assert requests.post(url, data=body, headers=headers, timeout=10).content == b"{}"
    found = sandbox.conversation(run_id(1))
    assert found is not None
    assert (found["root"]["metadata"]["turn"], found["root"]["error"]) == (3, "no")
    assert {"list": [1.5], "map": {"a": True}}.items() <= found["root"]["attributes"].items()
    assert sandbox.violations() == []


def test_inline_attachment(sandbox: Sandbox) -> None:
    """A recording inside langsmith.attachments becomes the run's attachment."""
    listed = [
        {
            "name": "conversation",
            "mime_type": "audio/wav",
            "content": base64.b64encode(wav()).decode(),
        }
    ]
    run = only_run(sandbox, S(attributes={"langsmith.attachments": json.dumps(listed)}))
    assert [{"name": "conversation", "mime": "audio/wav", "size": len(wav())}] == run["attachments"]
    recording = sandbox.recording(run_id(1))
    assert recording is not None
    assert wav() == recording.read_bytes()
    assert sandbox.violations() == []


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "application/x-protobuf"}, b"\xff\xff\xff", 400),
        ({"Content-Type": "application/json"}, b"[1]", 400),
        (
            {"Content-Type": "application/json"},
            b'{"resourceSpans": [{"scopeSpans": [{"spans": [{}]}]}]}',
            400,
        ),
        ({"Content-Type": "text/plain"}, b"", 415),
        ({"Content-Type": "application/json", "Content-Encoding": "zstd"}, b"{}", 415),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, b"{}", 400),
    ],
)
def test_refused_requests(
    headers: dict[str, str], body: bytes, status: int, sandbox: Sandbox
) -> None:
    """A request that cannot be read is refused with the status that says why."""
    url = f"{sandbox.url}/otel/v1/traces"
    answer = requests.post(url, data=body, headers={**HEADERS, **headers}, timeout=10)
    assert status == answer.status_code
