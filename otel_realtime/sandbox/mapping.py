"""From a span's attributes to the fields of a LangSmith run, by tables.

The names are those of LangSmith's OpenTelemetry page; where it is silent the order of its public
converter counts (langchain-ai/langsmith-collector-proxy, ``otel_converter.go``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from otel_realtime.sandbox.model import BY_OTLP, RUN_TYPES, Run, fingerprint
from otel_realtime.sandbox.otlp import Span
from otel_realtime.sandbox.times import as_uuid, padded

Attributes = Mapping[str, Any]

DEFAULT_PROJECT: Final = "default"
METADATA: Final = "langsmith.metadata."
USAGE_METADATA: Final = "langsmith.usage_metadata"
ATTACHMENTS: Final = "langsmith.attachments"
TOOL_NAME: Final = "gen_ai.tool.name"

_SPAN_KINDS: Final = {
    **{kind: kind for kind in ("tool", "llm", "retriever", "embedding")},
    **dict.fromkeys(("workflow", "task", "agent", "chain"), "chain"),
}
# First attribute present decides: (attribute, value -> run type, run type of any other value).
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
# usage field -> attributes, the first present counts (deprecated names are looked up first).
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
_METADATA_SOURCES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("ls_provider", ("gen_ai.system", "gen_ai.provider.name", "llm.system")),
    (
        "ls_model_name",
        ("gen_ai.request.model", "gen_ai.response.model", "model", "llm.model_name"),
    ),
)
_INVOCATION: Final[Mapping[str, str]] = {
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
_EVENT_SIDES: Final[Mapping[str, str]] = {
    "gen_ai.system.message": "inputs",
    "gen_ai.user.message": "inputs",
    "gen_ai.assistant.message": "outputs",
    "gen_ai.tool.message": "outputs",
}


def to_run(span: Span, header_project: str) -> Run:
    """Map a span to the run LangSmith makes of it; ``header_project`` is the request's project."""
    attributes = span.attributes
    explicit = as_uuid(text(attributes, "langsmith.span.id"))
    parent = as_uuid(text(attributes, "langsmith.span.parent_id"))
    trace_id = as_uuid(text(attributes, "langsmith.trace.id"))
    if attributes.get("langsmith.is_root") is True:
        parent = None
    elif parent is None and span.parent_id:
        parent = padded(span.parent_id)
    run_id = explicit or padded(span.span_id)
    return Run(
        id=run_id,
        name=_name(span),
        run_type=run_type(attributes),
        delivered_by=BY_OTLP,
        project=text(attributes, "langsmith.trace.session_name") or header_project,
        trace_id=trace_id or (None if parent else run_id),
        parent_id=parent,
        dotted_order=text(attributes, "langsmith.span.dotted_order"),
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
        attributes=attributes,
        events=tuple(
            {"name": e.name, "time_ns": e.time_ns, "attributes": e.attributes} for e in span.events
        ),
        fingerprint=_fingerprint(span),
    )


def text(attributes: Attributes, key: str) -> str | None:
    """Return a text attribute; LangSmith ignores any other type of value for its own names."""
    value = attributes.get(key)
    return value if isinstance(value, str) and value else None


def parse(value: object) -> Any:
    """Parse a JSON text; None when it is none."""
    if not isinstance(value, str):
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def stated_type(attributes: Attributes) -> str:
    """Return the run type of the first kind attribute present, leaving tool names aside."""
    for key, table, default in RUN_TYPE_SOURCES:
        value = text(attributes, key)
        if value is not None:
            return table.get(value.lower(), default)
    return "chain"


def run_type(attributes: Attributes) -> str:
    """Return the run type; a tool name wins over everything."""
    if attributes.get(TOOL_NAME) is not None:
        return "tool"
    if "llm.prompt_template.variables" in attributes:
        return "prompt"
    return stated_type(attributes)


def usage(attributes: Attributes) -> Any:
    """Return the usage a span states, as it states it; None when it states none.

    ``langsmith.usage_metadata`` replaces the ``gen_ai.usage.*`` attributes.
    """
    whole = parse(attributes.get(USAGE_METADATA))
    if isinstance(whole, dict):
        return whole
    found = {
        name: attributes[keys[0]]
        for name, candidates in USAGE_SOURCES.items()
        if (keys := [key for key in candidates if attributes.get(key) is not None])
    }
    if not found:
        return None
    counts = (found.get("input_tokens", 0), found.get("output_tokens", 0))
    if "total_tokens" not in found and all(type(count) is int for count in counts):
        found["total_tokens"] = sum(counts)
    return found


def _name(span: Span) -> str:
    attributes = span.attributes
    named = text(attributes, "langsmith.trace.name") or text(attributes, "traceloop.entity.name")
    if named is None and str(attributes.get("openinference.span.kind", "")).upper() == "TOOL":
        named = text(attributes, "tool.name")
    return named or span.name


