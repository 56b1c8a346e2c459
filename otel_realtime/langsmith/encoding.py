"""Encodes spans for LangSmith: cleaned and stamped copies, in requests of bounded size.

The app's exporters get the spans unchanged. Only the copies omit what LangSmith would show or count
twice, and what must not leave the process in spans of other instrumentations (``hiding``). Requests
are gzipped OTLP ``ExportTraceServiceRequest`` messages:
https://opentelemetry.io/docs/specs/otlp/#otlphttp-request
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, Status, StatusCode

from otel_realtime.attributes import (
    COMPLETION,
    ERROR_TYPE,
    INPUT_MESSAGES,
    LS_USAGE,
    OUTPUT_MESSAGES,
    PROMPT,
    RESPONSE_ID,
    SYSTEM_INSTRUCTIONS,
    TOOL_DEFINITIONS,
    USAGE,
)
from otel_realtime.core.protocol.redaction import HIDDEN
from otel_realtime.credentials import without_secrets
from otel_realtime.diagnostics import logger_of
from otel_realtime.interrupts import let_through
from otel_realtime.langsmith.hiding import (
    RESOURCES,
    clean,
    clean_events,
    events_without_sides,
    without_sides,
)
from otel_realtime.langsmith.payload import clean_int, clean_text
from otel_realtime.langsmith.stamping import Stamp
from otel_realtime.tracing.members import OUR_SCOPE

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

    _Scope = tuple[ResourceSpans, ScopeSpans, list[tuple[int, ProtoSpan]]]

logger = logger_of(__name__)

#: Maximum bytes of a request before compression: a self-hosted LangSmith accepts 25 MB by default, a
#: proxy in front of it perhaps less.
MAX_REQUEST_BYTES: Final = 4_000_000
#: Maximum bytes of an unpacked request that another process left: a single span may exceed
#: ``MAX_REQUEST_BYTES``, but not this.
_UNPACKED_BYTES: Final = 128_000_000
#: Estimated size of a span besides its text attributes: ids, times and stamps.
_SPAN_BYTES: Final = 600
#: Attributes to omit if the other one of the pair is present: LangSmith would show both.
_DUPLICATES: Final = (
    (INPUT_MESSAGES, PROMPT),
    (SYSTEM_INSTRUCTIONS, PROMPT),
    (TOOL_DEFINITIONS, PROMPT),
    (OUTPUT_MESSAGES, COMPLETION),
)
#: Status code of a response, under its current name and under the older one that is still in use:
#: https://opentelemetry.io/docs/specs/semconv/http/http-spans/
_HTTP_STATUS: Final = ("http.response.status_code", "http.status_code")
#: Prefixes of the attributes LangSmith reads usage from, ours and those of other conventions.
_USAGE_PREFIXES: Final = (USAGE, LS_USAGE, "llm.token_count.", "llm.usage.")

#: A span to be encoded, and its stamp.
Entry = tuple[ReadableSpan, Stamp]


@dataclass(frozen=True, slots=True)
class Batch:
    """Spans that are encoded as one request.

    Attributes:
        body: gzipped protobuf.
        spans: number of spans.
        first: number of the first span, counted in the order of arrival.
        size: bytes before compression.
    """

    body: bytes
    spans: int
    first: int
    size: int


def estimated_bytes(span: ReadableSpan) -> int:
    """Return roughly how much memory a span uses; cheap, because it runs on the app's task."""
    size = _SPAN_BYTES + _text_bytes(span.attributes)
    for event in span.events:
        size += _text_bytes(event.attributes)
    return size


