"""Many calls as OTLP: one call of a minute is traced for real, then sent again and again with new ids.

Every copy is as large as the first and as different from the others in its ids: those of OpenTelemetry in
their fields, and wherever an attribute repeats them (``langsmith.span.id``, ``langsmith.span.dotted_order``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import requests
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan

from tests.support.waiting import wait_for


@dataclass(frozen=True)
class Call:
    """One copy, ready to be sent."""

    trace_id: bytes
    span_ids: frozenset[bytes]
    body: bytes


class CallLoad:
    """Makes copies of a traced call.

    Args:
        spans: the call's, with its root.
    """

    def __init__(self, spans: list[ReadableSpan]) -> None:
        self._body = encode_spans(spans).SerializeToString()
        self._trace_id = spans[0].context.trace_id.to_bytes(16, "big")
        self._span_ids = [span.context.span_id.to_bytes(8, "big") for span in spans]
        # What to overwrite, and with what: (offset, index of the span, or -1 for the trace; how it is written)
        self._places = [
            (found.start(), index, kind)
            for index, value in enumerate([*self._span_ids, self._trace_id])
            for kind, written in _writings(value).items()
            for found in re.finditer(re.escape(written), self._body)
        ]

    @property
    def size(self) -> int:
        """The spans of a call."""
        return len(self._span_ids)

    @property
    def bytes(self) -> int:
        """The bytes of a call as OTLP."""
        return len(self._body)

    def copy(self, number: int) -> Call:
        """The call with ids of its own; the same number gives the same ids."""
        # The first byte stays: no id becomes zero.
        ids = [value[:1] + number.to_bytes(4, "big") + value[5:] for value in self._span_ids]
        # Another trace id for each, and no two spans of one call with the same id.
        assert len(set(ids)) == len(ids)
        trace_id = number.to_bytes(4, "big") + self._trace_id[4:]
        written = [_writings(value) for value in (*ids, trace_id)]
        body = bytearray(self._body)
        for offset, index, kind in self._places:
            new = written[index][kind]
            body[offset : offset + len(new)] = new
        return Call(trace_id, frozenset(ids), bytes(body))


def _writings(value: bytes) -> Mapping[str, bytes]:
    """An id as it stands in its field and in attributes; all copies are as long as each other."""
    text = value.hex()
    found = {"raw": value, "hex": text.encode()}
    if len(value) == 8:
        found["uuid"] = f"{text[:4]}-{text[4:]}".encode()
    return found


def send_until_taken(url: str, body: bytes, *, timeout_s: float = 60) -> int:
    """Post a request until it is answered 200, as exporters do; how often it was tried."""
    tries = 0

    def taken() -> bool:
        nonlocal tries
        tries += 1
        try:
            answer = requests.post(
                f"{url}/v1/traces",
                data=body,
                headers={"Content-Type": "application/x-protobuf"},
                timeout=10,
            )
        except requests.RequestException:
            return False
        return answer.status_code == 200

    wait_for(taken, "a Collector that takes a call", timeout_s=timeout_s, every_s=0.5)
    return tries


def span_ids(body: bytes) -> list[tuple[bytes, bytes]]:
    """The (trace id, span id) of every span of an OTLP request."""
    request = ExportTraceServiceRequest.FromString(body)
    return [
        (span.trace_id, span.span_id)
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]
