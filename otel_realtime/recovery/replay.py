"""Reads a journal back into the conversation as it was when its process died.

The same state machine and the same timeline as in the live call take the same steps again, so results
derived from them here are those that the call itself would have derived.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from otel_realtime import attributes as names
from otel_realtime.core.protocol import dialects
from otel_realtime.core.protocol.changes import Change, McpApproved, McpListed, Transcribed
from otel_realtime.core.protocol.events import Event, skip_rule
from otel_realtime.core.protocol.outcome import (
    Ending,
    Failure,
    Gap,
    Identity,
    sanitize_metadata,
    sanitize_tags,
)
from otel_realtime.core.protocol.redaction import scrub
from otel_realtime.core.protocol.responses import Moment, Response
from otel_realtime.core.protocol.shown import event_payload, event_turn
from otel_realtime.core.protocol.state import ConversationState
from otel_realtime.credentials import without_secrets
from otel_realtime.delivery.keep import name_of
from otel_realtime.diagnostics import logger_of
from otel_realtime.errors import RecordingError
from otel_realtime.recording.pacing import Pacer
from otel_realtime.recording.soundtrack import Soundtrack
from otel_realtime.state import notes
from otel_realtime.state.header import Header
from otel_realtime.state.journal import MALFORMED, read
from otel_realtime.state.progress import RELEASED, Progress
from otel_realtime.state.stored import read_stored
from otel_realtime.tracing.closing import RecordedAudio
from otel_realtime.tracing.span_ids import (
    derived_id,
    gap_key,
    mcp_key,
    response_key,
    transcription_key,
)

logger = logger_of(__name__)

#: Maximum time between the end of a span of leg ``direct`` and its being on disk.
UNWRITTEN_NS: Final = 1_000_000_000
DIED: Final = Failure("process_died", "the process died while the conversation was open")


@dataclass(frozen=True, slots=True)
class OpenEvent:
    """The span of the event that the app was handling."""

    span_id: int
    event: Event
    payload: str
    moment: Moment
    turn: int


@dataclass(frozen=True, slots=True)
class Written:
    """A change of the state that was written as a one-step span, with its time and session."""

    change: Change
    moment: Moment
    session_id: str | None


#: The key of the span that is written for each type of change.
_KEYS: Final[Mapping[type, Callable[[Any], str]]] = {
    Transcribed: lambda made: transcription_key(made.item.id, made.event.get("content_index")),
    McpApproved: lambda made: mcp_key("approval", made.approval.item.id),
    McpListed: lambda made: mcp_key("list", made.listing.item_id),
}


@dataclass(slots=True)
class Replayed:
    """One conversation as its journal records it.

    Attributes:
        sound: facts about its audio.
        track: derives ``sound`` from the journal; ``None`` if its facts were known already.
        event: the event whose span was open; ``None`` if the app was waiting for the next one.
        spans: other open spans by id, in the order they were started.
        ended: events whose span has ended, each with its end, epoch ns: those that did not reach
            the disk, if that is known; else those of the last second.
        over: other spans that have ended and did not reach the disk, by id.
        settled: responses that were written as spans which did not reach the disk.
        written: other one-step spans that did not reach the disk: the change, its time, and the
            server's session.
        stored: spans that reached the disk; empty unless the header says that they are listed.
        places: every known span by id: its parent (``None``: the root) and its start, epoch ns.
        tools: the tool spans that were exported or are to be, by id.
        last_ns: time of the last known activity, epoch ns; ``last_t`` since the start.
        ending: how it ended; ``None`` if its process died before that.
        parted: how and when its latest connection closed, if no other one followed.
        gaps: gaps between connections, if their spans did not reach the disk.
        by_otlp: its root went by OTLP, because the runs API had refused it.
        released: its process handed it over after it had ended, and is still running.
    """

    folder: Path
    header: Header
    sound: RecordedAudio
    track: Soundtrack | None = None
    state: ConversationState = field(default_factory=ConversationState)
    event: OpenEvent | None = None
    spans: dict[int, notes.SpanBegan] = field(default_factory=dict)
    ended: deque[tuple[OpenEvent, int]] = field(default_factory=deque)
    over: dict[int, tuple[notes.SpanBegan, notes.SpanEnded]] = field(default_factory=dict)
    settled: list[Response] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    stored: set[int] = field(default_factory=set)
    places: dict[int, tuple[int | None, int]] = field(default_factory=dict)
    tools: set[int] = field(default_factory=set)
    dropped: int = 0
    last_ns: int = 0
    last_t: int = 0
    ending: Ending | None = None
    parted: notes.Parted | None = None
    gaps: list[Gap] = field(default_factory=list)
    by_otlp: bool = False
    released: bool = False

    # -- notes -----------------------------------------------------------------------------------

    def apply(self, record: Sequence[Any]) -> None:
        """Apply one record of the journal.

        Raises:
            TypeError, ValueError, KeyError, IndexError, AttributeError: it is not valid.
        """
        note = notes.read_note(record[0], record[2] if len(record) > 2 else None)
        if note is None and self.track is not None:
            self.track.apply(record)
        if self.ending is not None:
            return
        if note is not None:
            _RULES[type(note)](self, note)
        if self.ending is None:  # the process lived when it wrote this
            self._reach(self.header.start_ns + record[1], record[1])

    def _reach(self, at_ns: int, t: int = 0) -> None:
        self.last_ns = max(self.last_ns, at_ns)
        self.last_t = max(self.last_t, t)

    def _sent(self, note: notes.Sent) -> None:
        self._reach(note.moment.at_ns, note.moment.t)
        self._keep(self.state.send(scrub(note.event), note.moment), note.moment)

    def _received(self, note: notes.Received) -> None:
        # Scrubbed again, like all that is read: an earlier version knew fewer names of credentials.
        event, moment, policy = scrub(note.event), note.moment, self.header.policy
        self._reach(moment.at_ns, moment.t)
        self._event_ended(moment.at_ns)
        self.state.counts.events = max(self.state.counts.events + 1, note.count)
        payload = ""
        if note.span_id is not None:
            payload = event_payload(event, self.state, policy, self.header.payload_limit)
        self._keep(self.state.receive(event, moment), moment)
        if note.span_id is None:
            self.dropped += not skip_rule(self.header.skip_events)(event["type"])
            return
        self.places[note.span_id] = (None, moment.at_ns)
        self.event = OpenEvent(note.span_id, event, payload, moment, event_turn(event, self.state))

    def _said(self, note: notes.Said) -> None:
        self._reach(note.moment.at_ns, note.moment.t)
        partial, item = note.partial, self.state.items.get(note.partial.item_id)
        if note.added and item is not None:
            before = item.partial.get(partial.index, "")
            partial = replace(partial, text=before + partial.text)
        partial = replace(partial, text=without_secrets(partial.text))
        self.state.keep(partial, note.moment)

    def _speaks(self, note: notes.Speaks) -> None:
        self.state.speak(dialects.named(note.dialect))

    def _asked(self, note: notes.Asked) -> None:
        self._event_ended(note.at_ns)
        self._reach(note.at_ns)

    def _event_ended(self, at_ns: int) -> None:
        """Remember an event whose span has ended, while the span may not have reached the disk."""
        event, self.event = self.event, None
        if event is not None and event.span_id not in self.stored:
            self._forget_before(at_ns - UNWRITTEN_NS)
            self.ended.append((event, at_ns))

    def _forget_before(self, at_ns: int) -> None:
        if self.header.lists_spans:
            return
        while self.ended and self.ended[0][1] < at_ns:
            self.ended.popleft()

    def unexported(self, spooled: Mapping[int, int]) -> list[tuple[OpenEvent, int]]:
        """Return events whose span ended, but is lost and needed, each with its end, epoch ns.

        If the folder lists what reached the disk, these are all others. Older journals have no such
        list. Their spans were written to disk within a second of their end. A span that ended within
        the last second and is not on disk was sent already, or died with the process. Spans are written
        in the order in which they end: if a later one is on disk, an earlier one was sent. The rest may
        rarely have been sent, too, so only those that a span below them needs are returned.

        Args:
            spooled: the parent of each span on disk, by the span's id.
        """
        if self.header.lists_spans:
            return [(event, at_ns) for event, at_ns in self.ended if event.span_id not in spooled]
        needed = {span.parent_id for span in self.spans.values()} | set(spooled.values())
        left: list[tuple[OpenEvent, int]] = []
        for event, at_ns in self.ended:
            if event.span_id in spooled:
                left.clear()
            else:
                left.append((event, at_ns))
        return [(event, at_ns) for event, at_ns in left if event.span_id in needed]

    def _span_began(self, note: notes.SpanBegan) -> None:
        self.places[note.span_id] = (note.parent_id, note.start_ns)
        self.spans[note.span_id] = note
        if note.attributes.get(names.TOOL_TYPE) == names.TOOL_FUNCTION:
            self.tools.add(note.span_id)
        self._reach(note.start_ns)

    def _span_ended(self, note: notes.SpanEnded) -> None:
        began = self.spans.pop(note.span_id, None)
        lost = self.header.lists_spans and note.span_id not in self.stored
        if began is not None and lost and not note.discarded:
            self.over[note.span_id] = began, note
        # Version 0.1.0 had no mark for a discarded span: its end is the root's start.
        if note.discarded or note.at_ns <= self.header.start_ns:
            self.tools.discard(note.span_id)
        self._reach(note.at_ns)

    def _settled(self, note: notes.Settled) -> None:
        for response_id in note.response_ids:
            response = self.state.unsettled.pop(response_id, None)
            if response is None or not self.header.lists_spans:
                continue
            span_id = self.span_id(response_key(response_id))
            if span_id in self.stored:
                self.places[span_id] = None, response.created.at_ns  # its MCP calls are below it
            else:
                self.settled.append(response)

    def span_id(self, key: str) -> int:
        """Return the id of a one-step span."""
        return derived_id(self.header.trace_id, self.header.root_span_id, key)

    def _keep(self, changes: Iterable[Change], moment: Moment) -> None:
        """Keep the changes that were written as one-step spans, unless these reached the disk."""
        if not self.header.lists_spans:
            return
        for change in changes:
            key = _KEYS.get(type(change))
            if key is not None and self.span_id(key(change)) not in self.stored:
                self.written.append(Written(change, moment, self.state.session.id))

    def _about(self, note: notes.About) -> None:
        who = self.header.who
        who.metadata = who.metadata if note.metadata is None else note.metadata
        who.tags = who.tags if note.tags is None else note.tags
        _clean(who)

    def _started(self, note: notes.Started) -> None:
        header = self.header
        about = header.who.thread_id, header.root_span_id
        if header.name == name_of(*about, header.start_ns):
            header.name = name_of(*about, note.start_ns)
        header.start_ns = self.last_ns = note.start_ns

    def _jumped(self, note: notes.Jumped) -> None:
        self.state.counts.time_jumps = max(self.state.counts.time_jumps, note.jumps)

    def _tightened(self, note: notes.Tightened) -> None:
        header, policy = self.header, note.policy
        header.policy = replace(
            header.policy,
            inputs=header.policy.inputs and policy.inputs,
            outputs=header.policy.outputs and policy.outputs,
            audio=header.policy.audio and policy.audio,
        )
        header.records = header.records and policy.audio
        header.recorded = header.recorded and policy.audio

    def _parted(self, note: notes.Parted) -> None:
        self._reach(note.moment.at_ns, note.moment.t)
        self._count(note)
        if self.parted is None:  # otherwise another attempt to reconnect was refused
            self._event_ended(note.moment.at_ns)
            self._keep(self.state.disconnected(note.moment), note.moment)
        self.parted = note

    def _joined(self, note: notes.Joined) -> None:
        self._reach(note.moment.at_ns, note.moment.t)
        parted, self.parted = self.parted, None
        failure = None if parted is None else parted.ending.failure
        number = self.state.counts.reconnected(None if failure is None else failure.type)
        if parted is None or not self.header.lists_spans:
            return
        if self.span_id(gap_key(number)) not in self.stored:
            gap = Gap(
                number=number,
                ending=parted.ending,
                began=parted.moment,
                ended=note.moment,
                refused=note.refused,
            )
            self.gaps.append(gap)

    def _count(self, note: notes.Ended) -> None:
        self.state.counts.events = max(self.state.counts.events, note.events)
        self.dropped = note.dropped
        self.by_otlp = note.otlp

    def _ended(self, note: notes.Ended) -> None:
        self.ending = note.ending
        self._count(note)
        self.last_ns, self.last_t = note.moment.at_ns, note.moment.t

    # -- the end ---------------------------------------------------------------------------------

    @property
    def end(self) -> Moment:
        """The time when the conversation ended, or of its last known activity."""
        if self.ending is None and self.parted is not None:
            return self.parted.moment
        return Moment(self.last_t, max(self.last_ns, self.header.start_ns))

    def finish(self) -> None:
        """Complete the state at the end of the journal."""
        end = self.end
        self._forget_before(end.at_ns - UNWRITTEN_NS)
        if self.track is not None:
            self.track.finish(end.t)
        self.state.counts.tool_calls = len(self.tools)
        self.last_ns, self.last_t = end.at_ns, end.t


_RULES: Final[Mapping[type, Callable[[Replayed, Any], None]]] = {
    notes.Received: Replayed._received,
    notes.Sent: Replayed._sent,
    notes.Said: Replayed._said,
    notes.Speaks: Replayed._speaks,
    notes.Asked: Replayed._asked,
    notes.SpanBegan: Replayed._span_began,
    notes.SpanEnded: Replayed._span_ended,
    notes.Settled: Replayed._settled,
    notes.About: Replayed._about,
    notes.Started: Replayed._started,
    notes.Jumped: Replayed._jumped,
    notes.Tightened: Replayed._tightened,
    notes.Parted: Replayed._parted,
    notes.Joined: Replayed._joined,
    notes.Ended: Replayed._ended,
}


def _clean(who: Identity) -> None:
    """Clean the app's metadata and tags, which an earlier version may not have done."""
    who.metadata = sanitize_metadata(who.metadata)[0]
    who.tags = sanitize_tags(who.tags)


