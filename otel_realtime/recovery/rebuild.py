"""Recreates the spans that were open when a process died, with their original ids.

Their children may have been exported long ago with these ids as their parents. Spans that had not
started yet (model calls that had not settled) get ids derived from the root's, so a recovery that runs
twice makes the same spans twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from otel_realtime import attributes as names
from otel_realtime.attributes import Fact
from otel_realtime.core.protocol.changes import McpApproved, McpListed, Transcribed
from otel_realtime.core.protocol.outcome import Ending, Failure, tally
from otel_realtime.core.protocol.responses import ToolCall
from otel_realtime.delivery.keep import uri_of
from otel_realtime.delivery.model import Closing, Opening
from otel_realtime.langsmith.hiding import hidden_sides
from otel_realtime.langsmith.route import project_of
from otel_realtime.langsmith.stamping import TraceStamp
from otel_realtime.recording.about import About
from otel_realtime.recording.pacing import Pacer
from otel_realtime.recovery.handover import Relay
from otel_realtime.recovery.replay import DIED, OpenEvent, Replayed
from otel_realtime.state.notes import SpanBegan
from otel_realtime.tracing import root as root_facts
from otel_realtime.tracing.closing import RootEnd, run_opening
from otel_realtime.tracing.event import event_attributes
from otel_realtime.tracing.facts import allowed, is_voice
from otel_realtime.tracing.failure import event_failure, fail
from otel_realtime.tracing.gap import write_gap
from otel_realtime.tracing.inference import write_inference
from otel_realtime.tracing.mcp import write_approval, write_listing, write_unfinished
from otel_realtime.tracing.members import (
    OUR_SCOPE,
    Member,
    Membership,
    MembershipProcessor,
    MemberTable,
    admit_root,
)
from otel_realtime.tracing.run_metadata import RunMetadata
from otel_realtime.tracing.tool import NOT_ANSWERED
from otel_realtime.tracing.tool_facts import timing_facts
from otel_realtime.tracing.transcription import write_interrupted, write_transcription
from otel_realtime.tracing.writer import SpanWriter, finish
from otel_realtime.version import VERSION

_SCOPE: Final = "otel_realtime"
_ROOM: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The part of one conversation that remains to be delivered.

    Attributes:
        root: the OTel root, marked if the runs API delivers it.
        below: the other spans, as members of the conversation.
        again: spans that had ended, and died with the process before they reached the disk. An
            older journal does not list the spans on disk, so these may rarely have been sent.
        opening: the root run as it was posted.
        closing: its end.
        about: the description stored in its recording.
    """

    root: ReadableSpan
    below: list[tuple[ReadableSpan, Member]]
    again: list[tuple[ReadableSpan, Member]]
    opening: Opening
    closing: Closing
    about: About

    @property
    def spans(self) -> list[ReadableSpan]:
        """All spans, the root last."""
        return [*(span for span, _ in self.below), self.root]


class _Ids(IdGenerator):
    """Returns the ids that are to be used again, or else ids derived from the root's."""

    def __init__(self, found: Replayed) -> None:
        self.next: int | None = None
        self._trace_id = found.header.trace_id
        self._seed = f"{found.header.trace_id:032x}{found.header.root_span_id:016x}"
        self._made = 0

    def is_trace_id_random(self) -> bool:
        return True

    def generate_trace_id(self) -> int:
        return self._trace_id

    def generate_span_id(self) -> int:
        again, self.next = self.next, None
        if again is not None:
            return again
        self._made += 1
        digest = hashlib.sha256(f"{self._seed}{self._made}".encode()).digest()
        return int.from_bytes(digest[:8], "big") or 1


class _Collector(SpanProcessor):
    """Keeps the spans that ended."""

    def __init__(self) -> None:
        self.ended: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span)


