"""Rules on a span as it was received, before it was mapped to a run.

Attribute names and types: https://docs.langchain.com/langsmith/trace-with-opentelemetry
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from otel_realtime.sandbox.contract import foreign_scope
from otel_realtime.sandbox.mapping import (
    ATTACHMENTS,
    METADATA,
    TOOL_NAME,
    USAGE_METADATA,
    declared_run_type,
    parse_json,
)
from otel_realtime.sandbox.model import RUN_TYPES, Run, Violation
from otel_realtime.sandbox.otlp import STATUS_ERROR, Span
from otel_realtime.sandbox.times import as_uuid

#: This package marks each span with the route it takes to LangSmith.
LEG: Final = "otel_realtime.langsmith.leg"
#: The routes that end at LangSmith; a span of any other leg must be filtered out on the way.
LEGS: Final = frozenset({"direct", "collector"})
OPERATION: Final = "gen_ai.operation.name"
#: Marks the root span of a conversation whose root run is delivered by the runs API.
ROOT_MARKER: Final = "otel_realtime.langsmith.root"

_ID_ATTRIBUTES: Final = ("langsmith.trace.id", "langsmith.span.id", "langsmith.span.parent_id")
_TEXT_ATTRIBUTES: Final = (
    *_ID_ATTRIBUTES,
    "langsmith.span.dotted_order",
    "langsmith.span.kind",
    "langsmith.span.tags",
    "langsmith.trace.name",
    "langsmith.trace.session_name",
    USAGE_METADATA,
    ATTACHMENTS,
)
#: Attributes that are always JSON.
_JSON_ATTRIBUTES: Final = (
    USAGE_METADATA,
    ATTACHMENTS,
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "metadata",
)
#: Attributes that hold JSON or plain text; a value that looks like JSON must be valid JSON.
_MAYBE_JSON_ATTRIBUTES: Final = (
    "gen_ai.prompt",
    "gen_ai.completion",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "input.value",
    "output.value",
)
#: Pairs of attributes that map to the same field, so that messages would be shown twice.
_DUPLICATES: Final = (
    ("gen_ai.prompt", "gen_ai.input.messages"),
    ("gen_ai.completion", "gen_ai.output.messages"),
)
# 256 characters of base64 are 4 ms of PCM16 at 24 kHz; no word or id is that long.
_BASE64 = re.compile(r"[A-Za-z0-9+/]{256,}")


def looks_like_audio(text: str) -> bool:
    """Return whether a text holds a long stretch of base64.

    Mixed case is required, which excludes hex digests and filler.
    """
    return any(
        any(c.islower() for c in stretch) and any(c.isupper() for c in stretch)
        for stretch in (match[0] for match in _BASE64.finditer(text))
    )


def _wrong_type(span: Span, run: Run) -> Iterator[str]:
    for key in _TEXT_ATTRIBUTES:
        value = span.attributes.get(key)
        if value is not None and not isinstance(value, str):
            yield f"{key} is {type(value).__name__}, not a string"


def _bad_id(span: Span, run: Run) -> Iterator[str]:
    for key in _ID_ATTRIBUTES:
        value = span.attributes.get(key)
        if isinstance(value, str) and as_uuid(value) is None:
            yield f"{key} is {value!r}"


def _bad_kind(span: Span, run: Run) -> Iterator[str]:
    kind = span.attributes.get("langsmith.span.kind")
    if isinstance(kind, str) and kind.lower() not in RUN_TYPES:
        yield f"langsmith.span.kind is {kind!r}"


def _float_timestamp(span: Span, run: Run) -> Iterator[str]:
    for name in span.non_integer_times:
        yield f"{name} is not an integer"


def _tool_name(span: Span, run: Run) -> Iterator[str]:
    attributes = span.attributes
    if attributes.get(TOOL_NAME) is None:
        return
    declared = declared_run_type(attributes)
    # The semantic conventions' own operation for tools has no entry in LangSmith's table, so the
    # tool name is what makes such a span a tool run:
    # https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/#execute-tool-span
    if "langsmith.span.kind" not in attributes and attributes.get(OPERATION) == "execute_tool":
        declared = "tool"
    if declared != "tool":
        yield f"{span.name!r} is a {declared} span with gen_ai.tool.name"


def _duplicate_messages(span: Span, run: Run) -> Iterator[str]:
    for primary, duplicate in _DUPLICATES:
        if primary in span.attributes and duplicate in span.attributes:
            yield f"{span.name!r} has both {primary} and {duplicate}"


def _error_without_exception(span: Span, run: Run) -> Iterator[str]:
    if span.status_code == STATUS_ERROR and run.error is None:
        yield f"{span.name!r} has status ERROR but no exception event"


def _exception_outside(span: Span, run: Run) -> Iterator[str]:
    for event in span.events:
        if event.name == "exception" and not span.start_ns <= event.time_ns <= span.end_ns:
            yield f"{span.name!r} has an exception event outside its start and end"


def _bad_json(span: Span, run: Run) -> Iterator[str]:
    for key in _JSON_ATTRIBUTES + _MAYBE_JSON_ATTRIBUTES:
        value = span.attributes.get(key)
        # parse_json also returns None for the valid text "null".
        if not isinstance(value, str) or parse_json(value) is not None or value.strip() == "null":
            continue
        if key in _JSON_ATTRIBUTES or value.lstrip()[:1] in ("{", "["):
            yield f"{key} is not valid JSON: {value[:80]!r}"


def _invalid_values(value: object, path: str) -> Iterator[str]:
    if value is None:
        yield f"{path} has no value"
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{path} is {value}"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _invalid_values(item, f"{path}[{index}]")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _invalid_values(item, f"{path}.{key}")


def _bad_value(span: Span, run: Run) -> Iterator[str]:
    sources = [span.attributes, span.resource, *(event.attributes for event in span.events)]
    for source in sources:
        for key, value in source.items():
            yield from _invalid_values(value, key)
            if not key:
                yield "an attribute has an empty name"


def _audio(span: Span, run: Run) -> Iterator[str]:
    for key, value in span.attributes.items():
        if key != ATTACHMENTS and isinstance(value, str) and looks_like_audio(value):
            yield f"{key} holds what looks like base64 audio"


def _wrong_leg(span: Span, run: Run) -> Iterator[str]:
    leg = span.attributes.get(LEG)
    if leg is not None and leg not in LEGS:
        yield f"{span.name!r} arrived although its leg is {leg!r}"


def _marked_root(span: Span, run: Run) -> Iterator[str]:
    if ROOT_MARKER in span.attributes:
        marker = span.attributes[ROOT_MARKER]
        yield f"{span.name!r} arrived by OTLP although {ROOT_MARKER} is {marker!r}"


def _metadata_values(span: Span, run: Run) -> Iterator[str]:
    for key, value in span.attributes.items():
        if key.startswith(METADATA) and isinstance(value, (list, Mapping)):
            yield f"{key} is not a scalar; send it as JSON text"


SPAN_RULES: Final[tuple[tuple[str, Callable[[Span, Run], Iterator[str]]], ...]] = (
    ("wrong_type", _wrong_type),
    ("wrong_type", _metadata_values),
    ("bad_id", _bad_id),
    ("bad_kind", _bad_kind),
    ("float_timestamp", _float_timestamp),
    ("tool_name_on_non_tool", _tool_name),
    ("duplicate_messages", _duplicate_messages),
    ("error_without_exception", _error_without_exception),
    ("exception_outside_span", _exception_outside),
    ("bad_json", _bad_json),
    ("bad_value", _bad_value),
    ("audio_in_text", _audio),
    ("wrong_leg", _wrong_leg),
    ("marked_root", _marked_root),
)


def check_span(span: Span, run: Run) -> Iterator[Violation]:
    """Apply every rule to a raw span.

    Args:
        span: the span as received.
        run: the run it was mapped to.
    """
    for kind, rule in SPAN_RULES:
        for message in rule(span, run):
            yield Violation(
                kind=kind,
                message=message,
                run_id=run.id,
                span_id=span.span_id,
                trace_id=run.trace_id or "",
                scope=foreign_scope(kind, span.scope),
            )
