"""Maps a span's attributes to the fields of a LangSmith run, driven by tables.

The attribute names are those of https://docs.langchain.com/langsmith/trace-with-opentelemetry.
Where that page leaves the precedence open, LangSmith's public converter decides:
https://github.com/langchain-ai/langsmith-collector-proxy (``otel_converter.go``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from otel_realtime.sandbox import json_in
from otel_realtime.sandbox.model import (
    BY_OTLP,
    RUN_TYPES,
    Attributes,
    JsonObject,
    Run,
    fingerprint,
)
from otel_realtime.sandbox.otlp import Span
from otel_realtime.sandbox.times import as_uuid, padded_run_id

#: The project of a run that names none.
DEFAULT_PROJECT: Final = "default"
METADATA: Final = "langsmith.metadata."
USAGE_METADATA: Final = "langsmith.usage_metadata"
ATTACHMENTS: Final = "langsmith.attachments"
TOOL_NAME: Final = "gen_ai.tool.name"

_SPAN_KINDS: Final = {
    **{kind: kind for kind in ("tool", "llm", "retriever", "embedding")},
    **dict.fromkeys(("workflow", "task", "agent", "chain"), "chain"),
}
#: The first attribute present decides: (attribute, value -> run type, run type of other values).
RUN_TYPE_SOURCES: Final[tuple[tuple[str, Mapping[str, str], str], ...]] = (
    ("langsmith.span.kind", {kind: kind for kind in RUN_TYPES}, "chain"),
    (
        "gen_ai.operation.name",
        {"chat": "llm", "completion": "llm", "embedding": "embedding"},
        "chain",
    ),
    ("llm.request.type", {"embedding": "embedding"}, "llm"),
    ("openinference.span.kind", _SPAN_KINDS, "chain"),
    ("traceloop.span.kind", _SPAN_KINDS, "chain"),
)
#: Usage field -> attributes, in the converter's order: the deprecated names come first.
USAGE_SOURCES: Final[Mapping[str, tuple[str, ...]]] = {
    "input_tokens": (
        "gen_ai.usage.prompt_tokens",
        "gen_ai.usage.input_tokens",
        "llm.token_count.prompt",
    ),
    "output_tokens": (
        "gen_ai.usage.completion_tokens",
        "gen_ai.usage.output_tokens",
        "llm.token_count.completion",
    ),
    "total_tokens": (
        "gen_ai.usage.total_tokens",
        "llm.usage.total_tokens",
        "llm.token_count.total",
    ),
    "reasoning_tokens": ("gen_ai.usage.details.reasoning_tokens",),
}
#: Metadata key -> attributes; the first one present wins.
_METADATA_SOURCES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("ls_provider", ("gen_ai.system", "gen_ai.provider.name", "llm.system")),
    (
        "ls_model_name",
        ("gen_ai.request.model", "gen_ai.response.model", "model", "llm.model_name"),
    ),
)
#: Attribute -> key of ``extra.invocation_params``.
_INVOCATION_PARAMS: Final[Mapping[str, str]] = {
    TOOL_NAME: "tool_name",
    "tools": "tools",
    "tool_arguments": "tool_arguments",
    **{
        f"gen_ai.request.{name}": name
        for name in (
            *("model", "temperature", "top_p", "max_tokens", "frequency_penalty"),
            *("presence_penalty", "seed", "top_k", "encoding_formats"),
        )
    },
    "gen_ai.request.stop_sequences": "stop",
}
#: Span event -> the field its message goes to; LangSmith shows tool results as outputs.
_MESSAGE_EVENTS: Final[Mapping[str, str]] = {
    "gen_ai.system.message": "inputs",
    "gen_ai.user.message": "inputs",
    "gen_ai.assistant.message": "outputs",
    "gen_ai.tool.message": "outputs",
}


def to_run(span: Span, header_project: str) -> Run:
    """Return the run that LangSmith makes of a span.

    Args:
        span: the received span.
        header_project: the request's project, used unless the span names its own.
    """
    attributes = span.attributes
    explicit_id = as_uuid(string_attribute(attributes, "langsmith.span.id"))
    parent_id = as_uuid(string_attribute(attributes, "langsmith.span.parent_id"))
    trace_id = as_uuid(string_attribute(attributes, "langsmith.trace.id"))
    if attributes.get("langsmith.is_root") is True:
        parent_id = None
    elif parent_id is None and span.parent_id:
        parent_id = padded_run_id(span.parent_id)
    run_id = explicit_id or padded_run_id(span.span_id)
    return Run(
        id=run_id,
        name=_name(span),
        run_type=run_type(attributes),
        delivered_by=BY_OTLP,
        project=string_attribute(attributes, "langsmith.trace.session_name") or header_project,
        # The trace id of a root is its run id, not the OTel trace id.
        trace_id=trace_id or (None if parent_id else run_id),
        parent_id=parent_id,
        dotted_order=string_attribute(attributes, "langsmith.span.dotted_order"),
        start_ns=span.start_ns,
        end_ns=span.end_ns,
        inputs=_payload(span, "inputs", _INPUT_SOURCES),
        outputs=_payload(span, "outputs", _OUTPUT_SOURCES),
        metadata=_metadata(span),
        extra=_extra(attributes),
        tags=_tags(attributes),
        error=_error(span),
        usage=usage(attributes),
        span_id=span.span_id,
        otel_trace_id=span.trace_id,
        scope=span.scope,
        attributes=attributes,
        events=tuple(
            {"name": e.name, "time_ns": e.time_ns, "attributes": e.attributes} for e in span.events
        ),
        fingerprint=_fingerprint(span),
    )


def string_attribute(attributes: Attributes, key: str) -> str | None:
    """Return a non-empty string attribute; LangSmith ignores other types for its own names."""
    value = attributes.get(key)
    return value if isinstance(value, str) and value else None


def parse_json(value: object) -> Any:
    """Return the parsed JSON of a string, or None if ``value`` is not valid JSON text."""
    if not isinstance(value, str):
        return None
    try:
        return json_in.read(value)
    except ValueError:
        return None


def declared_run_type(attributes: Attributes) -> str:
    """Return the run type that the span's kind attributes declare, ignoring tool names."""
    for key, run_types, default in RUN_TYPE_SOURCES:
        value = string_attribute(attributes, key)
        if value is not None:
            return run_types.get(value.lower(), default)
    return "chain"


