"""Other instrumentations' spans on our way to LangSmith: no hidden side, and no credential."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.langsmith.encoding import prepare
from otel_realtime.langsmith.hiding import INPUT, OUTPUT, hidden_sides, sides_of
from otel_realtime.langsmith.stamping import TraceStamp

START = 1_700_000_000 * 10**9
BOTH = {INPUT, OUTPUT}
#: Attribute -> its side, as the conventions and libraries name them.
SIDES: dict[str, set[str]] = {
    "gen_ai.prompt": {INPUT},
    "gen_ai.prompt.0.content": {INPUT},
    "gen_ai.input.messages": {INPUT},
    "gen_ai.system_instructions": {INPUT},
    "gen_ai.tool.definitions": {INPUT},
    "gen_ai.tool.call.arguments": {INPUT},
    "input.value": {INPUT},
    "llm.input_messages.0.message.content": {INPUT},
    "llm.prompts": {INPUT},
    "llm.request.functions.0.parameters": {INPUT},
    "traceloop.entity.input": {INPUT},
    "langsmith.span.inputs": {INPUT},
    "prompt": {INPUT},
    "tool_arguments": {INPUT},
    "ai.toolCall.args": {INPUT},
    "lk.instructions": {INPUT},
    "request_data": {INPUT},
    "gen_ai.completion": {OUTPUT},
    "gen_ai.completion.0.content": {OUTPUT},
    "gen_ai.output.messages": {OUTPUT},
    "gen_ai.tool.call.result": {OUTPUT},
    "output.value": {OUTPUT},
    "llm.output_messages.0.message.content": {OUTPUT},
    "traceloop.entity.output": {OUTPUT},
    "langsmith.span.outputs": {OUTPUT},
    "langsmith.metadata.final_output": {OUTPUT},
    "gcp.vertex.agent.llm_response": {OUTPUT},
    "lk.response.text": {OUTPUT},
    "retrieval.documents.0.document.content": {OUTPUT},
    "pydantic_ai.all_messages": BOTH,
    "events": BOTH,
    "lk.user_transcript": BOTH,
    "langsmith.attachments": BOTH,
}
#: What is neither, and stays.
NEITHER = (
    "gen_ai.operation.name", "gen_ai.request.model", "gen_ai.response.model", "gen_ai.response.id",
    "gen_ai.response.finish_reasons", "gen_ai.tool.name", "gen_ai.tool.call.id",
    "gen_ai.output.type", "langsmith.usage_metadata", "langsmith.span.kind", "langsmith.metadata.thread_id",
    "http.request.method", "http.response.status_code", "url.full", "server.address", "error.type",
    "openinference.span.kind", "code.function.name", "gen_ai.conversation.id",
)  # fmt: skip


def hidden_by(*, inputs: bool, outputs: bool) -> frozenset[str]:
    """The hidden sides."""
    return hidden_sides(ContentPolicy(inputs=not inputs, outputs=not outputs))


def prepared(hidden: frozenset[str] = frozenset(), **given: Any) -> ReadableSpan:
    """A span of another instrumentation as LangSmith gets it."""
    trace = TraceStamp(
        root_span_id=1,
        trace_id=9,
        start_ns=START,
        thread_id="t",
        leg="direct",
        project="voice",
        hidden=hidden,
    )
    span = ReadableSpan(
        name=given.pop("name", "chat gpt"),
        context=SpanContext(9, 2, False, TraceFlags(1)),
        start_time=START,
        end_time=START + 1_000,
        instrumentation_scope=InstrumentationScope("opentelemetry.instrumentation.openai_v2"),
        **given,
    )
    return prepare(span, trace.member(2, START, trace.member(1, START, None)))


@pytest.mark.parametrize("name", SIDES)
def test_a_name_tells_its_side(name: str) -> None:
    """By its words, or from the list of those that have none."""
    assert SIDES[name] == sides_of(name)


@pytest.mark.parametrize("name", NEITHER)
def test_what_is_no_content_is_on_no_side(name: str) -> None:
    """Models, ids, usage, statuses, addresses."""
    assert set() == sides_of(name)


@pytest.mark.parametrize("inputs", [True, False])
@pytest.mark.parametrize("outputs", [True, False])
def test_a_hidden_side_is_emptied(inputs: bool, outputs: bool) -> None:
    """Attributes of every convention; the other side, usage and the rest stay."""
    hidden = hidden_by(inputs=inputs, outputs=outputs)
    rest = dict.fromkeys(NEITHER[:-1], "kept")
    given = {**dict.fromkeys(SIDES, "planted"), **rest, "gen_ai.usage.input_tokens": 5}
    found = dict(prepared(hidden, attributes=given).attributes or {})
    visible = {name for name, sides in SIDES.items() if not sides & hidden}
    for duplicate in ("input.messages", "system_instructions", "tool.definitions"):
        visible.discard(f"gen_ai.{duplicate}")  # LangSmith would show them beside the prompt
    visible.discard("gen_ai.output.messages")
    if inputs:
        visible -= {"gen_ai.prompt"}
    shown = {name for name, value in found.items() if value == "planted"}
    assert visible == shown
    assert ("{}" if outputs else "planted") == found["gen_ai.completion"]
    assert 5 == found["gen_ai.usage.input_tokens"]
    assert {"kept"} == {
        found[name] for name in rest if not name.startswith(("langsmith.", "gen_ai.response.id"))
    }


def test_a_span_without_outputs_gets_none() -> None:
    """An empty object says that there were some."""
    found = prepared(hidden_by(inputs=True, outputs=True), attributes={"a": "b"}).attributes
    assert found is not None
    assert "gen_ai.completion" not in found


EVENTS: tuple[tuple[str, dict[str, Any], set[str]], ...] = (
    ("gen_ai.content.prompt", {"gen_ai.prompt": "planted"}, {INPUT}),
    ("gen_ai.content.completion", {"gen_ai.completion": "planted"}, {OUTPUT}),
    ("gen_ai.user.message", {"content": "planted"}, {INPUT}),
    ("gen_ai.system.message", {"content": "planted"}, {INPUT}),
    ("gen_ai.assistant.message", {"content": "planted"}, BOTH),
    ("gen_ai.tool.message", {"content": "planted", "id": "call_1"}, BOTH),
    ("gen_ai.choice", {"message": "planted"}, {OUTPUT}),
    ("gen_ai.client.inference.operation.details", {"gen_ai.input.messages": "planted"}, {INPUT}),
    ("gen_ai.client.inference.operation.details", {"gen_ai.output.messages": "planted"}, {OUTPUT}),
    ("exception", {"exception.type": "E", "exception.message": "planted"}, BOTH),
    ("exception", {"exception.type": "E", "exception.stacktrace": "planted"}, BOTH),
)


@pytest.mark.parametrize(("name", "attributes", "sides"), EVENTS)
@pytest.mark.parametrize("side", [INPUT, OUTPUT, None])
def test_so_are_events(name: str, attributes: Any, sides: set[str], side: str | None) -> None:
    """Messages, and what an exception quotes; its type stays."""
    copy = prepared(
        hidden_by(inputs=side == INPUT, outputs=side == OUTPUT),
        events=[Event(name, attributes, START)],
        status=Status(StatusCode.ERROR, "planted too") if name == "exception" else Status(),
    )
    told = str([(event.name, event.attributes) for event in copy.events])
    assert (side not in sides) == ("planted" in told)
    assert side is None or "planted" not in str(copy.status.description)
    if name == "exception":
        assert "'exception.type': 'E'" in told


def test_a_failure_without_an_event_quotes_nothing_either() -> None:
    """LangSmith gets an exception event for it, made of the status."""
    failed = Status(StatusCode.ERROR, "planted")
    copy = prepared(hidden_by(inputs=True, outputs=False), status=failed)
    assert "[hidden]" == (copy.events[0].attributes or {})["exception.message"]
    assert "[hidden]" == copy.status.description


def test_credentials_leave_whatever_is_hidden() -> None:
    """Of HTTP clients, database clients and exceptions."""
    copy = prepared(
        name="GET https://api/x?token=hunter2",
        resource=Resource({"api.key": "hunter2", "service.name": "app"}),
        attributes={
            "url.full": "https://me:hunter2@api/x?key=hunter2",
            "http.request.header.authorization": ("Bearer hunter2",),
            "http.request.header.x_api_key": ["hunter2"],
            "db.connection_string": "password=hunter2",
            "gen_ai.prompt": '{"messages": [], "apiKey": "hunter2"}',
            "gen_ai.usage.input_tokens": 5,
            "langsmith.attachments": '[{"name": "a", "content": "Bearer hunter2"}]',
        },
        events=[
            Event("exception", {"exception.message": "Authorization: Bearer hunter2"}, START),
        ],
        status=Status(StatusCode.ERROR, "token=hunter2"),
    )
    found = dict(copy.attributes or {})
    assert ("GET https://api/x", {"api.key": "[secret]", "service.name": "app"}) == (
        copy.name,
        {**copy.resource.attributes},
    )
    assert "hunter2" in found.pop("langsmith.attachments")  # a file: base64, left as it is
    events = [event.attributes for event in copy.events]
    assert "hunter2" not in f"{found} {events} {copy.status.description}"
    assert ("https://[secret]@api/x", 5) == (found["url.full"], found["gen_ai.usage.input_tokens"])


def test_a_resource_without_any_stays_the_same_object() -> None:
    """Spans are grouped by it."""
    resource = Resource({"service.name": "app", "process.command_args": ("run", "--fast")})
    assert all(prepared(resource=resource).resource is resource for _ in range(2))


def test_a_stricter_policy_hides_more() -> None:
    """And never less."""
    trace = TraceStamp(
        root_span_id=1, trace_id=9, start_ns=START, thread_id="t", leg="direct", project="voice"
    )
    seen = []
    for policy in (ContentPolicy(), ContentPolicy(inputs=False), ContentPolicy(outputs=False)):
        trace.restrict(policy)
        seen.append(set(trace.hidden))
    trace.restrict(ContentPolicy())
    assert [set(), {INPUT}, BOTH, BOTH] == [*seen, set(trace.hidden)]
