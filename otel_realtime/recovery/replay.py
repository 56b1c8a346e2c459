"""A journal read back into what the conversation was when its process died.

The same state machine and the same timeline that ran in the live call take the same steps again,
so whatever is made of them here is what the call itself would have made of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from otel_realtime import attributes as names
from otel_realtime.core.conversation import ConversationState
from otel_realtime.core.events import Event
from otel_realtime.core.payload import dump
from otel_realtime.core.responses import Moment
from otel_realtime.core.session import table
from otel_realtime.errors import RecordingError
from otel_realtime.recording.journal import read
from otel_realtime.recording.pacing import Pacer
from otel_realtime.recording.replay import Soundtrack
from otel_realtime.recovery.header import Header, read_policy
from otel_realtime.tracing.describe import Failure
from otel_realtime.tracing.root import Ending
from otel_realtime.tracing.trace import skip_rule

logger = logging.getLogger(__name__)

DIED: Final = Failure("process_died", "the process died while the conversation was open")
_MALFORMED: Final = (TypeError, ValueError, KeyError, IndexError, AttributeError)


@dataclass(frozen=True, slots=True)
class OpenEvent:
    """The span of the event that the app was handling."""

    span_id: int
    event: Event
    payload: str
    moment: Moment
    turn: int


@dataclass(frozen=True, slots=True)
class OpenSpan:
    """Another span that was open: a tool's, or the app's own."""

    span_id: int
    parent_id: int
    name: str
    start_ns: int
    kind: str
    scope: str
    attributes: Mapping[str, Any]


@dataclass(slots=True)
class Replayed:
    """One conversation as its journal tells it.

    Attributes:
        event: the event whose span was open; None if the app was waiting for the next one.
        spans: other open spans by id, in the order they were started.
        places: every span known by id: its parent (None: the root) and its start, epoch ns.
        last_ns: time of the last thing that is known, epoch ns.
        ending: how it ended; None if its process died before.
        by_otlp: its root went by OTLP, because the runs API had refused it.
    """

    folder: Path
    header: Header
    sound: Soundtrack
    state: ConversationState = field(default_factory=ConversationState)
    event: OpenEvent | None = None
    spans: dict[int, OpenSpan] = field(default_factory=dict)
    places: dict[int, tuple[int | None, int]] = field(default_factory=dict)
    dropped: int = 0
    last_ns: int = 0
    last_t: int = 0
    ending: Ending | None = None
    by_otlp: bool = False

    # -- notes -----------------------------------------------------------------------------------

    def take_in(self, record: Sequence[Any]) -> None:
        """Apply one record of the journal."""
        rule = _NOTES.get(record[0])
        if rule is None:
            self.sound.take_in(record)
        if self.ending is not None:
            return
        if rule is not None:
            rule(self, record[2])
        else:
            self._reach(self.header.start_ns + record[1], record[1])

    def _reach(self, at_ns: int, t: int = 0) -> None:
        self.last_ns = max(self.last_ns, at_ns)
        self.last_t = max(self.last_t, t)

    def _event(self, note: Mapping[str, Any]) -> None:
        event, moment = note["event"], Moment(note["t"], note["at"])
        self._reach(moment.at_ns, moment.t)
        if note["dir"] == "s":
            self.state.send(event, moment)
            return
        self.state.counts.events = note["n"]
        span_id = note["span"]
        payload = self._payload(event) if span_id is not None else ""
        self.state.receive(event, moment)
        self.event = None
        if span_id is None:
            self.dropped += not skip_rule(self.header.skip_events)(event["type"])
            return
        own = int(span_id, 16)
        self.places[own] = (None, moment.at_ns)
        self.event = OpenEvent(own, event, payload, moment, self._turn_of(event))

    def _payload(self, event: Event) -> str:
        shown = event
        if event["type"].endswith(("session.created", "session.updated")):
            session = self.state.session.without_repeats(table(event.get("session")))
            shown = {**event, "session": session}
        return dump({"event": shown}, self.header.payload_limit)

    def _turn_of(self, event: Event) -> int:
        items = self.state.items
        item = items.get(event.get("item_id") or table(event.get("item")).get("id"))
        return item.turn if item is not None and item.turn else items.turns

    def _asked(self, note: Mapping[str, Any]) -> None:
        self.event = None
        self._reach(note["at"])

    def _span(self, note: Mapping[str, Any]) -> None:
        own, parent = int(note["span"], 16), int(note["parent"], 16)
        found = OpenSpan(
            own,
            parent,
            str(note["name"]),
            int(note["at"]),
            str(note["kind"]),
            str(note["scope"]),
            dict(note["attributes"]),
        )
        self.places[own] = (parent, found.start_ns)
        self._replace(found.attributes.get(names.TOOL_CALL_ID))
        self.spans[own] = found
        self._reach(found.start_ns)

    def _replace(self, call_id: object) -> None:
        """A second span of a tool call takes the place of the first, which is never exported."""
        if call_id is not None:
            for one in list(self.spans.values()):
                if one.attributes.get(names.TOOL_CALL_ID) == call_id:
                    del self.spans[one.span_id]

    def _end(self, note: Mapping[str, Any]) -> None:
        self.spans.pop(int(note["span"], 16), None)
        self._reach(int(note["at"] or 0))

    def _settled(self, note: Mapping[str, Any]) -> None:
        for response_id in note["ids"]:
            self.state.unsettled.pop(response_id, None)

    def _meta(self, note: Mapping[str, Any]) -> None:
        self.header.who.metadata = dict(note["metadata"])
        self.header.who.tags = [str(tag) for tag in note["tags"]]

    def _start(self, note: Mapping[str, Any]) -> None:
        self.header.start_ns = self.last_ns = int(note["start_ns"])
        self.header.dotted_order = str(note["dotted_order"])

    def _policy(self, note: Mapping[str, Any]) -> None:
        self.header.policy = read_policy(note)
        self.header.records = self.header.records and self.header.policy.audio
        self.header.recorded = self.header.recorded and self.header.policy.audio

    def _ended(self, note: Mapping[str, Any]) -> None:
        failure = note["failure"]
        self.ending = Ending(
            code=note["code"],
            reason=note["reason"],
            by_client=note["by_client"],
            failure=None if failure is None else Failure(*failure),
        )
        self.state.counts.events, self.dropped = note["n"], note["dropped"]
        self.by_otlp = bool(note["otlp"])
        self.last_ns, self.last_t = note["at"], note["t"]

    # -- the end ---------------------------------------------------------------------------------

    @property
    def end(self) -> Moment:
        """When the conversation ended, or was last heard of."""
        return Moment(self.last_t, max(self.last_ns, self.header.start_ns))

    def finish(self) -> None:
        """The journal is over."""
        end = self.end
        self.sound.finish()
        self.last_ns, self.last_t = end.at_ns, end.t


_NOTES: Final[Mapping[str, Callable[[Replayed, Mapping[str, Any]], None]]] = {
    "event": Replayed._event,
    "asked": Replayed._asked,
    "span": Replayed._span,
    "end": Replayed._end,
    "settled": Replayed._settled,
    "meta": Replayed._meta,
    "start": Replayed._start,
    "policy": Replayed._policy,
    "ended": Replayed._ended,
}


def replay(folder: Path) -> Replayed:
    """Read a conversation's folder.

    Records that make no sense are left out.

    Raises:
        RecordingError: there is no journal, or not even its header.
    """
    records, pacer = read(folder), Pacer()
    first = next(records, None)
    if first is None or first[0] != "open" or len(first) < 3:
        raise RecordingError(f"the journal of {folder.name} has no header")
    header = Header.read(first[2])
    with Soundtrack(folder) as sound:
        found = Replayed(folder, header, sound, last_ns=header.start_ns)
        bad = 0
        for record in records:
            try:
                found.take_in(record)
            except _MALFORMED:
                bad += 1
            pacer.step()
        if bad:
            logger.warning("%d records in the journal of %s make no sense", bad, folder.name)
        found.finish()
    return found