def _tags(attributes: Attributes) -> tuple[str, ...]:
    joined = text(attributes, "langsmith.span.tags") or ""
    return tuple(tag for tag in (part.strip() for part in joined.split(",")) if tag)


def _metadata(span: Span) -> dict[str, Any]:
    attributes = span.attributes
    metadata: dict[str, Any] = dict(span.resource)
    metadata["OTEL_TRACE_ID"] = span.trace_id
    metadata["OTEL_SPAN_ID"] = span.span_id
    for name, keys in _METADATA_SOURCES:
        for key in keys:
            if attributes.get(key) is not None:
                metadata[name] = attributes[key]
                break
    merged = parse(attributes.get("metadata"))
    if isinstance(merged, dict):
        metadata.update(merged)
    for prefix in ("traceloop.association.properties.", METADATA):
        metadata.update(
            {k[len(prefix) :]: v for k, v in attributes.items() if k.startswith(prefix)}
        )
    return metadata


def _extra(attributes: Attributes) -> dict[str, Any]:
    params = {name: attributes[key] for key, name in _INVOCATION.items() if key in attributes}
    for key in ("invocation_params", "llm.invocation_parameters"):
        given = parse(attributes.get(key))
        if isinstance(given, dict):
            params.update(given)
    return {"invocation_params": params} if params else {}


def _error(span: Span) -> str | None:
    for event in span.events:
        if event.name == "exception":
            message = event.attributes.get("exception.message")
            message = message or event.attributes.get("exception.type") or "exception"
            stack = event.attributes.get("exception.stacktrace")
            return f"{message}\n\nStacktrace:\n{stack}" if stack else str(message)
    return None


def _fingerprint(span: Span) -> str:
    events = [(e.name, e.time_ns, e.attributes) for e in span.events]
    whole = (span.name, span.trace_id, span.span_id, span.parent_id, span.start_ns, span.end_ns)
    return fingerprint((whole, dict(span.attributes), events, span.status_code))


# --- inputs and outputs ----------------------------------------------------------------------

Source = Callable[[Attributes], Any]


def _payload(span: Span, side: str, sources: tuple[Source, ...]) -> Any:
    from_events = _event_payload(span, side)
    if from_events is not None:
        return from_events
    for source in sources:
        found = source(span.attributes)
        if found is not None:
            return found
    return None


def _event_payload(span: Span, side: str) -> Any:
    content = {"inputs": "prompt", "outputs": "completion"}[side]
    messages = []
    for event in span.events:
        if event.name == f"gen_ai.content.{content}":
            return _object(event.attributes.get(f"gen_ai.{content}"), "input")
        if event.name == "gen_ai.choice" and side == "outputs":
            return {"choices": [dict(event.attributes)]}
        if _EVENT_SIDES.get(event.name) == side:
            messages.append({"role": event.name.split(".")[1], **event.attributes})
    return {"messages": messages} if messages else None


def _object(value: Any, otherwise: str) -> Any:
    """A JSON object as it is; anything else below one key."""
    if value is None:
        return None
    parsed = parse(value)
    return parsed if isinstance(parsed, dict) else {otherwise: value}


def _whole(key: str, otherwise: str) -> Source:
    return lambda attributes: _object(attributes.get(key), otherwise)


def _indexed(prefix: str) -> Source:
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.(?:message\.)?(role|content)")

    def read(attributes: Attributes) -> Any:
        found: dict[int, dict[str, Any]] = {}
        for key, value in attributes.items():
            if key.startswith(prefix) and (match := pattern.fullmatch(key)):
                found.setdefault(int(match[1]), {})[match[2]] = value
        return {"messages": [found[n] for n in sorted(found)]} if found else None

    return read


def _message_list(key: str) -> Source:
    def read(attributes: Attributes) -> Any:
        parsed = parse(attributes.get(key))
        return {"messages": parsed} if isinstance(parsed, list) else None

    return read


_INPUT_SOURCES: Final[tuple[Source, ...]] = (
    _indexed("gen_ai.prompt"),
    _indexed("llm.input_messages"),
    _whole("input.value", "input"),
    _whole("traceloop.entity.input", "input"),
    _whole("gen_ai.prompt", "input"),
    _whole("prompt", "input"),
    _message_list("gen_ai.input.messages"),
)
_OUTPUT_SOURCES: Final[tuple[Source, ...]] = (
    _indexed("gen_ai.completion"),
    _indexed("llm.output_messages"),
    _whole("output.value", "output"),
    _whole("traceloop.entity.output", "output"),
    _whole("gen_ai.completion", "text"),
    _message_list("gen_ai.output.messages"),
)
