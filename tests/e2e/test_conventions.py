"""What we write under the GenAI convention's names is what it says they hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan

import otel_realtime
from otel_realtime import attributes
from tests.support.cases import CASES, START_NS, rows_of
from tests.support.genai_conventions import SCHEMAS, STATUS
from tests.support.streams import CALL, all_streams, asked, created, done, received, said, stream
from tests.support.traces import Traces, facts, parent_name

ODD: tuple[Any, ...] = (
    received("session.created", session={"id": "s", "reasoning": {"effort": "low"}}),
    received(
        "conversation.item.added",
        item={
            "id": "u",
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_audio", "transcript": None},
                {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 400},
                {"type": "input_image", "file_id": "file_1"},
            ],
        },
    ),
    (
        True,
        {
            "type": "response.create",
            "response": {
                "conversation": "none",
                "instructions": "Judge.",
                "input": [said("Is this rude?")],
                "tools": [{"type": "function", "name": "judge", "parameters": {}}],
            },
        },
    ),
    created("r", conversation_id=None),
    done(
        "r",
        said("Wait.", id="a", role="assistant"),
        asked("b", "call_1", arguments="not JSON"),
        asked("c", "call_2", arguments='{"deep": {"er": [1]}}'),
        conversation_id=None,
        status="incomplete",
    ),
)
"""Parts of every kind that a client may send: images, no transcript, arguments that are no object."""


def calls() -> dict[str, list[tuple[bool, dict[str, Any]]]]:
    """Recorded streams, our own cases, and odd parts, by name."""
    found = {name: [(sent, event) for sent, event in stream(name)] for name in all_streams()}
    for path in sorted(CASES.glob("*.jsonl")):
        rows = rows_of(path.stem)
        found[path.stem] = [(row["dir"] == "sent", row["event"]) for row in rows]
    return {**found, "a small call": list(CALL), "odd parts": list(ODD)}


NAMES = [*all_streams(), *sorted(path.stem for path in CASES.glob("*.jsonl")), "a small call"]
NAMES.append("odd parts")


@pytest.fixture(scope="module")
def streams() -> dict[str, list[tuple[bool, dict[str, Any]]]]:
    """Read once."""
    return calls()


def spans_of(rows: list[tuple[bool, dict[str, Any]]], **given: Any) -> list[ReadableSpan]:
    """The spans of a conversation of these rows, a tenth of a second apart."""
    traces = Traces()
    with otel_realtime.conversation(tracer_provider=traces.provider, **given) as call:
        for index, (is_sent, event) in enumerate(rows):
            feed = call.sent if is_sent else call.received
            feed(event, at_ns=START_NS + index * 100_000_000)
    return traces.spans


def broken(span: ReadableSpan) -> Iterator[str]:
    """Where a span's attributes break a schema."""
    for name, schema in SCHEMAS.items():
        text = facts(span).get(name)
        if text is not None:
            for error in schema.iter_errors(json.loads(text)):
                yield f"{span.name}: {name}: {error.json_path}: {error.message}"


def passed(span: ReadableSpan) -> Iterator[Any]:
    """Arguments and results, in messages and on a tool's own span."""
    for name in ("gen_ai.input.messages", "gen_ai.output.messages"):
        for message in json.loads(facts(span).get(name, "[]")):
            for part in message["parts"]:
                yield part.get("arguments")
                yield part.get("response")
    for name in ("gen_ai.tool.call.arguments", "gen_ai.tool.call.result"):
        yield json.loads(facts(span).get(name, "null"))


def is_object_as_text(value: Any) -> bool:
    """Whether a value is a JSON object that was left as text."""
    try:
        return isinstance(value, str) and isinstance(json.loads(value), dict)
    except ValueError:  # half a call is text
        return False


@pytest.mark.parametrize("name", NAMES)
def test_every_message_follows_the_published_schema(name: str, streams: Any) -> None:
    """Roles and parts of every call; arguments and results that are objects stand as such."""
    spans = spans_of(streams[name])
    assert [] == [problem for span in spans for problem in broken(span)]
    assert [] == [value for span in spans for value in passed(span) if is_object_as_text(value)]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_the_convention_has_a_status(name: str, streams: Any) -> None:
    """And each model call says where it went, in which session, and how it ended."""
    spans = spans_of(streams[name], thread_id="mine")
    used = {key for span in spans for key in facts(span) if key.startswith("gen_ai.")}
    assert set() == used - STATUS.keys()
    session = next(
        (
            event["session"]["id"]
            for is_sent, event in streams[name]
            if not is_sent and (event.get("session") or {}).get("id")
        ),
        None,
    )
    for span in spans:
        if span.name.startswith(("chat ", "transcribe ")):
            assert ("mine", session) == (
                facts(span)["gen_ai.conversation.id"],
                facts(span).get("gen_ai.realtime_session.id"),
            )
            assert "realtime_session" == parent_name(span, spans)


def test_every_constant_of_the_convention_has_a_status() -> None:
    """Of attributes and of metrics."""
    ours = {
        value
        for value in vars(attributes).values()
        if isinstance(value, str) and value.startswith("gen_ai.") and value != attributes.USAGE
    }
    assert set() == ours - STATUS.keys()


def test_every_metric_of_the_convention_has_a_status() -> None:
    """And its attributes as well."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    otel_realtime.instrument(meter_provider=provider)
    spans_of(list(CALL))
    data = reader.get_metrics_data()
    assert data is not None
    metrics = [
        metric
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]
    used = {metric.name for metric in metrics}
    for metric in metrics:
        for point in metric.data.data_points:
            used |= set(point.attributes or {})
    assert "gen_ai.client.token.usage" in used
    assert set() == {name for name in used if name.startswith("gen_ai.")} - STATUS.keys()