#: No limit on the contents of a span, in characters.
_UNLIMITED: Final = 1 << 40


def replay(folder: Path, *, whole: bool = False, sound: RecordedAudio | None = None) -> Replayed:
    """Read a conversation's folder.

    Invalid records are left out.

    Args:
        folder: the folder.
        whole: read it as if no span had reached the disk or a backend, and without the limit on
            the contents of spans; for callers that want the whole call and deliver nothing.
        sound: facts about the finished recording, if they are known: deriving them from the journal
            takes most of the time. ``None``: derive them.

    Raises:
        RecordingError: there is no journal, or it has no header.
    """
    records, pacer = read(folder), Pacer()
    first = next(records, None)
    if first is None or first[0] != "open" or len(first) < 3:
        raise RecordingError(f"the journal of {folder.name} has no header")
    header = Header.from_wire(first[2])
    _clean(header.who)
    if whole:
        header.lists_spans, header.payload_limit = True, _UNLIMITED
    with Soundtrack(folder) as track:
        known = track if sound is None else sound
        found = Replayed(folder, header, known, last_ns=header.start_ns)
        found.track = track if sound is None else None
        found.released = Progress(folder).done(RELEASED)
        listed = header.lists_spans and not whole
        found.stored = read_stored(folder) if listed else set()
        found.state.session.other_model = header.who.model
        found.state.shortest_speech_ms = header.false_interruption_ms
        bad = 0
        for record in records:
            try:
                found.apply(record)
            except MALFORMED:
                bad += 1
            pacer.step()
        if bad:
            logger.warning("ignoring %d malformed records in the journal of %s", bad, folder.name)
        found.finish()
    return found