def run_type(attributes: Attributes) -> str:
    """Return the run type; a tool name takes precedence over every declared kind."""
    if attributes.get(TOOL_NAME) is not None:
        return "tool"
    if "llm.prompt_template.variables" in attributes:
        return "prompt"
    return declared_run_type(attributes)


def usage(attributes: Attributes) -> JsonObject | None:
    """Return the usage that the span reports, or None if it reports none.

    ``langsmith.usage_metadata`` replaces the ``gen_ai.usage.*`` attributes.
    """
    usage_metadata = parse_json(attributes.get(USAGE_METADATA))
    if isinstance(usage_metadata, dict):
        return usage_metadata
    counts: JsonObject = {
        field: attributes[present[0]]
        for field, candidates in USAGE_SOURCES.items()
        if (present := [key for key in candidates if attributes.get(key) is not None])
    }
    if not counts:
        return None
    input_and_output = (counts.get("input_tokens", 0), counts.get("output_tokens", 0))
    if "total_tokens" not in counts and all(type(count) is int for count in input_and_output):
        counts["total_tokens"] = sum(input_and_output)
    return counts


def _name(span: Span) -> str:
    attributes = span.attributes
    name = string_attribute(attributes, "langsmith.trace.name") or string_attribute(
        attributes, "traceloop.entity.name"
    )
    if name is None and str(attributes.get("openinference.span.kind", "")).upper() == "TOOL":
        name = string_attribute(attributes, "tool.name")
    return name or span.name


def _tags(attributes: Attributes) -> tuple[str, ...]:
    joined = string_attribute(attributes, "langsmith.span.tags") or ""
    return tuple(tag for tag in (part.strip() for part in joined.split(",")) if tag)


def _metadata(span: Span) -> JsonObject:
    attributes = span.attributes
    metadata: JsonObject = dict(span.resource)
    metadata["OTEL_TRACE_ID"] = span.trace_id
    metadata["OTEL_SPAN_ID"] = span.span_id
    for name, keys in _METADATA_SOURCES:
        for key in keys:
            if attributes.get(key) is not None:
                metadata[name] = attributes[key]
                break
    merged = parse_json(attributes.get("metadata"))
    if isinstance(merged, dict):
        metadata.update(merged)
    for prefix in ("traceloop.association.properties.", METADATA):
        metadata.update(
            {k[len(prefix) :]: v for k, v in attributes.items() if k.startswith(prefix)}
        )
    return metadata