class _Builder:
    def __init__(self, found: Replayed, relay: Relay | None) -> None:
        header = found.header
        self._found = found
        self._relay = relay
        self._ids, self._table, self._collector = _Ids(found), MemberTable(), _Collector()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource(header.resource),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(MembershipProcessor(table=self._table))
        if relay is not None:
            self._provider.add_span_processor(relay)
        self._provider.add_span_processor(self._collector)
        self._membership = _membership(found)
        self._pacer = Pacer()  # it runs beside live calls

    def build(self, *, marked: bool, spooled: Mapping[int, int]) -> Rebuilt:
        found, header = self._found, self._found.header
        self._hand_over(True)  # for root and open spans: the process exported those that ended
        root = self._root()
        self._hand_over(False)
        for span_id in found.places:  # in the live process's order, which decides their positions
            self._member_of(span_id)
            self._pacer.step()
        known = found.stored | spooled.keys()
        if found.ending is None or header.lists_spans:
            self._ended(root, spooled)
        again = self._members(known)
        known |= {member.span_id for _, member in again}
        if self._relay is not None:
            self._relay.known = known
        self._hand_over(True)
        if found.ending is None or header.lists_spans:
            self._below(root)
        below = self._members(known)
        if found.ending is not None:  # these had ended, too: nothing was open any more
            again, below = [*again, *below], []
        closing = self._closing()
        closing.end(root, mark=self._membership.delivered_mark if marked else None)
        opening = run_opening(
            header.who,
            trace_id=header.trace_id,
            span_id=header.root_span_id,
            start_ns=header.start_ns,
            voice=self._membership.about.voice,
        )
        return Rebuilt(
            root=self._collector.ended[-1],
            below=below,
            again=again,
            opening=opening,
            closing=closing.run_closing(),
            about=closing.about(),
        )

    def _hand_over(self, on: bool) -> None:
        """Set whether spans that start and end now also go to the app's own processors."""
        if self._relay is not None:
            self._relay.open = on

    def _members(self, known: Collection[int]) -> list[tuple[ReadableSpan, Member]]:
        """Return the spans below the root that were made so far, each once, without known ones."""
        found: dict[int, tuple[ReadableSpan, Member]] = {}
        for span in self._collector.ended:
            self._pacer.step()
            context = span.get_span_context()
            member = self._table.get(context.span_id) if context is not None else None
            if member is not None and member.span_id not in known:
                found.setdefault(member.span_id, (span, member))
        return list(found.values())

    def _root(self) -> Span:
        header, who = self._found.header, self._found.header.who
        above = self._above()
        attributes = root_facts.opening_attributes(who, VERSION)
        attributes[names.LS_THREAD_ID] = who.thread_id
        attributes[names.LEG] = header.leg
        nested = header.ambient and above is not None
        self._ids.next = header.root_span_id
        root = self._tracer(_SCOPE).start_span(
            names.ROOT_NAME,
            context=_under(above) if nested and above is not None else Context(),
            attributes=attributes,
            links=[Link(above)] if above is not None and not nested else (),
            start_time=header.start_ns,
        )
        admit_root(cast("SdkSpan", root), self._membership, self._table)
        return root

    def _above(self) -> SpanContext | None:
        """Return the context of the caller's span."""
        who = self._found.header.who
        if who.parent_trace_id is None or who.parent_span_id is None:
            return None
        return _context(int(who.parent_trace_id, 16), int(who.parent_span_id, 16))

    def _tracer(self, scope: str) -> Tracer:
        version = VERSION if scope == _SCOPE else None
        return self._provider.get_tracer(scope, version)

    # -- below the root --------------------------------------------------------------------------

    def _ended(self, root: Span, spooled: Mapping[int, int]) -> None:
        """Make the spans that had ended and are lost."""
        found = self._found
        for event, at_ns in found.unexported(spooled):
            finish(self._event(root, event), at_ns)
            self._pacer.step()
        writer = self._writer(root)
        for response in found.settled:
            write_inference(writer, response, found.state, found.sound, found.end.at_ns)
            self._pacer.step()
        for gap in found.gaps:
            write_gap(writer, gap)
        for made in found.written:
            self._pacer.step()
            if isinstance(made.change, Transcribed):
                write_transcription(writer, made.change, made.moment, made.session_id)
            elif isinstance(made.change, McpApproved):
                write_approval(writer, made.change.approval, made.moment.at_ns)
            elif isinstance(made.change, McpListed):
                write_listing(writer, made.change.listing, made.moment.at_ns)
        for began, ended in found.over.values():
            self._pacer.step()
            span = self._reopen(began)
            span.update_name(ended.name or began.name)
            span.set_attributes(dict(ended.attributes))
            if ended.error is not None:
                kind = ended.attributes.get(names.ERROR_TYPE)
                fail(span, Failure(str(kind or "error"), ended.error), ended.at_ns)
            finish(span, ended.at_ns)

    def _below(self, root: Span) -> None:
        """Make the spans that were open or unwritten; if the call had ended, as its close left them."""
        found, end_ns = self._found, self._found.end.at_ns
        self._responses(root)
        # Children end before their parents, as they would have.
        opened: list[Span] = []
        if found.event is not None:
            opened.append(self._event(root, found.event))
        for one in found.spans.values():
            if found.released and not one.scope.startswith(OUR_SCOPE):
                continue  # a span of the app may outlive the call, and is exported when it ends
            span, call = self._reopen(one), self._call_of(one)
            over = call.over if call is not None else None
            if call is not None:
                until_ns = end_ns if over is None else None  # nothing waits for a call that is over
                until_ns = over.at_ns if over is not None and call.lost else until_ns
                observed = any(parent == one.span_id for parent, _ in found.places.values())
                known = one.attributes.get(names.OURS + Fact.TOOL_TIMING, names.TIMING_WIRE)
                timing = (
                    names.TIMING_OBSERVED if observed and known != names.TIMING_EXACT else known
                )
                span.set_attributes(timing_facts(timing, call.announced, until_ns))
            if over is not None:  # it could not have been answered
                if call is not None and call.lost:
                    fail(span, NOT_ANSWERED, max(over.at_ns, one.start_ns))
                finish(span, over.at_ns)
                continue
            failure = self._failure_of(one, call)
            if failure is not None:
                fail(span, failure, max(end_ns, one.start_ns))
            opened.append(span)
        for span in reversed(opened):
            finish(span, end_ns)

    def _failure_of(self, one: SpanBegan, call: ToolCall | None) -> Failure | None:
        """Return the failure of a span that was open at the end; ``None`` if it has none."""
        if self._found.ending is None or names.TOOL_TYPE not in one.attributes:
            return DIED  # a span of the app outlives the call
        missed = call is not None and call.announced is not None and call.answered is None
        return NOT_ANSWERED if missed else None

    def _call_of(self, one: SpanBegan) -> ToolCall | None:
        """Return the call of a tool's span."""
        call_id = one.attributes.get(names.TOOL_CALL_ID)
        return self._found.state.calls.get(call_id) if isinstance(call_id, str) else None

    def _responses(self, root: Span) -> None:
        """Make the spans of model calls that had not been written."""
        found, writer = self._found, self._writer(root)
        for response in found.state.take_remaining():
            write_inference(writer, response, found.state, found.sound, found.end.at_ns)
            self._pacer.step()
        write_unfinished(writer, found.state, found.end.at_ns)
        write_interrupted(writer, found.state, found.end)

    def _writer(self, root: Span) -> SpanWriter:
        header = self._found.header
        return SpanWriter(
            self._tracer(_SCOPE),
            root,
            self._membership,
            policy=header.policy,
            provider=header.who.provider,
            payload_limit=header.payload_limit,
            span_limit=_ROOM,
            conversation_id=header.who.conversation_id,
        )

    def _event(self, root: Span, event: OpenEvent) -> Span:
        policy = self._found.header.policy
        self._ids.next = event.span_id
        span = self._tracer(_SCOPE).start_span(
            event.event["type"],
            context=set_span_in_context(root, Context()),
            attributes=allowed(
                event_attributes(event.event, event.payload, event.moment.t, event.turn), policy
            ),
            start_time=event.moment.at_ns,
        )
        failure = event_failure(event.event, policy)
        if failure is not None:
            fail(span, failure, event.moment.at_ns)
        return span

    def _reopen(self, one: SpanBegan) -> Span:
        self._member_of(one.parent_id)
        self._ids.next = one.span_id
        return self._tracer(one.scope).start_span(
            one.name,
            context=_under(_context(self._membership.trace_id, one.parent_id)),
            kind=SpanKind.__members__.get(one.kind, SpanKind.INTERNAL),
            attributes=cast("dict[str, Any]", one.attributes),
            start_time=one.start_ns,
        )

    def _member_of(self, span_id: int) -> Member | None:
        """Return a span's member, and add it and those above it if they are missing."""
        known = self._table.get(span_id)
        place = self._found.places.get(span_id)
        if known is not None or place is None:
            return known
        parent_id, start_ns = place
        root_id = self._membership.root_span_id
        above = self._member_of(root_id if parent_id is None else parent_id)
        if above is None:
            return None
        member = self._membership.member(span_id, start_ns, above)
        self._table.add(span_id, member)
        return member

    # -- the root's end --------------------------------------------------------------------------

    def _closing(self) -> RootEnd:
        found, header = self._found, self._found.header
        parted = found.parted.ending if found.parted is not None else None
        return RootEnd(
            identity=header.who,
            trace_id=f"{header.trace_id:032x}",
            start_ns=header.start_ns,
            state=found.state,
            audio=found.sound,
            tally=tally(found.state, found.sound),
            ending=found.ending or parted or Ending(by_client=False, failure=DIED),
            moment=found.end,
            policy=header.policy,
            dropped=found.dropped,
            records=header.records,
            leg=header.leg,
            delivers_root=header.delivers_root,
            refused=False,
            limit=header.payload_limit,
            titled=header.title == "first_utterance",
            recording_uri=(
                uri_of(header.recordings_dir, header.name)
                if header.recordings_dir and header.recorded
                else None
            ),
        )


