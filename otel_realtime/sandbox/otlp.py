"""OTLP trace requests, protobuf or JSON, as plain spans."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_realtime.sandbox.model import Refused

STATUS_ERROR: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanEvent:
    """An event of a span; the time is epoch nanoseconds."""

    name: str
    time_ns: int
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A received span; ids are lower-case hex, times epoch nanoseconds.

    An attribute that came without a value is None; ``float_times`` names the time fields that
    were not integers.
    """

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Any]
    events: tuple[SpanEvent, ...]
    status_code: int
    resource: Mapping[str, Any]
    float_times: tuple[str, ...] = ()


def decode_protobuf(body: bytes) -> list[Span]:
    """Decode ``application/x-protobuf``.

    Raises:
        Refused: 400, the body is not a trace request or a span has no valid ids.
    """
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise Refused(400, f"not an OTLP trace request: {error}") from error
    spans: list[Span] = []
    for group in request.resource_spans:
        resource = _pairs(group.resource.attributes)
        for scope in group.scope_spans:
            spans.extend(_from_message(span, resource) for span in scope.spans)
    return spans


def _from_message(span: Any, resource: Mapping[str, Any]) -> Span:
    _check_ids(len(span.trace_id), len(span.span_id), len(span.parent_span_id))
    return Span(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_pairs(span.attributes),
        events=tuple(
            SpanEvent(name=e.name, time_ns=e.time_unix_nano, attributes=_pairs(e.attributes))
            for e in span.events
        ),
        status_code=span.status.code,
        resource=resource,
    )


def _check_ids(trace: int, span: int, parent: int) -> None:
    if trace != 16 or span != 8 or parent not in (0, 8):
        raise Refused(400, "a span needs a trace id of 16 bytes and span ids of 8")


def _pairs(attributes: Iterable[Any]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in attributes}


def _value(value: Any) -> Any:
    which = value.WhichOneof("value")
    return None if which is None else _MESSAGE_VALUES[which](getattr(value, which))


def _same(value: Any) -> Any:
    return value


def _bytes(value: bytes) -> dict[str, str]:
    return {"bytes": base64.b64encode(value).decode()}


_MESSAGE_VALUES: Final[Mapping[str, Callable[[Any], Any]]] = {
    "string_value": _same,
    "bool_value": _same,
    "int_value": _same,
    "double_value": _same,
    "array_value": lambda array: [_value(item) for item in array.values],
    "kvlist_value": lambda group: _pairs(group.values),
    "bytes_value": _bytes,
}


def decode_json(body: bytes) -> list[Span]:
    """Decode ``application/json``: hex ids, 64-bit integers as text or number.

    Raises:
        Refused: 400, the body is not an OTLP/JSON trace request.
    """
    try:
        request = json.loads(body)
        return [
            _from_json(span, _json_pairs(group.get("resource", {}).get("attributes", ())))
            for group in request.get("resourceSpans", ())
            for scope in group.get("scopeSpans", ())
            for span in scope.get("spans", ())
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(400, f"not an OTLP/JSON trace request: {error!r}") from error


def _from_json(span: Mapping[str, Any], resource: Mapping[str, Any]) -> Span:
    ids = {name: str(span.get(name) or "") for name in ("traceId", "spanId", "parentSpanId")}
    try:
        _check_ids(*(len(bytes.fromhex(text)) for text in ids.values()))
    except (ValueError, binascii.Error) as error:
        raise Refused(400, f"ids of OTLP/JSON are hex: {error}") from error
    times = {name: span.get(name, 0) for name in ("startTimeUnixNano", "endTimeUnixNano")}
    events = span.get("events", ())
    inexact = [name for name, value in times.items() if not _is_integer(value)]
    inexact += ["timeUnixNano" for e in events if not _is_integer(e.get("timeUnixNano", 0))]
    return Span(
        name=str(span.get("name", "")),
        trace_id=ids["traceId"].lower(),
        span_id=ids["spanId"].lower(),
        parent_id=ids["parentSpanId"].lower(),
        start_ns=_integer(times["startTimeUnixNano"]),
        end_ns=_integer(times["endTimeUnixNano"]),
        attributes=_json_pairs(span.get("attributes", ())),
        events=tuple(
            SpanEvent(
                name=str(e.get("name", "")),
                time_ns=_integer(e.get("timeUnixNano", 0)),
                attributes=_json_pairs(e.get("attributes", ())),
            )
            for e in events
        ),
        status_code=_STATUS_NAMES.get(str((span.get("status") or {}).get("code", 0)), 0),
        resource=resource,
        float_times=tuple(inexact),
    )


_STATUS_NAMES: Final = {"2": STATUS_ERROR, "STATUS_CODE_ERROR": STATUS_ERROR}


def _is_integer(value: object) -> bool:
    return type(value) is int or (isinstance(value, str) and value.isascii() and value.isdigit())


def _integer(value: Any) -> int:
    return value if type(value) is int else int(value) if _is_integer(value) else int(float(value))


def _json_pairs(attributes: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {str(pair["key"]): _json_value(pair.get("value")) for pair in attributes}


def _json_value(value: Mapping[str, Any] | None) -> Any:
    for name, read in _JSON_VALUES.items():
        if value and name in value:
            return read(value[name])
    return None


_JSON_VALUES: Final[Mapping[str, Callable[[Any], Any]]] = {
    "stringValue": _same,
    "boolValue": _same,
    "intValue": _integer,
    "doubleValue": float,
    "arrayValue": lambda array: [_json_value(item) for item in array.get("values", ())],
    "kvlistValue": lambda group: _json_pairs(group.get("values", ())),
    "bytesValue": lambda text: _bytes(base64.b64decode(text)),
}
