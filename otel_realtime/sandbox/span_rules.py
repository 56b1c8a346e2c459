"""Rules on a span as it was received, before it became a run."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from otel_realtime.sandbox.mapping import (
    ATTACHMENTS,
    METADATA,
    TOOL_NAME,
    USAGE_METADATA,
    parse,
    stated_type,
)
from otel_realtime.sandbox.model import RUN_TYPES, Finding, Run
from otel_realtime.sandbox.otlp import STATUS_ERROR, Span
from otel_realtime.sandbox.times import as_uuid

LEG: Final = "otel_realtime.langsmith.leg"
LEGS: Final = frozenset({"direct", "collector"})
OPERATION: Final = "gen_ai.operation.name"
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
# Always JSON; the second group may be a plain text, but what looks like JSON must be JSON.
_JSON_ATTRIBUTES: Final = (
    USAGE_METADATA,
    ATTACHMENTS,
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "metadata",
)
_MAYBE_JSON_ATTRIBUTES: Final = (
    "gen_ai.prompt",
    "gen_ai.completion",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "input.value",
    "output.value",
)
_DUPLICATES: Final = (
    ("gen_ai.prompt", "gen_ai.input.messages"),
    ("gen_ai.completion", "gen_ai.output.messages"),
)
# 256 characters of base64 are under 4 ms of PCM16 at 24 kHz; no word or id is as long.
_BASE64 = re.compile(r"[A-Za-z0-9+/]{256,}")


def looks_like_audio(text: str) -> bool:
    """Tell whether a text holds a long run of base64 (mixed case, so no hex and no filler)."""
    return any(
        any(c.islower() for c in run) and any(c.isupper() for c in run)
        for run in (match[0] for match in _BASE64.finditer(text))
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
    for name in span.float_times:
        yield f"{name} is not an integer"


def _tool_name(span: Span, run: Run) -> Iterator[str]:
    attributes = span.attributes
    if attributes.get(TOOL_NAME) is None:
        return
    stated = stated_type(attributes)
    # The conventions' own tool operation has no run type in LangSmith's table: it is a tool.
    if "langsmith.span.kind" not in attributes and attributes.get(OPERATION) == "execute_tool":
        stated = "tool"
    if stated != "tool":
        yield f"{span.name!r} is a {stated} span with gen_ai.tool.name"


def _duplicate_messages(span: Span, run: Run) -> Iterator[str]:
    for kept, repeated in _DUPLICATES:
        if kept in span.attributes and repeated in span.attributes:
            yield f"{span.name!r} has both {kept} and {repeated}"


def _error_without_exception(span: Span, run: Run) -> Iterator[str]:
    if span.status_code == STATUS_ERROR and run.error is None:
        yield f"{span.name!r} has status ERROR and no exception event"


def _exception_outside(span: Span, run: Run) -> Iterator[str]:
    for event in span.events:
        if event.name == "exception" and not span.start_ns <= event.time_ns <= span.end_ns:
            yield f"{span.name!r}: an exception lies outside the span"


def _bad_json(span: Span, run: Run) -> Iterator[str]:
    for key in _JSON_ATTRIBUTES + _MAYBE_JSON_ATTRIBUTES:
        value = span.attributes.get(key)
        if not isinstance(value, str) or parse(value) is not None or value.strip() == "null":
            continue
        if key in _JSON_ATTRIBUTES or value.lstrip()[:1] in ("{", "["):
            yield f"{key} does not parse: {value[:80]!r}"


def _holes(value: Any, path: str) -> Iterator[str]:
    if value is None:
        yield f"{path} has no value"
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{path} is {value}"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _holes(item, f"{path}[{index}]")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _holes(item, f"{path}.{key}")


def _bad_value(span: Span, run: Run) -> Iterator[str]:
    sources = [span.attributes, span.resource, *(event.attributes for event in span.events)]
    for source in sources:
        for key, value in source.items():
            yield from _holes(value, key)
            if not key:
                yield "an attribute has no name"


def _audio(span: Span, run: Run) -> Iterator[str]:
    for key, value in span.attributes.items():
        if key != ATTACHMENTS and isinstance(value, str) and looks_like_audio(value):
            yield f"{key} holds what looks like base64 audio"


def _wrong_leg(span: Span, run: Run) -> Iterator[str]:
    leg = span.attributes.get(LEG)
    if leg is not None and leg not in LEGS:
        yield f"{span.name!r} of leg {leg!r} arrived"


def _marked_root(span: Span, run: Run) -> Iterator[str]:
    if ROOT_MARKER in span.attributes:
        yield f"{span.name!r} is marked {span.attributes[ROOT_MARKER]!r} and came by OTLP"


def _metadata_values(span: Span, run: Run) -> Iterator[str]:
    for key, value in span.attributes.items():
        if key.startswith(METADATA) and isinstance(value, (list, Mapping)):
            yield f"{key} is no scalar; write it as JSON text"


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


def check_span(span: Span, run: Run) -> Iterator[Finding]:
    """Apply every rule on the raw span; ``run`` is what it became."""
    for kind, rule in SPAN_RULES:
        for message in rule(span, run):
            yield Finding(
                kind=kind,
                message=message,
                run_id=run.id,
                span_id=span.span_id,
                trace_id=run.trace_id or "",
            )