def _membership(found: Replayed) -> Membership:
    header = found.header
    shared: dict[str, Any] = {
        "root_span_id": header.root_span_id,
        "trace_id": header.trace_id,
        "start_ns": header.start_ns,
        "thread_id": header.who.thread_id,
        "leg": header.leg,
        "ambient": header.ambient,
        "about": RunMetadata(header.who.metadata, is_voice(found.state)),
    }
    if header.delivers_root:
        hidden = hidden_sides(header.policy)
        return TraceStamp(project=project_of(header.backend), hidden=hidden, **shared)
    return Membership(**shared)


def _context(trace_id: int, span_id: int) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(1))


def _under(above: SpanContext) -> Context:
    return set_span_in_context(NonRecordingSpan(above), Context())


def rebuild(
    found: Replayed,
    *,
    marked: bool,
    spooled: Mapping[int, int] | None = None,
    relay: Relay | None = None,
) -> Rebuilt:
    """Make the part of a conversation that remains to be delivered.

    Args:
        found: the conversation.
        marked: the runs API delivers the root run.
        spooled: the parent of each span that the dead process left on disk, by the span's id.
        relay: passes spans to the app's own span processors: the root, and spans that were open.
    """
    return _Builder(found, relay).build(marked=marked, spooled=spooled or {})
