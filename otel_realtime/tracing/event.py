"""The span of a received event, from its receipt until the app asks for the next frame.

The span is named by the event's type; its input is the event as it may be stored. Types and fields:
https://platform.openai.com/docs/api-reference/realtime-server-events
"""

from __future__ import annotations

from typing import Final

from opentelemetry.trace import Span

from otel_realtime import attributes as names
from otel_realtime.attributes import Fact
from otel_realtime.core.protocol.events import Event
from otel_realtime.core.protocol.messages import NS_PER_MS
from otel_realtime.core.protocol.responses import Moment
from otel_realtime.tracing.facts import Attributes
from otel_realtime.tracing.failure import event_failure, fail
from otel_realtime.tracing.writer import SpanWriter, end

# Built once because they are written for every event.
_META_RECEIVED_AT: Final = names.LS_METADATA + names.Meta.RECEIVED_AT
_AUDIO_OFFSET: Final = names.OURS + Fact.AUDIO_OFFSET
_META_AUDIO_OFFSET: Final = names.LS_METADATA + Fact.AUDIO_OFFSET
_TURN: Final = names.OURS + Fact.TURN
_META_TURN: Final = names.LS_METADATA + Fact.TURN


def event_attributes(event: Event, payload: str, t: int, turn: int) -> Attributes:
    """Return the attributes of an event's span.

    Args:
        event: the event as it may be stored.
        payload: JSON text of the event.
        t: time of receipt, ns since the start of the conversation.
        turn: the turn it belongs to; 0 before the first.
    """
    seconds = (t + 500) // 1000 / 1e6  # whole microseconds
    offset = t // NS_PER_MS
    attributes: Attributes = {
        names.LS_KIND: names.KIND_CHAIN,
        names.PROMPT: payload,
        names.EVENT_TYPE: event["type"],
        names.EVENT_RECEIVED_AT: seconds,
        _META_RECEIVED_AT: seconds,
        _AUDIO_OFFSET: offset,
        _META_AUDIO_OFFSET: offset,
    }
    if turn:
        attributes[_TURN] = attributes[_META_TURN] = turn
    # ``response.created`` has ``response.id``, ``response.output_item.added`` has ``response_id``.
    get, carried = event.get, event.get("event")
    if carried.__class__ is dict:  # a Live session's event; the ids are in the event it carries
        get = carried.get
        kind = get("type")
        if isinstance(kind, str):
            attributes[names.EVENT_CARRIED] = kind
    item, response = get("item"), get("response")
    in_item = item if isinstance(item, dict) else _NOTHING
    in_response = response if isinstance(response, dict) else _NOTHING
    for name, value in (
        (names.EVENT_ID, event.get("event_id")),
        (names.ITEM_ID, get("item_id") or in_item.get("id")),
        (names.OUR_RESPONSE_ID, get("response_id") or in_response.get("id")),
        (names.CALL_ID, get("call_id") or in_item.get("call_id")),
    ):
        if value and isinstance(value, str):
            attributes[name] = value
    return attributes


_NOTHING: Final[Event] = {}


class EventSpans:
    """Opens and ends the spans of one conversation's events, one at a time.

    Called with the conversation's lock held.

    Attributes:
        dropped: number of events that got no span because the trace was full.
    """

    def __init__(self, writer: SpanWriter) -> None:
        self._writer = writer
        self._started_ns = 0
        self.dropped = 0

    def open(self, event: Event, payload: str, moment: Moment, turn: int) -> Span | None:
        """Open the span of a received event, and end the previous one if it is still open.

        Args:
            event: the event as it may be stored.
            payload: JSON text of the event, for the span's input.
            moment: time of its receipt.
            turn: the turn it belongs to; 0 before the first.

        Returns:
            The span; ``None`` if the trace is full (``Settings.span_limit``).
        """
        writer, kind, failure = self._writer, event["type"], None
        if writer.event is not None:  # two tasks receive, or the app did not ask for this frame
            self.end(moment.at_ns)
        writer.turn = turn
        if kind in _CAN_FAIL or kind.endswith(".failed"):
            failure = event_failure(event, writer.policy)
        # An error is traced even if the trace is full, because users look for errors.
        if writer.room <= 0 and failure is None:
            self.dropped += 1
            return None
        attributes = event_attributes(event, payload, moment.t, turn)
        self._started_ns = moment.at_ns
        span = writer.start(kind, writer.root, attributes, moment.at_ns)
        if failure is not None:
            fail(span, failure, moment.at_ns)
        writer.event = span  # the parent of the tool calls that this event starts
        return span

    def end(self, at_ns: int) -> None:
        """End the current event's span, if there is one.

        Args:
            at_ns: when the app asked for the next frame, or the conversation ended; epoch ns.
        """
        span, self._writer.event = self._writer.event, None
        if span is not None:
            end(span, max(at_ns, self._started_ns + 1))


#: Event types that can report a failure without being named ``*.failed``.
_CAN_FAIL: Final = frozenset({"error", "response.done"})