def _plain(attributes: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return attributes as a plain ``dict`` if they can be copied: the SDK's own mapping is slow."""
    if attributes is None:
        return {}
    copy = getattr(attributes, "copy", None)
    return attributes if copy is None else copy()


def _text_bytes(attributes: Mapping[str, object] | None) -> int:
    size = 0
    for value in _plain(attributes).values():
        if isinstance(value, str):
            size += len(value)
        elif isinstance(value, tuple | list):
            size += sum(len(item) for item in value if isinstance(item, str))
    return size


def prepare(span: ReadableSpan, stamp: Stamp) -> ReadableSpan:
    """Return the copy of a span for LangSmith; the copy can always be encoded.

    Args:
        span: an ended span, which is read-only.
        stamp: its stamp.
    """
    name, attributes = clean_text(span.name) or "unnamed", _clean_attributes(span.attributes)
    events = [_clean_event(event) for event in span.events]
    status = _clean_status(span.status)
    if not _is_ours(span):  # ours are written without data that must not leave
        name, attributes = without_secrets(name), clean(attributes)
        events = list(clean_events(events))
        status = Status(status.status_code, without_secrets(status.description or "") or None)
        hidden = stamp.trace.hidden
        if hidden:
            attributes = without_sides(attributes, hidden)
            events = list(events_without_sides(events, hidden))
            status = Status(status.status_code, HIDDEN if status.description else None)
    for duplicate, original in _DUPLICATES:
        if original in attributes:
            attributes.pop(duplicate, None)
    if _counts_twice(span, attributes, stamp):
        attributes = {k: v for k, v in attributes.items() if not k.startswith(_USAGE_PREFIXES)}
    if _is_ours(span):
        # LangSmith's views look at each run; the run's own facts override the app's metadata.
        attributes = {**stamp.trace.about.attributes(), **attributes}
    # Set again: a span with more than 128 attributes has lost those it was started with.
    attributes.update(stamp.attributes())
    return ReadableSpan(
        name=name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=RESOURCES.cleaned(span.resource),
        attributes=attributes,
        events=[*events, *_missing_exception(span, attributes, status)],
        links=[_clean_link(link) for link in span.links],
        kind=span.kind,
        status=status,
        start_time=int(span.start_time or 0),
        end_time=int(span.end_time or span.start_time or 0),
        instrumentation_scope=span.instrumentation_scope,
    )


def _counts_twice(span: ReadableSpan, attributes: Mapping[str, object], stamp: Stamp) -> bool:
    """Return whether another instrumentation reports the usage of one of our responses again."""
    return not _is_ours(span) and attributes.get(RESPONSE_ID) in stamp.trace.responses


def _is_ours(span: ReadableSpan) -> bool:
    scope = span.instrumentation_scope
    return scope is not None and scope.name.startswith(OUR_SCOPE)


def _missing_exception(
    span: ReadableSpan, attributes: Mapping[str, Any], status: Status
) -> Iterator[Event]:
    """Yield an ``exception`` event for a failed span that has none.

    Without one, LangSmith treats a run as a success, whatever the span's status. Instrumentations of
    HTTP clients, for instance, set only the status:
    https://opentelemetry.io/docs/specs/semconv/http/http-spans/#status
    """
    failed = status.status_code is StatusCode.ERROR
    if not failed or any(event.name == "exception" for event in span.events):
        return
    code = next((attributes[key] for key in _HTTP_STATUS if key in attributes), None)
    kind = str(attributes.get(ERROR_TYPE) or code or "error")
    told = "" if code is None else f"HTTP status {code}"
    message = status.description or told or kind
    at_ns = int(span.end_time or span.start_time or 0)
    yield Event("exception", {"exception.type": kind, "exception.message": message}, at_ns)


def _clean_attributes(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        clean_text(str(key)): _clean_value(value)
        for key, value in _plain(attributes).items()
        if value is not None
    }


def _clean_value(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, (bool, float, bytes)):
        return value
    if isinstance(value, int):
        return clean_int(value)
    if isinstance(value, Mapping):
        return _clean_attributes(value)
    if isinstance(value, Sequence):
        return [_clean_value(item) for item in value if item is not None]
    return clean_text(str(value))


def _clean_event(event: Event) -> Event:
    return Event(clean_text(event.name), _clean_attributes(event.attributes), event.timestamp)


def _clean_link(link: Link) -> Link:
    return Link(link.context, _clean_attributes(link.attributes)) if link.attributes else link


def _clean_status(status: Status) -> Status:
    if not status.description:
        return status
    return Status(status.status_code, clean_text(status.description))


def encode(entries: Sequence[Entry], first: int) -> tuple[list[Batch], int]:
    """Encode spans as requests.

    Args:
        entries: spans with their stamps, in the order of arrival.
        first: number of the first one, counted in the order of arrival.

    Returns:
        The batches, and the number of spans that could not be encoded.
    """
    spans: list[ReadableSpan] = []
    lost = 0
    for span, stamp in entries:
        try:
            spans.append(prepare(span, stamp))
        except BaseException as error:  # noqa: BLE001 - a span of the app must not affect the others
            let_through(error)
            _warn_not_encoded(span, error)
            lost += 1
    batches: list[Batch] = []
    lost += _encode_into(batches, spans, first)
    return batches, lost


def _warn_not_encoded(span: ReadableSpan, error: BaseException) -> None:
    logger.warning("span %r is missing in LangSmith: it cannot be encoded (%s)", span.name, error)


def _encode_into(batches: list[Batch], spans: list[ReadableSpan], first: int) -> int:
    """Append the batches of some spans; return the number of spans that could not be encoded.

    If they are too many, or one cannot be encoded, they are halved until only that one is left out.
    """
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    if not spans:
        return 0
    try:
        request = encode_spans(spans)
    except BaseException as error:  # noqa: BLE001 - one of them may make the encoder raise anything
        let_through(error)
        if len(spans) == 1:
            _warn_not_encoded(spans[0], error)
            return 1
    else:
        if len(spans) == 1 or request.ByteSize() <= MAX_REQUEST_BYTES:
            batches.append(_packed(request, len(spans), first))
            return 0
    middle = len(spans) // 2
    lost = _encode_into(batches, spans[:middle], first)
    return lost + _encode_into(batches, spans[middle:], first)


def _packed(request: ExportTraceServiceRequest, spans: int, first: int) -> Batch:
    raw = request.SerializeToString()
    return Batch(_pack(raw), spans, first, len(raw))


def _pack(raw: bytes) -> bytes:
    # Level 3 takes half the time of level 5 for an eighth more bytes. Without a time stamp, each
    # attempt has the same bytes.
    return gzip.compress(raw, 3, mtime=0)


def join(bodies: Sequence[bytes]) -> bytes:
    """Return several bodies as one request.

    Concatenated protobuf messages are one message with all their repeated fields:
    https://protobuf.dev/programming-guides/encoding/#last-one-wins
    """
    if len(bodies) == 1:
        return bodies[0]
    return _pack(b"".join(map(gzip.decompress, bodies)))


def span_parents(body: bytes) -> dict[int, int]:
    """Return the parent's id of each span in a body, by the span's id; 0: no parent.

    Raises:
        ValueError: the body is not a valid request.
    """
    from google.protobuf.message import DecodeError

    if not body:  # otherwise it would parse as a request without spans
        raise ValueError("not a batch of spans: it is empty")
    try:
        request = _unpacked(body)
    except (DecodeError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"not a batch of spans: {error}") from error
    parents = {
        int.from_bytes(span.span_id, "big"): int.from_bytes(span.parent_span_id, "big")
        for _, _, spans in _numbered(request)
        for _, span in spans
    }
    if not parents:
        raise ValueError("not a batch of spans: it is empty")
    return parents


def without(body: bytes, unwanted: Collection[int]) -> Batch | None:
    """Return a body without some spans; ``None`` if no span is left.

    Args:
        body: gzipped protobuf.
        unwanted: ids of the spans to leave out.
    """
    request = _unpacked(body)
    kept = _request()
    numbers = [
        number
        for _, _, spans in _numbered(request)
        for number, span in spans
        if int.from_bytes(span.span_id, "big") not in unwanted
    ]
    _copy_spans(request, kept, numbers)
    return _packed(kept, len(numbers), 0) if numbers else None


def _request() -> ExportTraceServiceRequest:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    return ExportTraceServiceRequest()


def _unpacked(body: bytes) -> ExportTraceServiceRequest:
    with gzip.open(io.BytesIO(body)) as packed:
        raw = packed.read(_UNPACKED_BYTES + 1)
    if len(raw) > _UNPACKED_BYTES:
        raise OSError(f"more than {_UNPACKED_BYTES} bytes when unpacked")
    request = _request()
    request.ParseFromString(raw)
    return request


def split(body: bytes, spans: int, first: int) -> list[Batch]:
    """Return the two halves of a body that the server refused as too large.

    Args:
        body: gzipped protobuf.
        spans: number of spans in it.
        first: number of its first span, counted in the order of arrival.
    """
    request = _unpacked(body)
    middle = spans // 2
    halves = []
    for wanted in (range(middle), range(middle, spans)):
        half = _request()
        _copy_spans(request, half, wanted)
        halves.append(_packed(half, len(wanted), first))
    return halves


def _copy_spans(
    request: ExportTraceServiceRequest,
    target: ExportTraceServiceRequest,
    wanted: Collection[int],
) -> None:
    """Copy spans, chosen by their position in the request, with their resource and scope."""
    for resource, scope, spans in _numbered(request):
        chosen = [span for number, span in spans if number in wanted]
        if not chosen:
            continue
        resource_spans = target.resource_spans.add(schema_url=resource.schema_url)
        resource_spans.resource.CopyFrom(resource.resource)
        scope_spans = resource_spans.scope_spans.add(schema_url=scope.schema_url)
        scope_spans.scope.CopyFrom(scope.scope)
        scope_spans.spans.extend(chosen)


def _numbered(request: ExportTraceServiceRequest) -> Iterator[_Scope]:
    """Yield resource, scope, and spans with their position in the request."""
    number = 0
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            yield resource, scope, list(enumerate(scope.spans, number))
            number += len(scope.spans)
