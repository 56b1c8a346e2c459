"""Decodes OTLP/HTTP trace requests, protobuf or JSON, to plain spans.

Both encodings are specified in https://opentelemetry.io/docs/specs/otlp/.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from otel_realtime.sandbox import json_in
from otel_realtime.sandbox.model import Attributes, RequestError

#: ``Status.StatusCode`` of ``trace.proto``.
STATUS_ERROR: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanEvent:
    """An event of a span; the time is nanoseconds since the Unix epoch."""

    name: str
    time_ns: int
    attributes: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A received span; ids are lower-case hex, times are nanoseconds since the Unix epoch.

    An attribute that was sent without a value has the value None. ``non_integer_times`` names the time
    fields that were not integers, ``scope`` names the instrumentation that made the span.
    """

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: Attributes
    events: tuple[SpanEvent, ...]
    status_code: int
    resource: Attributes
    scope: str = ""
    non_integer_times: tuple[str, ...] = ()


# --- protobuf ------------------------------------------------------------------------------------


def decode_protobuf(body: bytes) -> list[Span]:
    """Decode a body of type ``application/x-protobuf``.

    Raises:
        RequestError: 400 if the body is not a trace request or a span has an invalid id.
    """
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise RequestError(400, f"not an OTLP trace request: {error}") from error
    spans: list[Span] = []
    for resource_spans in request.resource_spans:
        resource = _attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            scope = scope_spans.scope.name
            spans.extend(_from_message(span, resource, scope) for span in scope_spans.spans)
    return spans


def _from_message(span: SpanMessage, resource: Attributes, scope: str) -> Span:
    _check_ids(len(span.trace_id), len(span.span_id), len(span.parent_span_id))
    return Span(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        events=tuple(
            SpanEvent(name=e.name, time_ns=e.time_unix_nano, attributes=_attributes(e.attributes))
            for e in span.events
        ),
        status_code=span.status.code,
        resource=resource,
        scope=scope,
    )


def _check_ids(trace_bytes: int, span_bytes: int, parent_bytes: int) -> None:
    # An empty parent_span_id marks a root; all other lengths are fixed by trace.proto.
    if trace_bytes != 16 or span_bytes != 8 or parent_bytes not in (0, 8):
        raise RequestError(400, "a trace id has 16 bytes and a span id has 8")


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, object]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> object:
    field = value.WhichOneof("value")
    return None if field is None else _MESSAGE_VALUES[field](getattr(value, field))


def _unchanged(value: object) -> object:
    return value


def _bytes(value: bytes) -> dict[str, str]:
    # JSON has no bytes; this keeps them apart from a string that happens to be base64.
    return {"bytes": base64.b64encode(value).decode()}


#: Field of ``AnyValue`` -> conversion to a JSON value.
_MESSAGE_VALUES: Final[Mapping[str, Callable[[Any], object]]] = {
    "string_value": _unchanged,
    "bool_value": _unchanged,
    "int_value": _unchanged,
    "double_value": _unchanged,
    "array_value": lambda array: [_value(item) for item in array.values],
    "kvlist_value": lambda kvlist: _attributes(kvlist.values),
    "bytes_value": _bytes,
}


# --- JSON ----------------------------------------------------------------------------------------


def decode_json(body: bytes) -> list[Span]:
    """Decode a body of type ``application/json``.

    Unlike the standard protobuf mapping, OTLP/JSON writes ids in hex
    (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding).

    Raises:
        RequestError: 400 if the body is not an OTLP/JSON trace request.
    """
    try:
        request = json_in.read(body)
        return [
            _from_json(
                span,
                _json_attributes(group.get("resource", {}).get("attributes", ())),
                str(scope.get("scope", {}).get("name", "")),
            )
            for group in request.get("resourceSpans", ())
            for scope in group.get("scopeSpans", ())
            for span in scope.get("spans", ())
        ]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise RequestError(400, f"not an OTLP/JSON trace request: {error!r}") from error


def _from_json(span: Mapping[str, Any], resource: Attributes, scope: str) -> Span:
    ids = {name: str(span.get(name) or "") for name in ("traceId", "spanId", "parentSpanId")}
    try:
        _check_ids(*(len(bytes.fromhex(text)) for text in ids.values()))
    except (ValueError, binascii.Error) as error:
        raise RequestError(400, f"ids in OTLP/JSON are hexadecimal: {error}") from error
    times = {name: span.get(name, 0) for name in ("startTimeUnixNano", "endTimeUnixNano")}
    events = span.get("events", ())
    non_integer = [name for name, value in times.items() if not _is_integer(value)]
    non_integer += ["timeUnixNano" for e in events if not _is_integer(e.get("timeUnixNano", 0))]
    return Span(
        name=str(span.get("name", "")),
        trace_id=ids["traceId"].lower(),
        span_id=ids["spanId"].lower(),
        parent_id=ids["parentSpanId"].lower(),
        start_ns=_integer(times["startTimeUnixNano"]),
        end_ns=_integer(times["endTimeUnixNano"]),
        attributes=_json_attributes(span.get("attributes", ())),
        events=tuple(
            SpanEvent(
                name=str(e.get("name", "")),
                time_ns=_integer(e.get("timeUnixNano", 0)),
                attributes=_json_attributes(e.get("attributes", ())),
            )
            for e in events
        ),
        status_code=_STATUS_CODES.get(str((span.get("status") or {}).get("code", 0)), 0),
        resource=resource,
        scope=scope,
        non_integer_times=tuple(non_integer),
    )


#: OTLP/JSON writes enums as numbers; some exporters send the name.
_STATUS_CODES: Final = {"2": STATUS_ERROR, "STATUS_CODE_ERROR": STATUS_ERROR}


def _is_integer(value: object) -> bool:
    # Protobuf's JSON mapping writes 64-bit integers as decimal strings and accepts numbers.
    return type(value) is int or (isinstance(value, str) and value.isascii() and value.isdigit())


def _integer(value: Any) -> int:
    return value if type(value) is int else int(value) if _is_integer(value) else int(float(value))


def _json_attributes(pairs: Iterable[Mapping[str, Any]]) -> dict[str, object]:
    return {str(pair["key"]): _json_value(pair.get("value")) for pair in pairs}


def _json_value(value: Mapping[str, Any] | None) -> object:
    for name, convert in _JSON_VALUES.items():
        if value and name in value:
            return convert(value[name])
    return None


#: The same fields as in ``_MESSAGE_VALUES``, under their JSON names.
_JSON_VALUES: Final[Mapping[str, Callable[[Any], object]]] = {
    "stringValue": _unchanged,
    "boolValue": _unchanged,
    "intValue": _integer,
    "doubleValue": float,
    "arrayValue": lambda array: [_json_value(item) for item in array.get("values", ())],
    "kvlistValue": lambda kvlist: _json_attributes(kvlist.get("values", ())),
    "bytesValue": lambda text: _bytes(base64.b64decode(text)),
}