def _extra(attributes: Attributes) -> JsonObject:
    params = {
        name: attributes[key] for key, name in _INVOCATION_PARAMS.items() if key in attributes
    }
    for key in ("invocation_params", "llm.invocation_parameters"):
        parsed = parse_json(attributes.get(key))
        if isinstance(parsed, dict):
            params.update(parsed)
    return {"invocation_params": params} if params else {}


def _error(span: Span) -> str | None:
    # Only the first exception event makes an error; the span's ERROR status alone does not.
    for event in span.events:
        if event.name == "exception":
            message = event.attributes.get("exception.message")
            message = message or event.attributes.get("exception.type") or "exception"
            stacktrace = event.attributes.get("exception.stacktrace")
            return f"{message}\n\nStacktrace:\n{stacktrace}" if stacktrace else str(message)
    return None


def _fingerprint(span: Span) -> str:
    events = [(e.name, e.time_ns, e.attributes) for e in span.events]
    fields = (span.name, span.trace_id, span.span_id, span.parent_id, span.start_ns, span.end_ns)
    return fingerprint((fields, dict(span.attributes), events, span.status_code))


# --- inputs and outputs --------------------------------------------------------------------------

#: Reads the inputs or outputs of a run from one attribute; None if the attribute is absent.
Source = Callable[[Attributes], JsonObject | None]


def _payload(span: Span, side: str, sources: tuple[Source, ...]) -> JsonObject | None:
    # The converter reads span events before attributes.
    from_events = _event_payload(span, side)
    if from_events is not None:
        return from_events
    for source in sources:
        payload = source(span.attributes)
        if payload is not None:
            return payload
    return None


def _event_payload(span: Span, side: str) -> JsonObject | None:
    content = {"inputs": "prompt", "outputs": "completion"}[side]
    messages: list[JsonObject] = []
    for event in span.events:
        if event.name == f"gen_ai.content.{content}":
            return _as_object(event.attributes.get(f"gen_ai.{content}"), "input")
        if event.name == "gen_ai.choice" and side == "outputs":
            return {"choices": [dict(event.attributes)]}
        if _MESSAGE_EVENTS.get(event.name) == side:
            messages.append({"role": event.name.split(".")[1], **event.attributes})
    return {"messages": messages} if messages else None


def _as_object(value: object, fallback_key: str) -> JsonObject | None:
    """Return a JSON object unchanged and any other value under ``fallback_key``."""
    if value is None:
        return None
    parsed = parse_json(value)
    return parsed if isinstance(parsed, dict) else {fallback_key: value}


def _single(key: str, fallback_key: str) -> Source:
    return lambda attributes: _as_object(attributes.get(key), fallback_key)


def _indexed(prefix: str) -> Source:
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.(?:message\.)?(role|content)")

    def read(attributes: Attributes) -> JsonObject | None:
        messages: dict[int, JsonObject] = {}
        for key, value in attributes.items():
            if key.startswith(prefix) and (match := pattern.fullmatch(key)):
                messages.setdefault(int(match[1]), {})[match[2]] = value
        return {"messages": [messages[n] for n in sorted(messages)]} if messages else None

    return read


def _message_list(key: str) -> Source:
    def read(attributes: Attributes) -> JsonObject | None:
        parsed = parse_json(attributes.get(key))
        return {"messages": parsed} if isinstance(parsed, list) else None

    return read


#: In order of precedence.
_INPUT_SOURCES: Final[tuple[Source, ...]] = (
    _indexed("gen_ai.prompt"),
    _indexed("llm.input_messages"),
    _single("input.value", "input"),
    _single("traceloop.entity.input", "input"),
    _single("gen_ai.prompt", "input"),
    _single("prompt", "input"),
    _message_list("gen_ai.input.messages"),
)
_OUTPUT_SOURCES: Final[tuple[Source, ...]] = (
    _indexed("gen_ai.completion"),
    _indexed("llm.output_messages"),
    _single("output.value", "output"),
    _single("traceloop.entity.output", "output"),
    _single("gen_ai.completion", "text"),
    _message_list("gen_ai.output.messages"),
)
